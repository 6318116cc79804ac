//! The order, frozen: these digests may change only with a new `ORDER_VERSION` and a line under Breaking.

use crate::corpus::{Corpus, SMALL, chats, zstd_frames};
use packmill::Recipe;
use packmill::pipeline::Loader;

fn digest(corpus: &Corpus, paths: &str, more: &str) -> String {
    let mut loader = Loader::builder(corpus.recipe(paths, more))
        .cache(corpus.cache())
        .build()
        .unwrap();
    for batch in loader.by_ref() {
        batch.unwrap();
    }
    format!(
        "{} rows {}",
        loader.progress().rows,
        loader.progress().digest
    )
}

#[test]
fn held() {
    let corpus = Corpus::with_chats(400);
    let two = SMALL.replace("epochs: 1", "epochs: 2");
    let unshuffled = format!("{SMALL}\nshuffle: false");
    let found =
        [SMALL, two.as_str(), unshuffled.as_str()].map(|more| digest(&corpus, "chats.jsonl", more));
    assert_eq!(
        found,
        [
            "256 rows a21f242cd1da45a0b5f267ee76ecb9b5",
            "506 rows 903a7232597232b4e24ba58b8fbe1127",
            "254 rows 1f26b28084547cb6386fe9da29ca9455"
        ]
    );
}

#[test]
fn packers() {
    let corpus = Corpus::with_chats(400);
    let found = ["concat", "none"].map(|strategy| {
        let more = SMALL.replace(
            "sequence_length: 512",
            &format!("sequence_length: 512, strategy: {strategy}"),
        );
        digest(&corpus, "chats.jsonl", &more)
    });
    assert_eq!(
        found,
        [
            "236 rows f3c360ae403f4d5e3726173dcc901372",
            "400 rows 6e1779cae964eb1048194992d9c89e32"
        ]
    );
}

/// Blocks that are taken together: within an epoch and over two, of one run and of several, and as they lie.
#[test]
fn streamed() {
    let corpus = Corpus::new();
    corpus.write("chats.jsonl.zst", &zstd_frames(&chats(400), 7));
    corpus.write("more.jsonl.zst", &zstd_frames(&chats(6_000), 300));
    let one = format!("{SMALL}\nhold: 0");
    let two = one.replace("epochs: 1", "epochs: 2");
    let unshuffled = format!("{one}\nshuffle: false");
    let found = [
        ("chats.jsonl.zst", &one),
        ("chats.jsonl.zst", &two),
        ("chats.jsonl.zst", &unshuffled),
        ("more.jsonl.zst", &one),
    ]
    .map(|(paths, more)| digest(&corpus, paths, more));
    assert_eq!(
        found,
        [
            "254 rows c5e9460c43843adf689035b4b76d4386",
            "506 rows d2dffe2004f7c50cc5445c650a9edbc5",
            "254 rows 2ff336a6cb46e0736dd2ca1ea1a0a967",
            "3948 rows 18d1bbf04b59250a79bca620fa4adf12"
        ]
    );
}

/// Mebibytes of plain text, whose records go on over their blocks' ends.
#[test]
fn streamed_plain_text() {
    let corpus = Corpus::new();
    corpus.write("chats.jsonl", chats(30_000).as_bytes());
    let more = format!("{SMALL}\nhold: 0").replace("lanes: 4", "lanes: 2");
    assert_eq!(
        digest(&corpus, "chats.jsonl", &more),
        "19547 rows e9c94e002502a9f4053718e3b7e5fa99"
    );
}

/// The pieces of one record enter a pool one at a time, as other examples do.
#[test]
fn split_records() {
    let corpus = Corpus::with_chats(400);
    let more = SMALL.replace(
        "sequence_length: 512",
        "sequence_length: 64, overlong: split",
    );
    assert_ne!(more, SMALL);
    assert_eq!(
        digest(&corpus, "chats.jsonl", &more),
        "1710 rows a0cb1e741d6c700cc824282e57d92858"
    );
}

/// Two sources drawn 3:1, and on a schedule.
#[test]
fn mixtures() {
    let corpus = Corpus::new();
    let chats = chats(400);
    let lines: Vec<&str> = chats.split_inclusive('\n').collect();
    corpus.write("a.jsonl", lines[..300].concat().as_bytes());
    corpus.write("b.jsonl", lines[300..].concat().as_bytes());
    let found = ["", "schedule: [{row: 100, weights: {a: 1, b: 2}}]"].map(|more| {
        let text = format!(
            "version: 1\nseed: 17\ntokenizer: tokenizer\nsources:\n  - {{name: a, paths: [a.jsonl], weight: 3}}\n  - {{name: b, paths: [b.jsonl], weight: 1}}\n{}\n{more}\n",
            SMALL.replace("epochs: 1\n", "")
        );
        let recipe = Recipe::parse(&text, corpus.dir.path()).unwrap();
        let builder = Loader::builder(recipe).cache(corpus.cache()).steps(60);
        let mut loader = builder.build().unwrap();
        for batch in loader.by_ref() {
            batch.unwrap();
        }
        let progress = loader.progress();
        format!("{} rows {}", progress.rows, progress.digest)
    });
    assert_eq!(
        found,
        [
            "240 rows 97d5fb523f674dce629406d31930f028",
            "240 rows 106eb2dc8a98536b633641936f8b01ce"
        ]
    );
}

/// Epochs through one pool each, emptied at its end.
#[test]
fn exact_epochs() {
    let corpus = Corpus::with_chats(400);
    let of = |epochs: u64, more: &str| {
        let more = format!("{SMALL}\nplan: global\n{more}")
            .replace("epochs: 1", &format!("epochs: {epochs}"));
        digest(&corpus, "chats.jsonl", &more)
    };
    let strategy = |strategy: &str| {
        let small = SMALL.replace(
            "sequence_length: 512",
            &format!("sequence_length: 512, strategy: {strategy}"),
        );
        let more = format!("{small}\nplan: global\n").replace("epochs: 1", "epochs: 2");
        digest(&corpus, "chats.jsonl", &more)
    };
    let found = [
        of(1, ""),
        of(3, ""),
        of(2, "shuffle: false\n"),
        strategy("concat"),
        strategy("none"),
    ];
    assert_eq!(
        found,
        [
            "255 rows 375ad57b0432661ee0c01d383f1493ed",
            "763 rows 351d55f340592abc2aec9ade7138929e",
            "508 rows 75c0b094bf613a998dc5fc15b6c34bff",
            "472 rows 20d6390feb996648cbe7c1d30784c5e2",
            "800 rows 3dca4db57a8f2abf66ad28b1de3767db",
        ]
    );
}
