//! The mask stage alone: which tokens are trained, in tokens a second of one thread.
//!
//! Chats are rendered and tokenized beforehand. `assistant` goes by the template's spans, `assistant_without_end`
//! takes the end-of-turn tokens off them, `markers` searches the text for the turns' headers.

#![allow(
    clippy::expect_used,
    reason = "a benchmark that cannot be set up has nothing to measure"
)]

mod common;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use packmill::mask::{self, Offsets, Tokens};
use packmill::recipe::Markers;
use packmill::render::Rendered;
use packmill::tokenize::Encoding;
use std::hint::black_box;

fn masks(criterion: &mut Criterion) {
    let demo = common::Demo::write();
    let chats: Vec<(Rendered, Encoding)> = demo
        .rendered()
        .into_iter()
        .map(|rendered| {
            let encoding = demo.encode(&rendered.text);
            (rendered, encoding)
        })
        .collect();
    let tokens = chats.iter().map(|(_, encoding)| encoding.ids.len() as u64);
    let mut group = criterion.benchmark_group("mask");
    group.throughput(Throughput::Elements(tokens.sum()));
    group.bench_function("assistant", |bencher| {
        bencher.iter(|| {
            for (rendered, encoding) in &chats {
                black_box(mask::spans_to_tokens(&rendered.spans, &encoding.offsets));
            }
        });
    });
    group.bench_function("assistant_without_end", |bencher| {
        let is_added = |id| demo.model.tokenizer.is_added(id);
        bencher.iter(|| {
            for (rendered, encoding) in &chats {
                let tokens = tokens_of(rendered, encoding);
                let offsets = Offsets::new(&encoding.offsets);
                let runs = rendered.spans.iter().filter_map(|span| offsets.run(span));
                let content =
                    runs.filter_map(|run| mask::without_end_of_turn(run, &tokens, is_added));
                black_box(mask::merge(content.collect()));
            }
        });
    });
    let markers = Markers {
        response: "<|im_start|>assistant\n".to_owned(),
        instruction: Some("<|im_start|>user\n".to_owned()),
    };
    group.bench_function("markers", |bencher| {
        bencher.iter(|| {
            for (rendered, encoding) in &chats {
                let trained = mask::marked_tokens(&tokens_of(rendered, encoding), &markers, &[]);
                black_box(trained.expect("every chat has both markers"));
            }
        });
    });
    group.finish();
}

fn tokens_of<'a>(rendered: &'a Rendered, encoding: &'a Encoding) -> Tokens<'a> {
    Tokens {
        text: &rendered.text,
        ids: &encoding.ids,
        offsets: &encoding.offsets,
    }
}

criterion_group!(benches, masks);
criterion_main!(benches);
