//! How many cores a trainer's host asks for.

use super::number::short;
use super::report::{lines_of, table};
use std::time::Duration;

/// Dense bf16 operations a second of an H100 SXM (NVIDIA's data sheet).
const PEAK: f64 = 989.4e12;
const GPUS: f64 = 8.0;
/// What of the peak training reaches where it is done well (MFU, as PaLM defines it).
const UTILISATION: f64 = 0.45;
/// Operations a parameter and token, forward and backward (Kaplan et al. 2020, section 2.1), attention not counted.
const OPERATIONS: f64 = 6.0;

/// Models that people train, and their parameters.
const MODELS: [(&str, f64); 5] = [
    ("124M", 124e6),
    ("0.5B", 0.5e9),
    ("1.7B", 1.7e9),
    ("8B", 8e9),
    ("70B", 70e9),
];

/// What trains, and how many tokens a second it takes.
fn hosts(asked: Option<u64>) -> Vec<(String, f64)> {
    let asked = asked.map(|rate| ("as asked".to_owned(), rate as f64));
    let hosts = MODELS.iter().map(|(name, parameters)| {
        let rate = GPUS * PEAK * UTILISATION / (OPERATIONS * parameters);
        (format!("{name} on 8×H100"), rate)
    });
    asked.into_iter().chain(hosts).collect()
}

/// Cores at work for `rate` tokens a second, where `tokens` took `busy` of one core.
fn cores(rate: f64, tokens: u64, busy: Duration) -> f64 {
    rate * busy.as_secs_f64() / tokens as f64
}

/// What one core makes, and how many of them feed a host. `asked`: another rate, in tokens a second. Empty where nothing
/// was made. Ends with a line break.
pub(crate) fn feeds(tokens: u64, busy: Duration, asked: Option<u64>) -> String {
    if tokens == 0 || busy.is_zero() {
        return String::new();
    }
    let one = tokens as f64 / busy.as_secs_f64();
    let mut table = table(&["model", "takes tokens/s", "cores"], &[1, 2]);
    for (name, rate) in hosts(asked) {
        let cores = cores(rate, tokens, busy);
        let cores = match cores {
            0.0..0.01 => "<0.01".to_owned(),
            0.0..10.0 => format!("{cores:.2}"),
            _ => format!("{cores:.0}"),
        };
        table.add_row([name, short(rate.round() as u64), cores]);
    }
    format!(
        "one core makes {} tokens/s of this; GPUs at {:.0}% of their peak take\n{}",
        short(one.round() as u64),
        UTILISATION * 100.0,
        lines_of(&table)
    )
}

/// The same as JSON: cores by host.
pub(crate) fn feeds_json(tokens: u64, busy: Duration, asked: Option<u64>) -> serde_json::Value {
    let cores = |(name, rate): (String, f64)| {
        serde_json::json!({
            "model": name,
            "tokens_per_s": rate.round(),
            "cores": (tokens > 0).then(|| cores(rate, tokens, busy)),
        })
    };
    hosts(asked).into_iter().map(cores).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_the_rate_over_what_one_core_makes() {
        let second = Duration::from_secs(1);
        insta::assert_snapshot!(feeds(600_000, second, Some(3_000_000)), @r"
        one core makes 600 k tokens/s of this; GPUs at 45% of their peak take
         model            takes tokens/s   cores
        ─────────────────────────────────────────
         as asked                 3.00 M    5.00
         124M on 8×H100           4.79 M    7.98
         0.5B on 8×H100           1.19 M    1.98
         1.7B on 8×H100            349 k    0.58
         8B on 8×H100             74.2 k    0.12
         70B on 8×H100             8,481    0.01
        ");
        assert_eq!(feeds(0, second, None), "");
        let json = feeds_json(600_000, second, None);
        assert_eq!(json.as_array().map(Vec::len), Some(MODELS.len()));
    }
}
