//! Small shards of each format, cut at every byte and with every bit flipped.

use super::seeds::shard::{slice, table};
use super::{SKIP, stream};
use crate::corpus::{Corpus, SMALL, chats, gzip, zstd_frames};
use bytes::Bytes;
use packmill::read::{BlockReader, Step};
use packmill::recipe::{LimitsConfig, SourceConfig};
use packmill::render::row::RowReader;
use packmill::shard::Codec;
use std::io::Write;

/// Some 4 KiB of chats.
fn text() -> String {
    let mut text = String::new();
    for line in chats(40).split_inclusive('\n') {
        if text.len() + line.len() > 4096 {
            break;
        }
        text += line;
    }
    text
}

/// A frame with a checksum, as `zstd` writes it.
fn checked_frame(text: &str) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder
        .set_pledged_src_size(Some(text.len() as u64))
        .unwrap();
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// One format: its name as a file, how it is stored, and what shows damage.
struct Format {
    name: &'static str,
    codec: Codec,
    stored: Vec<u8>,
    /// Whether a flipped bit is told, or changes nothing.
    checked: bool,
    /// Where a cut leaves a whole shard.
    seams: Vec<usize>,
}

fn formats() -> Vec<Format> {
    let text = text();
    let frames: Vec<Vec<u8>> = text.split_inclusive('\n').map(checked_frame).collect();
    let ends = |parts: &[usize]| -> Vec<usize> {
        parts
            .iter()
            .scan(0, |end, len| {
                *end += len;
                Some(*end)
            })
            .collect()
    };
    let lines: Vec<usize> = text.split_inclusive('\n').map(str::len).collect();
    // Without its newline a last line is as whole.
    let line_ends = ends(&lines).into_iter().flat_map(|end| [end - 1, end]);
    let unchecked = zstd_frames(&text, 1000);
    vec![
        Format {
            name: "plain.jsonl",
            codec: Codec::Plain,
            seams: line_ends.collect(),
            stored: text.clone().into_bytes(),
            checked: false,
        },
        Format {
            name: "gzip.jsonl.gz",
            codec: Codec::Gzip,
            stored: gzip(&text),
            checked: true,
            seams: Vec::new(),
        },
        Format {
            name: "zstd.jsonl.zst",
            codec: Codec::Zstd,
            stored: checked_frame(&text),
            checked: true,
            seams: Vec::new(),
        },
        Format {
            name: "unchecked.jsonl.zst",
            codec: Codec::Zstd,
            stored: unchecked,
            checked: false,
            seams: Vec::new(),
        },
        Format {
            name: "frames.jsonl.zst",
            codec: Codec::Zstd,
            seams: ends(&frames.iter().map(Vec::len).collect::<Vec<_>>()),
            stored: frames.concat(),
            checked: true,
        },
    ]
}

/// What a reader of all blocks gives: records that are understood, and things in the place of one.
fn read(codec: Codec, stored: &[u8]) -> (Vec<Bytes>, usize) {
    let table = table(codec, stored);
    let blocks = 0..table.len();
    let mut reader = BlockReader::limited(table, blocks, &LimitsConfig::DEFAULT);
    let rows = RowReader::new(&SourceConfig::default(), None);
    let (mut records, mut bad) = (Vec::new(), 0);
    loop {
        match reader.step() {
            Step::Need(range) => reader.feed(slice(stored, range)).unwrap(),
            Step::Run(run) => {
                for (_, record) in run.iter() {
                    match rows.read(&record) {
                        Ok(_) => records.push(record),
                        Err(_) => bad += 1,
                    }
                }
            }
            Step::Bad(_) => bad += 1,
            Step::End => return (records, bad),
        }
    }
}

/// A cut shows, unless it leaves a shard that is whole by itself: then nothing in the shard can tell.
#[test]
fn a_shard_that_is_cut_anywhere() {
    for format in formats() {
        let (whole, bad) = read(format.codec, &format.stored);
        assert_eq!(bad, 0);
        for cut in 0..format.stored.len() {
            let (records, bad) = read(format.codec, &format.stored[..cut]);
            let name = format.name;
            assert_eq!(records[..], whole[..records.len()], "{name} cut at {cut}");
            let shows = bad == 1 || (cut == 0 || format.seams.contains(&cut)) && bad == 0;
            assert!(
                shows,
                "{name} cut at {cut}: {bad} bad, {} records",
                records.len()
            );
        }
    }
}

