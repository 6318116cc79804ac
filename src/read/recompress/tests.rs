use super::*;
use crate::read::local::open_shards;
use crate::read::naive;
use crate::read::reader::{BlockReader, Step};
use crate::read::tests::{SMALL, frame, member, shards, write_shard};
use crate::recipe::Io;
use crate::shard::{Codec, ShardFile};
use proptest::prelude::*;
use std::path::Path;
use std::sync::Arc;

impl Out for Vec<u8> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

fn open(file: ShardFile) -> Arc<LocalShard> {
    open_shards(&[file], Io::Pread).unwrap().remove(0)
}

fn stored(codec: Codec, stored: &[u8]) -> (tempfile::TempDir, Arc<LocalShard>) {
    let dir = tempfile::tempdir().unwrap();
    let shard = open(write_shard(dir.path(), "shard", codec, stored));
    (dir, shard)
}

fn rewritten(
    codec: Codec,
    bytes: &[u8],
    frame_bytes: usize,
    limits: &Limits,
) -> (Vec<u8>, Recompressed) {
    let (_dir, shard) = stored(codec, bytes);
    let (mut out, level) = (Vec::new(), 1);
    let frames = Frames { frame_bytes, level };
    let done = write(&shard, frames, limits, &mut out, &mut |_| Ok(())).unwrap();
    (out, done)
}

/// The blocks of a zstd shard, and the text of each.
fn frames_of(bytes: &[u8], limits: &Limits) -> (Arc<BlockTable>, Vec<Vec<u8>>) {
    let (_dir, shard) = stored(Codec::Zstd, bytes);
    let read = |range| shard.read_now(range);
    let table = BlockTable::list_within(shard.file(), limits, read).unwrap();
    let text = |block| {
        let at = table.stored(block).unwrap();
        let text = zstd::decode_all(&bytes[at.start as usize..at.end as usize]).unwrap();
        assert_eq!(table.decoded_bytes_of(block), Some(text.len() as u64));
        text
    };
    let texts = (0..table.len()).map(text).collect();
    (Arc::new(table), texts)
}

