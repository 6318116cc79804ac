//! Whole sources, read as the pipeline reads them.

use super::held::{SKIP, Source, options};
use super::*;
use crate::order::runs::Bounds;
use crate::read::source::open_source_within;
use crate::recipe::Io;
use std::sync::mpsc;

fn io() -> ReadAhead {
    ReadAhead::new(1 << 20).unwrap()
}

fn streamed(source: &Source, options: &ReadOptions, limits: Limits) -> Streamed {
    let opened = open_source_within(
        "s",
        &open_shards(&source.files, options.io).unwrap(),
        options,
        &io(),
        &source.cache(),
        limits,
    );
    match opened.unwrap() {
        SourceBlocks::Streamed(streamed) => streamed,
        SourceBlocks::Held(_) => panic!("held"),
    }
}

/// Reads a block as the pipeline does: ahead where the reader hints at it, else what it needs.
fn read_block(streamed: &Streamed, io: &ReadAhead, block: u64) -> Vec<Vec<u8>> {
    let (shard, _) = streamed.locate(block).unwrap();
    let shard = streamed.shard(shard).unwrap();
    let mut reader = streamed.reader(block, Bounds::shared_by(1)).unwrap();
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
        let shards = open_shards(files, options.io).unwrap();
        open_source("s", &shards, options, &io(), &source.cache())
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

#[test]
fn of_many_processes_one_finds_out_that_a_source_is_too_large() {
    let text = b"{\"a\": 1}\n".repeat(1000);
    let source = Source::new([(Codec::Gzip, member(&text).as_slice())]);
    let options = ReadOptions {
        hold: 100,
        ..options()
    };
    let first = streamed(&source, &options, Limits::DEFAULT);
    let spooled = || std::fs::read_dir(source.cache()).unwrap().count();
    assert_eq!(spooled(), 2);
    // Whoever comes now does not decode: the shard could not even be read.
    let shard = &source.files[0].path;
    let unreadable = ShardFile {
        codec: Codec::Gzip,
        ..source.files[0].clone()
    };
    let times = std::fs::metadata(shard).unwrap().modified().unwrap();
    let file = std::fs::File::options().write(true).open(shard).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"not gzip", 0).unwrap();
    file.set_modified(times).unwrap();
    let second = open_source(
        "s",
        &open_shards(&[unreadable], options.io).unwrap(),
        &options,
        &io(),
        &source.cache(),
    );
    assert!(matches!(second.unwrap(), SourceBlocks::Streamed(_)));
    drop(first);
    assert_eq!(spooled(), 0);
}
