//! Functions over records: what they rewrite comes out as if it had stood in the files, what they leave out is counted.

use crate::corpus::{Corpus, chats};
use packmill::checkpoint::merge;
use packmill::ledger::Reason;
use packmill::order::lanes::Rank;
use packmill::pipeline::{Loader, Model, RowFunction, RowFunctions, Samples};
use packmill::{Error, Kind, Recipe, Result, Stage};
use serde_json::{Value, json};
use std::sync::Arc;

/// Rows of `{"talk": messages}` to chats; those whose number is a multiple of `without` are left out, `bad` is refused.
struct Formatter {
    version: &'static str,
    without: u64,
    bad: Option<u64>,
}

impl RowFunction for Formatter {
    fn identity(&self) -> String {
        format!("formatter {}", self.version)
    }

    fn apply(&self, record: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut row: Value = serde_json::from_slice(record).unwrap();
        let number = row["number"].as_u64().unwrap();
        if Some(number) == self.bad {
            return Err(Error::new(Kind::Row, Stage::Render, "not this one"));
        }
        if number.is_multiple_of(self.without) {
            return Ok(None);
        }
        Ok(Some(
            json!({"messages": row["talk"].take()})
                .to_string()
                .into_bytes(),
        ))
    }
}

fn formatter(version: &'static str, bad: Option<u64>) -> RowFunctions {
    let function = Formatter {
        version,
        without: 5,
        bad,
    };
    RowFunctions::default().over_all(Arc::new(function))
}

const SMALL: &str =
    "pack: {sequence_length: 512, lookahead: 8}\nbatch: {rows: 1}\nlanes: 2\nepochs: 1\nworkers: 2";

/// 60 chats as the function wants them, and the same as packmill does, without those that it leaves out.
fn corpora() -> (Corpus, Corpus) {
    let (mut raw, mut plain) = (String::new(), String::new());
    for (number, line) in chats(60).lines().enumerate() {
        let row: Value = serde_json::from_str(line).unwrap();
        raw += &format!("{}\n", json!({"number": number, "talk": row["messages"]}));
        if number % 5 != 0 {
            plain += &format!("{line}\n");
        }
    }
    let (with, without) = (Corpus::new(), Corpus::new());
    with.write("chats.jsonl", raw.as_bytes());
    without.write("chats.jsonl", plain.as_bytes());
    (with, without)
}

fn built(corpus: &Corpus, recipe: &Recipe, functions: &RowFunctions) -> Result<Loader> {
    let model = Arc::new(Model::with_functions(recipe, functions)?);
    let builder = Loader::builder(recipe.clone()).model(model);
    builder.cache(corpus.cache()).checkpoints().build()
}

fn ids(corpus: &Corpus, recipe: &Recipe, functions: &RowFunctions) -> Vec<Vec<u32>> {
    let model = Arc::new(Model::with_functions(recipe, functions).unwrap());
    let samples = Samples::open(recipe, &model, &corpus.cache()).unwrap();
    let examples = samples.filter_map(|sample| sample.unwrap().content.ok());
    examples.map(|example| example.ids).collect()
}

#[test]
fn rewritten_records_are_those_that_might_have_stood_there() {
    let (with, without) = corpora();
    let rewritten = ids(
        &with,
        &with.recipe("chats.jsonl", SMALL),
        &formatter("1", None),
    );
    let plain = ids(
        &without,
        &without.recipe("chats.jsonl", SMALL),
        &RowFunctions::default(),
    );
    assert_eq!(rewritten, plain);
    assert_eq!(plain.len(), 48);
}

#[test]
fn what_is_left_out_is_counted_under_either_plan() {
    for more in ["", "\nplan: global"] {
        let (with, _) = corpora();
        let recipe = with.recipe("chats.jsonl", &format!("{SMALL}{more}"));
        let mut loader = built(&with, &recipe, &formatter("1", None)).unwrap();
        loader.by_ref().for_each(|batch| drop(batch.unwrap()));
        let ledger = loader.progress().ledger.as_ref().clone();
        let account = serde_json::to_value(&ledger).unwrap();
        let records = &account["chats"]["records"];
        assert_eq!(records["in"], 60, "{account}");
        assert_eq!(records["delivered"], 48, "{account}");
        assert_eq!(
            records["dropped"][Reason::FilteredFunction.to_string()],
            12,
            "{account}"
        );
    }
}