/// The obvious cutter: records with the newline before each, joined while they fit.
fn naive_parts(text: &[u8], part_bytes: usize, record_bytes: usize) -> Vec<Vec<u8>> {
    let mut units: Vec<Vec<u8>> = Vec::new();
    for (at, byte) in text.iter().enumerate() {
        if units.is_empty() || *byte == b'\n' && at > 0 && at + 1 < text.len() {
            units.push(Vec::new());
        }
        units.last_mut().unwrap().push(*byte);
    }
    let (mut parts, mut part) = (Vec::new(), Vec::new());
    for unit in units {
        if !part.is_empty() && part.len() + unit.len() > part_bytes {
            parts.push(std::mem::take(&mut part));
        }
        part.extend(unit);
        while part.len() > record_bytes.max(part_bytes) {
            let rest = part.split_off(record_bytes.max(part_bytes));
            parts.push(std::mem::replace(&mut part, rest));
        }
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

fn parts(text: &[u8], part_bytes: usize, record_bytes: usize, piece: usize) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    let mut cutter = Cutter::new(part_bytes, record_bytes);
    let mut keep = |part: &[u8]| {
        parts.push(part.to_vec());
        Ok::<(), ()>(())
    };
    for piece in text.chunks(piece) {
        cutter.take(piece, &mut keep).unwrap();
    }
    cutter.finish(&mut keep).unwrap();
    parts
}

#[test]
fn cuts_before_the_newline_in_front_of_a_record() {
    for (text, size, expected) in [
        ("a\nb\nc\n", 3, vec!["a\nb", "\nc\n"]),
        ("a\nb\nc", 2, vec!["a", "\nb", "\nc"]),
        ("a\r\nb\r\n", 4, vec!["a\r", "\nb\r\n"]),
        ("\n\n\n", 1, vec!["\n", "\n\n"]),
        ("a\n\n\nb", 2, vec!["a\n", "\n", "\nb"]),
        ("long\na\nb", 4, vec!["long", "\na\nb"]),
        ("a\nlonger\nb\nc", 4, vec!["a", "\nlonger", "\nb\nc"]),
        ("a\n", 1, vec!["a\n"]),
        ("", 1, vec![]),
    ] {
        let expected: Vec<Vec<u8>> = expected.iter().map(|part| part.as_bytes().into()).collect();
        for piece in 1..=text.len().max(1) {
            assert_eq!(
                parts(text.as_bytes(), size, 99, piece),
                expected,
                "{text:?} in pieces of {piece}"
            );
        }
    }
}

proptest! {
    #[test]
    fn cuts_as_its_naive_twin(
        text in proptest::collection::vec(prop_oneof![3 => Just(b'\n'), 2 => Just(b'\r'), 9 => Just(b'x')], 0..60),
        part_bytes in 1usize..12,
        record_bytes in 1usize..20,
        piece in 1usize..9,
    ) {
        let cut = parts(&text, part_bytes, record_bytes, piece);
        prop_assert_eq!(cut.concat(), text.clone());
        prop_assert_eq!(cut, naive_parts(&text, part_bytes, record_bytes));
    }

    #[test]
    fn writes_the_same_text_in_frames_that_hold_their_own_records(
        (codec, text, bytes) in shards(),
        frame_bytes in 1usize..60,
    ) {
        let (out, done) = rewritten(codec, &bytes, frame_bytes, &SMALL);
        prop_assert_eq!(&zstd::decode_all(&out[..]).unwrap(), &text);
        prop_assert_eq!(done.text_bytes, text.len() as u64);
        prop_assert_eq!(done.written_bytes, out.len() as u64);
        prop_assert_eq!(done.stored_bytes, bytes.len() as u64);
        let records = naive::records(Codec::Plain, &text);
        prop_assert_eq!(done.records, records.len() as u64);
        // What the shard was compressed with changes nothing.
        prop_assert_eq!(&rewritten(Codec::Plain, &text, frame_bytes, &SMALL).0, &out);

        let (table, texts) = frames_of(&out, &SMALL);
        prop_assert_eq!(done.frames, texts.len() as u64);
        if !text.is_empty() {
            prop_assert_eq!(&texts, &naive_parts(&text, frame_bytes, SMALL.line_bytes + 3));
        }
        for (block, text) in texts.iter().enumerate() {
            let inner = text.strip_prefix(b"\n").unwrap_or(text);
            let inner = inner.strip_suffix(b"\n").unwrap_or(inner);
            prop_assert!(text.len() <= frame_bytes || !inner.contains(&b'\n') || block == 0 && text[0] == b'\n');
            let body = if block > 0 { &text[1..] } else { &text[..] };
            let mut reader = BlockReader::within(Arc::clone(&table), block as u64..block as u64 + 1, SMALL);
            let mut read = Vec::new();
            loop {
                match reader.step() {
                    Step::Need(range) => {
                        let bytes = &out[range.start as usize..range.end as usize];
                        reader.feed(bytes::Bytes::copy_from_slice(bytes)).unwrap();
                    }
                    Step::Run(run) => read.extend(run.iter().map(|(n, text)| (n, text.to_vec()))),
                    Step::Bad(bad) => panic!("{bad:?}"),
                    Step::End => break,
                }
            }
            prop_assert_eq!(read, naive::records(Codec::Plain, body));
        }
    }
}

#[test]
fn a_line_that_no_reader_takes_spans_frames_and_is_not_held() {
    let limits = Limits {
        line_bytes: 8,
        ..SMALL
    };
    let text = b"a\n0123456789012345678901234567890123456789\nb\n";
    let (out, done) = rewritten(Codec::Plain, text, 4, &limits);
    assert_eq!(zstd::decode_all(&out[..]).unwrap(), text);
    let (_, texts) = frames_of(&out, &limits);
    assert!(texts.iter().all(|text| text.len() <= 11), "{texts:?}");
    assert_eq!((done.records, texts.len()), (3, 6));
}

#[test]
fn the_seek_table_says_where_each_frame_lies() {
    let (out, done) = rewritten(Codec::Plain, b"one\ntwo\nthree\n", 5, &SMALL);
    let (table, texts) = frames_of(&out, &SMALL);
    let end = table.stored(done.frames - 1).unwrap().end as usize;
    let seek = &out[end..];
    let number = |at: usize| u32::from_le_bytes(seek[at..at + 4].try_into().unwrap());
    assert_eq!(number(0), 0x184d_2a5e);
    assert_eq!(number(4) as usize, seek.len() - 8);
    for (at, text) in texts.iter().enumerate() {
        let stored = table.stored(at as u64).unwrap();
        assert_eq!(u64::from(number(8 + 8 * at)), stored.end - stored.start);
        assert_eq!(number(12 + 8 * at) as usize, text.len());
    }
    let footer = seek.len() - 9;
    assert_eq!(u64::from(number(footer)), done.frames);
    assert_eq!(seek[footer + 4], 0);
    assert_eq!(number(footer + 5), 0x8f92_eab1);
}

#[test]
fn frames_have_checksums() {
    let (mut out, _) = rewritten(Codec::Plain, b"0123456789abcdef", 64, &SMALL);
    let (table, _) = frames_of(&out, &SMALL);
    let end = table.stored(0).unwrap().end as usize;
    out[end - 1] ^= 1;
    assert!(zstd::decode_all(&out[..]).is_err());
}

#[test]
fn a_shard_without_a_byte_becomes_a_frame_without_text() {
    let (out, done) = rewritten(Codec::Gzip, &member(b""), 5, &SMALL);
    assert_eq!((done.frames, done.records, done.text_bytes), (1, 0, 0));
    assert_eq!(zstd::decode_all(&out[..]).unwrap(), b"");
}

#[test]
fn names_lose_the_old_compression_and_never_fall_on_the_shard() {
    let path = |shard: &str, folder: Option<&str>| {
        recompressed_path(Path::new(shard), folder.map(Path::new)).map(|p| p.display().to_string())
    };
    assert_eq!(path("a/x.jsonl", None).unwrap(), "a/x.jsonl.zst");
    assert_eq!(path("a/x.jsonl.gz", None).unwrap(), "a/x.jsonl.zst");
    assert_eq!(path("a/x.zst", Some("b")).unwrap(), "b/x.zst");
    assert_eq!(path("x", Some("b")).unwrap(), "b/x.zst");
    for (shard, folder) in [
        ("a/x.jsonl.zst", None),
        ("a/x.zst", Some("a")),
        ("..", None),
    ] {
        assert_eq!(path(shard, folder).unwrap_err().kind(), Kind::Recipe);
    }
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().display().to_string())
        .collect();
    names.sort();
    names
}

