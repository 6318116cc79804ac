//! What is written reads back; what was cut, edited or makes no sense does not.

use super::super::state::{Phase, Pooled, State};
use super::{any_state, state};
use crate::error::Kind;
use crate::ledger::Account;
use proptest::prelude::*;
use std::path::Path;
use xxhash_rust::xxh3::xxh3_128;

const FILE: &str = "run/step-00000020/rank-00000-of-00001.json";

fn parse(text: &str) -> Result<State, String> {
    State::parse(text, Path::new(FILE)).map_err(|error| {
        assert_eq!(error.kind(), Kind::Checkpoint);
        let message = error.to_string();
        assert!(
            message.starts_with(&format!("{FILE}: checkpoint: ")),
            "{message}"
        );
        message
    })
}

/// The text with `from` replaced, and a last line that fits it again.
fn edited(state: &State, from: &str, to: &str) -> String {
    let text = state.to_text();
    let body = text.lines().filter(|line| !line.starts_with("\"hash\""));
    let body: String = body.flat_map(|line| [line, "\n"]).collect();
    assert!(body.contains(from), "no {from} in {body}");
    let body = body.replacen(from, to, 1);
    format!("{body}\"hash\": \"{:032x}\"}}\n", xxh3_128(body.as_bytes()))
}

fn one() -> State {
    state(&["sgd"], 2, 0, 1, 41)
}

proptest! {
    #[test]
    fn a_state_reads_back(state in any_state()) {
        let text = state.to_text();
        prop_assert_eq!(&parse(&text).map_err(TestCaseError::fail)?, &state);
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&json["version"], 1);
        prop_assert_eq!(text.lines().filter(|l| l.starts_with("{\"lane\":")).count(), state.lanes.len());
    }

    #[test]
    fn any_prefix_is_refused(state in any_state(), at: prop::sample::Index) {
        let text = state.to_text();
        let mut end = at.index(text.len());
        while !text.is_char_boundary(end) { end -= 1; }
        prop_assert!(parse(&text[..end]).is_err());
    }

    #[test]
    fn any_changed_byte_is_refused(state in any_state(), at: prop::sample::Index, to: u8) {
        let mut bytes = state.to_text().into_bytes();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        if let Ok(text) = std::str::from_utf8(&bytes) {
            prop_assert!(parse(text).is_err());
        }
    }
}

#[test]
fn every_prefix_and_every_flipped_bit_of_one_file() {
    let text = one().to_text();
    assert_eq!(parse(&text), Ok(one()));
    for end in 0..text.len() {
        assert!(parse(&text[..end]).is_err(), "{end} bytes are taken");
    }
    for at in 0..text.len() {
        for bit in 0..8 {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            if let Ok(text) = String::from_utf8(bytes) {
                assert!(parse(&text).is_err(), "bit {bit} of byte {at}");
            }
        }
    }
}

#[test]
fn errors_name_what_is_wrong() {
    let cut = parse(&one().to_text()[..200]).unwrap_err();
    assert!(cut.contains("cut short"), "{cut}");
    let newer = parse(&edited(&one(), "\"version\": 1", "\"version\": 2")).unwrap_err();
    assert!(
        newer.contains("of version 2, and this packmill knows only 1"),
        "{newer}"
    );
    // What a later version holds is not looked at.
    let newer = edited(&one(), "\"version\": 1", "\"version\": 3, \"new\": []");
    assert!(parse(&newer).unwrap_err().contains("of version 3"));
    let unknown = parse(&edited(&one(), "\"step\"", "\"steep\"")).unwrap_err();
    assert!(unknown.contains("steep"), "{unknown}");
}

