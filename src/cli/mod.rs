//! The `packmill` command line: parse, run, exit code.
//!
//! The binary and the console script of the Python package are this, and nothing else of the library knows it.

mod args;

mod bench;

mod byte_bar;

mod check;

mod checkpoints;

mod convert;

mod demo;

mod fork;

mod index;

mod inspect;

mod interrupt;

mod memory;

mod output;

mod recompress;

mod samples;

mod show;

mod stdio;

mod stream;

mod verify;

use crate::recipe::Faults;
use crate::{Kind, Recipe};
pub use inspect::inspected;

use anyhow::Result;
use args::{Cli, Command};
use clap::{CommandFactory, Parser};
use std::ffi::OsString;
use std::time::Instant;

/// Does what the arguments say, the first of which is the program's name, and gives the exit code: 0; 2 for a wrong recipe,
/// checkpoint or usage; 1 for what the data or the machine did. Ctrl-C is listened for, and may end the process.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    match run(arguments, Instant::now()) {
        Ok(()) => 0,
        Err(error) if stdio::is_closed_stdout(&error) => 0,
        Err(error) => {
            if let Some(misuse) = error.downcast_ref::<clap::Error>() {
                stdio::note(misuse.render().ansi().to_string().trim_end());
            } else {
                let red = anstyle::AnsiColor::Red.on_default().bold();
                stdio::note(format_args!("{red}error{red:#}: {error:#}"));
            }
            exit_code(&error)
        }
    }
}

fn run(arguments: impl IntoIterator<Item = OsString>, started: Instant) -> Result<()> {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(misuse) if misuse.use_stderr() => return Err(misuse.into()),
        // Help or the version was asked for.
        Err(answer) => return stdio::print(answer.render().ansi()),
    };
    match cli.command {
        Command::Demo(args) => demo::run(&args, started),
        Command::Stream(args) => stream::run(&args, started),
        Command::Samples(args) => samples::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Fork(args) => fork::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Index(args) => index::run(&args),
        Command::Recompress(args) => recompress::run(&args),
        Command::Bench(args) => bench::run(&args, started),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "packmill", &mut script);
            stdio::print(String::from_utf8_lossy(&script))
        }
    }
}

/// 2 for a wrong recipe, checkpoint or usage, 1 for what the data or the machine did.
fn exit_code(error: &anyhow::Error) -> u8 {
    let wrong = error.is::<Faults>()
        || error.is::<Misuse>()
        || error.is::<clap::Error>()
        || error
            .downcast_ref::<crate::Error>()
            .is_some_and(|e| matches!(e.kind(), Kind::Recipe | Kind::Checkpoint));
    if wrong { 2 } else { 1 }
}

/// Reads a recipe and applies what the command line replaces.
fn recipe(source: &args::Source) -> Result<Recipe> {
    let mut recipe = Recipe::load(&source.recipe)?;
    if let Some(workers) = source.workers {
        if workers == 0 {
            return Err(usage("--workers must be at least 1"));
        }
        recipe.workers = Some(workers);
    }
    Ok(recipe)
}

/// A wrong use of the command line that the parser cannot see.
#[derive(Debug)]
struct Misuse(String);

impl std::fmt::Display for Misuse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misuse {}

fn usage(message: impl Into<String>) -> anyhow::Error {
    Misuse(message.into()).into()
}
