//! packmill's errors as exceptions of `packmill.errors`, with what they know as attributes.

use packmill::recipe::Faults;
use packmill::{Error, Kind, Stage};
use pyo3::prelude::*;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The exception of an error: its class by the kind, its text as packmill prints it.
pub(crate) fn raise(py: Python<'_>, error: &Error) -> PyErr {
    let kind = format!("{:?}", error.kind());
    let arguments = (
        error.to_string(),
        kind,
        error.stage().to_string(),
        error.shard().map(str::to_owned),
        error.record(),
    );
    made(py, arguments)
}

/// The exception of a recipe's faults: all of them, a line each.
pub(crate) fn refuse(py: Python<'_>, faults: &Faults) -> PyErr {
    let kind = format!("{:?}", Kind::Recipe);
    made(
        py,
        (
            faults.to_string(),
            kind,
            Stage::Recipe.to_string(),
            None,
            None,
        ),
    )
}

type Arguments = (String, String, String, Option<String>, Option<u64>);

fn made(py: Python<'_>, arguments: Arguments) -> PyErr {
    let exception = py
        .import("packmill.errors")
        .and_then(|module| module.getattr("make"))
        .and_then(|make| make.call1(arguments));
    match exception {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}

/// Does work; a panic in it becomes an error that `except Exception` catches.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panicked(panic.as_ref())))
}

fn panicked(panic: &(dyn Any + Send)) -> Error {
    let message = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let message = message.or_else(|| panic.downcast_ref::<String>().cloned());
    let message = message.unwrap_or_else(|| "no message".to_owned());
    Error::new(
        Kind::Internal,
        Stage::Channel,
        format!("panicked: {message}"),
    )
    .remedy("this is a fault of packmill: please report it")
}
