//! What is measured of a stream of rows.

use crate::corpus::Corpus;
use crate::rows::Rows;

/// Rows of a small step, a large one, and of 64 small steps.
pub(crate) const STEPS: [usize; 3] = [64, 512, 4_096];

/// The figures of one scheme.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// How far a record travels: |place in the stream − place in the corpus| / records, mean and lowest tenth.
    pub(crate) travel: [f64; 2],
    /// Half of all records that lie beside each other are delivered at least so many records apart.
    pub(crate) apart: usize,
    /// Part of the segments that stand in a row behind one of the same topic.
    pub(crate) same: f64,
    /// Distinct topics a row.
    pub(crate) row: f64,
    /// Distinct topics in each of [`STEPS`], mean over the stream.
    pub(crate) topics: [f64; STEPS.len()],
    /// Effective topics in each of [`STEPS`]: 1 / Σ share², of the mean of the sums.
    pub(crate) effective: [f64; STEPS.len()],
    /// Mean segments of a row.
    pub(crate) segments: f64,
}

/// The part of the gradients' variance that lies between topics, for [`Figures::noise`].
const BETWEEN: f64 = 0.1;

impl Figures {
    /// Variance of the mean gradient of each of [`STEPS`], where [`BETWEEN`] of the variance of an example's gradient
    /// is its topic's and the rest its own; the examples' variance is 1.
    pub(crate) fn noise(&self) -> [f64; STEPS.len()] {
        let mut noise = [0.0; STEPS.len()];
        for (at, rows) in STEPS.into_iter().enumerate() {
            let examples = self.segments * rows as f64;
            noise[at] = (1.0 - BETWEEN) / examples + BETWEEN / self.effective[at];
        }
        noise
    }
}

/// Measures rows. Travel is that of all rows, the rest that of the steady ones.
pub(crate) fn measure(stream: &Rows, records: usize, topics: usize) -> Figures {
    let order: Vec<u32> = stream.rows.iter().flatten().copied().collect();
    let steady = &stream.rows[..stream.steady];
    let mut figures = Figures {
        travel: travel(&order, records),
        apart: apart(&order, records),
        same: same_neighbours(steady),
        segments: mean(steady.iter().map(|row| row.len() as f64)),
        row: mean(steady.chunks(1).map(|row| distinct(row, topics).0)),
        ..Figures::default()
    };
    for (at, rows) in STEPS.into_iter().enumerate() {
        let steps = || steady.chunks_exact(rows).map(|step| distinct(step, topics));
        figures.topics[at] = mean(steps().map(|step| step.0));
        figures.effective[at] = 1.0 / mean(steps().map(|step| step.1));
    }
    figures
}

/// How far records travel: the mean and the lowest tenth.
pub(crate) fn travel(order: &[u32], records: usize) -> [f64; 2] {
    let moved = (0..)
        .zip(order)
        .map(|(at, &record): (u32, _)| at.abs_diff(record));
    let mut moved: Vec<u32> = moved.collect();
    moved.sort_unstable();
    let all = records as f64;
    let tenth = moved.get(moved.len() / 10).copied().unwrap_or(0);
    [
        mean(moved.into_iter().map(f64::from)) / all,
        f64::from(tenth) / all,
    ]
}

/// The median distance in the stream of records that lie beside each other. A record that is not delivered counts
/// as delivered first.
pub(crate) fn apart(order: &[u32], records: usize) -> usize {
    let mut places = vec![0_usize; records];
    for (at, &record) in order.iter().enumerate() {
        places[record as usize] = at;
    }
    let mut distances: Vec<usize> = places.windows(2).map(|p| p[0].abs_diff(p[1])).collect();
    distances.sort_unstable();
    distances.get(distances.len() / 2).copied().unwrap_or(0)
}

/// Part of the segments behind another of their row that have its topic.
pub(crate) fn same_neighbours(rows: &[Vec<u32>]) -> f64 {
    let pairs = || rows.iter().flat_map(|row| row.windows(2));
    let same = |pair: &&[u32]| Corpus::topic(pair[0]) == Corpus::topic(pair[1]);
    pairs().filter(same).count() as f64 / pairs().count().max(1) as f64
}

