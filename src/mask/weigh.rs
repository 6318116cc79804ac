//! Trained tokens that count for less, or not at all, because the row says so of the text that they show.

use super::spans::merge;
use crate::example::{LossWeight, Span, Targets, Weighted};

/// `trained` without the tokens of `lighter` that have no weight, and with the weights of the others. A token that several
/// runs share has the least of their weights, so one that shows a character that is not to be trained is not trained.
///
/// Runs of `lighter` may come in any order and overlap.
pub fn weigh(trained: Vec<Span>, lighter: &[(Span, Option<LossWeight>)]) -> Targets {
    let mut cuts: Vec<u32> = lighter
        .iter()
        .flat_map(|(run, _)| [run.start, run.end])
        .collect();
    cuts.sort_unstable();
    cuts.dedup();
    // The stretches between cuts, each with the least weight of the runs over it.
    let mut stretches: Vec<Stretch> = vec![Stretch::Full; cuts.len().saturating_sub(1)];
    for (run, weight) in lighter {
        let from = cuts.partition_point(|cut| *cut < run.start);
        let to = cuts.partition_point(|cut| *cut < run.end);
        for stretch in stretches.get_mut(from..to).unwrap_or_default() {
            *stretch = stretch.least(*weight);
        }
    }
    let mut targets = Targets::default();
    for span in trained {
        let mut at = span.start;
        while at < span.end {
            let index = cuts.partition_point(|cut| *cut <= at);
            let end = cuts.get(index).map_or(span.end, |cut| span.end.min(*cut));
            let stretch = index.checked_sub(1).and_then(|index| stretches.get(index));
            targets.add(at..end, stretch.copied().unwrap_or(Stretch::Full));
            at = end;
        }
    }
    targets.trained = merge(targets.trained);
    targets
}

/// What tokens between two cuts weigh.
#[derive(Clone, Copy)]
enum Stretch {
    Full,
    Lighter(LossWeight),
    Nothing,
}

impl Stretch {
    fn least(self, weight: Option<LossWeight>) -> Stretch {
        match (self, weight) {
            (Stretch::Nothing, _) | (_, None) => Stretch::Nothing,
            (stretch, Some(LossWeight::ONE)) => stretch,
            (Stretch::Lighter(own), Some(weight)) if own <= weight => Stretch::Lighter(own),
            (_, Some(weight)) => Stretch::Lighter(weight),
        }
    }
}

impl Targets {
    fn add(&mut self, tokens: Span, stretch: Stretch) {
        let weight = match stretch {
            Stretch::Nothing => return,
            Stretch::Full => return self.trained.push(tokens),
            Stretch::Lighter(weight) => weight,
        };
        self.trained.push(tokens.clone());
        match self.weights.last_mut() {
            Some(last) if last.weight == weight && last.tokens.end == tokens.start => {
                last.tokens.end = tokens.end;
            }
            _ => self.weights.push(Weighted { tokens, weight }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LEN: u32 = 20;

    fn weight(quarters: u32) -> Option<LossWeight> {
        LossWeight::new(f64::from(quarters) / 4.0)
    }

    proptest! {
        /// The twin: token by token the least weight of all that it has part in.
        #[test]
        fn a_token_has_the_least_weight_of_what_it_shows(
            trained in prop::collection::vec((0..LEN, 0..LEN), 0..5),
            lighter in prop::collection::vec((0..LEN, 0..LEN, 0..5_u32), 0..8),
        ) {
            let trained = merge(trained.into_iter().map(|(start, end)| start..end).collect());
            let lighter: Vec<_> = lighter
                .into_iter()
                .filter(|(start, end, _)| start < end)
                .map(|(start, end, quarters)| (start..end, weight(quarters)))
                .collect();
            let naive = |at: u32| -> f32 {
                let own = trained.iter().any(|span| span.contains(&at));
                let over = lighter.iter().filter(|(run, _)| run.contains(&at));
                let least = over.map(|(_, weight)| weight.map_or(0.0, LossWeight::get));
                least.fold(if own { 1.0 } else { 0.0 }, f32::min)
            };
            let targets = weigh(trained.clone(), &lighter);
            let found = |at: u32| -> f32 {
                let own = targets.trained.iter().any(|span| span.contains(&at));
                let lighter = targets.weights.iter().find(|lighter| lighter.tokens.contains(&at));
                match (own, lighter) {
                    (false, None) => 0.0,
                    (true, None) => 1.0,
                    (true, Some(lighter)) => lighter.weight.get(),
                    (false, Some(_)) => f32::NAN,
                }
            };
            for at in 0..LEN {
                prop_assert_eq!(found(at), naive(at), "at {}", at);
            }
            prop_assert!(targets.trained.windows(2).all(|pair| pair[0].end < pair[1].start));
            prop_assert!(targets.weights.windows(2).all(|pair| pair[0].tokens.end <= pair[1].tokens.start));
            prop_assert!(targets.weights.iter().all(|lighter| !lighter.tokens.is_empty() && lighter.weight < LossWeight::ONE));
        }
    }
}
