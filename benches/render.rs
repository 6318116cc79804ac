//! The render stage: records to text, in bytes of JSON or of text a second of one thread.
//!
//! `rows` reads the JSON, `template` prints what was read, with the demo's template, tools and tool calls among it, and
//! `engine` does it without the template's program. `chatml` compares where the generation block stands: `direct` is
//! rendered once, `captured` (inside a macro) is rendered twice and compared. `record` is rows and template, as a worker
//! does it.

#![allow(
    clippy::expect_used,
    reason = "a benchmark that cannot be set up has nothing to measure"
)]

mod common;

use common::{conversation, render};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use packmill::render::row::RowReader;
use packmill::render::{ChatTemplate, Conversation, Ending, TemplateContext};
use std::hint::black_box;

/// One turn of ChatML, the answer tagged.
const TURN: &str = "\
{{- '<|im_start|>' + m.role + '\\n' }}
{%- if m.role == 'assistant' %}
    {%- generation %}{{- (m.content or '') + '<|im_end|>' }}{%- endgeneration %}
{%- else %}
    {{- m.content + '<|im_end|>' }}
{%- endif %}
{{- '\\n' }}";

fn compile(source: &str) -> ChatTemplate {
    let template = ChatTemplate::compile(source, TemplateContext::default());
    template.expect("the template compiles")
}

fn records(criterion: &mut Criterion) {
    let demo = common::Demo::write();
    let lines = demo.lines();
    let shapeless = RowReader::new(demo.chats(), None);
    let shape = shapeless.detect(lines[0].as_bytes()).expect("a chat");
    let rows = shapeless.with_shape(shape);
    let templates = demo.templates();
    let mut group = criterion.benchmark_group("render");
    let json = Throughput::ElementsAndBytes {
        elements: lines.len() as u64,
        bytes: lines.iter().map(|line| line.len() as u64).sum(),
    };
    group.throughput(json.clone());
    group.bench_function("rows", |bencher| {
        bencher.iter(|| {
            for line in &lines {
                black_box(conversation(&rows, line.as_bytes()));
            }
        });
    });
    let conversations = demo.conversations();
    group.throughput(text(&conversations, |chat| {
        render(templates, chat).text.len()
    }));
    group.bench_function("template", |bencher| {
        bencher.iter(|| {
            for chat in &conversations {
                black_box(render(templates, chat));
            }
        });
    });
    let engine = |chat: &Conversation| {
        let template = templates.choose(chat.tools.is_some()).expect("a template");
        template
            .render_by_engine(chat, Ending::Whole)
            .expect("it is a chat")
    };
    group.bench_function("engine", |bencher| {
        bencher.iter(|| {
            for chat in &conversations {
                black_box(engine(chat));
            }
        });
    });
    group.throughput(json);
    group.bench_function("record", |bencher| {
        bencher.iter(|| {
            for line in &lines {
                let chat = conversation(&rows, line.as_bytes());
                black_box(render(templates, &chat));
            }
        });
    });
    group.finish();
}

fn chatml(criterion: &mut Criterion) {
    let conversations = common::Demo::write().conversations();
    let mut group = criterion.benchmark_group("render/chatml");
    for (name, source) in [
        (
            "direct",
            format!("{{%- for m in messages %}}{TURN}{{%- endfor %}}"),
        ),
        (
            "captured",
            format!(
                "{{%- macro turn(m) %}}{TURN}{{%- endmacro %}}\
                 {{%- for m in messages %}}{{{{- turn(m) }}}}{{%- endfor %}}"
            ),
        ),
    ] {
        let template = compile(&source);
        let whole =
            |chat: &Conversation| template.render(chat, Ending::Whole).expect("it is a chat");
        assert!(!whole(&conversations[0]).spans.is_empty());
        group.throughput(text(&conversations, |chat| whole(chat).text.len()));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for chat in &conversations {
                    black_box(whole(chat));
                }
            });
        });
        group.bench_function(format!("{name} by the engine"), |bencher| {
            bencher.iter(|| {
                for chat in &conversations {
                    let engine = template.render_by_engine(chat, Ending::Whole);
                    black_box(engine.expect("it is a chat"));
                }
            });
        });
    }
    group.finish();
}

/// Records and bytes of what is printed.
fn text(conversations: &[Conversation], len: impl Fn(&Conversation) -> usize) -> Throughput {
    Throughput::ElementsAndBytes {
        elements: conversations.len() as u64,
        bytes: conversations.iter().map(|chat| len(chat) as u64).sum(),
    }
}

criterion_group!(benches, records, chatml);
criterion_main!(benches);
