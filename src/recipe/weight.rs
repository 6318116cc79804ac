//! Weights of sources, kept as whole millionths: sums of them are exact, and no machine rounds them otherwise.

use serde_json::Value;

/// Millionths of a weight of 1.
const ONE: u64 = 1_000_000;

/// The largest weight.
pub(super) const MOST: u64 = 1_000_000;

/// The nearest number of millionths; none where it is no weight. What is not 0 is never rounded to it.
pub(super) fn millionths(number: f64) -> Option<u64> {
    if !(0.0..=MOST as f64).contains(&number) {
        return None;
    }
    let rounded = (number * ONE as f64).round() as u64;
    Some(rounded.max(u64::from(number > 0.0)))
}

/// As people write it, `2` or `0.5`. Reads back to the same millionths: a float tells all up to 2^53 apart.
pub(super) fn number(millionths: u64) -> Value {
    if millionths.is_multiple_of(ONE) {
        return Value::from(millionths / ONE);
    }
    Value::from(millionths as f64 / ONE as f64)
}

/// What serde says of a number that is no weight.
const NO_WEIGHT: &str = "a weight is a number from 0 to 1000000";

/// A weight or null, as serde sees it.
pub(super) mod nullable {
    use super::{NO_WEIGHT, millionths, number};
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(in crate::recipe) fn serialize<S: Serializer>(
        weight: &Option<u64>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        weight.map(number).serialize(to)
    }

    pub(in crate::recipe) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<u64>, D::Error> {
        let weight = Option::<f64>::deserialize(from)?;
        let weight = weight.map(|weight| millionths(weight).ok_or(D::Error::custom(NO_WEIGHT)));
        weight.transpose()
    }
}

/// Weights by name, as serde sees them.
pub(super) mod named {
    use super::{NO_WEIGHT, millionths, number};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::collections::BTreeMap;

    pub(in crate::recipe) fn serialize<S: Serializer>(
        weights: &BTreeMap<String, u64>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_map(weights.iter().map(|(name, weight)| (name, number(*weight))))
    }

    pub(in crate::recipe) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<String, u64>, D::Error> {
        let weights = BTreeMap::<String, f64>::deserialize(from)?;
        let weights = weights.into_iter().map(|(name, weight)| {
            let weight = millionths(weight).ok_or(D::Error::custom(NO_WEIGHT))?;
            Ok((name, weight))
        });
        weights.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rounds_to_the_nearest_millionth_and_never_to_0() {
        for (number, weight) in [
            (0.0, 0),
            (-0.0, 0),
            (1e-300, 1),
            (0.000_000_4, 1),
            (0.000_001_4, 1),
            (0.000_001_6, 2),
            (0.1, 100_000),
            (0.5, 500_000),
            (1.0 / 3.0, 333_333),
            (2.0 / 3.0, 666_667),
            (1e6, 1_000_000_000_000),
        ] {
            assert_eq!(millionths(number), Some(weight), "{number}");
        }
        for number in [-1e-300, 1_000_000.1, f64::INFINITY, f64::NAN] {
            assert_eq!(millionths(number), None, "{number}");
        }
    }

    proptest! {
        #[test]
        fn reads_its_own_number(weight in 0..=MOST * ONE, few in 0..=9 * ONE) {
            for weight in [weight, few, weight / ONE * ONE] {
                let text = number(weight).to_string();
                prop_assert_eq!(text.parse().ok().and_then(millionths), Some(weight));
                prop_assert_eq!(text.contains(['.', 'e']), !weight.is_multiple_of(ONE));
            }
        }
    }
}
