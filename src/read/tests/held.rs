//! Held sources against the naive reader and against streamed ones; what processes share; what is refused.

use super::*;
use crate::read::held::Opened;
use crate::recipe::{Io, LimitsConfig, OnBadRecord};
use proptest::test_runner::TestCaseResult;

pub(super) fn options() -> ReadOptions {
    ReadOptions {
        hold: 1 << 30,
        limit: None,
        io: Io::Auto,
        on_bad_record: OnBadRecord::Stop,
        limits: LimitsConfig::default(),
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
                let table =
                    BlockTable::list_within(shard.file(), &limits, |range| shard.read_now(range));
                Arc::new(table.unwrap())
            })
            .collect();
        Ok(
            match Held::open(&shards, &tables, options, &self.cache(), limits)? {
                Opened::Held(held) => Some(*held),
                Opened::TooLarge(_) => None,
            },
        )
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
        flips in proptest::collection::vec((any::<prop::sample::Index>(), 0u32..8), 1..6),
        cut in any::<bool>(),
        limit in proptest::option::of(0u64..20),
    ) {
        let mut stored: Vec<_> = shards.iter().map(|(codec, _, stored)| (*codec, stored.clone())).collect();
        for (_, stored) in &mut stored {
            if cut {
                stored.truncate(flips[0].0.index(stored.len() + 1));
            } else if !stored.is_empty() {
                for (at, bit) in &flips {
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

/// A frame whose checksum does not fit.
fn damaged(text: &[u8]) -> Vec<u8> {
    let mut frame = frame(text);
    let last = frame.len() - 1;
    frame[last] ^= 1;
    frame
}

#[test]
fn two_unreadable_rests_in_a_row_are_two_entries() {
    let middle = [damaged(b"b\nb"), damaged(b"ccc"), damaged(b"")].concat();
    let stored = [frame(b"a\na"), middle, frame(b"d\ne\n")].concat();
    let unsized_too = [unsized_frame(b"x\n"), stored.clone()].concat();
    for (stored, entries) in [(stored, 5), (unsized_too, 6)] {
        let shards = [(Codec::Zstd, stored.as_slice())];
        compare(&shards, SMALL, None).unwrap();
        let source = Source::new(shards);
        let held = source.held(&ReadOptions {
            on_bad_record: SKIP,
            ..options()
        });
        // a; three rests, the first of which swallows the line that runs into it, the last the line d; e.
        assert_eq!((held.blocks(), held.records()), (entries, entries));
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
        let less = ReadOptions {
            hold: text.len() as u64 - 1,
            ..options()
        };
        assert!(source.open(&less).unwrap().is_none());
        drop(held);
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
        said.contains("PACKMILL_CACHE") && said.contains("hold") && said.contains("cache folder"),
        "{said}"
    );
}

#[test]
fn unreadable_rests_of_several_shards_all_have_their_entries() {
    let shard = |first: &[u8]| [damaged(first), frame(b"b\n"), damaged(b"c\n")].concat();
    let (one, other) = (shard(b"a\n"), shard(b"d\n"));
    let shards = [
        (Codec::Zstd, one.as_slice()),
        (Codec::Zstd, other.as_slice()),
    ];
    compare(&shards, SMALL, None).unwrap();
}
