//! `packmill stream`: the main job.

use crate::checkpoint::{Folder, Whole};
use crate::cli::args;
use crate::cli::checkpoints::{Checkpoints, find};
use crate::cli::interrupt::{self, Interrupt};
use crate::cli::memory::Memory;
use crate::cli::output::Output;
use crate::cli::show::{self, Ending, LedgerEntry, Report};
use crate::cli::stdio;
use crate::ledger::{Count, Ledger};
use crate::order::lanes::Rank;
use crate::pipeline::{Loader, Model, Outlook, Pass, Side, Warning};
use crate::recipe::OnExhausted;
use crate::tokenize::EngineCounts;
use crate::{Recipe, StageStats};
use anyhow::Result;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Figures of a run.
pub(crate) struct Run {
    pub(crate) progress: crate::pipeline::Progress,
    pub(crate) sequence_length: usize,
    pub(crate) load: Duration,
    pub(crate) elapsed: Duration,
    pub(crate) first_batch: Duration,
    pub(crate) peak_anon: u64,
    pub(crate) stats: Vec<StageStats>,
    pub(crate) workers: usize,
    pub(crate) ending: Ending,
    pub(crate) outlook: Option<Outlook>,
    pub(crate) warnings: Vec<Warning>,
    /// The tokenizer engine's name at the end, and what it did.
    pub(crate) tokenizer: (String, EngineCounts),
}

pub(crate) fn run(args: &args::Stream, started: Instant) -> Result<()> {
    let mut recipe = crate::cli::recipe(&args.source)?;
    match args.side {
        args::Side::Train => limit(&mut recipe, args.epochs, args.steps)?,
        args::Side::Eval => eval_alone(args)?,
    }
    let (rank, writes) = rank(args)?;
    let (resumed, resume) = args.resume.as_deref().map(find).transpose()?.unzip();
    if let (Some(folder), Some(whole)) = (&resumed, &resume) {
        say_where(folder, whole);
    }
    let output = args.output.as_deref().filter(|_| writes);
    let output = output.map(|dir| match &resume {
        Some(whole) => Output::go_on(dir, rank, whole.step),
        None => Output::create(dir, rank.number),
    });
    let checkpoints = args.checkpoint.as_deref().zip(args.checkpoint_every);
    let checkpoints = checkpoints
        .filter(|_| writes)
        .map(|(dir, every)| match resumed {
            Some(folder) if folder.dir() == dir => Ok(Checkpoints::going_on(folder, every)),
            _ => Checkpoints::new(dir, every, rank.number),
        })
        .transpose()?;
    let plan = Plan {
        steps: args.steps,
        output: output.transpose()?,
        rank,
        side: args.side.into(),
        checkpoints,
        resume,
        engine: Engine::AsItComes,
    };
    finish(drive(recipe, plan, started)?, args.json)
}

/// Refuses what says nothing of the eval side.
fn eval_alone(args: &args::Stream) -> Result<()> {
    if args.steps == Some(0) {
        return Err(crate::cli::usage("--steps must be at least 1"));
    }
    let says_nothing = [
        (args.epochs.is_some(), "--epochs: it is read once"),
        (
            args.checkpoint.is_some(),
            "--checkpoint: it is short, and read whole every time",
        ),
        (
            args.resume.is_some(),
            "--resume: it is short, and read whole every time",
        ),
    ];
    match says_nothing.into_iter().find(|(given, _)| *given) {
        Some((_, why)) => Err(crate::cli::usage(format!("--side eval takes no {why}"))),
        None => Ok(()),
    }
}

/// Says which step a run goes on from: of several ranks, all must go on from the same.
fn say_where(folder: &Folder, whole: &Whole) {
    stdio::note(format_args!(
        "going on from step {}, row {}, of {}",
        show::number::exact(whole.step),
        show::number::exact(whole.rows),
        folder.dir().display(),
    ));
}

/// The data-parallel rank, and whether it is this process that writes for it: of peers, which have the same rows, the
/// first alone does.
fn rank(args: &args::Stream) -> Result<(Rank, bool)> {
    let number = args.rank.unwrap_or(0);
    let Some(layout) = &args.layout else {
        let world_size = args.world_size.unwrap_or(1);
        return Ok((Rank { number, world_size }, true));
    };
    if let Some(world_size) = args.world_size.filter(|size| *size != layout.ranks()) {
        return Err(crate::cli::usage(format!(
            "--world-size {world_size}, and --layout {layout} has {} ranks; leave --world-size out",
            layout.ranks()
        )));
    }
    let (rank, first) = (layout.rank(number)?, layout.is_first_peer(number)?);
    if !first && (args.output.is_some() || args.checkpoint.is_some()) {
        stdio::note(format_args!(
            "rank {number} is a peer of data-parallel rank {}: another one writes for it",
            rank.number
        ));
    }
    Ok((rank, first))
}

