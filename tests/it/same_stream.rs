//! Guarantee 1: rows and their order are a pure function of corpus, recipe and seed.

use crate::corpus::{Corpus, SMALL, chats, gzip, zstd_frames};
use packmill::pipeline::{Loader, Progress, Samples};
use packmill::recipe::Io;
use packmill::{Recipe, batch::Batch};
use std::collections::BTreeMap;

fn load(corpus: &Corpus, recipe: Recipe) -> (Vec<Batch>, Progress) {
    let mut loader = Loader::builder(recipe)
        .cache(corpus.cache())
        .build()
        .unwrap();
    let batches: Vec<Batch> = loader.by_ref().map(|batch| batch.unwrap()).collect();
    let progress = loader.progress().clone();
    assert!(progress.ledger.balanced(), "{:?}", progress.ledger);
    (batches, progress)
}

/// Streams `recipe` in another way than `base` was.
fn assert_unmoved(
    corpus: &Corpus,
    mut recipe: Recipe,
    workers: usize,
    prefetch: usize,
    io: Io,
    base: &Progress,
) {
    (recipe.workers, recipe.prefetch, recipe.io) = (Some(workers), prefetch, io);
    let other = load(corpus, recipe).1;
    assert_eq!(
        other.digest, base.digest,
        "workers {workers}, prefetch {prefetch}, {io:?}"
    );
    assert_eq!(other.ledger, base.ledger);
}

#[test]
fn r27_workers_prefetch_and_io_change_nothing() {
    let corpus = Corpus::with_chats(700);
    let base = load(&corpus, corpus.recipe("chats.jsonl", SMALL)).1;
    assert!(base.rows > 100);
    for workers in [1, 2, 5] {
        for prefetch in [1, 64] {
            for io in [Io::Mmap, Io::Pread] {
                let recipe = corpus.recipe("chats.jsonl", SMALL);
                assert_unmoved(&corpus, recipe, workers, prefetch, io, &base);
            }
        }
    }
}

/// Blocks of one run and of several, taken together: whose turn it is must not depend on who is ready.
#[test]
fn r27_workers_prefetch_and_io_change_nothing_streamed() {
    let corpus = Corpus::new();
    for lines in [3, 300] {
        corpus.write(
            "chats.jsonl.zst",
            &zstd_frames(&chats(lines * 40 + 1), lines),
        );
        let more = format!("{SMALL}\nhold: 0");
        let base = load(&corpus, corpus.recipe("chats.jsonl.zst", &more)).1;
        assert!(base.rows > 50);
        for (workers, prefetch) in [(1, 64), (2, 1), (5, 64)] {
            for io in [Io::Mmap, Io::Pread] {
                let recipe = corpus.recipe("chats.jsonl.zst", &more);
                assert_unmoved(&corpus, recipe, workers, prefetch, io, &base);
            }
        }
    }
}

#[test]
fn held_codecs_give_the_same_stream() {
    let text = chats(300);
    let corpus = Corpus::new();
    for (folder, bytes) in [
        ("plain", text.clone().into_bytes()),
        ("frames", zstd_frames(&text, 40)),
        ("one", zstd_frames(&text, 1_000_000)),
        ("gzip", gzip(&text)),
        (
            "members",
            [gzip(&text[..text.len() / 2]), gzip(&text[text.len() / 2..])].concat(),
        ),
    ] {
        std::fs::create_dir(corpus.path(folder)).unwrap();
        corpus.write(&format!("{folder}/chats"), &bytes);
    }
    let digest = |folder: &str| {
        load(&corpus, corpus.recipe(&format!("{folder}/chats"), SMALL))
            .1
            .digest
    };
    let plain = digest("plain");
    for folder in ["frames", "one", "gzip", "members"] {
        assert_eq!(digest(folder), plain, "{folder}");
    }
}

#[test]
fn rows_a_batch_and_label_form_change_no_row() {
    let corpus = Corpus::with_chats(300);
    let base = load(&corpus, corpus.recipe("chats.jsonl", SMALL)).1;
    for more in [
        SMALL.replace("rows: 4", "rows: 7"),
        SMALL.replace("rows: 4", "rows: 2, step_rows: 6"),
        SMALL.replace("rows: 4", "rows: 4, labels: shifted"),
    ] {
        let other = load(&corpus, corpus.recipe("chats.jsonl", &more)).1;
        assert_eq!(other.digest, base.digest, "{more}");
        assert_eq!(other.supervised_tokens, base.supervised_tokens);
    }
}

#[test]
fn steps_end_delivery_and_change_no_row() {
    let corpus = Corpus::with_chats(300);
    let (all, _) = load(&corpus, corpus.recipe("chats.jsonl", SMALL));
    let mut loader = Loader::builder(corpus.recipe("chats.jsonl", SMALL))
        .cache(corpus.cache())
        .steps(3)
        .build()
        .unwrap();
    let some: Vec<Batch> = loader.by_ref().map(|b| b.unwrap()).collect();
    assert_eq!(some.len(), 3);
    assert_eq!(loader.progress().steps, 3);
    for (a, b) in some.iter().zip(&all) {
        assert_eq!(a.digest(), b.digest());
    }
}

