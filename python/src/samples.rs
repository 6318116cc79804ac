//! What each record becomes, in corpus order.

use crate::errors::{guarded, raise};
use crate::functions::{self, Given};
use crate::recipe;
use crate::waiting::{Wanted, drop_detached, interruptible};
use packmill::pipeline::{Model, Sample, Side};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// An iterator of dicts: `source`, `shard`, `record`, `example`, then `input_ids` and `labels`, or `dropped`.
#[pyclass(frozen, module = "packmill._packmill")]
pub(crate) struct Samples {
    samples: Mutex<Option<packmill::pipeline::Samples>>,
    wanted: Wanted,
    /// The process that its threads are in.
    process: u32,
}

#[pymethods]
impl Samples {
    #[staticmethod]
    #[pyo3(signature = (recipe, folder, *, eval_side, cache, functions))]
    fn open(
        py: Python<'_>,
        recipe: &str,
        folder: &str,
        eval_side: bool,
        cache: Option<String>,
        functions: Given,
    ) -> PyResult<Samples> {
        let recipe = recipe::read(py, recipe, folder)?;
        let side = if eval_side { Side::Eval } else { Side::Train };
        let (samples, wanted) = interruptible(py, move |wanted| {
            let functions = functions::started(functions, &wanted)?;
            let model = Arc::new(Model::with_functions(&recipe, &functions)?);
            wanted.check()?;
            let cache = match cache {
                Some(cache) => PathBuf::from(cache),
                None => packmill::read::cache_folder()?,
            };
            let samples = packmill::pipeline::Samples::open_side(&recipe, &model, &cache, side)?;
            Ok((samples, wanted))
        })?;
        Ok(Samples {
            samples: Mutex::new(Some(samples)),
            wanted,
            process: std::process::id(),
        })
    }

    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        // Before a sample is taken, which would be lost.
        py.check_signals()?;
        let next = py.detach(|| {
            guarded(|| {
                let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(samples) = samples.as_mut() else {
                    return Ok(None);
                };
                let Some(sample) = samples.next().transpose()? else {
                    return Ok(None);
                };
                let sources = samples.sources();
                let source = sources.name(sample.source).to_owned();
                let shard = sources.shard(sample.source, sample.shard).to_owned();
                Ok(Some((source, shard, sample)))
            })
        });
        match next.map_err(|error| raise(py, &error))? {
            Some((source, shard, sample)) => dict(py, &source, &shard, &sample).map(Some),
            None => Ok(None),
        }
    }
}

impl Drop for Samples {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            // A forked child has none of the threads that dropping would wait for.
            let samples = self.samples.get_mut();
            std::mem::forget(samples.unwrap_or_else(PoisonError::into_inner).take());
            return;
        }
        self.wanted.end();
        let samples = self.samples.get_mut();
        drop_detached(samples.unwrap_or_else(PoisonError::into_inner).take());
    }
}

fn dict<'py>(
    py: Python<'py>,
    source: &str,
    shard: &str,
    sample: &Sample,
) -> PyResult<Bound<'py, PyDict>> {
    let out = PyDict::new(py);
    out.set_item("source", source)?;
    out.set_item("shard", shard)?;
    out.set_item("record", sample.record)?;
    out.set_item("example", sample.example)?;
    match &sample.content {
        Ok(example) => {
            out.set_item("input_ids", &example.ids)?;
            out.set_item("labels", example.labels())?;
        }
        Err(reason) => out.set_item("dropped", reason.to_string())?,
    }
    Ok(out)
}
