//! Which source a lane draws its next example from, where sources have weights.
//!
//! The source with the largest `w × T − d × Σw` is next: `w` its weight, `d` the tokens that the lane drew from it and
//! `T` those it drew from all, since the row where the present weights began. So each source's tokens stay within one
//! example of its share, whatever the lengths. Ties go by the recipe's order; a source of weight 0 is never drawn.

/// Millionths in a weight of 1.
pub const MILLION: u64 = 1_000_000;

/// A lane's account of what it drew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draw {
    weights: Vec<u64>,
    drawn: Vec<u64>,
}

impl Draw {
    /// Nothing drawn yet, under `weights` in millionths, one a source; at least one is not 0.
    pub fn new(weights: Vec<u64>) -> Self {
        let drawn = vec![0; weights.len()];
        Draw { weights, drawn }
    }

    /// With what was drawn before, one number a source.
    #[must_use]
    pub fn with_drawn(self, drawn: impl IntoIterator<Item = u64>) -> Self {
        let mut all: Vec<u64> = drawn.into_iter().collect();
        all.resize(self.weights.len(), 0);
        Draw { drawn: all, ..self }
    }

    /// The source to draw from.
    pub fn pick(&self) -> usize {
        let sum = |numbers: &[u64]| numbers.iter().map(|&n| i128::from(n)).sum::<i128>();
        let (weight_of_all, drawn_from_all) = (sum(&self.weights), sum(&self.drawn));
        let lag = |source: usize| {
            let (weight, drawn) = (self.weights[source], self.drawn[source]);
            i128::from(weight) * drawn_from_all - i128::from(drawn) * weight_of_all
        };
        let open = (0..self.weights.len()).filter(|&source| self.weights[source] > 0);
        // Of equals `max_by_key` gives the last, so the order is turned round.
        open.rev().max_by_key(|&source| lag(source)).unwrap_or(0)
    }

    /// Books an example of `tokens` tokens that was drawn from `source`.
    pub fn book(&mut self, source: usize, tokens: u64) {
        if let Some(drawn) = self.drawn.get_mut(source) {
            *drawn = drawn.saturating_add(tokens);
        }
    }

    /// Tokens drawn from a source since the present weights began.
    pub fn drawn(&self, source: usize) -> u64 {
        self.drawn.get(source).copied().unwrap_or(0)
    }

    /// The part of all tokens that a source is to give, in millionths, rounded down.
    pub fn share(&self, source: usize) -> u64 {
        let all: u128 = self.weights.iter().map(|&w| u128::from(w)).sum();
        let weight = u128::from(self.weights.get(source).copied().unwrap_or(0));
        u64::try_from(weight * u128::from(MILLION) / all.max(1)).unwrap_or(MILLION)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ties_go_by_order_and_weight_0_is_never_drawn() {
        let mut draw = Draw::new(vec![0, 2 * MILLION, 2 * MILLION]);
        assert_eq!(draw.pick(), 1);
        draw.book(1, 10);
        assert_eq!(draw.pick(), 2);
        draw.book(2, 10);
        assert_eq!(draw.pick(), 1);
    }

    #[test]
    fn frozen() {
        let mut draw = Draw::new(vec![5 * MILLION, 2 * MILLION, 3 * MILLION]);
        let picks: String = (0..20_u64)
            .map(|n| {
                let source = draw.pick();
                draw.book(source, 100 + n * 37 % 50);
                char::from(b'0' + source as u8)
            })
            .collect();
        assert_eq!(picks, "02100210020120012002");
    }

    proptest! {
        #[test]
        fn shares_hold_within_the_longest_examples(
            weights in prop::collection::vec(1_u64..10_000_000, 1..6),
            lengths in prop::collection::vec(1_u64..5_000, 1..400),
        ) {
            let mut draw = Draw::new(weights.clone());
            let all: u64 = weights.iter().sum();
            let sources = weights.len() as f64;
            let longest = *lengths.iter().max().unwrap() as f64;
            let mut total = 0;
            for length in lengths {
                let source = draw.pick();
                // The naive twin: who lags most, in fractions of a token.
                let lag = |s: usize| weights[s] as f64 * total as f64 / all as f64 - draw.drawn(s) as f64;
                let most = (0..weights.len()).map(lag).fold(f64::MIN, f64::max);
                prop_assert!(lag(source) >= most - 1e-6 * (total as f64 + 1.0));
                draw.book(source, length);
                total += length;
                for (s, &weight) in weights.iter().enumerate() {
                    let ideal = weight as f64 * total as f64 / all as f64;
                    prop_assert!((draw.drawn(s) as f64 - ideal).abs() <= longest * sources);
                }
            }
        }
    }
}
