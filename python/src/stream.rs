//! A live loader: its batches, the states of its last steps, its accounts.

use crate::errors::{guarded, raise};
use crate::functions::{self, Given};
use crate::waiting::{PATIENCE, Wanted, drop_detached, interruptible};
use crate::{recipe, tensor};
use packmill::batch::{Batch, IdWidth};
use packmill::channel::TryRecv;
use packmill::checkpoint::{State, Whole, alone, merge};
use packmill::order::lanes::Rank;
use packmill::pipeline::{Model, Progress, Side, StopHandle};
use packmill::{Error, Kind, Loader, Result, Stage};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde_json::json;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Steps whose states are kept. Trainers fetch ahead of the step that they save by a few at most.
const STEPS_KEPT: usize = 64;

/// A stream of batches that has been opened. Its threads are packmill's own.
#[pyclass(frozen, module = "packmill._packmill")]
pub(crate) struct Stream {
    live: Mutex<Option<Live>>,
    stop: StopHandle,
    wanted: Wanted,
    /// The process that its threads are in. A fork has none of them.
    process: u32,
}

struct Live {
    loader: Loader,
    /// Where the stream stood after each of the last steps, rising.
    steps: VecDeque<Progress>,
}

impl Live {
    /// Keeps where the stream stands, if a step has just ended: the step, and the rows of all ranks so far.
    fn keep(&mut self) -> Option<(u64, u64)> {
        let progress = self.loader.progress();
        let rows = progress.stream_rows()?;
        let step = progress.step;
        self.steps.push_back(progress.clone());
        if self.steps.len() > STEPS_KEPT {
            self.steps.pop_front();
        }
        Some((step, rows))
    }

    /// Where the stream stood after a step; the last one that was delivered whole, where none is named.
    fn state(&self, step: Option<u64>) -> Result<State> {
        let refuse =
            |message: String| Err(Error::new(Kind::Checkpoint, Stage::Checkpoint, message));
        let kept = || self.steps.iter().map(|progress| progress.step);
        let found = match step {
            Some(step) => self.steps.iter().find(|progress| progress.step == step),
            None => self.steps.back(),
        };
        let state = found.and_then(|progress| self.loader.state_after(progress));
        match (state, step) {
            (Some(state), _) => Ok(state),
            (None, None) => refuse("no step has been delivered yet".to_owned()),
            (None, Some(step)) => refuse(match (kept().min(), kept().max()) {
                (Some(first), Some(last)) => {
                    format!("step {step} is not among the last ones, {first} to {last}")
                }
                _ => format!("step {step}: no step has been delivered yet"),
            }),
        }
    }
}

/// A batch, and where a step that it ends ended.
type Next<'py> = (Bound<'py, PyDict>, Option<(u64, u64)>);

/// What a stream is opened with.
struct Options {
    rank: Rank,
    width: IdWidth,
    side: Side,
    steps: Option<u64>,
    cache: Option<String>,
    resume: Option<Whole>,
    functions: Given,
}

#[pymethods]
impl Stream {
    /// Opens a recipe as `check_recipe` gave it. `states` are what `state` gave: all ranks' of one step, or one's alone
    /// for the same rank of as many.
    #[staticmethod]
    #[pyo3(signature = (recipe, folder, *, rank, world_size, wide, eval_side, steps, cache, states, functions))]
    #[expect(clippy::too_many_arguments, reason = "keywords, called from one place")]
    fn open(
        py: Python<'_>,
        recipe: &str,
        folder: &str,
        rank: u32,
        world_size: u32,
        wide: bool,
        eval_side: bool,
        steps: Option<u64>,
        cache: Option<String>,
        states: Vec<String>,
        functions: Given,
    ) -> PyResult<Stream> {
        let recipe = recipe::read(py, recipe, folder)?;
        let (loader, wanted) = interruptible(py, move |wanted| {
            let options = Options {
                rank: Rank {
                    number: rank,
                    world_size,
                },
                width: if wide { IdWidth::I64 } else { IdWidth::I32 },
                side: if eval_side { Side::Eval } else { Side::Train },
                steps,
                cache,
                resume: resumed(&states)?,
                functions,
            };
            Ok((build(recipe, options, &wanted)?, wanted))
        })?;
        Ok(Stream {
            stop: loader.stop_handle(),
            wanted,
            live: Mutex::new(Some(Live {
                loader,
                steps: VecDeque::new(),
            })),
            process: std::process::id(),
        })
    }