/// Every example of `samples`, whole, exactly `epochs` times in the rows' provenance and ids.
fn delivers_every_sample(corpus: &Corpus, recipe: &Recipe, epochs: usize) {
    let model = crate::corpus::model(recipe);
    let mut expected: BTreeMap<Vec<u32>, usize> = BTreeMap::new();
    for sample in Samples::open(recipe, &model, &corpus.cache()).unwrap() {
        if let Ok(example) = sample.unwrap().content {
            *expected.entry(example.ids).or_default() += epochs;
        }
    }
    let (batches, progress) = load(corpus, recipe.clone());
    let mut found: BTreeMap<Vec<u32>, usize> = BTreeMap::new();
    let mut supervised = 0;
    for batch in &batches {
        supervised += batch.num_label_tokens();
        let ids: Vec<u32> = batch
            .input_ids()
            .iter()
            .map(|id| u32::try_from(id).unwrap())
            .collect();
        for (cut, &length) in batch.cu_seqlens().windows(2).zip(batch.segment_lengths()) {
            if length > 0 {
                let start = cut[0] as usize;
                *found
                    .entry(ids[start..start + length as usize].to_vec())
                    .or_default() += 1;
            }
        }
    }
    assert!(!expected.is_empty());
    assert_eq!(found, expected);
    assert_eq!(supervised, progress.supervised_tokens);
    let (_, account) = &progress.ledger.sources[0];
    assert_eq!(account.records.pending, 0);
    assert_eq!(account.tokens.delivered, progress.tokens);
}

#[test]
fn every_record_exactly_once_an_epoch_held() {
    let corpus = Corpus::with_chats(500);
    let long = SMALL.replace("512", "1500");
    delivers_every_sample(&corpus, &corpus.recipe("chats.jsonl", &long), 1);
    delivers_every_sample(
        &corpus,
        &corpus.recipe("chats.jsonl", &long.replace("epochs: 1", "epochs: 3")),
        3,
    );
}

#[test]
fn every_record_exactly_once_an_epoch_streamed() {
    let text = chats(500);
    let corpus = Corpus::new();
    // Frames that end in the middle of lines, so that records cross blocks.
    let bytes = text.as_bytes();
    let frames: Vec<u8> = bytes
        .chunks(3_001)
        .flat_map(|part| zstd::bulk::compress(part, 3).unwrap())
        .collect();
    corpus.write("chats-0.jsonl.zst", &frames);
    corpus.write("chats-1.jsonl.zst", &zstd_frames(&chats(100), 3));
    let more = format!("{}\nhold: 0", SMALL.replace("512", "1500"));
    delivers_every_sample(&corpus, &corpus.recipe("chats-*.jsonl.zst", &more), 1);
    let mmap = load(
        &corpus,
        corpus.recipe("chats-*.jsonl.zst", &format!("{more}\nio: mmap")),
    )
    .1;
    let pread = load(
        &corpus,
        corpus.recipe(
            "chats-*.jsonl.zst",
            &format!("{more}\nio: pread\nprefetch: 1"),
        ),
    )
    .1;
    assert_eq!(mmap.digest, pread.digest);
}

#[test]
fn shuffle_off_with_one_lane_delivers_in_corpus_order() {
    let corpus = Corpus::with_chats(60);
    let more = "pack: {sequence_length: 2048, strategy: none}\nbatch: {rows: 4}\nlanes: 1\nshuffle: false\nepochs: 1";
    let (batches, _) = load(&corpus, corpus.recipe("chats.jsonl", more));
    let mut blocks = Vec::new();
    for batch in &batches {
        for segment in batch
            .provenance()
            .chunks(packmill::batch::PROVENANCE_FIELDS.len())
        {
            blocks.push(segment[2]);
        }
    }
    assert_eq!(blocks, (0..60).collect::<Vec<i64>>());
}

#[test]
fn no_spool_stays_behind() {
    let corpus = Corpus::new();
    corpus.write("chats.jsonl.zst", &zstd_frames(&chats(50), 10));
    let recipe = corpus.recipe("chats.jsonl.zst", SMALL);
    let mut loader = Loader::builder(recipe)
        .cache(corpus.cache())
        .build()
        .unwrap();
    loader.next().unwrap().unwrap();
    assert!(
        !crate::corpus::holds_no_file(&corpus.cache()),
        "a held zstd source should be spooled"
    );
    drop(loader);
    let left: Vec<_> = walk(&corpus.cache())
        .into_iter()
        .filter(|f| !f.ends_with("lock"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

fn walk(folder: &std::path::Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .flatten()
        .flat_map(|e| {
            if e.path().is_dir() {
                walk(&e.path())
            } else {
                vec![e.path().display().to_string()]
            }
        })
        .collect()
}