/// With a checksum a flipped bit shows or changes nothing; without one the flipped text may come, as long as it is a
/// chat, and no other record than those that the bit lies in is lost unseen.
#[test]
fn a_shard_with_any_bit_flipped() {
    for format in formats() {
        let (whole, _) = read(format.codec, &format.stored);
        let mut stored = format.stored.clone();
        for bit in 0..stored.len() * 8 {
            stored[bit / 8] ^= 1 << (bit % 8);
            let (records, bad) = read(format.codec, &stored);
            stored[bit / 8] ^= 1 << (bit % 8);
            let name = format.name;
            if format.checked {
                assert!(bad > 0 || records == whole, "{name}, bit {bit}");
            } else if format.codec == Codec::Plain {
                let same = whole.iter().filter(|record| records.contains(record));
                // A flipped newline joins two records, which is no JSON.
                assert!(same.count() + 2 >= whole.len(), "{name}, bit {bit}");
                assert!(records.len() + bad + 1 >= whole.len(), "{name}, bit {bit}");
            }
        }
    }
}

/// The same through the whole pipeline, with codecs told by the first bytes, for some of the places.
#[test]
fn damage_ends_a_stream_with_one_error_or_is_counted() {
    for format in formats() {
        let corpus = Corpus::new();
        let name = format.name;
        let good = chats(400);
        corpus.write("good.jsonl", good.as_bytes());
        let all = read(format.codec, &format.stored).0.len() as u64 + 400;
        let try_it = |damaged: &[u8], what: &str| {
            corpus.write(name, damaged);
            let paths = format!("{name}\", \"good.jsonl");
            for hold in ["2GiB", "0"] {
                let more = format!("{}\nhold: {hold}", SMALL.replace("lanes: 4", "lanes: 1"));
                let stopped = stream(&corpus, corpus.recipe(&paths, &more));
                match &stopped {
                    Err(error) => {
                        let placed =
                            error.shard().is_some() || error.to_string().contains("source");
                        assert!(placed, "{what}: {error}");
                        assert!(!error.to_string().contains("panicked"), "{what}: {error}");
                    }
                    Ok(progress) => {
                        let taken = progress.ledger.sources[0].1.records.taken;
                        let seam = format.seams.contains(&damaged.len());
                        assert!(taken == all || seam || !format.checked, "{what}: {taken}");
                    }
                }
                let skipping = stream(&corpus, corpus.recipe(&paths, &format!("{more}\n{SKIP}")));
                match (stopped, skipping) {
                    (Ok(one), Ok(other)) => assert_eq!(one.digest, other.digest, "{what}"),
                    (Err(_), Ok(progress)) => {
                        let account = &progress.ledger.sources[0].1;
                        let dropped: u64 = account.records.dropped.values().sum();
                        assert!(
                            dropped + account.unreadable.blocks > 0,
                            "{what}: {account:?}"
                        );
                        assert!(account.records.delivered >= 400, "{what}: {account:?}");
                    }
                    // What is refused before a record is read is refused whatever the policy.
                    (_, Err(error)) => {
                        assert!(error.shard().is_some() || error.to_string().contains("source"));
                    }
                }
            }
        };
        let len = format.stored.len();
        for cut in (0..len).step_by(len / 7) {
            try_it(&format.stored[..cut], &format!("{name} cut at {cut}"));
        }
        let mut bits: Vec<usize> = (0..len * 8).step_by(len * 8 / 7).collect();
        // The first bytes, which say the codec.
        bits.extend([2, 9, 25]);
        for bit in bits {
            let mut flipped = format.stored.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            try_it(&flipped, &format!("{name}, bit {bit}"));
        }
    }
}

#[test]
fn garbage_behind_a_gzip_file() {
    for garbage in [
        b"garbage".to_vec(),
        vec![0, 0, 7],
        b"\x1f\x8b".to_vec(),
        vec![0x1f, 0x8b, 8, 0, 1],
    ] {
        let corpus = Corpus::new();
        let stored = [gzip(&chats(200)), garbage.clone()].concat();
        corpus.write("chats.jsonl.gz", &stored);
        let error = super::refused(&corpus, "chats.jsonl.gz", "");
        assert_eq!(error.kind(), packmill::Kind::Corrupt, "{error}");
        assert!(
            error.shard().is_some() && error.record().is_some(),
            "{error}"
        );
        assert_eq!(
            super::skipped(&corpus, "chats.jsonl.gz", ""),
            (200, 200, 1),
            "{garbage:?}"
        );
    }
}
