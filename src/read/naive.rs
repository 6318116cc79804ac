//! The obvious reader: a whole shard with one-shot decoders, split into lines. The reference for all others.

use crate::shard::Codec;
use std::io::Read;

/// Every record of a shard with its number.
pub(super) fn records(codec: Codec, stored: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut text = text(codec, stored);
    if text.last() == Some(&b'\n') {
        text.pop();
    } else if text.is_empty() {
        return Vec::new();
    }
    let lines = text.split(|byte| *byte == b'\n').enumerate();
    lines
        .map(|(number, line)| {
            (
                number as u64,
                line.strip_suffix(b"\r").unwrap_or(line).to_vec(),
            )
        })
        .filter(|(_, line)| !line.iter().all(u8::is_ascii_whitespace))
        .collect()
}

/// The whole text of a shard.
pub(super) fn text(codec: Codec, stored: &[u8]) -> Vec<u8> {
    match codec {
        Codec::Plain => stored.to_vec(),
        Codec::Zstd => zstd::decode_all(stored).unwrap(),
        Codec::Parquet | Codec::ArrowFile | Codec::ArrowStream => panic!("is no text"),
        Codec::Gzip => {
            let mut text = Vec::new();
            flate2::bufread::MultiGzDecoder::new(stored)
                .read_to_end(&mut text)
                .unwrap();
            text
        }
    }
}