/// What a run does beside streaming, and how far it goes.
pub(crate) struct Plan {
    pub(crate) steps: Option<u64>,
    pub(crate) output: Option<Output>,
    pub(crate) rank: Rank,
    pub(crate) side: Side,
    pub(crate) checkpoints: Option<Checkpoints>,
    pub(crate) resume: Option<Whole>,
    pub(crate) engine: Engine,
}

/// When streaming begins, where a fast tokenizer engine is made beside the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    /// At once, for an early first batch.
    AsItComes,
    /// When it is ready, for a speed that does not depend on how long the stream is.
    Ready,
}

impl Plan {
    /// One rank, from the start, to `steps` or the end, nothing written, by the engine that serves in the long run: of
    /// short corpora, whose speed is looked at.
    pub(crate) fn to(steps: Option<u64>) -> Self {
        Plan {
            steps,
            output: None,
            rank: Rank::ALONE,
            side: Side::Train,
            checkpoints: None,
            resume: None,
            engine: Engine::Ready,
        }
    }
}

/// Settles how long the stream is: with neither epochs nor steps, one epoch; with weights it needs steps, or a source
/// that ends it.
pub(crate) fn limit(recipe: &mut Recipe, epochs: Option<u64>, steps: Option<u64>) -> Result<()> {
    if epochs == Some(0) || steps == Some(0) {
        return Err(crate::cli::usage("--epochs and --steps must be at least 1"));
    }
    if recipe.weights().is_some() {
        let ends = recipe.on_exhausted == OnExhausted::Stop;
        return match (epochs, steps) {
            (Some(_), _) => Err(crate::cli::usage(
                "sources with weights have no common epochs: use --steps",
            )),
            (None, None) if !ends => Err(crate::cli::usage(
                "a mixture by weights never ends: give --steps, or on_exhausted: stop in the recipe",
            )),
            _ => Ok(()),
        };
    }
    recipe.epochs = epochs.or(recipe.epochs);
    if recipe.epochs.is_none() && steps.is_none() {
        recipe.epochs = Some(1);
    }
    Ok(())
}