    /// The next batch as a dict of tensors and integers, and, of a step's last one, the step and how many rows all ranks
    /// have had by then; None at the end.
    fn next_batch<'py>(&self, py: Python<'py>) -> PyResult<Option<Next<'py>>> {
        loop {
            let waited = py.detach(|| {
                guarded(|| {
                    Ok(self.with(|live| {
                        let waited = live.loader.next_within(PATIENCE);
                        let ended = match waited {
                            TryRecv::Item(Ok(_)) => live.keep(),
                            _ => None,
                        };
                        (waited, ended)
                    }))
                })
            });
            match waited.map_err(|error| raise(py, &error))? {
                None | Some((TryRecv::Ended, _)) => return Ok(None),
                Some((TryRecv::Empty, _)) => py.check_signals()?,
                Some((TryRecv::Item(Err(error)), _)) => return Err(raise(py, &error)),
                Some((TryRecv::Item(Ok(batch)), ended)) => {
                    return Ok(Some((dict(py, batch)?, ended)));
                }
            }
        }
    }

    /// Where this rank stands after a step, as the text of a checkpoint file.
    fn state(&self, py: Python<'_>, step: Option<u64>) -> PyResult<String> {
        let state = py.detach(|| self.with(|live| live.state(step)));
        let state = state.unwrap_or_else(|| Err(closed()));
        state
            .map(|state| state.to_text())
            .map_err(|error| raise(py, &error))
    }

    /// Which stream it is: a digest of recipe, files, tokenizer and templates, as JSON.
    fn fingerprint(&self, py: Python<'_>) -> PyResult<String> {
        let found = py.detach(|| self.with(|live| live.loader.fingerprint().to_json()));
        found.ok_or_else(|| raise(py, &closed()))
    }

    /// The account after the last batch, as JSON: rows, steps, tokens, digest, ledger.
    fn progress(&self, py: Python<'_>) -> PyResult<String> {
        let progress = py.detach(|| self.with(|live| live.loader.progress().clone()));
        let progress = progress.ok_or_else(|| raise(py, &closed()))?;
        let account = json!({
            "rows": progress.rows,
            "steps": progress.steps,
            "step": progress.step,
            "tokens": progress.tokens,
            "supervised_tokens": progress.supervised_tokens,
            "digest": progress.digest.to_string(),
            "ledger": progress.ledger.as_ref(),
        });
        Ok(account.to_string())
    }

    /// What each stage did and waited for, in the order of the flow.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stages = py.detach(|| self.with(|live| live.loader.stats()));
        let out = PyDict::new(py);
        for stage in stages.unwrap_or_default() {
            let counts = PyDict::new(py);
            counts.set_item("items", stage.items)?;
            counts.set_item("bytes", stage.bytes)?;
            counts.set_item("busy_s", stage.busy.as_secs_f64())?;
            counts.set_item("blocked_in_s", stage.blocked_in.as_secs_f64())?;
            counts.set_item("blocked_out_s", stage.blocked_out.as_secs_f64())?;
            out.set_item(stage.stage.to_string(), counts)?;
        }
        Ok(out)
    }

    /// What is allowed, but perhaps not wanted: (name, source, what was seen, why it matters, what to try).
    fn warnings(&self, py: Python<'_>) -> Vec<(String, Option<String>, String, String, String)> {
        let found = py.detach(|| self.with(|live| live.loader.warnings().to_vec()));
        let found = found.unwrap_or_default();
        found
            .iter()
            .map(|warning| {
                (
                    warning.name().to_owned(),
                    warning.source().map(str::to_owned),
                    warning.seen(),
                    warning.why().to_owned(),
                    warning.remedy().to_owned(),
                )
            })
            .collect()
    }

    /// Rows and steps of each epoch that is known beforehand; None but under `plan: global`.
    fn outlook(&self, py: Python<'_>) -> Option<(Vec<u64>, Vec<u64>)> {
        let outlook = py.detach(|| self.with(|live| live.loader.outlook().cloned()));
        outlook
            .flatten()
            .map(|outlook| (outlook.rows, outlook.steps))
    }

    /// Names of the sources, and of each one's shards, that provenance's numbers mean.
    fn sources(&self, py: Python<'_>) -> Vec<(String, Vec<String>)> {
        let named = py.detach(|| {
            self.with(|live| {
                let sources = live.loader.sources();
                let summaries = (0..).zip(sources.summaries());
                summaries
                    .map(|(source, summary)| {
                        let shards = (0..summary.shards).map(|shard| {
                            let shard = u32::try_from(shard).unwrap_or(u32::MAX);
                            sources.shard(source, shard).to_owned()
                        });
                        (sources.name(source).to_owned(), shards.collect())
                    })
                    .collect()
            })
        });
        named.unwrap_or_default()
    }

    /// Ends the stream's threads and waits for them. Tensors that were handed out stay.
    fn close(&self, py: Python<'_>) {
        if self.is_own() {
            self.wanted.end();
            self.stop.stop();
            py.detach(|| drop(self.lock().take()));
        }
    }
}

