//! Shards of every shape, read by every way and compared with the naive reader; and shards that are damaged.

use super::naive;
use super::*;
use crate::error::Kind;
use crate::shard::{Codec, ShardFile, Stamp};
use bytes::Bytes;
use proptest::prelude::*;
use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Bounds that are met by texts of a few hundred bytes.
pub(super) const SMALL: Limits = Limits {
    run_records: 3,
    run_bytes: 24,
    line_bytes: 48,
    plain_block_bytes: 16,
    chunk_bytes: 9,
    tail_chunk_bytes: 4,
    scratch_bytes: 7,
};

pub(super) fn shard_file(path: &Path, codec: Codec) -> ShardFile {
    ShardFile {
        path: path.to_owned(),
        name: path.file_name().unwrap().display().to_string(),
        stamp: Stamp::of(&std::fs::metadata(path).unwrap()),
        codec,
    }
}

pub(super) fn write_shard(folder: &Path, name: &str, codec: Codec, stored: &[u8]) -> ShardFile {
    let path = folder.join(name);
    std::fs::write(&path, stored).unwrap();
    shard_file(&path, codec)
}

pub(super) fn frame(text: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder
        .set_pledged_src_size(Some(text.len() as u64))
        .unwrap();
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn unsized_frame(text: &[u8]) -> Vec<u8> {
    zstd::encode_all(text, 1).unwrap()
}

pub(super) fn member(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// A shard in memory and its blocks.
fn table(codec: Codec, stored: &[u8], limits: &Limits) -> Arc<BlockTable> {
    let file = ShardFile {
        path: "x".into(),
        name: "x".to_owned(),
        stamp: Stamp {
            size_bytes: stored.len() as u64,
            modified_s: 0,
            modified_ns: 0,
            device: 0,
            inode: 0,
        },
        codec,
    };
    let read = |range: Range<u64>| Ok(slice(stored, range));
    Arc::new(BlockTable::list_within(&file, limits, read).unwrap())
}

fn slice(stored: &[u8], range: Range<u64>) -> Bytes {
    Bytes::copy_from_slice(&stored[range.start as usize..range.end as usize])
}

/// All that a reader gives, and how many lines it counted.
fn drive(mut reader: BlockReader, stored: &[u8]) -> (Vec<Run>, Vec<Bad>, u64) {
    let (mut runs, mut bad) = (Vec::new(), Vec::new());
    let mut hint = None;
    loop {
        match reader.step() {
            Step::Need(range) => {
                // A fault leads elsewhere than anybody could expect.
                if let Some(hint) = hint.filter(|_| bad.is_empty()) {
                    assert_eq!(range, hint, "the hint was wrong");
                }
                hint = reader.ahead();
                reader.feed(slice(stored, range)).unwrap();
            }
            Step::Run(run) => runs.push(run),
            Step::Bad(one) => bad.push(one),
            Step::End => return (runs, bad, reader.lines()),
        }
    }
}

/// Records of a shard with their numbers, block by block, and the bad ones likewise.
fn streamed(codec: Codec, stored: &[u8], limits: Limits) -> (Vec<(u64, Vec<u8>)>, Vec<(u64, Bad)>) {
    let table = table(codec, stored, &limits);
    let (mut records, mut bad, mut base) = (Vec::new(), Vec::new(), 0);
    for block in 0..table.len() {
        let reader = BlockReader::within(Arc::clone(&table), block..block + 1, limits);
        let (runs, faults, lines) = drive(reader, stored);
        check_runs(&runs, &limits);
        let numbered = runs.iter().flat_map(Run::iter);
        records.extend(numbered.map(|(number, text)| (base + number, text.to_vec())));
        bad.extend(faults.into_iter().map(|one| (base + one.record, one)));
        base += lines;
    }
    (records, bad)
}

/// No run exceeds a bound, and none could have taken the first record of the next as well, but where a bad
/// line stood between them.
fn check_runs(runs: &[Run], limits: &Limits) {
    for run in runs {
        assert!(run.records.len() <= limits.run_records);
        assert!(run.text.len() <= limits.run_bytes || run.records.len() == 1);
    }
    for pair in runs.windows(2) {
        let first = pair[1].records[0];
        let last = pair[0].records.last().unwrap();
        let joined = pair[0].text.len() + (first.end - first.start) as usize;
        assert!(
            pair[0].records.len() == limits.run_records
                || joined > limits.run_bytes
                || last.number + 1 < first.number
        );
    }
}

/// Lines of all kinds, at least one record among them, with or without an end of the last.
pub(super) fn texts() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        5 => "[a-z]{1,12}",
        2 => "[ \t]{0,5}",
        2 => "[ a-z]{12,40}",
        1 => "[a-z]{0,3}\r{1,2}[a-z]{0,2}",
    ];
    let end = prop_oneof![3 => Just("\n"), 1 => Just("\r\n")];
    (
        proptest::collection::vec((line, end), 0..24),
        prop_oneof!["", "tail", " ", "\r"],
    )
        .prop_map(|(lines, last)| {
            let mut text: String = lines.into_iter().map(|(line, end)| line + end).collect();
            text.push_str(&last);
            text.into_bytes()
        })
}

