//! The native part of the Python package: what of packmill Python sees. `python/packmill/` makes of it what users import.
//!
//! - [`stream`]: a live loader, its batches, states and accounts;
//! - [`tensor`]: memory handed to Python without a copy, and the crate's only `unsafe`;
//! - [`recipe`]: recipes as JSON, checked;
//! - [`samples`]: what each record becomes;
//! - [`functions`]: Python functions over records;
//! - [`waiting`]: what may take long and can be interrupted;
//! - [`command`]: the command line, rows for the eyes, other tools' configurations;
//! - [`errors`]: packmill's errors as exceptions.

mod errors;

mod waiting;

mod recipe;

mod functions;

mod tensor;

mod stream;

mod samples;

mod command;

use pyo3::prelude::*;

/// As in the binary: a fifth of all time was the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The module `packmill._packmill`.
#[pymodule]
fn _packmill(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add(
        "PROVENANCE_FIELDS",
        packmill::batch::PROVENANCE_FIELDS.to_vec(),
    )?;
    module.add_class::<tensor::Tensor>()?;
    module.add_class::<stream::Stream>()?;
    module.add_class::<samples::Samples>()?;
    module.add_function(wrap_pyfunction!(recipe::load_recipe, module)?)?;
    module.add_function(wrap_pyfunction!(recipe::check_recipe, module)?)?;
    module.add_function(wrap_pyfunction!(recipe::recipe_schema, module)?)?;
    module.add_function(wrap_pyfunction!(stream::describe_state, module)?)?;
    module.add_function(wrap_pyfunction!(functions::end_functions, module)?)?;
    module.add_function(wrap_pyfunction!(command::main, module)?)?;
    module.add_function(wrap_pyfunction!(command::cache_folder, module)?)?;
    module.add_function(wrap_pyfunction!(command::inspect, module)?)?;
    module.add_function(wrap_pyfunction!(command::convert_trl, module)?)?;
    Ok(())
}
