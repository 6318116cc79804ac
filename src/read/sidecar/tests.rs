use super::*;
use crate::read::Limits;
use crate::read::blocks::BlockTable;
use crate::read::local::open_shards;
use crate::read::reader::{BlockReader, Step};
use crate::read::tests::{SMALL, frame, shards, write_shard};
use crate::recipe::{Io, LimitsConfig};
use crate::shard::Codec;
use proptest::prelude::*;
use std::sync::Arc;

fn shard(folder: &Path, codec: Codec, stored: &[u8]) -> Arc<LocalShard> {
    let file = write_shard(folder, "shard", codec, stored);
    open_shards(&[file], Io::Pread).unwrap().remove(0)
}

fn table(shard: &LocalShard, limits: &Limits) -> Arc<BlockTable> {
    Arc::new(BlockTable::list_within(shard.file(), limits, |range| shard.read_now(range)).unwrap())
}

/// The obvious index: each block read by its own reader and hashed at once.
fn naive(shard: &LocalShard, limits: Limits) -> Vec<Block> {
    let table = table(shard, &limits);
    let block = |block| {
        let mut reader = BlockReader::within(Arc::clone(&table), block..block + 1, limits);
        let mut records = 0;
        loop {
            match reader.step() {
                Step::Need(range) => reader.feed(shard.read_now(range).unwrap()).unwrap(),
                Step::Run(run) => records += run.records.len() as u64,
                Step::Bad(_) => records += 1,
                Step::End => break,
            }
        }
        Block {
            hash: Hash::of(&shard.read_now(table.stored(block).unwrap()).unwrap()),
            records,
            lines: reader.lines(),
        }
    };
    (0..table.len()).map(block).collect()
}

fn indexed(shard: &LocalShard) -> Sidecar {
    Sidecar::of_within(shard, SMALL, &mut |_| Ok(())).unwrap()
}

proptest! {
    #[test]
    fn says_of_blocks_what_their_readers_find((codec, _, stored) in shards()) {
        let dir = tempfile::tempdir().unwrap();
        let shard = shard(dir.path(), codec, &stored);
        let sidecar = indexed(&shard);
        prop_assert_eq!(sidecar.blocks(), naive(&shard, SMALL));
        prop_assert_eq!(&format::parse(&format::print(&sidecar).unwrap(), "shard").unwrap(), &sidecar);
        sidecar.check_within(&shard, SMALL, &mut |_| Ok(())).unwrap();
    }

    #[test]
    fn names_an_edited_block(
        (codec, _, mut stored) in shards(),
        at: prop::sample::Index,
        bit in 0u8..8,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let before = shard(dir.path(), codec, &stored);
        let sidecar = indexed(&before);
        let table = table(&before, &SMALL);
        prop_assume!(!stored.is_empty());
        let at = at.index(stored.len());
        stored[at] ^= 1 << bit;
        let after = shard(dir.path(), codec, &stored);
        let error = sidecar.check_within(&after, SMALL, &mut |_| Ok(())).unwrap_err();
        prop_assert_eq!((error.kind(), error.shard()), (Kind::Changed, Some("shard")));
        let of = |block: &u64| table.stored(*block).unwrap().contains(&(at as u64));
        // The bytes between blocks are told by the hashes of head and tail, or by blocks that came of them.
        if let Some(block) = (0..table.len()).find(of) {
            let named = format!("block {block} ");
            prop_assert!(error.message().contains(&named), "{}: {}", named, error);
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in proptest::collection::vec(any::<u8>(), 0..80), cut: prop::sample::Index) {
        prop_assert!(format::parse(&text, "shard").is_err());
        let dir = tempfile::tempdir().unwrap();
        let whole = format::print(&indexed(&shard(dir.path(), Codec::Plain, b"{}\n{}\n"))).unwrap();
        let cut = cut.index(whole.len() - 1);
        prop_assert!(format::parse(&whole[..cut], "shard").is_err());
    }
}

#[test]
fn counts_where_the_newline_before_lies() {
    let dir = tempfile::tempdir().unwrap();
    let frames = [&b"a\n\nb"[..], b"b\nc", b"cc", b"\n", b"d"];
    let stored: Vec<u8> = frames.iter().flat_map(|text| frame(text)).collect();
    let sidecar = indexed(&shard(dir.path(), Codec::Zstd, &stored));
    let counts = sidecar.blocks().iter().map(|b| (b.records, b.lines));
    // a, blank, bb; ccc; none; d; none.
    assert_eq!(
        counts.collect::<Vec<_>>(),
        [(2, 3), (1, 1), (0, 0), (1, 1), (0, 0)]
    );
    assert_eq!(sidecar.records(), 4);
}

#[test]
fn is_found_beside_the_shard_and_in_the_cache() {
    let (dir, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let shard = shard(dir.path(), Codec::Plain, b"{}\n{}\n");
    let cache = cache.path().join("new");
    assert_eq!(find(&shard, Some(&cache)).unwrap(), None);
    let sidecar = Sidecar::of(&shard, &LimitsConfig::DEFAULT, &mut |_| Ok(())).unwrap();
    for place in [Place::Cache(&cache), Place::Beside] {
        let path = sidecar.write(&shard, place).unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(sidecar.write(&shard, place).unwrap(), path);
        assert_eq!(fs::read(&path).unwrap(), bytes, "twice the same bytes");
        assert_eq!(find(&shard, Some(&cache)).unwrap().as_ref(), Some(&sidecar));
        fs::remove_file(path).unwrap();
    }
    assert_eq!(find(&shard, Some(&cache)).unwrap(), None);
    sidecar.write(&shard, Place::Beside).unwrap();
    assert!(dir.path().join("shard.packmill.json").is_file());
    assert_eq!(find(&shard, None).unwrap(), Some(sidecar));
}

#[test]
fn refuses_what_does_not_fit_the_shard() {
    let dir = tempfile::tempdir().unwrap();
    let text = vec![b'x'; 200_000];
    let before = shard(dir.path(), Codec::Plain, &text);
    let sidecar = Sidecar::of(&before, &LimitsConfig::DEFAULT, &mut |_| Ok(())).unwrap();
    sidecar.write(&before, Place::Beside).unwrap();
    let found = |at: usize| {
        let mut text = text.clone();
        text[at] = b'y';
        find(&shard(dir.path(), Codec::Plain, &text), None)
    };
    for (at, said) in [(0, "first 64 KiB"), (199_999, "last 64 KiB")] {
        let error = found(at).unwrap_err();
        assert_eq!(error.kind(), Kind::Changed);
        assert!(error.message().contains(said), "{error}");
    }
    // What lies between is told when its block is read.
    assert!(found(100_000).is_ok());
    let longer = shard(dir.path(), Codec::Plain, &vec![b'x'; 200_001]);
    let error = find(&longer, None).unwrap_err();
    assert!(error.message().contains("from 200000 to 200001"), "{error}");

    let shard = shard(dir.path(), Codec::Plain, &text);
    let path = path(&shard, Place::Beside).unwrap();
    for (text, said) in [
        (&b"{\"packmill_index\":2,\"more\":[]}"[..], "version 2"),
        (b"{\"packmill_index\":1}", "no index"),
        (b"", "no index"),
    ] {
        fs::write(&path, text).unwrap();
        let error = find(&shard, None).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.message().contains(said), "{error}");
    }
}

#[test]
fn checks_a_block_whole_or_in_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let stored = [frame(b"one\n"), frame(b"two\n")].concat();
    let shard = shard(dir.path(), Codec::Zstd, &stored);
    let sidecar = Sidecar::of(&shard, &LimitsConfig::DEFAULT, &mut |_| Ok(())).unwrap();
    let second = table(&shard, &Limits::DEFAULT).stored(1).unwrap();
    let bytes = &stored[second.start as usize..];
    sidecar.check_block(1, bytes).unwrap();
    assert!(
        sidecar
            .check_block(0, bytes)
            .unwrap_err()
            .message()
            .contains("block 0")
    );
    assert!(
        sidecar
            .check_block(2, bytes)
            .unwrap_err()
            .message()
            .contains("block 2")
    );
    let mut check = sidecar.begin_block(1);
    bytes.chunks(3).for_each(|piece| check.update(piece));
    check.finish().unwrap();
}