/// A text stored as a shard of a codec, cut into frames or members at any place, empty ones included.
pub(super) fn shards() -> impl Strategy<Value = (Codec, Vec<u8>, Vec<u8>)> {
    let codec = prop_oneof![Just(Codec::Plain), Just(Codec::Gzip), Just(Codec::Zstd)];
    let cuts = proptest::collection::vec(any::<prop::sample::Index>(), 0..8);
    (texts(), codec, cuts, any::<u64>()).prop_map(|(text, codec, cuts, shape)| {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let parts = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]);
        let stored: Vec<u8> = match codec {
            Codec::Plain => text.clone(),
            Codec::Gzip => parts.flat_map(member).collect(),
            Codec::Zstd => {
                let mut stored = Vec::new();
                for (at, part) in parts.enumerate() {
                    if shape >> (2 * at) & 1 == 1 {
                        stored.extend_from_slice(b"\x53\x2a\x4d\x18\x05\0\0\0skip!");
                    }
                    match shape >> (2 * at + 1) & 1 {
                        0 => stored.extend(frame(part)),
                        _ => stored.extend(unsized_frame(part)),
                    }
                }
                if shape >> 63 == 1 {
                    stored
                        .extend_from_slice(b"\x5e\x2a\x4d\x18\x09\0\0\0\0\0\0\0\0\xb1\xea\x92\x8f");
                }
                stored
            }
        };
        (codec, text, stored)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn streamed_blocks_give_every_record_once_with_its_number((codec, text, stored) in shards()) {
        let expected = naive::records(codec, &stored);
        prop_assert_eq!(&naive::text(codec, &stored), &text);
        for limits in [SMALL, Limits::DEFAULT] {
            let (records, bad) = streamed(codec, &stored, limits);
            prop_assert!(bad.is_empty(), "{:?}", bad);
            prop_assert_eq!(&records, &expected);
        }
        let whole = table(codec, &stored, &SMALL);
        let all = 0..whole.len();
        let (runs, bad, _) = drive(BlockReader::within(whole, all, SMALL), &stored);
        prop_assert!(bad.is_empty());
        check_runs(&runs, &SMALL);
        let records: Vec<_> = runs.iter().flat_map(Run::iter).map(|(n, text)| (n, text.to_vec())).collect();
        prop_assert_eq!(&records, &expected);
    }

    #[test]
    fn a_record_belongs_to_the_block_that_holds_the_newline_before_it(
        text in texts(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let stored: Vec<u8> = cuts.windows(2).flat_map(|pair| frame(&text[pair[0]..pair[1]])).collect();
        let table = table(Codec::Zstd, &stored, &SMALL);
        let mut start = 0;
        let mut expected = vec![Vec::new(); table.len() as usize];
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            // The block that holds byte `start - 1`, the newline before the line.
            let owner = match start {
                0 => 0,
                _ => cuts.windows(2).position(|pair| (pair[0]..pair[1]).contains(&(start - 1))).unwrap(),
            };
            if !lines::is_blank(line) {
                expected[owner].push(lines::strip_end(line).to_vec());
            }
            start += line.len();
        }
        for block in 0..table.len() {
            let reader = BlockReader::within(Arc::clone(&table), block..block + 1, SMALL);
            let (runs, _, _) = drive(reader, &stored);
            let records: Vec<_> = runs.iter().flat_map(Run::iter).map(|(_, text)| text.to_vec()).collect();
            prop_assert_eq!(&records, &expected[block as usize], "block {}", block);
        }
    }

    /// Whatever is done to a shard, reading it ends, and each record that comes out whole is a line of it
    /// or lies in a block that is damaged.
    #[test]
    fn a_damaged_shard_is_read_to_its_end(
        (codec, _, stored) in shards(),
        cut in any::<prop::sample::Index>(),
        flip in any::<prop::sample::Index>(),
        bit in 0u32..8,
    ) {
        let mut flipped = stored.clone();
        if !flipped.is_empty() {
            let at = flip.index(flipped.len());
            flipped[at] ^= 1u8 << bit;
        }
        for damaged in [&stored[..cut.index(stored.len() + 1)], &flipped] {
            let (records, bad) = streamed(codec, damaged, SMALL);
            prop_assert_eq!(&(records.len(), bad.len()), &{
                let (records, bad) = streamed(codec, damaged, SMALL);
                (records.len(), bad.len())
            });
            let numbers: Vec<u64> = records.iter().map(|(number, _)| *number).collect();
            prop_assert!(numbers.is_sorted_by(|a, b| a < b));
        }
    }
}

