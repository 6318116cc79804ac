use super::*;

/// SplitMix64, by its published constants.
fn pseudo_random(seed: u64) -> impl Iterator<Item = u64> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    })
}

/// FNV-1a over the record numbers of all segments, each row closed by a number of all ones; little-endian u64.
fn fingerprint(rows: &[Row]) -> u64 {
    let numbers = rows
        .iter()
        .flat_map(|row| records(row).into_iter().chain([u64::MAX]));
    numbers
        .flat_map(u64::to_le_bytes)
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

/// The rule is a specification: other rows here are a breaking change. `docs/packing.md` has these numbers too.
#[test]
fn the_rows_of_a_fixed_sequence_never_change() {
    let stream: Vec<usize> = pseudo_random(1)
        .map(|x| 1 + (x % 64) as usize * (x >> 32 & 31) as usize)
        .take(20_000)
        .collect();
    let base = PackConfig {
        lookahead: 128,
        ..config(Strategy::Knapsack, 4096)
    };
    let found = [
        fingerprint(&rows(&base, &stream)),
        fingerprint(&rows(
            &PackConfig {
                sequence_length: 2000,
                lookahead: 50,
                ..base.clone()
            },
            &stream,
        )),
        fingerprint(&rows(
            &PackConfig {
                segment_multiple: 16,
                ..base.clone()
            },
            &stream,
        )),
        fingerprint(&rows(
            &PackConfig {
                max_segments: Some(9),
                ..base.clone()
            },
            &stream,
        )),
        fingerprint(&rows(
            &PackConfig {
                sequence_length: 131_072,
                ..base
            },
            &stream,
        )),
        fingerprint(&rows(&config(Strategy::Concat, 4096), &stream)),
    ];
    let found: Vec<String> = found.iter().map(|hash| format!("{hash:016x}")).collect();
    assert_eq!(found, GOLDEN);
}

const GOLDEN: [&str; 6] = [
    "4cc39507e4c999f5",
    "edee54f56ddf3661",
    "09d0e2706fb08ff1",
    "4e1dbb344d1f534d",
    "949a996d4715aab1",
    "bf53d3f537beb73d",
];

/// What the look-ahead's default was chosen by; `examples/pack_lengths.rs` measures it at length.
#[test]
fn rows_are_full_and_not_ordered_by_length() {
    let even = |x: u64| (x as f64 + 0.5) / u64::MAX as f64;
    // A sum of uniform numbers is near enough to normal here.
    let normal = |x: u64| pseudo_random(x).take(12).map(even).sum::<f64>() - 6.0;
    let draw = |mean: f64, deviation: f64| -> Vec<usize> {
        pseudo_random(3)
            .map(|x| (mean + deviation * normal(x)).exp() as usize)
            .filter(|length| (8..=4096).contains(length))
            .take(8000)
            .collect()
    };
    let chats = pseudo_random(5)
        .map(|x| (381.0 + 131.0 * normal(x)).max(20.0) as usize)
        .take(20_000)
        .collect();
    let middle = pseudo_random(4)
        .map(|x| 1200 + (x % 1400) as usize)
        .take(8000)
        .collect();
    let sets: [(&str, Vec<usize>, f64); 4] = [
        ("chats", chats, 0.999),
        ("lognormal", draw(6.0, 1.2), 0.999),
        ("middle", middle, 0.99),
        ("long", draw(7.6, 0.6), 0.98),
    ];
    for (name, stream, at_least) in sets {
        let config = PackConfig {
            lookahead: 128,
            ..config(Strategy::Knapsack, 4096)
        };
        let rows = rows(&config, &stream);
        // The last rows empty the pool.
        let rows = &rows[..rows.len() - 128];
        let tokens: usize = rows.iter().flat_map(lengths).sum();
        let density = tokens as f64 / (rows.len() * 4096) as f64;
        assert!(density >= at_least, "{name}: {density}");
        let means: Vec<f64> = rows
            .iter()
            .map(|row| lengths(row).iter().sum::<usize>() as f64 / row.segments.len() as f64)
            .collect();
        let mean = means.iter().sum::<f64>() / means.len() as f64;
        let variance: f64 = means.iter().map(|m| (m - mean).powi(2)).sum();
        let lag: f64 = means
            .windows(2)
            .map(|m| (m[0] - mean) * (m[1] - mean))
            .sum();
        let lag = lag / variance;
        assert!(
            lag.abs() < 3.0 / (rows.len() as f64).sqrt(),
            "{name}: {lag}"
        );
    }
}
