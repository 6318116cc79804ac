//! The Python package's own tests, so that `cargo test` runs them too: `tests/run.py` makes an environment for them beside
//! what cargo builds, which takes minutes and a network the first time.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends where something is wrong"
)]

use std::path::Path;
use std::process::Command;

#[test]
fn the_package_passes_its_tests() {
    // target/debug/deps/this
    let this = std::env::current_exe().unwrap();
    let deps = this.parent().unwrap();
    let (begin, end) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let library = deps.join(format!("{begin}_packmill{end}"));
    let target = deps.parent().unwrap().parent().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/run.py");
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let run = Command::new(&python)
        .arg(script)
        .arg("--library")
        .arg(library)
        .arg("--work")
        .arg(target.join("python"))
        .args(
            std::env::var("PYTEST_ARGUMENTS")
                .iter()
                .flat_map(|all| all.split_whitespace()),
        )
        .status();
    let status = run.unwrap_or_else(|error| {
        panic!("{python} cannot be started: {error}; install Python 3.11 or newer, or name it in PYTHON")
    });
    assert!(status.success(), "pytest: {status}");
}
