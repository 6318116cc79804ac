//! Dropping early, consuming slowly, running inside somebody else's runtime: a clean join, never a hang.

use crate::corpus::{Corpus, SMALL};
use packmill::pipeline::Loader;
use std::sync::mpsc;
use std::time::Duration;

/// Runs `work` and fails if it is not done in a minute: a hang would otherwise stop the whole test run.
fn within_a_minute(work: impl FnOnce() + Send + 'static) {
    let (done, wait) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        work();
        done.send(()).unwrap();
    });
    let waited = wait.recv_timeout(Duration::from_secs(60));
    assert!(waited.is_ok() || thread.is_finished(), "hangs");
    thread.join().unwrap();
}

fn endless(corpus: &Corpus) -> Loader {
    let recipe = corpus.recipe("chats.jsonl", &SMALL.replace("epochs: 1", "epochs: null"));
    Loader::builder(recipe)
        .cache(corpus.cache())
        .build()
        .unwrap()
}

#[test]
fn dropped_before_during_and_after() {
    within_a_minute(|| {
        let corpus = Corpus::with_chats(100);
        for batches in [0, 1, 3, 20] {
            let mut loader = endless(&corpus);
            for _ in 0..batches {
                loader.next().unwrap().unwrap();
            }
        }
    });
}

#[test]
fn stopped_from_another_thread() {
    within_a_minute(|| {
        let corpus = Corpus::with_chats(100);
        let mut loader = endless(&corpus);
        let stop = loader.stop_handle();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            stop.stop();
        });
        let rows: u64 = loader
            .by_ref()
            .map(|batch| batch.unwrap().rows() as u64)
            .sum();
        thread.join().unwrap();
        assert_eq!(
            loader.progress().rows,
            rows,
            "progress is of what was delivered"
        );
        assert!(loader.next().is_none());
        loader.stop_handle().stop();
    });
}

#[test]
fn a_stop_handle_outlives_its_loader() {
    within_a_minute(|| {
        let corpus = Corpus::with_chats(30);
        let stop = endless(&corpus).stop_handle();
        stop.clone().stop();
    });
}

#[test]
fn a_slow_consumer_holds_the_pipeline_back() {
    within_a_minute(|| {
        let corpus = Corpus::with_chats(100);
        let mut loader = endless(&corpus);
        loader.next().unwrap().unwrap();
        std::thread::sleep(Duration::from_millis(300));
        let first = loader.stats()[5].items;
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(
            loader.stats()[5].items,
            first,
            "batches are made without anybody taking them"
        );
        loader.next().unwrap().unwrap();
    });
}

#[test]
fn after_its_end_nothing_follows() {
    within_a_minute(|| {
        let corpus = Corpus::with_chats(30);
        let mut loader = Loader::builder(corpus.recipe("chats.jsonl", SMALL))
            .cache(corpus.cache())
            .build()
            .unwrap();
        for batch in loader.by_ref() {
            batch.unwrap();
        }
        assert!(loader.next().is_none());
    });
}

#[tokio::test]
async fn is_a_stream_in_a_current_thread_runtime() {
    let corpus = Corpus::with_chats(100);
    let mut loader = endless(&corpus);
    for _ in 0..5 {
        futures::StreamExt::next(&mut loader)
            .await
            .unwrap()
            .unwrap();
    }
    drop(loader);
    let iterated = Loader::builder(corpus.recipe("chats.jsonl", SMALL))
        .cache(corpus.cache())
        .build()
        .unwrap();
    assert!(Iterator::count(iterated) > 3);
}

#[tokio::test]
async fn a_stream_that_is_stopped_ends() {
    let corpus = Corpus::with_chats(100);
    let mut loader = endless(&corpus);
    let stop = loader.stop_handle();
    futures::StreamExt::next(&mut loader)
        .await
        .unwrap()
        .unwrap();
    stop.stop();
    assert!(futures::StreamExt::next(&mut loader).await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn is_a_stream_in_a_multi_thread_runtime() {
    let corpus = Corpus::with_chats(100);
    async fn digests(mut loader: Loader) -> Vec<packmill::batch::Digest> {
        let mut digests = Vec::new();
        for _ in 0..10 {
            digests.push(
                futures::StreamExt::next(&mut loader)
                    .await
                    .unwrap()
                    .unwrap()
                    .digest(),
            );
        }
        digests
    }
    let (one, two) = tokio::join!(digests(endless(&corpus)), digests(endless(&corpus)));
    assert_eq!(one, two);
}