#[test]
fn an_unreadable_rest_is_one_bad_line_and_reading_goes_on_at_the_next_block() {
    let mut stored = frame(b"a\nb");
    let start = stored.len();
    let mut second = frame(b"b\ncc\n");
    let last = second.len() - 1;
    second[last] ^= 1;
    stored.extend_from_slice(&second);
    stored.extend(frame(b"d\ne\nf\n"));
    let (records, bad) = streamed(Codec::Zstd, &stored, Limits::DEFAULT);
    // The second frame's text came out whole before its checksum failed: its last record is the one that
    // begins in it and ends in the third frame.
    let texts: Vec<_> = records.iter().map(|(_, text)| text.as_slice()).collect();
    assert_eq!(texts, [b"a".as_slice(), b"e", b"f"]);
    assert_eq!(bad.len(), 2);
    assert_eq!(
        bad[0].1.lost,
        Lost::Record,
        "the record that runs into the damage"
    );
    let Lost::Rest { compressed_bytes } = bad[1].1.lost else {
        panic!("{:?}", bad[1])
    };
    assert_eq!(compressed_bytes, second.len() as u64);
    assert_eq!(bad[1].1.error.kind(), Kind::Corrupt);
    assert!(
        bad[1].1.error.message().contains(&format!("byte {start} ")),
        "{}",
        bad[1].1.error
    );

    // One reader over all blocks books the record and the rest that swallows it once.
    let table = table(Codec::Zstd, &stored, &Limits::DEFAULT);
    let (runs, bad, lines) = drive(BlockReader::new(table, 0..3), &stored);
    let numbers: Vec<u64> = runs
        .iter()
        .flat_map(Run::iter)
        .map(|(number, _)| number)
        .collect();
    assert_eq!(
        (numbers, bad.len(), bad[0].record, lines),
        (vec![0, 2, 3], 1, 1, 4)
    );
}

#[test]
fn a_cut_shard_keeps_what_came_before_the_cut() {
    let text: Vec<u8> = (0..100_000)
        .flat_map(|i| format!("{{\"i\": {i}}}\n").into_bytes())
        .collect();
    for (codec, stored) in [(Codec::Zstd, frame(&text)), (Codec::Gzip, member(&text))] {
        let cut = &stored[..stored.len() / 2];
        let (records, bad) = streamed(codec, cut, Limits::DEFAULT);
        assert!(records.len() > 5_000, "{}", records.len());
        assert_eq!(bad.len(), 1);
        assert_eq!(bad[0].0, records.len() as u64);
        assert!(bad[0].1.error.message().contains("cut short"));
    }
}

