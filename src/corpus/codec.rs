//! How a shard is stored, by its first bytes: a wrong ending must not decide what is trained.

use crate::error::{Error, Kind, Result, Stage};
use crate::shard::Codec;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// How much is looked at: text that hides its first NUL byte behind 4 KiB of text is the row parser's.
const HEAD_BYTES: usize = 4096;

/// Formats that are known and not read, with what to do about them.
const REFUSED: &[(&[u8], &str, &str)] = &[
    (b"BZh", "bzip2", "recompress it: bzcat FILE | zstd"),
    (b"\xfd7zXZ\0", "xz", "recompress it: xzcat FILE | zstd"),
    (
        b"\x04\x22\x4d\x18",
        "lz4",
        "recompress it: lz4cat FILE | zstd",
    ),
    (b"\xff\x06\0\0sNaPpY", "snappy", "recompress it as zstd"),
    (b"PK\x03\x04", "a zip archive", "unpack it"),
    (b"PARE", "encrypted Parquet", "write it without encryption"),
    (b"\xff\xfe", "UTF-16 text", "convert it to UTF-8"),
    (b"\xfe\xff", "UTF-16 text", "convert it to UTF-8"),
];

/// Reads the head of an open file. Nothing is refused that a row parser could explain better.
pub(super) fn detect(file: &File, path: &Path) -> Result<Codec> {
    let mut head = [0u8; HEAD_BYTES];
    let filled = read_head(file, &mut head).map_err(|error| {
        Error::new(Kind::Io, Stage::Corpus, "cannot read the shard").caused_by(error)
    })?;
    let head = head.get(..filled).unwrap_or_default();
    let codec = of(head)?;
    if codec.is_columnar() && cfg!(not(feature = "columnar")) {
        let message = format!(
            "is {}, and this packmill was built without it",
            codec.name()
        );
        return Err(Error::new(Kind::Recipe, Stage::Corpus, message)
            .remedy("build it with the feature `columnar`, or convert the shard to JSON lines"));
    }
    let ending = path.extension().and_then(|ending| ending.to_str());
    if head.is_empty() && matches!(ending, Some("zst" | "zstd" | "gz")) {
        // Not even the smallest frame is empty: this is a copy that was cut at its first byte.
        return Err(Error::new(
            Kind::Corrupt,
            Stage::Corpus,
            "is compressed by its name and has no bytes",
        )
        .remedy("fetch it again, or take it out of sources[].paths"));
    }
    Ok(codec)
}

fn of(head: &[u8]) -> Result<Codec> {
    let skippable =
        head.get(1..4) == Some(b"\x2a\x4d\x18") && head.first().is_some_and(|b| b >> 4 == 5);
    if head.starts_with(b"\x28\xb5\x2f\xfd") || skippable {
        return Ok(Codec::Zstd);
    }
    if head.starts_with(b"\x1f\x8b") {
        return Ok(Codec::Gzip);
    }
    if head.starts_with(b"PAR1") {
        return Ok(Codec::Parquet);
    }
    if head.starts_with(b"ARROW1\0\0") {
        return Ok(Codec::ArrowFile);
    }
    // The continuation of a stream's first message, and the length of its header; no text in UTF-8 begins so.
    if head.starts_with(&[0xff; 4]) {
        return Ok(Codec::ArrowStream);
    }
    for &(magic, name, remedy) in REFUSED {
        if head.starts_with(magic) {
            let message = format!("is {name}, which is not read");
            return Err(Error::new(Kind::Recipe, Stage::Corpus, message).remedy(remedy));
        }
    }
    if head.contains(&0) {
        let message = "is neither text nor zstd, gzip, Parquet or Arrow: there is a NUL byte in its first 4 KiB";
        return Err(Error::new(Kind::Recipe, Stage::Corpus, message).remedy(
            "shards are JSON lines in UTF-8, plain or compressed with zstd or gzip, Parquet or Arrow IPC",
        ));
    }
    Ok(Codec::Plain)
}

fn read_head(file: &File, head: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = head.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
