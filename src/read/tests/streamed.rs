//! Readers of single blocks, and what damage does to them.

use super::*;

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
    let allowed = Limits {
        ratio: u64::MAX,
        ..Limits::DEFAULT
    };
    let (records, bad) = streamed(Codec::Zstd, &stored, allowed);
    assert_eq!(records, [(1, b"after".to_vec())]);
    assert_eq!(bad[0].1.error.kind(), Kind::Limit);
    // Not decoded at all past the first MiB, unless the recipe says so.
    let (records, bad) = streamed(Codec::Zstd, &stored, Limits::DEFAULT);
    assert!(records.is_empty());
    assert_eq!(bad.len(), 1);
    let Lost::Rest { compressed_bytes } = bad[0].1.lost else {
        panic!("{:?}", bad[0])
    };
    assert!(compressed_bytes > stored.len() as u64 * 9 / 10);
    assert_eq!(bad[0].1.error.kind(), Kind::Limit);
}

#[test]
fn the_limits_of_a_recipe_are_the_defaults() {
    assert_eq!(Limits::of(&LimitsConfig::DEFAULT), Limits::DEFAULT);
}

/// Known as soon as it is, and once; what follows it in its block is read.
#[test]
fn a_line_that_is_too_long_is_told_before_its_end() {
    let stored = [b"a\n".as_slice(), &[b'x'; 400], b"\nb\n"].concat();
    let (records, bad) = streamed(Codec::Plain, &stored, SMALL);
    assert_eq!(records, [(0, b"a".to_vec()), (2, b"b".to_vec())]);
    assert_eq!((bad.len(), bad[0].0, bad[0].1.lost), (1, 1, Lost::Record));
    let table = table(Codec::Gzip, &member(&stored), &SMALL);
    let mut reader = BlockReader::within(table, 0..1, SMALL);
    let stored = member(&stored);
    let mut fed = 0;
    loop {
        match reader.step() {
            Step::Need(range) => {
                fed = range.end;
                reader.feed(slice(&stored, range)).unwrap();
            }
            Step::Run(_) => {}
            Step::Bad(bad) => break assert_eq!(bad.record, 1),
            Step::End => panic!("nothing was told"),
        }
    }
    assert!(fed < stored.len() as u64, "read to its end first");
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