#[test]
fn a_bomb_costs_no_memory() {
    // 1 GiB without a line end in 32 KiB: one bad line, of which nothing is kept.
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    let spaces = vec![b'x'; 1 << 20];
    for _ in 0..1024 {
        encoder.write_all(&spaces).unwrap();
    }
    encoder.write_all(b"\nafter\n").unwrap();
    let stored = encoder.finish().unwrap();
    let (records, bad) = streamed(Codec::Zstd, &stored, Limits::DEFAULT);
    assert_eq!(records, [(1, b"after".to_vec())]);
    assert_eq!(bad[0].1.error.kind(), Kind::Limit);
}

#[test]
fn a_reader_refuses_bytes_that_it_did_not_ask_for() {
    let stored = frame(b"a\n");
    let mut reader = BlockReader::new(table(Codec::Zstd, &stored, &SMALL), 0..1);
    assert_eq!(
        reader.feed(Bytes::from_static(b"x")).unwrap_err().kind(),
        Kind::Internal
    );
    assert!(matches!(reader.step(), Step::Need(_)));
    assert_eq!(
        reader.feed(Bytes::from_static(b"x")).unwrap_err().kind(),
        Kind::Internal
    );
}

#[test]
fn no_blocks_are_no_records() {
    assert!(table(Codec::Plain, b"", &SMALL).is_empty());
    assert!(table(Codec::Gzip, b"", &SMALL).is_empty());
    let reader = BlockReader::new(table(Codec::Zstd, b"", &SMALL), 0..1);
    let (runs, bad, lines) = drive(reader, b"");
    assert_eq!((runs.len(), bad.len(), lines), (0, 0, 0));
}

mod held {
    use super::*;
    use crate::recipe::{Io, OnBadRecord};
    use proptest::test_runner::TestCaseResult;

    pub(super) fn options() -> ReadOptions {
        ReadOptions {
            hold: 1 << 30,
            limit: None,
            io: Io::Auto,
            on_bad_record: OnBadRecord::Stop,
        }
    }

    pub(super) const SKIP: OnBadRecord = OnBadRecord::Skip { max_fraction: 1.0 };

    pub(super) struct Source {
        pub(super) folder: tempfile::TempDir,
        pub(super) files: Vec<ShardFile>,
    }

