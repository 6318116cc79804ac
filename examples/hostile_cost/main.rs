//! What hostile input costs: how soon a run that stops ends with its error, how fast one that skips goes on, and how
//! much more memory than an empty run either takes.
//!
//!     cargo run --release --example hostile_cost [-- SIZE]
//!
//! SIZE, 1GiB unless given, is the text of the long line and of the bombs. Every run is a process of its own with a cold
//! cache folder; the files are in the page cache. Memory is the peak of what the process allocated itself (mapped files
//! are the kernel's to take back), beside that of a run over one chat. Time is from opening the corpus to the error, or
//! to the stream's end, on the clock and as computed by all threads, which a busy machine does not change.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "an example shows what it does, and a measurement ends where something is wrong"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

mod cases;
mod child;
#[path = "../common/mod.rs"]
mod common;

/// Runs of which the slowest and the largest count.
const ROUNDS: usize = 3;

/// What was seen of one run.
struct Seen {
    seconds: f64,
    cpu_seconds: f64,
    anon_bytes: u64,
    /// The error, or that it came to its end.
    end: String,
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next();
    if first.as_deref() == Some("child") {
        let recipe = arguments.next().expect("a recipe");
        let cache = arguments.next().expect("a cache folder");
        return child::run(Path::new(&recipe), Path::new(&cache));
    }
    let size = first.map_or(1 << 30, |size| {
        packmill::recipe::parse_size(&size).expect("a size")
    });
    let folder = std::env::temp_dir().join(format!("packmill-hostile-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let demo = common::recipe();
    let tokenizer = demo.parent().unwrap().join("tokenizer");
    let writer = cases::Writer {
        folder: folder.clone(),
        tokenizer,
        size,
    };
    let empty = measure(&writer.empty(), &folder);
    println!(
        "an empty run: {:.2} s, {} MiB\n",
        empty.seconds,
        empty.anon_bytes >> 20
    );
    println!(
        "| input | stop: seconds (of CPU) | stop: MiB more | skip: seconds (of CPU) | skip: MiB more | the error |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    for case in writer.cases() {
        let more = |seen: &Seen| {
            seen.anon_bytes.saturating_sub(empty.anon_bytes) as f64 / f64::from(1 << 20)
        };
        let stop = measure(&case.stop, &folder);
        let skip = case.skip.as_ref().map(|recipe| measure(recipe, &folder));
        assert!(
            stop.end != "ended",
            "{} should have been refused",
            case.name
        );
        let skipped = skip.map_or("refused alike | -".to_owned(), |skip| {
            assert!(skip.end == "ended", "{}: {}", case.name, skip.end);
            let (seconds, cpu) = (skip.seconds, skip.cpu_seconds);
            format!("{seconds:.2} ({cpu:.2}) | {:.0}", more(&skip))
        });
        println!(
            "| {} | {:.2} ({:.2}) | {:.0} | {skipped} | {} |",
            case.name,
            stop.seconds,
            stop.cpu_seconds,
            more(&stop),
            stop.end
        );
        case.remove();
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

/// The worst of some runs.
fn measure(recipe: &Path, folder: &Path) -> Seen {
    let mut worst: Option<Seen> = None;
    for round in 0..ROUNDS {
        let cache = folder.join(format!("cache-{round}"));
        let seen = once(recipe, &cache);
        let _ = std::fs::remove_dir_all(&cache);
        worst = Some(match worst {
            None => seen,
            Some(worst) => Seen {
                seconds: worst.seconds.max(seen.seconds),
                cpu_seconds: worst.cpu_seconds.max(seen.cpu_seconds),
                anon_bytes: worst.anon_bytes.max(seen.anon_bytes),
                end: seen.end,
            },
        });
    }
    worst.unwrap()
}

fn once(recipe: &Path, cache: &PathBuf) -> Seen {
    let output = Command::new(std::env::current_exe().unwrap())
        .arg("child")
        .arg(recipe)
        .arg(cache)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "the run of {} died",
        recipe.display()
    );
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    Seen {
        seconds: said["seconds"].as_f64().unwrap(),
        cpu_seconds: said["cpu_seconds"].as_f64().unwrap(),
        anon_bytes: said["anon_bytes"].as_u64().unwrap(),
        end: said["end"].as_str().unwrap().to_owned(),
    }
}
