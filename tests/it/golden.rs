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
    insta::assert_snapshot!(digest(&corpus, "chats.jsonl", SMALL), @"");
    let two = SMALL.replace("epochs: 1", "epochs: 2");
    insta::assert_snapshot!(digest(&corpus, "chats.jsonl", &two), @"");
    let unshuffled = format!("{SMALL}\nshuffle: false");
    insta::assert_snapshot!(digest(&corpus, "chats.jsonl", &unshuffled), @"");
}

#[test]
fn packers() {
    let corpus = Corpus::with_chats(400);
    for (strategy, expected) in [("concat", ""), ("none", "")] {
        let more = SMALL.replace(
            "sequence_length: 512",
            &format!("sequence_length: 512, strategy: {strategy}"),
        );
        let found = digest(&corpus, "chats.jsonl", &more);
        assert_eq!(found, expected, "{strategy}");
    }
}

#[test]
fn streamed() {
    let corpus = Corpus::new();
    corpus.write("chats.jsonl.zst", &zstd_frames(&chats(400), 7));
    let more = format!("{SMALL}\nhold: 0");
    insta::assert_snapshot!(digest(&corpus, "chats.jsonl.zst", &more), @"");
}
