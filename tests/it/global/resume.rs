//! Going on, in and between epochs.

use super::*;

/// Where a stream is left: in mid-epoch, a step before an epoch's end, at it, a step after it.
#[test]
fn resumes_in_and_between_epochs_at_another_size() {
    let corpus = corpus();
    for pack in [PACKS[0], PACKS[7], PACKS[9], PACKS[10]] {
        let base = recipe(&corpus, &format!("{pack}\nepochs: 3"));
        let one = alone(&corpus, &base);
        let sizes = [(1, 1), (3, 6), (2, 2), (5, 10), (8, 8)];
        for (turn, &(before, step_rows)) in sizes.iter().enumerate() {
            let mut first = base.clone();
            first.batch.step_rows = Some(step_rows);
            let (after, step_rows_after) = sizes[(turn + 1) % sizes.len()];
            let mut second = base.clone();
            second.batch.step_rows = Some(step_rows_after);
            let epoch = one.parts[0].outlook.rows[0].div_ceil(step_rows as u64);
            let stops = [epoch / 2, epoch - 1, epoch, epoch + 1];
            // Each size leaves off at two of these places.
            for stop in [stops[turn % 4], stops[(turn + 2) % 4]] {
                let name = format!("{pack}: {before} ranks to step {stop}, {after} go on");
                let begun = world(&corpus, &first, before, None, Some(stop));
                let from = begun.whole.unwrap();
                assert_eq!(from.step, stop, "{name}");
                let end = world(&corpus, &second, after, Some(&from), None);
                let mut rows = begun.rows.clone();
                for (number, row) in &end.rows {
                    assert!(
                        rows.insert(*number, row.clone()).is_none(),
                        "{name}: {number}"
                    );
                }
                assert_eq!(rows, one.rows, "{name}");
                assert_eq!(
                    (end.digest, &end.ledger),
                    (one.digest, &one.ledger),
                    "{name}"
                );
                let last = &end.parts[0];
                assert_eq!(Some(last.progress.step), last.outlook.last_step, "{name}");
                assert_eq!(last.outlook.counted_records, 0, "{name}");
            }
        }
    }
}

#[test]
fn after_the_end_there_is_nothing_until_epochs_is_raised() {
    let corpus = corpus();
    let more = |epochs| format!("{SMALL}\nepochs: {epochs}");
    let two = recipe(&corpus, &more(2));
    let end = world(&corpus, &two, 3, None, None);
    let from = end.whole.unwrap();
    let nothing = world(&corpus, &two, 2, Some(&from), None);
    assert!(nothing.rows.is_empty() && nothing.parts[0].batches.is_empty());
    assert_eq!((nothing.digest, &nothing.ledger), (end.digest, &end.ledger));
    assert_eq!(nothing.parts[0].outlook.last_step, Some(from.step));
    let four = recipe(&corpus, &more(4));
    let all = alone(&corpus, &four);
    let rest = world(&corpus, &four, 2, Some(&from), None);
    let both: Rows = end.rows.into_iter().chain(rest.rows).collect();
    assert_eq!(both, all.rows);
    assert_eq!((rest.digest, rest.ledger), (all.digest, all.ledger));
    let one = recipe(&corpus, &more(1));
    let error = try_rank(&corpus, &one, Rank::ALONE, Some(&from), None)
        .err()
        .unwrap();
    assert_eq!(error.kind(), Kind::Checkpoint, "{error}");
    assert!(error.to_string().contains("epoch 2"), "{error}");
    // Whoever stands exactly at an epoch's end has begun no other.
    let whole = world(&corpus, &two, 1, None, Some(end.parts[0].outlook.rows[0])).whole;
    assert!(alone_from(&corpus, &one, &whole.unwrap()).rows.is_empty());
}

fn alone_from(corpus: &Corpus, recipe: &Recipe, from: &Whole) -> World {
    world(corpus, recipe, 1, Some(from), None)
}

/// An endless stream goes through epoch after epoch; what it announces is the first.
#[test]
fn without_epochs_it_has_no_end() {
    let corpus = corpus();
    let endless = world(&corpus, &recipe(&corpus, SMALL), 2, None, Some(100));
    let outlook = &endless.parts[0].outlook;
    assert_eq!((outlook.last_step, outlook.rows.len()), (None, 1));
    let nine = alone(&corpus, &recipe(&corpus, &format!("{SMALL}\nepochs: 9")));
    let expected: Rows = nine
        .rows
        .into_iter()
        .filter(|row| endless.rows.contains_key(&row.0))
        .collect();
    assert!(endless.parts[0].progress.step == 100 && endless.rows.len() > 150);
    assert_eq!(endless.rows, expected);
}
