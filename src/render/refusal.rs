//! From the engine's errors to packmill's: the line, what is wrong, and what to do.

use super::limits::TemplateLimits;
use crate::error::{Error, Kind, Stage};
use minijinja::ErrorKind;

/// Refusals of our own, carried through the engine as the source of its error.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Refusal {
    /// The template called `raise_exception`.
    #[error("the template raised {0:?}")]
    Raised(String),
    /// The template called `strftime_now`, and the recipe fixes no time.
    #[error(
        "the template asks for the time with strftime_now, and a render must not depend on the clock"
    )]
    NoClock,
}

impl Refusal {
    fn remedy(&self) -> &'static str {
        match self {
            Refusal::Raised(_) => {
                "the template does not take this conversation: change the row, or the template"
            }
            Refusal::NoClock => "set template.now to a fixed time",
        }
    }
}

impl From<Refusal> for minijinja::Error {
    fn from(refusal: Refusal) -> Self {
        minijinja::Error::new(ErrorKind::InvalidOperation, refusal.to_string()).with_source(refusal)
    }
}

/// An engine error that one of our filters or functions gives.
pub(super) fn invalid(message: impl Into<String>) -> minijinja::Error {
    minijinja::Error::new(ErrorKind::InvalidOperation, message.into())
}

/// An error of ours about the template, outside the engine.
pub(super) fn template_error(message: impl Into<String>) -> Error {
    Error::new(Kind::Template, Stage::Render, message)
}

/// Says what went wrong in the template, and on which line of its source.
pub(super) fn explain(error: &minijinja::Error, limits: &TemplateLimits) -> Error {
    let mut innermost = error;
    let mut line = None;
    let mut refusal = None;
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = next {
        if let Some(engine) = current.downcast_ref::<minijinja::Error>() {
            innermost = engine;
            line = engine.line().or(line);
        } else if let Some(found) = current.downcast_ref::<Refusal>() {
            refusal = Some(found);
        }
        next = current.source();
    }
    let place = match line {
        Some(line) => format!("chat template, line {line}: "),
        None => "chat template: ".to_owned(),
    };
    if let Some(refusal) = refusal {
        return template_error(format!("{place}{refusal}")).remedy(refusal.remedy());
    }
    match innermost.kind() {
        ErrorKind::OutOfFuel => template_error(format!(
            "{place}the render used up its fuel of {} units",
            limits.fuel
        ))
        .remedy("look for a loop that does not end, or set a larger limits.template_fuel"),
        ErrorKind::WriteFailure => template_error(format!(
            "{place}the render printed more than {} bytes",
            limits.output_bytes
        ))
        .remedy("look for a loop that does not end, or set a larger limits.template_output_bytes"),
        kind => {
            let what = match innermost.detail() {
                Some(detail) => format!("{kind}: {detail}"),
                None => kind.to_string(),
            };
            template_error(place + &what)
        }
    }
}