/// What a reader gives, and the error that ended it.
fn drive(mut reader: BlockReader, stored: &[u8]) -> (Vec<(u64, Vec<u8>)>, Result<u64>) {
    let (mut records, mut hint) = (Vec::new(), None);
    loop {
        match reader.step() {
            Step::Need(range) => {
                if let Some(hint) = hint {
                    assert_eq!(range, hint, "the hint was wrong");
                }
                hint = reader.ahead();
                let bytes = &stored[range.start as usize..range.end as usize];
                if let Err(error) = reader.feed(bytes::Bytes::copy_from_slice(bytes)) {
                    return (records, Err(error));
                }
            }
            Step::Run(run) => records.extend(run.iter().map(|(n, text)| (n, text.to_vec()))),
            Step::Bad(bad) => panic!("{bad:?}"),
            Step::End => return (records, Ok(reader.lines())),
        }
    }
}

proptest! {
    #[test]
    fn a_verified_reader_gives_the_same_or_nothing_of_an_edited_block(
        (codec, _, mut stored) in shards(),
        at: prop::sample::Index,
        chunk_bytes in prop_oneof![Just(9u64), Just(1000)],
    ) {
        let limits = Limits { chunk_bytes, ..SMALL };
        let dir = tempfile::tempdir().unwrap();
        let before = shard(dir.path(), codec, &stored);
        let sidecar = Sidecar::of_within(&before, limits, &mut |_| Ok(())).unwrap();
        let sidecar = Arc::new(sidecar);
        let table = table(&before, &limits);
        let reader = |block| BlockReader::within(Arc::clone(&table), block..block + 1, limits);
        let mut plain = Vec::new();
        for block in 0..table.len() {
            let (records, end) = drive(reader(block), &stored);
            let (verified, lines) = drive(reader(block).verified(Arc::clone(&sidecar)), &stored);
            prop_assert_eq!(&verified, &records);
            prop_assert_eq!(lines.unwrap(), end.unwrap());
            plain.push(records);
        }
        prop_assume!(!stored.is_empty());
        let at = at.index(stored.len());
        stored[at] ^= 1;
        for block in 0..table.len() {
            let (records, end) = drive(reader(block).verified(Arc::clone(&sidecar)), &stored);
            let all = &plain[block as usize];
            prop_assert!(all.starts_with(&records));
            if table.stored(block).unwrap().contains(&(at as u64)) {
                let error = end.unwrap_err();
                prop_assert_eq!(error.kind(), Kind::Changed);
                let named = format!("block {block} ");
                prop_assert!(error.message().contains(&named), "{}", error);
                prop_assert!(records.is_empty());
            } else if end.is_ok() {
                prop_assert_eq!(&records, all);
            }
        }
    }
}
