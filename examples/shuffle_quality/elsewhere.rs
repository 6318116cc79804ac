//! How other loaders shuffle, after their documents and code; `docs/shuffle.md` names these.
//!
//! Only the order is theirs. Random numbers are this program's own, and all orders are packed by the same packer.

use crate::lengths::Random;
use std::ops::Range;

/// Fisher and Yates' shuffle.
pub(crate) fn shuffle<T>(items: &mut [T], random: &mut Random) {
    for last in (1..items.len()).rev() {
        items.swap(last, random.below(last + 1));
    }
}

/// One order dealt to `lanes` lanes in turn, or one order a node and each node's to its share of the lanes.
pub(crate) fn deal(nodes: &[Vec<u32>], lanes: usize) -> Vec<Vec<u32>> {
    let share = lanes / nodes.len();
    let lane = |lane: usize| {
        let records = nodes[lane / share].iter();
        records.skip(lane % share).step_by(share).copied().collect()
    };
    (0..lanes).map(lane).collect()
}

/// A global index, shuffled: Megatron-LM, Grain's `MapDataset.shuffle`, MosaicML's `naive`.
pub(crate) fn full(records: usize, random: &mut Random) -> Vec<u32> {
    let mut all: Vec<u32> = (0..records as u32).collect();
    shuffle(&mut all, random);
    all
}

/// Shards in random order, cut into equal parts, and each part's in another order: how MosaicML Streaming gives shards
/// to canonical nodes, and LitData chunks to workers.
pub(crate) fn parts(
    shards: &[Range<u32>],
    nodes: usize,
    random: &mut Random,
) -> Vec<Vec<Range<u32>>> {
    let mut shards = shards.to_vec();
    shuffle(&mut shards, random);
    let all: usize = shards.iter().map(ExactSizeIterator::len).sum();
    let mut parts = vec![Vec::new(); nodes];
    let mut at = 0;
    for shard in shards {
        let mut rest = shard;
        while !rest.is_empty() {
            let node = (0..nodes)
                .rfind(|node| all * node / nodes <= at)
                .unwrap_or(0);
            let room = all * (node + 1) / nodes - at;
            let end = rest.end.min(rest.start + room as u32);
            parts[node].push(rest.start..end);
            at += (end - rest.start) as usize;
            rest.start = end;
        }
    }
    for part in &mut parts {
        shuffle(part, random);
    }
    parts
}

/// MosaicML's `py1s`, and LitData's `FullShuffle` with a part a worker: records are shuffled within their shard.
pub(crate) fn within_shards(parts: &[Vec<Range<u32>>], random: &mut Random) -> Vec<Vec<u32>> {
    let part = |shards: &Vec<Range<u32>>| {
        let mut order = Vec::new();
        for shard in shards {
            let from = order.len();
            order.extend(shard.clone());
            shuffle(&mut order[from..], random);
        }
        order
    };
    parts.iter().map(part).collect()
}

/// MosaicML's `py1br`: shards one behind the other, shuffled in blocks of about `block` records.
pub(crate) fn py1br(parts: &[Vec<Range<u32>>], block: usize, random: &mut Random) -> Vec<Vec<u32>> {
    let part = |shards: &Vec<Range<u32>>| {
        let mut order: Vec<u32> = shards.iter().cloned().flatten().collect();
        let mut start = 0;
        let mut end = block * 3 / 4 + random.below(block / 2) - random.below(block * 3 / 4);
        while start < order.len() {
            let stop = end.clamp(start + 1, order.len());
            shuffle(&mut order[start..stop], random);
            start = stop;
            end = start + block * 3 / 4 + random.below(block / 2);
        }
        order
    };
    parts.iter().map(part).collect()
}

