//! The order, frozen: these digests may change only with a new `ORDER_VERSION` and a line under Breaking.

use crate::corpus::{Corpus, SMALL, chats, zstd_frames};
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
    assert_eq!(found, ["H0", "H1", "H2"]);
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
    assert_eq!(found, ["P0", "P1"]);
}

#[test]
fn streamed() {
    let corpus = Corpus::new();
    corpus.write("chats.jsonl.zst", &zstd_frames(&chats(400), 7));
    let more = format!("{SMALL}\nhold: 0");
    assert_eq!(digest(&corpus, "chats.jsonl.zst", &more), "S0");
}
