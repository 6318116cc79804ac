use super::*;
use crate::Kind;
use crate::example::{Ends, Span};
use crate::ledger::Reason;
use crate::pack::overlong::{Fitted, fit};
use std::sync::Arc;

fn cut(fitted: &Fitted) -> Vec<(Span, Ends)> {
    fitted
        .pieces
        .iter()
        .map(|p| (p.tokens.clone(), p.ends))
        .collect()
}

#[test]
fn r16_a_cut_span_keeps_its_surviving_part() {
    let mut long = example(0, 12);
    long.trained = vec![2..4, 6..10, 11..12];
    let kept = fit(long.clone(), &overlong(Overlong::Truncate, 8), None).unwrap();
    assert_eq!(cut(&kept), [(0..8, Ends::Record)]);
    assert_eq!(kept.pieces[0].num_label_tokens(), 2 + 2);
    assert_eq!((kept.truncated_tokens, kept.dropped_tokens), (4, 0));

    let kept = fit(
        long.clone(),
        &overlong(Overlong::TruncateLeft, 5),
        Some(100),
    )
    .unwrap();
    let rebuilt = &kept.pieces[0].example;
    assert_eq!(rebuilt.ids, [100, 108, 109, 110, 111]);
    assert_eq!(rebuilt.trained, [1..3, 4..5]);
    assert_eq!(kept.truncated_tokens, 7);

    let kept = fit(long, &overlong(Overlong::TruncateLeft, 5), Some(7)).unwrap();
    assert_eq!(cut(&kept), [(7..12, Ends::Record)]);
    assert_eq!(kept.pieces[0].num_label_tokens(), 2 + 1);
}

#[test]
fn r17_what_keeps_no_target_is_dropped_and_counted() {
    let mut late = example(0, 12);
    late.trained = vec![0..1, 10..12];
    let dropped = fit(late.clone(), &overlong(Overlong::Truncate, 8), None).unwrap();
    assert!(dropped.pieces.is_empty());
    assert_eq!(dropped.dropped, Some(Reason::NoTrainedToken));
    assert_eq!((dropped.truncated_tokens, dropped.dropped_tokens), (0, 12));

    let split = fit(late.clone(), &overlong(Overlong::Split, 5), None).unwrap();
    assert_eq!(cut(&split), [(10..12, Ends::Record)]);
    assert_eq!((split.dropped, split.dropped_tokens), (None, 10));

    late.trained = vec![5..6, 10..11];
    let split = fit(late.clone(), &overlong(Overlong::Split, 5), None).unwrap();
    assert_eq!(split.dropped, Some(Reason::NoTrainedToken));
    assert_eq!(split.dropped_tokens, 12);

    late.trained = vec![0..1];
    let short = fit(late, &overlong(Overlong::Truncate, 100), None).unwrap();
    assert_eq!(short.dropped, Some(Reason::NoTrainedToken));
}

#[test]
fn overlong_examples_are_dropped_or_end_the_run() {
    let dropped = fit(example(0, 9), &overlong(Overlong::Drop, 8), None).unwrap();
    assert_eq!(
        (dropped.dropped, dropped.dropped_tokens),
        (Some(Reason::Overlong), 9)
    );
    let error = fit(example(0, 9), &overlong(Overlong::Error, 8), None).unwrap_err();
    assert_eq!(error.kind(), Kind::Pack);
    let whole = fit(example(0, 8), &overlong(Overlong::Error, 8), None).unwrap();
    assert_eq!(cut(&whole), [(0..8, Ends::Record)]);
}

#[test]
fn protected_spans_are_never_cut() {
    let mut picture = example(0, 20);
    picture.protected = vec![6..11];
    let fitted = |policy, row| fit(picture.clone(), &overlong(policy, row), Some(100));
    assert_eq!(
        cut(&fitted(Overlong::Truncate, 8).unwrap()),
        [(0..6, Ends::Record)]
    );
    let split = fitted(Overlong::Split, 8).unwrap();
    assert_eq!(
        cut(&split),
        [
            (0..6, Ends::Nothing),
            (6..14, Ends::Nothing),
            (14..20, Ends::Record)
        ]
    );
    let left = fitted(Overlong::TruncateLeft, 12).unwrap();
    assert_eq!(left.pieces[0].example.ids[..2], [100, 111]);
    assert_eq!(left.pieces[0].len(), 10);
    assert_eq!(fitted(Overlong::Split, 4).unwrap_err().kind(), Kind::Pack);
    assert!(fit(picture.clone(), &config(Strategy::Concat, 4), None).is_err());
    let whole = fit(picture.clone(), &config(Strategy::Concat, 5), None).unwrap();
    assert_eq!(cut(&whole), [(0..20, Ends::Record)]);

    picture.protected = vec![0..3];
    let left = fit(picture, &overlong(Overlong::TruncateLeft, 8), Some(100)).unwrap();
    assert_eq!(
        cut(&left),
        [(12..20, Ends::Record)],
        "a BOS inside a protected span goes with it"
    );
}

#[test]
fn pieces_of_one_example_share_it() {
    let split = fit(example(0, 20), &overlong(Overlong::Split, 8), None).unwrap();
    assert!(Arc::ptr_eq(
        &split.pieces[0].example,
        &split.pieces[2].example
    ));
}