/// MosaicML's `py1e`: each record moves from its place in its shuffled shard by a uniform distance, so that a shard
/// is spread over about `block` records, within its part.
pub(crate) fn py1e(parts: &[Vec<Range<u32>>], block: usize, random: &mut Random) -> Vec<Vec<u32>> {
    let ordered = within_shards(parts, random);
    let part = |(shards, records): (&Vec<Range<u32>>, Vec<u32>)| {
        let all = records.len() as f64;
        let mut keys = Vec::with_capacity(records.len());
        for shard in shards {
            let (before, size) = (keys.len() as f64, shard.len() as f64);
            let spread = (block * 3 / 4 + random.below(block / 2)) as f64;
            let cut = ((spread - size) / 2.0).max(0.0);
            let (from, to) = ((-cut).max(-before), cut.min(all - before - size));
            for _ in shard.clone() {
                let unit = random.below(1 << 53) as f64 / (1_u64 << 53) as f64;
                keys.push(keys.len() as f64 + from + unit * (to - from));
            }
        }
        let mut moved: Vec<(f64, u32)> = keys.into_iter().zip(records).collect();
        moved.sort_by(|a, b| a.0.total_cmp(&b.0));
        moved.into_iter().map(|(_, record)| record).collect()
    };
    parts.iter().zip(ordered).map(part).collect()
}

/// A shuffle buffer: once it is full, each record takes the place of a random one, which leaves.
pub(crate) fn buffered(
    records: impl Iterator<Item = u32>,
    size: usize,
    random: &mut Random,
) -> Vec<u32> {
    let (mut buffer, mut order) = (Vec::with_capacity(size), Vec::new());
    for record in records {
        if buffer.len() < size {
            buffer.push(record);
        } else {
            let at = random.below(size);
            order.push(std::mem::replace(&mut buffer[at], record));
        }
    }
    shuffle(&mut buffer, random);
    order.extend(buffer);
    order
}

/// Files in random order, dealt to workers, each with a buffer: Hugging Face's `IterableDataset.shuffle` and
/// WebDataset.
pub(crate) fn files_and_buffer(
    files: &[Range<u32>],
    lanes: usize,
    buffer: usize,
    random: &mut Random,
) -> Vec<Vec<u32>> {
    let mut files = files.to_vec();
    shuffle(&mut files, random);
    let mut lane = |lane: usize| {
        let own = files.iter().skip(lane).step_by(lanes).cloned();
        buffered(own.flatten(), buffer, random)
    };
    (0..lanes).map(&mut lane).collect()
}

/// Energon: each worker has a stretch of the corpus, cut into `slice` records; `open` of them in random order are read
/// at a time, a random one of these is next, and a buffer follows.
pub(crate) fn energon(
    records: usize,
    lanes: usize,
    [slice, open, buffer]: [usize; 3],
    random: &mut Random,
) -> Vec<Vec<u32>> {
    let mut lane = |lane: usize| {
        let at = |lane: usize| (records * lane / lanes) as u32;
        let own: Vec<u32> = (at(lane)..at(lane + 1)).collect();
        let mut slices: Vec<_> = own.chunks(slice).map(|slice| slice.iter()).collect();
        shuffle(&mut slices, random);
        let mut waiting = slices.into_iter();
        let mut opened: Vec<_> = waiting.by_ref().take(open).collect();
        let mut order = Vec::new();
        while !opened.is_empty() {
            let at = random.below(opened.len());
            match opened[at].next() {
                Some(&record) => order.push(record),
                None => match waiting.next() {
                    Some(slice) => opened[at] = slice,
                    None => drop(opened.swap_remove(at)),
                },
            }
        }
        buffered(order.into_iter(), buffer, random)
    };
    (0..lanes).map(&mut lane).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_has_every_record_once() {
        let shards: Vec<Range<u32>> = (0..10).map(|s| s * 100..(s + 1) * 100).collect();
        let mut random = Random(1);
        let split = parts(&shards, 4, &mut random);
        assert!(
            split
                .iter()
                .all(|part| part.iter().map(|r| r.len()).sum::<usize>() == 250)
        );
        let orders = [
            vec![full(1000, &mut random)],
            within_shards(&split, &mut random),
            py1br(&split, 64, &mut random),
            py1e(&split, 64, &mut random),
            files_and_buffer(&shards, 5, 30, &mut random),
            energon(1000, 8, [10, 4, 20], &mut random),
            deal(&py1e(&split, 300, &mut random), 8),
        ];
        for order in orders {
            let mut all: Vec<u32> = order.into_iter().flatten().collect();
            all.sort_unstable();
            assert!(all.into_iter().eq(0..1000));
        }
    }

    #[test]
    fn a_buffer_of_one_changes_nothing() {
        assert!(buffered(0..100, 1, &mut Random(1)).into_iter().eq(0..100));
    }
}
