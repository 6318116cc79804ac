//! What cannot be planned, and checkpoints of other plans.

use super::*;
use packmill::pipeline::Pass;
use std::sync::Mutex;

#[test]
fn what_cannot_be_planned_is_refused_with_the_remedy() {
    let corpus = corpus();
    let write = |text: &str| corpus.write("recipe.yaml", text.as_bytes());
    let base = yaml(&format!("{SMALL}\nepochs: 1"));
    write(
        &base
            .replace("name: a,", "name: a, weight: 1,")
            .replace("name: b,", "name: b, weight: 1,"),
    );
    let (error, code) = refusal(&corpus.stream("recipe.yaml --steps 3"));
    assert_eq!(code, Some(2), "{error}");
    assert!(
        error.contains("plan") && error.contains("weights"),
        "{error}"
    );
    write(&format!("{base}hold: 0\n"));
    let (error, code) = refusal(&corpus.stream("recipe.yaml"));
    assert_eq!(code, Some(2), "{error}");
    assert!(
        error.contains("larger hold") && error.contains("plan: lanes"),
        "{error}"
    );
    write(&base.replace("rows: 1", "rows: 2, step_rows: 8"));
    let (error, code) = refusal(&corpus.stream("recipe.yaml --world-size 3 --rank 0"));
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("multiple of 6"), "{error}");
    corpus.write("b.jsonl", ODD.as_bytes());
    let sources = "  - {name: a, paths: [\"a-*\"]}\n";
    write(&base.replace(sources, ""));
    let (error, code) = refusal(&corpus.stream("recipe.yaml"));
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("no row"), "{error}");
}

#[test]
fn more_epochs_than_are_counted_beforehand_are_refused() {
    let corpus = corpus();
    corpus.write("recipe.yaml", yaml(SMALL).as_bytes());
    let (error, code) = refusal(&corpus.stream("recipe.yaml --epochs 1000000"));
    assert_eq!(code, Some(2), "{error}");
    assert!(
        error.contains("at most 65536") && error.contains("count steps"),
        "{error}"
    );
}

#[test]
fn planning_tells_how_far_it_is_and_can_be_ended() {
    let corpus = corpus();
    let builder = || {
        let recipe = recipe(&corpus, &format!("{SMALL}\nepochs: 40"));
        Loader::builder(recipe).cache(corpus.cache())
    };
    let ended = builder().counting(|count| match count.pass {
        Pass::Lengths | Pass::Duplicates => Ok(()),
        Pass::Epochs => Err(Error::new(Kind::Io, packmill::Stage::Order, "enough")),
    });
    let error = ended.build().map(|_| ()).unwrap_err();
    assert_eq!(error.message(), "enough");
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    let whole = builder().counting(move |count| {
        tell.lock().unwrap().push(count);
        Ok(())
    });
    let _ = whole.build().unwrap();
    let told = told.lock().unwrap();
    let epochs = told.iter().filter(|count| count.pass == Pass::Epochs);
    assert!(epochs.clone().all(|count| count.of == 40));
    assert_eq!(epochs.map(|count| count.done).max(), Some(40));
}

#[test]
fn another_plan_is_refused_by_name() {
    let corpus = corpus();
    let global = yaml(&format!("{SMALL}\nepochs: 1"));
    let lanes = global.replace("plan: global", "lanes: 4");
    corpus.write("global.yaml", global.as_bytes());
    corpus.write("lanes.yaml", lanes.as_bytes());
    for (begun, other) in [("lanes", "global"), ("global", "lanes")] {
        let arguments = format!("{begun}.yaml --steps 5 --checkpoint {begun} --checkpoint-every 5");
        report(&corpus.stream(&arguments));
        let arguments = format!("{other}.yaml --resume {begun}");
        let (error, code) = refusal(&corpus.stream(&arguments));
        assert_eq!(code, Some(2), "{error}");
        assert!(error.contains("plan"), "{error}");
    }
    // From the command line, with ranks: 8 steps of one, then all of three.
    report(&corpus.stream("global.yaml --steps 8 --checkpoint ck --checkpoint-every 4"));
    let one = report(&corpus.stream("global.yaml --output out"));
    let three: Vec<Value> = (0..3)
        .map(|rank| {
            let arguments = format!("global.yaml --resume ck --world-size 3 --rank {rank}");
            report(&corpus.stream(&arguments))
        })
        .collect();
    assert_eq!(sum(&three), one["digest"]);
    let (error, code) = refusal(&corpus.stream("global.yaml --resume ck --rank 1 --world-size 1"));
    assert_eq!(code, Some(2), "{error}");
    // Begun: the second epoch.
    let steps = one["steps"].as_u64().unwrap() + 1;
    let arguments = format!(
        "global.yaml --epochs 2 --steps {steps} --checkpoint two --checkpoint-every {steps}"
    );
    report(&corpus.stream(&arguments));
    let (error, code) = refusal(&corpus.stream("global.yaml --resume two"));
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("set epochs to 2 or more"), "{error}");
}
