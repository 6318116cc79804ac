//! Bad records: judged before the first row, booked in their place in every epoch.

use super::*;

const SKIP: &str = "on_bad_record: {skip: {max_fraction: 0.01}}";

/// The corpus with bad lines behind the first of source `b`.
fn with_bad(lines: usize) -> Corpus {
    let corpus = corpus();
    let text = std::fs::read_to_string(corpus.path("b.jsonl")).unwrap();
    let first = text.find('\n').unwrap() + 1;
    let bad = "{\"messages\": [\n".repeat(lines);
    corpus.write(
        "b.jsonl",
        format!("{}{bad}{}", &text[..first], &text[first..]).as_bytes(),
    );
    corpus
}

fn account(world: &World, source: usize) -> &Account {
    &world.ledger.sources[source].1
}

#[test]
fn bad_records_are_judged_before_the_first_row_and_booked_in_every_epoch() {
    let corpus = with_bad(3);
    let base = yaml(&format!("{SMALL}\nepochs: 3"));
    corpus.write("stop.yaml", base.as_bytes());
    corpus.write("skip.yaml", format!("{base}{SKIP}\n").as_bytes());
    let stop = || {
        let (error, code) = refusal(&corpus.stream("stop.yaml"));
        assert_eq!(code, Some(1), "{error}");
        assert!(
            error.contains("b.jsonl") && error.contains("record 1:"),
            "{error}"
        );
    };
    stop();
    report(&corpus.stream("skip.yaml"));
    // What is in the cache by now holds bad records.
    stop();
    let skip = parse(&corpus, &format!("{base}{SKIP}\n"));
    let (one, two) = (alone(&corpus, &skip), world(&corpus, &skip, 2, None, None));
    assert_eq!((one.digest, &one.ledger), (two.digest, &two.ledger));
    assert_eq!(one.parts[0].outlook.counted_records, 0);
    let records = &account(&one, 1).records;
    assert_eq!(records.dropped.get(&Reason::BadRecord), Some(&9));
    assert_eq!((records.taken, records.delivered), (3 * 50, 3 * 47));
    // At each step, in their places: none is booked ahead of its epoch.
    let epoch = one.parts[0].outlook.rows[0];
    let first = world(&corpus, &skip, 1, None, Some(epoch));
    let records = &account(&first, 1).records;
    assert_eq!(records.dropped.get(&Reason::BadRecord), Some(&3));

    let corpus = with_bad(9);
    corpus.write("skip.yaml", format!("{base}{SKIP}\n").as_bytes());
    let (error, code) = refusal(&corpus.stream("skip.yaml"));
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("9 of 56 records of source `b`"), "{error}");
    assert!(error.contains("b.jsonl"), "{error}");
    // What one forgives, another need not, whoever counted.
    let more = SKIP.replace("0.01", "0.02");
    corpus.write("more.yaml", format!("{base}{more}\n").as_bytes());
    report(&corpus.stream("more.yaml"));
    let (error, _) = refusal(&corpus.stream("skip.yaml"));
    assert!(error.contains("9 of 56 records of source `b`"), "{error}");
}

#[test]
fn a_cut_frame_is_booked_in_every_epoch() {
    let corpus = corpus();
    let bytes = std::fs::read(corpus.path("a-1.jsonl.zst")).unwrap();
    corpus.write("a-1.jsonl.zst", &bytes[..bytes.len() - 30]);
    let base = yaml(&format!("{SMALL}\nepochs: 3"));
    corpus.write("stop.yaml", base.as_bytes());
    let (error, code) = refusal(&corpus.stream("stop.yaml"));
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("a-1.jsonl.zst"), "{error}");
    let recipe = parse(&corpus, &format!("{base}{SKIP}\n"));
    let one = alone(&corpus, &recipe);
    let lost = &account(&one, 0).unreadable;
    assert_eq!(lost.blocks, 3);
    assert!(lost.bytes > 0 && lost.bytes.is_multiple_of(3), "{lost:?}");
    let three = world(&corpus, &recipe, 3, None, None);
    assert_eq!(
        (three.digest, three.ledger),
        (one.digest, one.ledger.clone())
    );
    assert_eq!(ledger_of_lanes(&corpus, &recipe), one.ledger);
}
