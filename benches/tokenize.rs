//! The tokenize stage's two engines beside the bare `tokenizers` crate: rendered chats to ids and offsets, in tokens and
//! bytes of text a second of one thread.
//!
//! All read the same `tokenizer.json`, give byte offsets, and must give the same ids, which is checked first: the
//! ratios are what packmill's engines take off.

#![allow(
    clippy::expect_used,
    reason = "a benchmark that cannot be set up has nothing to measure"
)]

mod common;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use packmill::tokenize::{Encoding, SpecialTokens};
use std::hint::black_box;

fn encode(criterion: &mut Criterion) {
    let demo = common::Demo::write();
    let texts: Vec<String> = demo.rendered().into_iter().map(|r| r.text).collect();
    let engine = &demo.model.tokenizer.engine;
    let bare = tokenizers::Tokenizer::from_file(demo.tokenizer_json()).expect("it loads");
    let mut tokens = 0;
    for text in &texts {
        let ours = demo.encode(text);
        let theirs = bare.encode(text.as_str(), false).expect("text is encoded");
        assert_eq!(ours.ids, theirs.get_ids());
        tokens += ours.ids.len() as u64;
    }
    let mut group = criterion.benchmark_group("tokenize");
    group.throughput(Throughput::ElementsAndBytes {
        elements: tokens,
        bytes: texts.iter().map(|text| text.len() as u64).sum(),
    });
    let reference = engine.reference().expect("the demo has a fast engine");
    let engines = [
        ("fast_engine", engine.as_ref()),
        ("reference_engine", reference),
    ];
    for (name, engine) in engines {
        group.bench_function(name, |bencher| {
            let mut encoding = Encoding::default();
            bencher.iter(|| {
                for text in &texts {
                    engine
                        .encode(text, SpecialTokens::Leave, &mut encoding)
                        .expect("text is encoded");
                    black_box(&encoding);
                }
            });
        });
    }
    group.bench_function("bare_tokenizers", |bencher| {
        bencher.iter(|| {
            for text in &texts {
                black_box(bare.encode(text.as_str(), false).expect("text is encoded"));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, encode);
criterion_main!(benches);
