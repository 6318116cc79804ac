//! The `packmill` command line: parse, run, exit code.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what a command line is for"
)]

mod args;

mod bench;

mod check;

mod demo;

mod inspect;

mod memory;

mod output;

mod samples;

mod show;

mod stream;

use anyhow::Result;
use args::{Cli, Command};
use clap::{CommandFactory, Parser};
use packmill::recipe::Faults;
use packmill::{Kind, Recipe};
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let started = Instant::now();
    let cli = Cli::parse();
    match run(cli, started) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let red = anstyle::AnsiColor::Red.on_default().bold();
            anstream::eprintln!("{red}error{red:#}: {error:#}");
            ExitCode::from(exit_code(&error))
        }
    }
}

fn run(cli: Cli, started: Instant) -> Result<()> {
    match cli.command {
        Command::Demo(args) => demo::run(&args, started),
        Command::Stream(args) => stream::run(&args, started),
        Command::Samples(args) => samples::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Bench(args) => bench::run(&args, started),
        Command::Completions { shell } => {
            clap_complete::generate(
                shell,
                &mut Cli::command(),
                "packmill",
                &mut std::io::stdout(),
            );
            Ok(())
        }
    }
}

/// 2 for a wrong recipe, 1 for what the data or the machine did.
fn exit_code(error: &anyhow::Error) -> u8 {
    let wrong_recipe = error.downcast_ref::<Faults>().is_some()
        || error
            .downcast_ref::<packmill::Error>()
            .is_some_and(|e| e.kind() == Kind::Recipe);
    if wrong_recipe { 2 } else { 1 }
}

/// Whether the reader of a pipe went away (`| head`): no error of ours.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
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

/// A wrong use of the command line.
fn usage(message: &str) -> anyhow::Error {
    packmill::Error::new(Kind::Recipe, packmill::Stage::Recipe, message).into()
}
