//! Warnings on stderr: what was seen, why it matters, what to try.

use crate::stdio;
use packmill::pipeline::Warning;

/// Prints a warning where a person will see it and a pipe will not.
pub(crate) fn warning(warning: &Warning) {
    let yellow = anstyle::AnsiColor::Yellow.on_default().bold();
    let (seen, why, remedy) = (warning.seen(), warning.why(), warning.remedy());
    stdio::note(format_args!(
        "{yellow}warning{yellow:#}: {seen}\n         {why}\n         try: {remedy}"
    ));
}
