//! One run, in a process of its own, so that its memory is its own.

use packmill::pipeline::Model;
use packmill::{Loader, Recipe, Result};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(1);

pub(crate) fn run(recipe: &Path, cache: &Path) {
    let (peak, done) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let looking = {
        let (peak, done) = (Arc::clone(&peak), Arc::clone(&done));
        std::thread::spawn(move || {
            while !done.load(Relaxed) {
                peak.fetch_max(anon_bytes(), Relaxed);
                std::thread::sleep(LOOK);
            }
        })
    };
    let recipe = Recipe::load(recipe).unwrap();
    let model = Arc::new(Model::load(&recipe));
    let (started, cpu) = (Instant::now(), cpu_seconds());
    let end = match &*model {
        Ok(_) => match stream(recipe, cache) {
            Ok(()) => "ended".to_owned(),
            Err(error) => error.to_string(),
        },
        Err(error) => error.to_string(),
    };
    let seconds = started.elapsed().as_secs_f64();
    done.store(true, Relaxed);
    looking.join().unwrap();
    let anon_bytes = peak.load(Relaxed);
    let cpu = cpu_seconds() - cpu;
    let said = serde_json::json!({
        "seconds": seconds,
        "cpu_seconds": cpu,
        "anon_bytes": anon_bytes,
        "end": end,
    });
    println!("{said}");
}

fn stream(recipe: Recipe, cache: &Path) -> Result<()> {
    for batch in Loader::builder(recipe).cache(cache.to_owned()).build()? {
        batch?;
    }
    Ok(())
}

/// What this process allocated itself and is resident.
fn anon_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Time that all threads of this process have computed, as far as Linux counts it: in hundredths.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in brackets may have blanks in it.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum::<f64>()
        / 100.0
}