#[test]
fn replaces_nothing_unasked_and_never_the_shard_itself() {
    let dir = tempfile::tempdir().unwrap();
    let shard = open(write_shard(dir.path(), "a", Codec::Zstd, &frame(b"text")));
    let run = |target: &str, existing| {
        let (target, frames) = (dir.path().join(target), Frames::default());
        recompress(&shard, &target, frames, existing, &mut |_| Ok(()))
    };
    run("b.zst", Existing::Refuse).unwrap();
    assert!(
        run("b.zst", Existing::Refuse)
            .unwrap_err()
            .to_string()
            .contains("--force")
    );
    run("b.zst", Existing::Replace).unwrap();
    std::os::unix::fs::symlink(dir.path().join("a"), dir.path().join("c")).unwrap();
    std::fs::hard_link(dir.path().join("a"), dir.path().join("d")).unwrap();
    for itself in ["a", "c", "d"] {
        let error = run(itself, Existing::Replace).unwrap_err();
        assert!(
            error.message().contains("the shard that is read"),
            "{error}"
        );
    }
    assert_eq!(files(dir.path()), ["a", "b.zst", "c", "d"]);
}

#[test]
fn what_is_broken_off_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut cut = frame(b"some text that is cut");
    cut.truncate(cut.len() - 3);
    let cut = open(write_shard(dir.path(), "cut", Codec::Zstd, &cut));
    let whole = open(write_shard(dir.path(), "whole", Codec::Plain, b"text"));
    let target = dir.path().join("x.zst");
    let run = |shard: &LocalShard, progress: &mut dyn FnMut(u64) -> Result<()>| {
        recompress(
            shard,
            &target,
            Frames::default(),
            Existing::Refuse,
            progress,
        )
        .unwrap_err()
    };
    let error = run(&cut, &mut |_| Ok(()));
    assert_eq!((error.kind(), error.shard()), (Kind::Corrupt, Some("cut")));
    let stop = || Error::new(Kind::Io, Stage::Read, "stopped");
    assert_eq!(run(&whole, &mut |_| Err(stop())).message(), "stopped");
    assert_eq!(files(dir.path()), ["cut", "whole"]);
}

#[test]
fn refuses_sizes_and_levels_that_cannot_be() {
    for (size, level) in [(0, 3), ((64 << 20) + 1, 3), (1, 0), (1, 23)] {
        assert_eq!(Frames::new(size, level).unwrap_err().kind(), Kind::Recipe);
    }
    assert_eq!(Frames::new(256 << 10, 3).unwrap(), Frames::default());
}
