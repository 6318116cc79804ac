//! Which messages are trained: roles, flags of single messages, the last turn.

use std::ops::Range;

/// What a message says about its own training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn<'a> {
    /// Its role, as the recipe's role map left it.
    pub role: &'a str,
    /// Its own flag (`train`, or a `weight` that is zero or not), if it has one.
    pub train: Option<bool>,
}

/// Which messages are trained: a message's own flag, else whether its role is one of `roles`.
pub fn trained_turns<'a>(turns: impl IntoIterator<Item = Turn<'a>>, roles: &[String]) -> Vec<bool> {
    turns
        .into_iter()
        .map(|turn| {
            let by_role = || roles.iter().any(|role| role == turn.role);
            turn.train.unwrap_or_else(by_role)
        })
        .collect()
}

/// The message that the last span belongs to; none without spans. `owners` holds each span's message.
pub fn last_owner(owners: &[usize]) -> Option<usize> {
    owners.last().copied()
}

/// The spans whose message is trained, with their owners. `owners` holds each span's message, `trained` each message's answer;
/// a message that it does not list is not trained.
pub fn select(
    spans: &[Range<usize>],
    owners: &[usize],
    trained: &[bool],
) -> (Vec<Range<usize>>, Vec<usize>) {
    spans
        .iter()
        .zip(owners)
        .filter(|(_, owner)| trained.get(**owner) == Some(&true))
        .map(|(span, owner)| (span.clone(), *owner))
        .unzip()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r22_a_messages_own_flag_beats_its_role() {
        let turn = |role, train| Turn { role, train };
        let turns = [
            turn("system", None),
            turn("user", Some(true)),
            turn("assistant", None),
            turn("assistant", Some(false)),
        ];
        let roles = ["assistant".to_owned()];
        assert_eq!(trained_turns(turns, &roles), [false, true, true, false]);
        assert_eq!(trained_turns(turns, &[]), [false, true, false, false]);
    }

    #[test]
    fn spans_follow_their_messages() {
        let (spans, owners) = ([0..2, 3..5, 5..6, 8..9], [1, 3, 3, 7]);
        let trained = [true, false, false, true];
        assert_eq!(
            select(&spans, &owners, &trained),
            (vec![3..5, 5..6], vec![3, 3])
        );
        assert_eq!(last_owner(&owners), Some(7));
        assert_eq!(last_owner(&[]), None);
    }
}