#[test]
fn what_a_function_refuses_is_a_bad_record_with_its_place() {
    let (with, _) = corpora();
    let recipe = with.recipe("chats.jsonl", SMALL);
    let mut loader = built(&with, &recipe, &formatter("1", Some(43))).unwrap();
    let error = loader.find_map(std::result::Result::err).unwrap();
    assert_eq!(
        (error.shard(), error.record()),
        (Some("chats.jsonl"), Some(43))
    );
    assert!(error.to_string().contains("not this one"), "{error}");
    let skips = with.recipe(
        "chats.jsonl",
        &format!("{SMALL}\non_bad_record: {{skip: {{max_fraction: 0.5}}}}"),
    );
    let mut loader = built(&with, &skips, &formatter("1", Some(43))).unwrap();
    loader.by_ref().for_each(|batch| drop(batch.unwrap()));
    let account = serde_json::to_value(loader.progress().ledger.as_ref()).unwrap();
    assert_eq!(
        account["chats"]["records"]["dropped"]["bad_record"], 1,
        "{account}"
    );
}

#[test]
fn another_version_is_another_stream() {
    let (with, _) = corpora();
    let recipe = with.recipe("chats.jsonl", SMALL);
    let mut loader = built(&with, &recipe, &formatter("1", None)).unwrap();
    for _ in 0..3 {
        loader.next().unwrap().unwrap();
    }
    let state = loader.state().unwrap();
    let rest: Vec<_> = loader.map(|batch| batch.unwrap().digest()).collect();
    let resumed = |version| {
        let model = Model::with_functions(&recipe, &formatter(version, None)).unwrap();
        let builder = Loader::builder(recipe.clone()).model(Arc::new(model));
        let whole = merge(vec![state.clone()]).unwrap();
        builder
            .cache(with.cache())
            .rank(Rank::ALONE)
            .resume(whole)
            .build()
    };
    let same: Vec<_> = resumed("1")
        .unwrap()
        .map(|batch| batch.unwrap().digest())
        .collect();
    assert_eq!(same, rest);
    let refused = resumed("2").map(drop).unwrap_err();
    assert_eq!(refused.kind(), Kind::Checkpoint);
    assert!(refused.to_string().contains("function"), "{refused}");
}

#[test]
fn a_function_may_be_over_one_source_that_is_there() {
    let (with, _) = corpora();
    let recipe = with.recipe("chats.jsonl", SMALL);
    let own = |name: &str| {
        let function = Formatter {
            version: "1",
            without: 5,
            bad: None,
        };
        RowFunctions::default().over(name, Arc::new(function))
    };
    assert_eq!(ids(&with, &recipe, &own("chats")).len(), 48);
    let refused = Model::with_functions(&recipe, &own("talks"))
        .map(drop)
        .unwrap_err();
    assert_eq!(refused.kind(), Kind::Recipe);
    assert!(refused.to_string().contains("`talks`"), "{refused}");
}

/// Leaves out all records before one, or all.
struct From(Option<u64>);

impl RowFunction for From {
    fn identity(&self) -> String {
        format!("from {:?}", self.0)
    }

    fn apply(&self, record: &[u8]) -> Result<Option<Vec<u8>>> {
        let row: Value = serde_json::from_slice(record).unwrap();
        let number = row["number"].as_u64().unwrap();
        let stays = self.0.is_some_and(|from| number >= from);
        Ok(stays.then(|| record.to_vec()))
    }
}

#[test]
fn a_long_beginning_may_be_left_out_but_not_all() {
    let corpus = Corpus::new();
    let row = |number| json!({"number": number, "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]});
    let lines: Vec<String> = (0..1200)
        .map(|number| format!("{}\n", row(number)))
        .collect();
    corpus.write("chats.jsonl", lines.concat().as_bytes());
    let recipe = corpus.recipe("chats.jsonl", SMALL);
    let over = |from| RowFunctions::default().over_all(Arc::new(From(from)));
    assert_eq!(ids(&corpus, &recipe, &over(Some(1150))).len(), 50);
    let refused = built(&corpus, &recipe, &over(None)).map(drop).unwrap_err();
    assert!(
        refused.to_string().contains("leaves out every record"),
        "{refused}"
    );
}