impl Stream {
    fn is_own(&self) -> bool {
        self.process == std::process::id()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// None where it was closed. Called without the interpreter, which whoever holds the lock may be waiting for.
    fn with<T>(&self, work: impl FnOnce(&mut Live) -> T) -> Option<T> {
        self.lock().as_mut().map(work)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.is_own() {
            // A forked child has none of the threads that dropping would wait for.
            let live = self.live.get_mut().unwrap_or_else(PoisonError::into_inner);
            std::mem::forget(live.take());
            return;
        }
        self.wanted.end();
        self.stop.stop();
        let live = self.live.get_mut().unwrap_or_else(PoisonError::into_inner);
        drop_detached(live.take());
    }
}

fn closed() -> Error {
    Error::new(Kind::Internal, Stage::Channel, "the loader was closed")
}

fn build(recipe: packmill::Recipe, options: Options, wanted: &Wanted) -> Result<Loader> {
    let functions = functions::started(options.functions, wanted)?;
    let model = Model::with_functions(&recipe, &functions)?;
    wanted.check()?;
    let counted = wanted.clone();
    let mut builder = Loader::builder(recipe)
        .model(Arc::new(model))
        .counting(move |_| counted.check())
        .rank(options.rank)
        .width(options.width)
        .side(options.side);
    if options.side == Side::Train {
        builder = builder.checkpoints();
    }
    if let Some(steps) = options.steps {
        builder = builder.steps(steps);
    }
    if let Some(cache) = options.cache {
        builder = builder.cache(cache);
    }
    if let Some(whole) = options.resume {
        builder = builder.resume(whole);
    }
    builder.build()
}

/// What to go on from: all ranks' states put together, or one rank's alone.
fn resumed(states: &[String]) -> Result<Option<Whole>> {
    let parts: Vec<State> = states
        .iter()
        .map(|text| State::parse(text, Path::new("state_dict")))
        .collect::<Result<_>>()?;
    match parts.as_slice() {
        [] => Ok(None),
        [part] if part.world_size > 1 => Ok(parts.into_iter().next().map(alone)),
        _ => merge(parts).map(Some),
    }
}

/// Step, rank, world size and next row of a state's text.
#[pyfunction]
pub(crate) fn describe_state(py: Python<'_>, text: &str) -> PyResult<(u64, u32, u32, u64)> {
    let state = State::parse(text, Path::new("state_dict"));
    let state = state.map_err(|error| raise(py, &error))?;
    Ok((state.step, state.rank, state.world_size, state.rows))
}

fn dict(py: Python<'_>, batch: Batch) -> PyResult<Bound<'_, PyDict>> {
    let out = PyDict::new(py);
    let rows = batch.row_numbers().to_vec();
    let integers = [
        ("max_seqlen", batch.max_seqlen() as u64),
        ("num_tokens", batch.num_tokens()),
        ("num_label_tokens", batch.num_label_tokens()),
        ("filling", batch.filling() as u64),
    ];
    for (name, tensor) in tensor::tensors(batch) {
        out.set_item(name, Py::new(py, tensor)?)?;
    }
    for (name, number) in integers {
        out.set_item(name, number)?;
    }
    out.set_item("row_numbers", rows)?;
    Ok(out)
}