/// Prints the report; an interrupted run's too.
pub(crate) fn finish(outcome: (Run, Option<crate::Error>), json: bool) -> Result<()> {
    let (run, error) = outcome;
    if error.is_none() || run.progress.rows > 0 {
        if json {
            stdio::print(format_args!("{}\n", run.json()))?;
        } else {
            stdio::print(run.report().to_text())?;
        }
    }
    match error {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}

/// Streams to the end, to the last step, to Ctrl-C or to an error.
pub(crate) fn drive(
    recipe: Recipe,
    plan: Plan,
    started: Instant,
) -> Result<(Run, Option<crate::Error>)> {
    let Plan {
        steps,
        output,
        rank,
        side,
        mut checkpoints,
        resume,
        engine,
    } = plan;
    let interrupt = Interrupt::listen()?;
    let bar = bar(steps);
    bar.set_message("loading tokenizer and templates");
    let loading = Instant::now();
    let model = Arc::new(Model::load(&recipe)?);
    if engine == Engine::Ready {
        // Refused ones are told by `inspect`.
        let _ = model.tokenizer.engine.wait();
    }
    let load = loading.elapsed();
    let tokenizer = Arc::clone(&model.tokenizer.engine);
    let sequence_length = recipe.pack.sequence_length;
    let workers = crate::pipeline::worker_count(&recipe);
    let micro_batches = recipe
        .batch
        .step_rows
        .map_or(1, |step| {
            step / recipe.batch.rows.max(1) / rank.world_size.max(1) as usize
        })
        .max(1) as u64;
    let first_step = resume.as_ref().map_or(0, |whole| whole.step);
    bar.set_message("opening the corpus");
    let opened = Instant::now();
    let mut builder = Loader::builder(recipe).model(model).rank(rank).side(side);
    if checkpoints.is_some() {
        builder = builder.checkpoints();
    }
    if let Some(whole) = resume {
        builder = builder.resume(whole);
    }
    if let Some(steps) = steps {
        builder = builder.steps(steps);
    }
    let counts = bar.clone();
    let builder = builder.counting(move |count| {
        let (done, of) = (
            show::number::exact(count.done),
            show::number::exact(count.of),
        );
        counts.set_message(match count.pass {
            Pass::Lengths => format!("counting tokens: {done} of {of} records"),
            Pass::Duplicates => format!("looking for copies: {done} of {of} parts of the corpus"),
            Pass::Epochs => format!("planning rows: {done} of {of} epochs"),
        });
        Ok(())
    });
    let mut loader = builder.build()?;
    interrupt.stops(&loader);
    if let Some(output) = &output {
        output.remove_from(first_step)?;
    }
    let outlook = loader.outlook().cloned();
    if let Some(outlook) = &outlook {
        bar.suspend(|| show::outlook(outlook));
        expect(&bar, steps.into_iter().chain(outlook.last_step).min());
    }
    let mut warned = 0;
    warn(&bar, &loader, &mut warned);
    let (mut first, mut last, mut peak_anon) = (None, opened.elapsed(), Memory::now().anon);
    let (mut error, mut sampled, mut batches) = (None, Instant::now(), 0u64);
    while !interrupt.is_raised() {
        let Some(batch) = loader.next() else { break };
        let batch = match batch {
            Ok(batch) => batch,
            Err(e) => {
                error = Some(e);
                break;
            }
        };
        first.get_or_insert_with(|| started.elapsed());
        last = opened.elapsed();
        let (step, micro) = (
            first_step + batches / micro_batches,
            batches % micro_batches,
        );
        let written = match &output {
            Some(output) => output.write(&batch, step, micro),
            None => Ok(()),
        };
        let saved = written.and_then(|()| match &mut checkpoints {
            Some(checkpoints) => checkpoints.save(&loader),
            None => Ok(()),
        });
        if let Err(error) = saved {
            drop(batch);
            interrupt::leave(loader);
            return Err(error);
        }
        batches += 1;
        warn(&bar, &loader, &mut warned);
        if sampled.elapsed() > Duration::from_millis(10) {
            sampled = Instant::now();
            peak_anon = peak_anon.max(Memory::now().anon);
            show(&bar, &loader, last);
        }
    }
    peak_anon = peak_anon.max(Memory::now().anon);
    warn(&bar, &loader, &mut warned);
    bar.finish_and_clear();
    let progress = loader.progress();
    let ending = match steps {
        Some(steps) if progress.step >= steps => Ending::Steps,
        _ if interrupt.is_raised() => Ending::Interrupted,
        _ => Ending::Exhausted,
    };
    let run = Run {
        progress: loader.progress().clone(),
        sequence_length,
        load,
        elapsed: last,
        first_batch: first.unwrap_or_default(),
        peak_anon,
        stats: loader.stats(),
        workers,
        ending,
        outlook,
        warnings: loader.warnings().to_vec(),
        tokenizer: (tokenizer.name().to_owned(), tokenizer.counts()),
    };
    if ending == Ending::Interrupted {
        interrupt::leave(loader);
    }
    Ok((run, error))
}

/// Says what there is to warn of beyond the first `warned`.
fn warn(bar: &ProgressBar, loader: &Loader, warned: &mut usize) {
    for warning in loader.warnings().iter().skip(*warned) {
        bar.suspend(|| show::warning(warning));
        *warned += 1;
    }
}

/// On stderr, and only where a person looks at it.
fn bar(steps: Option<u64>) -> ProgressBar {
    let bar = match steps {
        Some(steps) => ProgressBar::new(steps),
        None => ProgressBar::new_spinner(),
    };
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    expect(&bar, steps);
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// Says how many steps there will be.
fn expect(bar: &ProgressBar, steps: Option<u64>) {
    let style = match steps {
        Some(steps) => {
            bar.set_length(steps);
            "{bar:30.green} {pos}/{len} steps  {msg}"
        }
        None => "{spinner:.green} {msg}",
    };
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
}

fn show(bar: &ProgressBar, loader: &Loader, elapsed: Duration) {
    let progress = loader.progress();
    bar.set_position(progress.step);
    let rate = progress.tokens as f64 / elapsed.as_secs_f64().max(1e-9);
    bar.set_message(format!(
        "{} rows, {} tokens, {}/s",
        show::number::exact(progress.rows),
        show::number::short(progress.tokens),
        show::number::short(rate as u64),
    ));
}

impl Run {
    pub(crate) fn slots(&self) -> u64 {
        self.progress.rows * self.sequence_length as u64
    }

    pub(crate) fn density(&self) -> f64 {
        ratio(self.progress.tokens, self.slots())
    }

    pub(crate) fn tokens_per_s(&self) -> f64 {
        self.progress.tokens as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// The account for a person.
    pub(crate) fn report(&self) -> Report {
        let p = &self.progress;
        let memory = Memory::now();
        Report {
            ending: self.ending,
            rows: p.rows,
            steps: p.steps,
            sequence_length: self.sequence_length as u64,
            tokens: p.tokens,
            supervised_tokens: p.supervised_tokens,
            load: self.load,
            elapsed: self.elapsed,
            time_to_first_batch: (p.rows > 0).then_some(self.first_batch),
            peak_rss_bytes: (memory.peak_rss > 0).then_some(memory.peak_rss),
            peak_anon_bytes: (self.peak_anon > 0).then_some(self.peak_anon),
            digest: p.digest.to_string(),
            ledger: ledger(&p.ledger),
        }
    }

    /// The one JSON object of `--json`.
    pub(crate) fn json(&self) -> serde_json::Value {
        let p = &self.progress;
        let mut all = json!({
            "ending": self.ending.name(),
            "rows": p.rows,
            "steps": p.steps,
            "tokens": p.tokens,
            "supervised_tokens": p.supervised_tokens,
            "padding_tokens": self.slots() - p.tokens,
            "density": self.density(),
            "density_refilled": ratio(p.refilled.tokens, p.refilled.rows * self.sequence_length as u64),
            "load_s": self.load.as_secs_f64(),
            "elapsed_s": self.elapsed.as_secs_f64(),
            "tokens_per_s": self.tokens_per_s(),
            "time_to_first_batch_s": self.first_batch.as_secs_f64(),
            "peak_rss_bytes": Memory::now().peak_rss,
            "peak_anon_bytes": self.peak_anon,
            "digest": p.digest.to_string(),
            "ledger": p.ledger.as_ref(),
            "warnings": show::warnings_json(&self.warnings),
            "tokenizer": {
                "engine": self.tokenizer.0,
                "texts_before_ready": self.tokenizer.1.before_ready,
                "texts_by_reference": self.tokenizer.1.by_reference,
                "texts_checked": self.tokenizer.1.checked,
            },
        });
        if let Some(outlook) = &self.outlook {
            all["outlook"] = json!({
                "rows": outlook.rows,
                "steps": outlook.steps,
                "last_step": outlook.last_step,
                "counted_records": outlook.counted_records,
            });
        }
        all
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

/// The ledger as the report shows it: by source, then by what became of it.
fn ledger(ledger: &Ledger) -> Vec<LedgerEntry> {
    let mut entries = Vec::new();
    for (source, account) in &ledger.sources {
        let (records, tokens) = (&account.records, &account.tokens);
        // Where each record is one, they are the records.
        let examples = account.own_examples();
        let mut push = |reason: String, of: &dyn Fn(&Count) -> Option<u64>| {
            entries.push(LedgerEntry {
                source: source.clone(),
                reason,
                records: of(records),
                examples: examples.and_then(of),
                tokens: of(tokens),
            });
        };
        push("delivered".to_owned(), &|count| Some(count.delivered));
        if tokens.truncated > 0 {
            // Of tokens alone.
            push("truncated".to_owned(), &|count| {
                Some(count.truncated).filter(|&n| n > 0)
            });
        }
        let all = [Some(records), examples, Some(tokens)]
            .into_iter()
            .flatten();
        let reasons: BTreeSet<_> = all.clone().flat_map(|count| count.dropped.keys()).collect();
        for reason in reasons {
            let dropped = |count: &Count| count.dropped.get(reason).copied();
            push(format!("dropped: {reason}"), &dropped);
        }
        if all.clone().any(|count| count.pending > 0) {
            push("pending".to_owned(), &|count| {
                u64::try_from(count.pending).ok()
            });
        }
        if account.unreadable.blocks > 0 {
            let lost = show::number::bytes(account.unreadable.bytes);
            let blocks = account.unreadable.blocks;
            push(
                format!("unreadable: {blocks} blocks, {lost} stored"),
                &|_| None,
            );
        }
    }
    entries
}
