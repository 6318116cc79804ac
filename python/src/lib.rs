//! The native part of the Python package: what of packmill Python sees. `python/packmill/` makes of it what users import.
//!
//! - [`stream`]: a live loader, its batches, states and accounts;
//! - [`tensor`]: memory handed to Python without a copy, and the crate's only `unsafe`;
//! - [`recipe`]: recipes as JSON, checked;
//! - [`samples`]: what each record becomes;
//! - [`errors`]: packmill's errors as exceptions.

mod errors;

mod recipe;

mod tensor;

mod stream;

mod samples;

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
    Ok(())
}
