//! The token that ends a turn.

use super::Tokens;
use crate::example::{Span, TokenId};

/// `run`, the tokens of one trained text span, without the end-of-turn token: if the last token that shows
/// anything is one of the added vocabulary, it and what follows it in the run leave the loss. A run that
/// ends on content stays as it is; one that was nothing else is gone.
pub fn without_end_of_turn(
    run: Span,
    tokens: &Tokens<'_>,
    is_added: impl Fn(TokenId) -> bool,
) -> Option<Span> {
    let last = run
        .clone()
        .rev()
        .find(|&position| !tokens.is_blank(position));
    match last {
        Some(last)
            if tokens
                .ids
                .get(last as usize)
                .is_some_and(|&id| is_added(id)) =>
        {
            Some(run.start..last).filter(|run| !run.is_empty())
        }
        _ => Some(run),
    }
}

/// What [`without_end_of_turn`] takes off `run`: the end-of-turn token and what follows it; none where the run
/// ends on content.
pub fn end_of_turn(
    run: Span,
    tokens: &Tokens<'_>,
    is_added: impl Fn(TokenId) -> bool,
) -> Option<Span> {
    let kept = without_end_of_turn(run.clone(), tokens, is_added);
    let end = kept.map_or(run.start, |kept| kept.end)..run.end;
    Some(end).filter(|end| !end.is_empty())
}

/// What a model trained so learns to stop with: the last trained token that shows anything, if it is one of
/// the added vocabulary, not content. To be asked of a conversation that goes on after an assistant turn,
/// because some templates leave the terminator to the message that follows
/// (`is_chat_template_stop_token_trained` of TRL).
pub fn stop_token(
    tokens: &Tokens<'_>,
    trained: &[Span],
    is_added: impl Fn(TokenId) -> bool,
) -> Option<TokenId> {
    trained
        .iter()
        .rev()
        .flat_map(|span| span.clone().rev())
        .find(|&position| !tokens.is_blank(position))
        .and_then(|last| tokens.ids.get(last as usize).copied())
        .filter(|&id| is_added(id))
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "a mask may be one range")]
mod tests {
    use super::*;

    const TEXT: &str = "<|a|>hi<|e|>\n<|u|>";
    const OFFSETS: [(u32, u32); 5] = [(0, 5), (5, 7), (7, 12), (12, 13), (13, 18)];
    const IDS: [TokenId; 5] = [100, 1, 101, 2, 100];

    fn tokens() -> Tokens<'static> {
        Tokens {
            text: TEXT,
            ids: &IDS,
            offsets: &OFFSETS,
        }
    }

    fn is_added(id: TokenId) -> bool {
        id >= 100
    }

    #[test]
    fn r11_the_end_of_turn_token_can_leave_the_loss_with_what_follows_it() {
        let without = |run: Span| without_end_of_turn(run, &tokens(), is_added);
        assert_eq!(without(1..4), Some(1..2));
        assert_eq!(without(1..3), Some(1..2));
        assert_eq!(without(1..2), Some(1..2), "content stays");
        assert_eq!(without(2..4), None, "nothing else was there");
        assert_eq!(without(3..4), Some(3..4), "only blanks");
    }

    #[test]
    fn the_end_of_turn_can_be_all_that_is_trained() {
        let end = |run: Span| end_of_turn(run, &tokens(), is_added);
        assert_eq!(end(1..4), Some(2..4));
        assert_eq!(end(2..4), Some(2..4));
        assert_eq!(end(1..2), None, "content is not trained");
    }

    #[test]
    fn r12_a_stop_token_is_trained_or_not() {
        let stop = |trained: &[Span]| stop_token(&tokens(), trained, is_added);
        assert_eq!(stop(&[1..4]), Some(101));
        assert_eq!(stop(&[1..2, 2..3]), Some(101));
        assert_eq!(stop(&[1..2]), None);
        assert_eq!(stop(&[]), None);
    }
}
