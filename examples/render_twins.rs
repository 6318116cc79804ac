//! Renders every row of a corpus twice, by the template's program and by the engine, and compares.
//!
//!     cargo run --release --example render_twins -- ROWS.jsonl.zst… -- TEMPLATE.jinja…
//!
//! A line a template: how many rows its program rendered, how many differ from the engine's in text or spans, and the
//! time a row took either way. Ends with an error if any row differs.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example shows what it does"
)]

use packmill::recipe::SourceConfig;
use packmill::render::row::{Row, RowReader};
use packmill::render::{ChatTemplate, Conversation, Ending, TemplateContext};
use std::fs;
use std::hint::black_box;
use std::io::{BufRead, BufReader};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Instant;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut parts = args.split(|arg| arg == "--");
    let (Some(corpora), Some(templates)) = (parts.next(), parts.next()) else {
        eprintln!("usage: render_twins ROWS.jsonl.zst… -- TEMPLATE.jinja…");
        return ExitCode::FAILURE;
    };
    let mut rows = Vec::new();
    for path in corpora {
        match read(path) {
            Ok(more) => rows.extend(more),
            Err(error) => {
                eprintln!("{path}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!(
        "{} rows\n{:<40} {:>8} {:>8} {:>7} {:>9} {:>9} {:>9}",
        rows.len(),
        "template",
        "program",
        "refused",
        "differ",
        "program",
        "engine",
        "render"
    );
    let mut wrong = false;
    for path in templates {
        let name = path.rsplit('/').next().unwrap_or(path);
        match fs::read_to_string(path).map(|source| ChatTemplate::compile(&source, context())) {
            Ok(Ok(template)) => wrong |= compare(name, &template, &rows),
            Ok(Err(error)) => println!("{name:<40} {error}"),
            Err(error) => println!("{name:<40} {error}"),
        }
    }
    if wrong {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn context() -> TemplateContext {
    let tokens = [("bos_token", "<s>"), ("eos_token", "</s>")];
    TemplateContext {
        now: Some("2026-11-24".to_owned()),
        special_tokens: tokens
            .map(|(name, token)| (name.to_owned(), token.to_owned()))
            .into(),
        ..TemplateContext::default()
    }
}

fn read(path: &str) -> Result<Vec<Conversation>, Box<dyn std::error::Error>> {
    let file = fs::File::open(path)?;
    let mut rows = Vec::new();
    let reader = RowReader::new(&SourceConfig::default(), None);
    for line in BufReader::new(zstd::Decoder::new(file)?).lines() {
        match reader.read(line?.as_bytes())? {
            Row::Chat(chat)
            | Row::ChatCompletion {
                conversation: chat, ..
            } => rows.push(chat),
            _ => {}
        }
    }
    Ok(rows)
}

/// Seconds that this thread was on a core, where the system tells, else those that have passed.
fn busy() -> f64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let stat = fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = stat.and_then(|stat| stat.split(' ').next()?.parse::<u64>().ok());
    match nanos {
        Some(nanos) => nanos as f64 / 1e9,
        None => START.get_or_init(Instant::now).elapsed().as_secs_f64(),
    }
}

fn compare(name: &str, template: &ChatTemplate, rows: &[Conversation]) -> bool {
    let (mut by_program, mut refused, mut differ) = (0, 0, 0);
    for (index, row) in rows.iter().enumerate() {
        let ending = match index % 8 {
            0 => Ending::GenerationPrompt,
            _ => Ending::Whole,
        };
        let twin = template.render_by_engine(row, ending);
        refused += usize::from(twin.is_err());
        let own = match template.render_by_program(row, ending) {
            Ok(Some(rendered)) => Ok(rendered),
            Ok(None) => continue,
            Err(error) => Err(error),
        };
        by_program += 1;
        let same = match (&own, &twin) {
            (Ok(own), Ok(twin)) => own == twin,
            (Err(own), Err(twin)) => own.to_string() == twin.to_string(),
            _ => false,
        };
        if !same {
            differ += 1;
            if differ < 3 {
                eprintln!("{name}: row {index} differs: {own:?}\nengine: {twin:?}");
            }
        }
    }
    // The best of some passes: others use the machine, too. Each row several times, as it lies in the cache when it has
    // just been read.
    const TIMES: usize = 4;
    let some = rows.get(..1_000).unwrap_or(rows);
    let time = |render: &dyn Fn(&Conversation)| {
        let pass = |_| {
            let start = busy();
            for row in some {
                (0..TIMES).for_each(|_| render(row));
            }
            (busy() - start) * 1e6 / (TIMES * some.len()) as f64
        };
        (0..5).map(pass).fold(f64::INFINITY, f64::min)
    };
    let whole = Ending::Whole;
    let program = time(&|row| drop(black_box(template.render_by_program(row, whole))));
    let engine = time(&|row| drop(black_box(template.render_by_engine(row, whole))));
    let render = time(&|row| drop(black_box(template.render(row, whole))));
    println!(
        "{name:<40} {by_program:>8} {refused:>8} {differ:>7} {program:>6.2} µs {engine:>6.2} µs {render:>6.2} µs"
    );
    differ > 0
}
