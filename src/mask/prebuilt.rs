//! Masks that rows bring with them. They are taken as they are: no policy of the recipe changes them.

use super::spans::merge;
use crate::error::{Error, Kind, Result, Stage};
use crate::example::{IGNORE_INDEX, Span, TokenId};

/// The mask of `labels`, aligned with `ids`: each is -100 or the id itself.
///
/// # Errors
///
/// [`Kind::Row`] for another length, and for a label that is neither: shifted labels, or labels of other ids.
pub fn from_labels(ids: &[TokenId], labels: &[i64]) -> Result<Vec<Span>> {
    check_len("labels", labels.len(), ids.len())?;
    let stray = ids
        .iter()
        .zip(labels)
        .position(|(&id, &label)| label != i64::from(IGNORE_INDEX) && label != i64::from(id));
    if let Some(position) = stray {
        let label = labels.get(position).copied().unwrap_or_default();
        return Err(Error::new(
            Kind::Row,
            Stage::Mask,
            format!("label {label} at position {position} is neither -100 nor the id there"),
        )
        .remedy("give labels aligned with input_ids, not shifted"));
    }
    Ok(runs(
        labels.iter().map(|&label| label != i64::from(IGNORE_INDEX)),
    ))
}

/// The mask of `loss_mask`, one value a token.
///
/// # Errors
///
/// [`Kind::Row`] for another length.
pub fn from_loss_mask(ids: &[TokenId], loss_mask: &[bool]) -> Result<Vec<Span>> {
    check_len("loss_mask", loss_mask.len(), ids.len())?;
    Ok(runs(loss_mask.iter().copied()))
}

fn check_len(field: &str, len: usize, ids: usize) -> Result<()> {
    if len == ids {
        return Ok(());
    }
    Err(Error::new(
        Kind::Row,
        Stage::Mask,
        format!("{field} has {len} values for {ids} input_ids"),
    ))
}

fn runs(trained: impl Iterator<Item = bool>) -> Vec<Span> {
    let single = (0u32..).zip(trained).filter(|(_, trained)| *trained);
    merge(single.map(|(position, _)| position..position + 1).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r23_prebuilt_labels_are_taken_as_they_are() {
        let ids = [5, 6, 7, 0, 9];
        assert_eq!(
            from_labels(&ids, &[5, -100, 7, 0, -100]).unwrap(),
            [0..1, 2..4]
        );
        assert_eq!(
            from_loss_mask(&ids, &[true, false, true, true, false]).unwrap(),
            [0..1, 2..4]
        );
        assert_eq!(from_labels(&[], &[]).unwrap(), []);
    }

    #[test]
    fn labels_that_are_not_of_these_ids_are_refused() {
        let error = from_labels(&[5, 6], &[6, -100]).unwrap_err();
        assert_eq!(error.kind(), Kind::Row);
        assert!(
            error.to_string().contains("label 6 at position 0"),
            "{error}"
        );
        assert!(from_labels(&[5, 6], &[5]).is_err());
        assert!(from_labels(&[5], &[i64::from(u32::MAX) + 6]).is_err());
        assert!(from_loss_mask(&[5], &[]).is_err());
    }
}
