//! Records as compressed shards: zstd in many small frames, so that any part can be reached alone, or gzip.

use anyhow::Context;
use std::io::Write;

/// Text in a frame, in bytes, at which the next frame begins. Real corpora take frames of a few MiB; the demo's are
/// small so that a small corpus has several.
const FRAME_BYTES: usize = 48 << 10;

/// How a shard is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    /// Independent zstd frames, each ending with a record and carrying a checksum.
    Zstd,
    /// One gzip stream: readable from its beginning only.
    Gzip,
}

impl Codec {
    /// How the file names end.
    pub(crate) fn ending(self) -> &'static str {
        match self {
            Codec::Zstd => "jsonl.zst",
            Codec::Gzip => "jsonl.gz",
        }
    }

    /// The stored bytes of these lines.
    pub(crate) fn encode(self, lines: &[String]) -> anyhow::Result<Vec<u8>> {
        match self {
            Codec::Zstd => zstd_frames(lines).context("zstd"),
            Codec::Gzip => gzip(lines).context("gzip"),
        }
    }
}

fn zstd_frames(lines: &[String]) -> std::io::Result<Vec<u8>> {
    let mut compressor = zstd::bulk::Compressor::new(3)?;
    compressor.include_checksum(true)?;
    let mut stored = Vec::new();
    let mut frame = String::new();
    for line in lines {
        frame.push_str(line);
        frame.push('\n');
        if frame.len() >= FRAME_BYTES {
            stored.extend(compressor.compress(frame.as_bytes())?);
            frame.clear();
        }
    }
    if !frame.is_empty() {
        stored.extend(compressor.compress(frame.as_bytes())?);
    }
    Ok(stored)
}

fn gzip(lines: &[String]) -> std::io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    for line in lines {
        encoder.write_all(line.as_bytes())?;
        encoder.write_all(b"\n")?;
    }
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn lines() -> Vec<String> {
        (0..4_000)
            .map(|n| format!("{{\"text\": \"line {n}\"}}"))
            .collect()
    }

    #[test]
    fn a_zstd_shard_has_several_frames_that_each_end_with_a_record() {
        let stored = Codec::Zstd.encode(&lines()).unwrap();
        let mut rest = stored.as_slice();
        let (mut frames, mut text) = (0, Vec::new());
        while !rest.is_empty() {
            let size = zstd::zstd_safe::find_frame_compressed_size(rest).unwrap();
            let frame = zstd::bulk::decompress(&rest[..size], 1 << 20).unwrap();
            assert_eq!(frame.last(), Some(&b'\n'));
            text.extend(frame);
            rest = &rest[size..];
            frames += 1;
        }
        assert_eq!(frames, 2);
        assert_eq!(String::from_utf8(text).unwrap(), lines().join("\n") + "\n");
    }

    #[test]
    fn a_gzip_shard_holds_the_same_lines() {
        let stored = Codec::Gzip.encode(&lines()).unwrap();
        assert_eq!(stored[..2], [0x1f, 0x8b]);
        assert_eq!(
            stored[4..8],
            [0; 4],
            "a time in the header would differ from run to run"
        );
        let mut text = String::new();
        flate2::read::GzDecoder::new(stored.as_slice())
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, lines().join("\n") + "\n");
    }
}
