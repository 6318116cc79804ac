//! Warnings on stderr: what was seen, why it matters, what to try.

use crate::cli::stdio;
use crate::pipeline::Warning;
use serde_json::{Value, json};

/// Prints a warning where a person will see it and a pipe will not.
pub(crate) fn warning(warning: &Warning) {
    let yellow = anstyle::AnsiColor::Yellow.on_default().bold();
    let (seen, why, remedy) = (warning.seen(), warning.why(), warning.remedy());
    let name = warning.name();
    stdio::note(format_args!(
        "{yellow}warning{yellow:#}: {seen} ({name})\n         {why}\n         try: {remedy}"
    ));
}

/// Warnings for programs.
pub(crate) fn warnings_json(warnings: &[Warning]) -> Value {
    let all = warnings.iter().map(|warning| {
        json!({
            "name": warning.name(),
            "source": warning.source(),
            "seen": warning.seen(),
            "why": warning.why(),
            "try": warning.remedy(),
        })
    });
    all.collect()
}