    impl Source {
        pub(super) fn new<'a>(shards: impl IntoIterator<Item = (Codec, &'a [u8])>) -> Source {
            let folder = tempfile::tempdir().unwrap();
            let shards = shards.into_iter().enumerate();
            let files = shards
                .map(|(n, (codec, stored))| {
                    write_shard(folder.path(), &format!("{n:05}"), codec, stored)
                })
                .collect();
            Source { folder, files }
        }

        pub(super) fn cache(&self) -> std::path::PathBuf {
            self.folder.path().join("cache")
        }

        pub(super) fn open_within(
            &self,
            options: &ReadOptions,
            limits: Limits,
        ) -> crate::Result<Option<Held>> {
            let shards = open_shards(&self.files, options.io)?;
            let tables: Vec<_> = shards
                .iter()
                .map(|shard| {
                    let table = BlockTable::list_within(shard.file(), &limits, |range| {
                        shard.read_now(range)
                    });
                    Arc::new(table.unwrap())
                })
                .collect();
            Held::open_within(&shards, &tables, options, &self.cache(), limits)
        }

        pub(super) fn open(&self, options: &ReadOptions) -> crate::Result<Option<Held>> {
            self.open_within(options, Limits::DEFAULT)
        }

        pub(super) fn held(&self, options: &ReadOptions) -> Held {
            self.open(options).unwrap().unwrap()
        }
    }

    /// Shard, number and text of each record; none for a bad one.
    type Entries = Vec<(u32, u64, Option<Vec<u8>>)>;

    fn entries(held: &Held) -> Entries {
        let blocks = 0..held.blocks();
        let read = blocks.filter_map(|block| {
            let (shard, record) = held.locate(block).unwrap();
            match held.read(block).unwrap() {
                Entry::Record(text) => Some((shard, record, Some(text.to_vec()))),
                Entry::Bad(bad) => {
                    assert_eq!(bad.record, record);
                    assert!(bad.error.shard().is_some());
                    Some((shard, record, None))
                }
                Entry::Blank => None,
            }
        });
        let entries: Entries = read.collect();
        assert_eq!(entries.len() as u64, held.records());
        entries
    }

    /// The same by a reader over all blocks of each shard.
    fn streamed_entries(shards: &[(Codec, &[u8])], limits: Limits) -> Entries {
        let mut entries = Vec::new();
        for (shard, (codec, stored)) in shards.iter().enumerate() {
            let table = table(*codec, stored, &limits);
            let all = 0..table.len();
            let (runs, bad, _) = drive(BlockReader::within(table, all, limits), stored);
            let runs = runs.iter().flat_map(Run::iter);
            let mut of_shard: Vec<_> = runs
                .map(|(number, text)| (number, Some(text.to_vec())))
                .collect();
            of_shard.extend(bad.iter().map(|bad| (bad.record, None)));
            of_shard.sort();
            entries.extend(
                of_shard
                    .into_iter()
                    .map(|(number, text)| (shard as u32, number, text)),
            );
        }
        entries
    }

    fn compare(shards: &[(Codec, &[u8])], limits: Limits, limit: Option<u64>) -> TestCaseResult {
        let source = Source::new(shards.iter().copied());
        let mut expected = streamed_entries(shards, limits);
        expected.truncate(limit.map_or(usize::MAX, |limit| limit as usize));
        for io in [Io::Mmap, Io::Pread] {
            let options = ReadOptions {
                io,
                limit,
                on_bad_record: SKIP,
                ..options()
            };
            let held = source.open_within(&options, limits).unwrap().unwrap();
            prop_assert_eq!(&entries(&held), &expected);
            prop_assert!(held.locate(held.blocks()).is_none());
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(150))]

        #[test]
        fn gives_every_record_once_with_its_number(
            shards in proptest::collection::vec(shards(), 1..4),
            limit in proptest::option::of(0u64..20),
        ) {
            let stored: Vec<_> = shards.iter().map(|(codec, _, stored)| (*codec, stored.as_slice())).collect();
            let mut expected = Vec::new();
            for (shard, (codec, _, stored)) in shards.iter().enumerate() {
                let records = naive::records(*codec, stored).into_iter();
                expected.extend(records.map(|(number, text)| (shard as u32, number, Some(text))));
            }
            prop_assert_eq!(&streamed_entries(&stored, SMALL), &expected);
            compare(&stored, SMALL, None)?;
            compare(&stored, Limits::DEFAULT, limit)?;
        }

        #[test]
        fn a_damaged_source_is_the_same_held_and_streamed(
            shards in proptest::collection::vec(shards(), 1..3),
            at in any::<prop::sample::Index>(),
            bit in 0u32..8,
            cut in any::<bool>(),
            limit in proptest::option::of(0u64..20),
        ) {
            let mut stored: Vec<_> = shards.iter().map(|(codec, _, stored)| (*codec, stored.clone())).collect();
            for (_, stored) in &mut stored {
                match cut {
                    true => stored.truncate(at.index(stored.len() + 1)),
                    false if stored.is_empty() => {}
                    false => {
                        let at = at.index(stored.len());
                        stored[at] ^= 1u8 << bit;
                    }
                }
            }
            let stored: Vec<_> = stored.iter().map(|(codec, stored)| (*codec, stored.as_slice())).collect();
            compare(&stored, SMALL, limit)?;
            compare(&stored, SMALL, None)?;
        }
    }

    #[test]
    fn is_not_held_beyond_hold_by_headers_or_by_decoding() {
        let text = b"{\"a\": 1}\n".repeat(1000);
        for stored in [
            (Codec::Zstd, frame(&text)),
            (Codec::Gzip, member(&text)),
            (Codec::Plain, text.clone()),
        ] {
            let source = Source::new([(stored.0, stored.1.as_slice())]);
            let exact = ReadOptions {
                hold: text.len() as u64,
                ..options()
            };
            let held = source.held(&exact);
            assert_eq!(
                (held.blocks(), held.decoded_bytes()),
                (1000, text.len() as u64)
            );
            // By the verdict of a spool that is there, and without one.
            let less = ReadOptions {
                hold: text.len() as u64 - 1,
                ..options()
            };
            assert!(source.open(&less).unwrap().is_none());
            drop(held);
            assert!(source.open(&less).unwrap().is_none());
            assert_eq!(
                std::fs::read_dir(source.cache()).map_or(0, Iterator::count),
                0
            );
            // What counts is what `limit` leaves.
            let first = ReadOptions {
                hold: 9 * 10,
                limit: Some(10),
                ..options()
            };
            assert_eq!(source.held(&first).blocks(), 10);
            let first = ReadOptions {
                limit: Some(11),
                ..first
            };
            assert!(source.open(&first).unwrap().is_none());
        }
    }

    #[test]
    fn stop_refuses_at_open_and_names_shard_and_record() {
        let mut second = frame(b"b\nc\n");
        let last = second.len() - 1;
        second[last] ^= 1;
        let stored = [frame(b"a\n"), second, frame(b"d\ne\n")].concat();
        // Decoded in parallel, and in turn as one size is not known.
        for stored in [stored.clone(), [unsized_frame(b"x\n"), stored].concat()] {
            let source = Source::new([
                (Codec::Plain, b"z\n".as_slice()),
                (Codec::Zstd, stored.as_slice()),
            ]);
            let error = source.open(&options()).unwrap_err();
            assert_eq!(
                (error.kind(), error.shard()),
                (Kind::Corrupt, Some("00001")),
                "{error}"
            );
            assert!(error.record().is_some(), "{error}");
            // Somebody else's spool, made with `skip`, changes nothing.
            let skip = ReadOptions {
                on_bad_record: SKIP,
                ..options()
            };
            let held = source.held(&skip);
            assert_eq!(
                source.open(&options()).unwrap_err().to_string(),
                error.to_string()
            );
            let bad = (0..held.blocks()).find_map(|block| match held.read(block).unwrap() {
                Entry::Bad(bad) => Some(bad),
                _ => None,
            });
            assert_eq!(bad.unwrap().error.to_string(), error.to_string());
        }
    }

    #[test]
    fn processes_share_one_spool() {
        let text: Vec<u8> = (0..20_000)
            .flat_map(|i| format!("{{\"i\": {i}}}\n").into_bytes())
            .collect();
        let stored: Vec<u8> = text.chunks(10_000).flat_map(frame).collect();
        let source = Source::new([(Codec::Zstd, stored.as_slice())]);
        let barrier = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let held = source.held(&options());
                    barrier.wait();
                    assert_eq!(std::fs::read_dir(source.cache()).unwrap().count(), 2);
                    for block in [0, 777, 19_999] {
                        let Entry::Record(text) = held.read(block).unwrap() else {
                            panic!()
                        };
                        assert_eq!(text, format!("{{\"i\": {block}}}"));
                    }
                    barrier.wait();
                });
            }
        });
        assert_eq!(std::fs::read_dir(source.cache()).unwrap().count(), 0);
    }

    #[test]
    fn another_file_or_limit_is_another_spool() {
        let source = Source::new([(Codec::Plain, b"a\nb\n".as_slice())]);
        let all = source.held(&options());
        let first = source.held(&ReadOptions {
            limit: Some(1),
            ..options()
        });
        assert_eq!((all.blocks(), first.blocks()), (2, 1));
        assert_eq!(std::fs::read_dir(source.cache()).unwrap().count(), 4);
    }

    #[test]
    fn a_plain_shard_that_changes_is_told() {
        let source = Source::new([(Codec::Plain, b"a\nb\n".as_slice())]);
        let held = source.held(&ReadOptions {
            io: Io::Pread,
            ..options()
        });
        std::fs::write(&source.files[0].path, b"a").unwrap();
        assert_eq!(held.read(1).unwrap_err().kind(), Kind::Changed);
    }

    #[test]
    fn a_cache_folder_that_cannot_be_written_is_named_with_remedies() {
        let source = Source::new([(Codec::Plain, b"a\nb\n".as_slice())]);
        std::fs::write(source.cache(), b"a file").unwrap();
        let error = source.open(&options()).unwrap_err();
        assert_eq!(error.kind(), Kind::Io);
        let said = error.to_string();
        assert!(
            said.contains("PACKMILL_CACHE")
                && said.contains("hold")
                && said.contains("cache folder"),
            "{said}"
        );
    }
}