#[test]
fn numbers_that_make_no_sense_are_refused() {
    assert_eq!(
        parse(&edited(&one(), "\"step\": 20", "\"step\": 20")),
        Ok(one())
    );
    for (from, to, what) in [
        ("\"version\": 1", "\"version\": 0", "no version 0"),
        ("\"rank\": 0", "\"rank\": 1", "rank 1 of 1"),
        ("\"world_size\": 1", "\"world_size\": 0", "rank 0 of 0"),
        (
            "\"world_size\": 1",
            "\"world_size\": 3",
            "rank 0 of 3 with 2 lanes",
        ),
        (
            "\"world_size\": 1",
            "\"world_size\": 2",
            "lanes are not those of rank 0 of 2",
        ),
        ("\"lanes\":\"2\"", "\"lanes\":\"two\"", "how many lanes"),
        (
            "\"lanes\":\"2\"",
            "\"lanes\":\"3\"",
            "the lanes are not those",
        ),
        (
            "\"rows\": 41",
            "\"rows\": 40",
            "lane 0's 21 rows do not add up to row 40",
        ),
        (
            "\"rows\": 41",
            "\"rows\": 18446744073709551615",
            "more than there can be",
        ),
        ("\"rows\": 41", "\"rows\": -1", "-1"),
        ("\"rows\": 41", "\"rows\": 4.1e1", "41"),
        ("\"since\": 0", "\"since\": 42", "since is 42"),
        ("\"lane\":1", "\"lane\":0", "the lanes are not those"),
        ("[[9,", "[[4503599627370497,", "a cursor: 9007199254740994"),
        ("[[9,", "[[18446744073709551615,", "a cursor"),
        ("[[9,0", "[[9", "not a checkpoint"),
        ("[[7,1]]", "[[0,1]]", "1 bad records of 0"),
        ("[[7,1]]", "[]", "0 counts of bad records for 1 sources"),
        ("\"pool\":\"\"", "\"pool\":\"0\"", "past the cursor"),
        (
            "\"pool\":\"\"",
            "\"pool\":\"10\"",
            "pooled example `10` makes no sense",
        ),
        ("\"pool\":\"\"", "\"pool\":\"1 2\"", "out of order"),
        (
            "\"pool\":\"\",\"waiting\":\"\"",
            "\"pool\":\"1\",\"waiting\":\"1\"",
            "out of order",
        ),
        (
            "\"ended\":false",
            "\"ended\":true,\"ended\":true",
            "duplicate",
        ),
        (
            "\"phase\": \"lanes\"",
            "\"phase\": {\"last_pool\":{\"rows\":0}}",
            "before all lanes have ended",
        ),
        ("\"shards\":3", "\"shards\":4", "groups of shards"),
        (
            "\"step_rows\": 8",
            "\"step_rows\": 18446744073709551615",
            "step_rows: 18446744073709551615",
        ),
        (
            "\"records\":{}",
            "\"records\":{\"in\":1}",
            "does not balance",
        ),
        (
            "\"records\":{}",
            "\"records\":{\"delivered\":9007199254740993}",
            "impossible counts",
        ),
        (
            "\"records\":{}",
            "\"records\":{},\"examples\":{\"delivered\":9007199254740993}",
            "impossible counts",
        ),
        (
            "\"records\":{}",
            "\"records\":{},\"examples\":{\"pending\":-1}",
            "does not balance",
        ),
        ("\"tokens\":{}", "\"tokens\":{\"pendnig\":1}", "pendnig"),
        ("\"digest\": \"0", "\"digest\": \"X", "digest"),
    ] {
        let error = parse(&edited(&one(), from, to)).expect_err(to);
        assert!(error.contains(what), "{to}: {error}");
    }
}

/// As packmill wrote it before zeroes were left out and the step's size was saved.
#[test]
fn an_account_with_all_its_zeroes_and_no_size_of_a_step_are_read() {
    let full = r#""records":{"in":3,"delivered":2,"truncated":0,"dropped":{},"pending":1},"tokens":{"in":0,"delivered":0,"truncated":0,"dropped":{},"pending":0},"unreadable":{"blocks":0,"bytes":0}"#;
    let text = edited(&one(), "\"records\":{},\"tokens\":{}", full);
    let mut expected = one();
    let (_, account) = &mut expected.ledger.sources[0];
    (account.records.taken, account.records.delivered) = (3, 2);
    account.records.pending = 1;
    account.examples = account.records.clone();
    assert_eq!(parse(&text), Ok(expected));
    let text = edited(&one(), " \"step_rows\": 8,", "");
    let mut expected = one();
    expected.step_rows = None;
    assert_eq!(parse(&text), Ok(expected));
}

#[test]
fn a_finite_streams_rows_add_up() {
    let mut state = one();
    for lane in &mut state.lanes {
        (lane.rows, lane.ended) = (10 + u64::from(lane.lane), true);
    }
    state.phase = Phase::LastPool { rows: 3 };
    state.rows = 24;
    assert_eq!(parse(&state.to_text()), Ok(state.clone()));
    let wrong = edited(&state, "\"rows\":3", "\"rows\":4");
    assert!(
        parse(&wrong)
            .unwrap_err()
            .contains("do not add up to row 24")
    );
}

/// Of a source that a fork removed nothing is pending, no example either.
#[test]
fn what_was_removed_is_settled() {
    let mut state = one();
    let account = Account::default();
    state.ledger.sources.push(("old".to_owned(), account));
    assert_eq!(parse(&state.to_text()), Ok(state.clone()));
    let (_, account) = &mut state.ledger.sources[1];
    (account.examples.taken, account.examples.pending) = (3, 3);
    let refused = parse(&state.to_text()).unwrap_err();
    assert!(refused.contains("sources are not those"), "{refused}");
}

#[test]
fn a_person_can_read_it() {
    let mut state = one();
    state.lanes[0].streams[0].place = 4;
    let pooled = |position, place| Pooled {
        position,
        place,
        ..Pooled::default()
    };
    state.lanes[0].pool = vec![pooled(6, 0), pooled(8, 120), pooled(9, 3)];
    let text = state.to_text();
    let lane = text.lines().find(|line| line.starts_with("{\"lane\":0"));
    assert_eq!(
        lane,
        Some(
            "{\"lane\":0,\"rows\":21,\"ended\":false,\"weights\":0,\"streams\":[[9,4,0,0,0]],\
             \"bad\":[[7,1]],\"pool\":\"3 1.120 .3\",\"waiting\":\"\"},"
        )
    );
}
