//! Recipes on their way between Python and Rust: as JSON text, whole and checked.

use crate::errors;
use packmill::Recipe;
use packmill::recipe::Faults;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use serde_json::Value;
use std::path::Path;

/// Reads a recipe file; `changes` is a JSON object of keys that take the place of the file's, objects key by key. Gives the
/// recipe with every default, as JSON, and the folder that its relative paths are joined to.
#[pyfunction]
pub(crate) fn load_recipe(py: Python<'_>, path: &str, changes: &str) -> PyResult<(String, String)> {
    let recipe = Recipe::load(path).map_err(|faults| errors::refuse(py, &faults))?;
    let folder = recipe.folder.display().to_string();
    let mut value = serde_json::to_value(&recipe).map_err(invalid)?;
    merge(&mut value, parsed(changes)?);
    let checked = checked(py, &value, &folder)?;
    Ok((checked, folder))
}

/// The same of a recipe given as a JSON object.
#[pyfunction]
pub(crate) fn check_recipe(
    py: Python<'_>,
    recipe: &str,
    folder: &str,
    changes: &str,
) -> PyResult<String> {
    let mut value = parsed(recipe)?;
    merge(&mut value, parsed(changes)?);
    checked(py, &value, folder)
}

/// The JSON schema of a recipe.
#[pyfunction]
pub(crate) fn recipe_schema() -> String {
    packmill::recipe::schema().to_string()
}

fn checked(py: Python<'_>, value: &Value, folder: &str) -> PyResult<String> {
    let recipe = of_value(value, folder).map_err(|faults| errors::refuse(py, &faults))?;
    serde_json::to_string(&recipe).map_err(invalid)
}

/// The recipe of a text that one of these functions gave.
pub(crate) fn read(py: Python<'_>, recipe: &str, folder: &str) -> PyResult<Recipe> {
    of_value(&parsed(recipe)?, folder).map_err(|faults| errors::refuse(py, &faults))
}

fn of_value(value: &Value, folder: &str) -> Result<Recipe, Faults> {
    Recipe::from_value(value, Path::new(folder))
}

fn parsed(text: &str) -> PyResult<Value> {
    serde_json::from_str(text).map_err(invalid)
}

fn invalid(error: serde_json::Error) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// Puts `changes` over a value: an object's keys one by one, anything else as a whole.
fn merge(value: &mut Value, changes: Value) {
    match (value, changes) {
        (Value::Object(own), Value::Object(changes)) => {
            for (key, change) in changes {
                merge(own.entry(key).or_insert(Value::Null), change);
            }
        }
        (value, changes) => *value = changes,
    }
}
