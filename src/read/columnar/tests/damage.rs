//! Every cut and a flip of every byte: an error or a counted loss, or as many rows as there were.

use super::*;

/// What became of a damaged shard: whether anything was said, and how many rows came.
fn outcome(codec: Codec, stored: &[u8]) -> (bool, usize) {
    let Ok(table) = list(codec, stored) else {
        return (true, 0);
    };
    let read = read(&table, stored, 0..table.len());
    let bad = read.iter().any(|(_, line)| line.is_err());
    (bad, read.iter().filter(|(_, line)| line.is_ok()).count())
}

fn small(codec: Codec) -> Vec<u8> {
    let all = chats(9);
    let stored = write(codec, &[all.slice(0, 5), all.slice(5, 4)]);
    assert!(stored.len() <= 4096, "{codec:?}: {} bytes", stored.len());
    stored
}

#[test]
fn every_cut_is_told() {
    for codec in ALL {
        let stored = small(codec);
        assert_eq!(outcome(codec, &stored), (false, 9));
        for cut in 1..stored.len() {
            let (told, rows) = outcome(codec, &stored[..cut]);
            assert!(
                told,
                "{codec:?} cut at {cut} gives {rows} rows and says nothing"
            );
        }
    }
}

#[test]
fn no_flipped_byte_makes_a_shard_shorter_unseen() {
    for codec in ALL {
        let mut stored = small(codec);
        for at in 0..stored.len() {
            for mask in [1 << (at % 8), 0x80, 0xff] {
                stored[at] ^= mask;
                let (told, rows) = outcome(codec, &stored);
                stored[at] ^= mask;
                assert!(
                    told || rows == 9,
                    "{codec:?} with byte {at} ^ {mask:#x} gives {rows} rows and says nothing"
                );
            }
        }
    }
}

#[test]
fn what_follows_the_end_is_told() {
    for codec in ALL {
        let stored = [small(codec), vec![0; 8]].concat();
        assert!(outcome(codec, &stored).0, "{codec:?}");
    }
}

#[test]
fn a_damaged_block_leaves_the_others_whole() {
    let all = chats(9);
    for codec in ALL {
        let mut stored = write(codec, &[all.slice(0, 3), all.slice(3, 3), all.slice(6, 3)]);
        let table = list(codec, &stored).unwrap();
        let second = table.stored(1).unwrap();
        // The header of its first page, and of its record batch.
        let at = match codec {
            Codec::Parquet => second.start as usize,
            _ => second.start as usize + 8,
        };
        stored[at..at + 8].fill(0xff);
        let table = list(codec, &stored).unwrap();
        let read = read(&table, &stored, 0..table.len());
        let lines: Vec<&String> = read
            .iter()
            .filter_map(|(_, line)| line.as_ref().ok())
            .collect();
        let expected = chat_lines(9);
        let (first, last) = (expected[..3].iter(), expected[6..].iter());
        match codec {
            Codec::Parquet => {
                assert!(lines.into_iter().eq(first.chain(last)));
                assert_eq!(read[3].0, 3);
                assert!(
                    read[3]
                        .1
                        .as_ref()
                        .unwrap_err()
                        .contains("Parquet row group at byte")
                );
                assert_eq!(read[4].0, 4, "the rest counts as one");
            }
            // Headers say where the next one is: behind a damaged one nothing can be found.
            _ => {
                assert!(lines.into_iter().eq(first));
                assert!(
                    read[3]
                        .1
                        .as_ref()
                        .unwrap_err()
                        .contains("Arrow record batch at byte")
                );
            }
        }
    }
}

#[test]
fn a_count_that_cannot_be_is_refused_before_it_is_believed() {
    // A record batch of 2^62 rows, all of them null.
    use arrow_array::NullArray;
    let nulls = RecordBatch::try_from_iter([("text", Arc::new(NullArray::new(77)) as ArrayRef)]);
    let mut stored = write(Codec::ArrowStream, &[nulls.unwrap()]);
    let mut found = 0;
    for at in 0..stored.len() - 8 {
        if stored[at..at + 8] == 77_i64.to_le_bytes() {
            stored[at..at + 8].copy_from_slice(&(1_i64 << 62).to_le_bytes());
            found += 1;
        }
    }
    assert!(found >= 2, "batch and node");
    let (told, rows) = outcome(Codec::ArrowStream, &stored);
    assert!(told && rows == 0);
}
