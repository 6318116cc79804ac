//! Warnings on stderr: what was seen, why it matters, what to try.

use packmill::pipeline::Warning;

/// Prints a warning where a person will see it and a pipe will not.
pub(crate) fn warning(warning: &Warning) {
    let yellow = anstyle::AnsiColor::Yellow.on_default().bold();
    anstream::eprintln!("{yellow}warning{yellow:#}: {}", warning.seen());
    anstream::eprintln!("         {}", warning.why());
    anstream::eprintln!("         try: {}", warning.remedy());
}
