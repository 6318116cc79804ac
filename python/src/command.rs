//! The command line in the wheel, rows for the eyes, and other tools' configurations.

use crate::errors::raise;
use crate::functions::{self, Given};
use crate::recipe;
use crate::waiting::interruptible;
use packmill::cli::inspected;
use packmill::recipe::convert::{Beside, Converted, Dialect, Keys, convert};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use serde_json::Value;
use std::ffi::OsString;
use std::path::PathBuf;

/// The `packmill` command: does what the arguments say, the first of which is the program's name, and gives the exit code.
#[pyfunction]
pub(crate) fn main(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    py.detach(|| packmill::cli::main(arguments))
}

/// The folder for spools and counted lengths.
#[pyfunction]
pub(crate) fn cache_folder(py: Python<'_>) -> PyResult<String> {
    let folder = packmill::read::cache_folder().map_err(|error| raise(py, &error))?;
    Ok(folder.display().to_string())
}

/// What `packmill inspect` shows of the rows from `skip` on: with ANSI colours, and without.
#[pyfunction]
#[pyo3(signature = (recipe, folder, *, skip, rows, width, cache, functions))]
#[expect(clippy::too_many_arguments, reason = "keywords, called from one place")]
pub(crate) fn inspect(
    py: Python<'_>,
    recipe: &str,
    folder: &str,
    skip: usize,
    rows: usize,
    width: usize,
    cache: Option<String>,
    functions: Given,
) -> PyResult<(String, String)> {
    let recipe = recipe::read(py, recipe, folder)?;
    interruptible(py, move |wanted| {
        let functions = functions::started(functions, &wanted)?;
        let cache = cache.map(PathBuf::from);
        inspected(
            &recipe,
            &functions,
            cache.as_deref(),
            skip..skip + rows,
            width,
        )
    })
}

/// A note of a conversion: what about, the keys, a clause.
type Noted = (String, String, String);

/// An `SFTConfig`'s keys as JSON, as a recipe in JSON, with its notes: (what about, keys, clause).
#[pyfunction]
pub(crate) fn convert_trl(config: &str, world_size: Option<u64>) -> PyResult<(String, Vec<Noted>)> {
    let config: Value =
        serde_json::from_str(config).map_err(|error| PyValueError::new_err(error.to_string()))?;
    let Value::Object(config) = config else {
        return Err(PyValueError::new_err("a configuration is a mapping"));
    };
    let beside = Beside {
        world_size,
        dataset_info: None,
        keys: Keys::All,
    };
    let Converted { recipe, notes } = convert(Dialect::Trl, &config, &beside);
    let notes = notes.into_iter();
    let notes = notes.map(|note| (note.about.to_string(), note.keys, note.says));
    Ok((recipe.to_string(), notes.collect()))
}