mod source {
    use super::held::{SKIP, Source, options};
    use super::*;
    use crate::read::source::open_source_within;
    use crate::recipe::Io;
    use std::sync::mpsc;

    fn io() -> ReadAhead {
        ReadAhead::new(1 << 20).unwrap()
    }

    fn streamed(source: &Source, options: &ReadOptions, limits: Limits) -> Streamed {
        let opened =
            open_source_within("s", &source.files, options, &io(), &source.cache(), limits);
        match opened.unwrap() {
            SourceBlocks::Streamed(streamed) => streamed,
            SourceBlocks::Held(_) => panic!("held"),
        }
    }

    /// Reads a block as the pipeline does: ahead where the reader hints at it, else what it needs.
    fn read_block(streamed: &Streamed, io: &ReadAhead, block: u64) -> Vec<Vec<u8>> {
        let (shard, _) = streamed.locate(block).unwrap();
        let shard = streamed.shard(shard).unwrap();
        let mut reader = streamed.reader(block).unwrap();
        let (mut ahead, mut records): (Option<Ahead>, _) = (None, Vec::new());
        loop {
            match reader.step() {
                Step::Need(range) => {
                    let (sender, receiver) = mpsc::channel();
                    let done = move |bytes| sender.send(bytes).unwrap();
                    match ahead.take().filter(|ahead| *ahead.range() == range) {
                        Some(ahead) => ahead.take(done),
                        None => io.fetch(shard, range, done),
                    }
                    ahead = reader.ahead().map(|range| io.ahead(shard, range));
                    reader.feed(receiver.recv().unwrap().unwrap()).unwrap();
                }
                Step::Run(run) => records.extend(run.iter().map(|(_, text)| text.to_vec())),
                Step::Bad(bad) => panic!("{bad:?}"),
                Step::End => {
                    shard.check().unwrap();
                    return records;
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn a_streamed_source_gives_every_record_once(shards in proptest::collection::vec(shards(), 1..4)) {
            let source = Source::new(shards.iter().map(|(codec, _, stored)| (*codec, stored.as_slice())));
            let mut expected = Vec::new();
            for (shard, (codec, _, stored)) in shards.iter().enumerate() {
                let records = naive::records(*codec, stored).into_iter();
                expected.extend(records.map(|(number, text)| (shard as u32, number, text)));
            }
            prop_assume!(shards.iter().any(|(_, text, _)| !text.is_empty()));
            for io_of in [Io::Mmap, Io::Pread] {
                let options = ReadOptions { hold: 0, io: io_of, ..options() };
                let streamed = streamed(&source, &options, SMALL);
                let io = io();
                let records: Vec<_> = (0..streamed.blocks()).flat_map(|b| read_block(&streamed, &io, b)).collect();
                let texts: Vec<_> = expected.iter().map(|(_, _, text)| text.clone()).collect();
                prop_assert_eq!(&records, &texts);
                let in_order = records_in_order(&source.files, &options).unwrap();
                let in_order: Vec<_> = in_order
                    .map(|record| match record.unwrap() {
                        Numbered { shard, record, entry: Entry::Record(text) } => (shard, record, text.to_vec()),
                        other => panic!("{other:?}"),
                    })
                    .collect();
                prop_assert_eq!(&in_order, &expected);
            }
        }
    }

    #[test]
    fn in_order_numbers_are_those_of_a_held_source() {
        let mut second = frame(b"b\n\nc\nd");
        let last = second.len() - 1;
        second[last] ^= 1;
        let stored = [frame(b"a\n\n"), second, frame(b"d\ne\nf\n")].concat();
        let source = Source::new([
            (Codec::Zstd, stored.as_slice()),
            (Codec::Plain, b"g\n\nh".as_slice()),
        ]);
        let options = ReadOptions {
            on_bad_record: SKIP,
            ..options()
        };
        let held = source.held(&options);
        for limit in [None, Some(3), Some(6)] {
            let options = ReadOptions { limit, ..options };
            let expected = (0..held.blocks()).filter_map(|block| {
                let (shard, record) = held.locate(block).unwrap();
                let entry = held.read(block).unwrap();
                (!matches!(entry, Entry::Blank)).then(|| format!("{shard} {record} {entry:?}"))
            });
            let expected: Vec<_> = expected.take(limit.unwrap_or(99) as usize).collect();
            let in_order = records_in_order(&source.files, &options)
                .unwrap()
                .map(|record| {
                    let Numbered {
                        shard,
                        record,
                        entry,
                    } = record.unwrap();
                    format!("{shard} {record} {entry:?}")
                });
            assert_eq!(in_order.collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn too_few_or_too_large_blocks_are_refused_with_the_remedies() {
        let frames = |sizes: &[usize]| -> Vec<u8> {
            sizes
                .iter()
                .flat_map(|size| frame(&b"0123456\n".repeat(*size)))
                .collect()
        };
        let options = ReadOptions {
            hold: 0,
            ..options()
        };
        let open = |stored: &[u8]| {
            let source = Source::new([(Codec::Zstd, stored)]);
            let streamed = streamed(&source, &options, Limits::DEFAULT);
            (source, streamed)
        };
        let (_source, even) = open(&frames(&[9; 32]));
        even.check_blocks(8).unwrap();
        let error = even.check_blocks(9).unwrap_err();
        assert_eq!(error.kind(), Kind::Recipe);
        let said = error.to_string();
        assert!(
            said.contains("has 32 blocks, and 9 lanes need 36"),
            "{said}"
        );
        for remedy in ["packmill recompress", "larger hold", "lanes to 8 or less"] {
            assert!(said.contains(remedy), "{said}");
        }
        let one_large = [frames(&[9; 32]), unsized_frame(&rand_text(100_000))].concat();
        let (_source, uneven) = open(&one_large);
        let said = uneven.check_blocks(8).unwrap_err().to_string();
        assert!(
            said.contains("more than the share of one of 8 lanes"),
            "{said}"
        );
    }

    /// Text that does not compress.
    fn rand_text(len: u32) -> Vec<u8> {
        let bytes = (0..len).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8);
        bytes.map(|byte| b' ' + byte % 90).collect()
    }

    #[test]
    fn a_source_with_a_limit_must_be_held_and_one_without_a_record_is_refused() {
        let source = Source::new([
            (Codec::Plain, b"aaaa\nbbbb\n".as_slice()),
            (Codec::Plain, b" \n\n".as_slice()),
        ]);
        let open = |files: &[ShardFile], options: &ReadOptions| {
            open_source("s", files, options, &io(), &source.cache())
        };
        let limited = ReadOptions {
            hold: 5,
            limit: Some(2),
            ..options()
        };
        let error = open(&source.files, &limited).unwrap_err();
        assert_eq!(error.kind(), Kind::Recipe);
        assert!(error.to_string().contains("must be held"), "{error}");
        let held = open(
            &source.files,
            &ReadOptions {
                limit: Some(1),
                ..limited
            },
        )
        .unwrap();
        assert_eq!(
            (held.blocks(), held.locate(0), held.locate(1)),
            (1, Some((0, 0)), None)
        );
        assert_eq!(held.shard(0).unwrap().name, "00000");
        let error = open(&source.files[1..], &options()).unwrap_err();
        assert!(error.message().contains("no records"), "{error}");
    }
}