/// Distinct topics of rows, and the sum of the squares of the topics' shares.
pub(crate) fn distinct(rows: &[Vec<u32>], topics: usize) -> (f64, f64) {
    let mut counts = vec![0_u64; topics];
    for &record in rows.iter().flatten() {
        counts[Corpus::topic(record)] += 1;
    }
    let all: u64 = counts.iter().sum();
    let squares: u64 = counts.iter().map(|count| count * count).sum();
    (
        counts.iter().filter(|&&count| count > 0).count() as f64,
        squares as f64 / (all * all).max(1) as f64,
    )
}

/// Distinct blocks of a lane's row, and of 64 of its rows that follow each other.
pub(crate) fn blocks(stream: &Rows, lanes: usize, block_of: &[u32]) -> [f64; 2] {
    let steady = &stream.rows[..stream.steady];
    let distinct = |rows: &[&Vec<u32>]| {
        let records = rows.iter().copied().flatten();
        let mut blocks: Vec<u32> = records.map(|&record| block_of[record as usize]).collect();
        blocks.sort_unstable();
        blocks.dedup();
        blocks.len() as f64
    };
    let of = |rows: usize| {
        let in_lane = |lane| steady.iter().skip(lane).step_by(lanes).collect::<Vec<_>>();
        mean((0..lanes).flat_map(|lane| {
            let windows = in_lane(lane);
            let windows = windows.chunks_exact(rows).map(distinct);
            windows.collect::<Vec<_>>()
        }))
    };
    [of(1), of(64)]
}

fn mean(numbers: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = numbers.fold((0.0, 0_u32), |(sum, count), n| (sum + n, count + 1));
    sum / f64::from(count.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn travel_of_hand_made_orders() {
        assert_eq!(travel(&[0, 1, 2, 3], 4), [0.0, 0.0]);
        // Moved 3, 1, 1, 3 places of 4.
        assert_eq!(travel(&[3, 2, 1, 0], 4), [0.5, 0.25]);
    }

    #[test]
    fn neighbours_apart() {
        assert_eq!(apart(&[0, 1, 2, 3], 4), 1);
        // 0 and 1 are two apart, 1 and 2 three, 2 and 3 two.
        assert_eq!(apart(&[2, 0, 3, 1], 4), 2);
    }

    #[test]
    fn topics_of_hand_made_rows() {
        // Topics 0 0 1, then 1 2: of three pairs the first alone is alike.
        let rows = vec![vec![0, 1, 1000], vec![1001, 2000]];
        assert!((same_neighbours(&rows) - 1.0 / 3.0).abs() < 1e-12);
        let (topics, squares) = distinct(&rows, 3);
        assert_eq!(topics, 3.0);
        assert!((squares - (4.0 + 4.0 + 1.0) / 25.0).abs() < 1e-12);
        assert_eq!(distinct(&rows[..1], 3).0, 2.0);
    }

    #[test]
    fn only_steady_rows_count_for_topics() {
        let rows = (0..130).map(|row| vec![row % 2 * 1000]).collect();
        let figures = measure(&Rows { rows, steady: 64 }, 2000, 2);
        assert_eq!(figures.row, 1.0);
        assert_eq!(figures.topics[0], 2.0);
        assert!((figures.effective[0] - 2.0).abs() < 1e-12);
    }

    #[test]
    fn noise_of_hand_made_figures() {
        let mut figures = Figures {
            segments: 10.0,
            effective: [640.0, 512.0, 4096.0],
            ..Figures::default()
        };
        // As many topics as examples: nothing is lost to topics.
        assert!((figures.noise()[0] - 1.0 / 640.0).abs() < 1e-12);
        figures.effective[0] = 1.0;
        assert!((figures.noise()[0] - (0.9 / 640.0 + 0.1)).abs() < 1e-12);
    }

    #[test]
    fn blocks_of_lanes() {
        // Two lanes of 64 rows: lane 0 stays in block 0, lane 1 has another block in each row, and two blocks a row.
        let row = |n: u32| {
            if n.is_multiple_of(2) {
                vec![0]
            } else {
                vec![n, n + 1]
            }
        };
        let stream = Rows {
            rows: (0..128).map(row).collect(),
            steady: 128,
        };
        let block_of: Vec<u32> = (0..=128).collect();
        assert_eq!(blocks(&stream, 2, &block_of), [1.5, (1.0 + 128.0) / 2.0]);
    }
}
