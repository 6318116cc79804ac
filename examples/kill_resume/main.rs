//! Kills a streaming process again and again, and compares every row with those of the uninterrupted stream.
//!
//!     cargo run --release --example kill_resume -- [--kills N] [--seed S]
//!
//! A child process runs all ranks of a stream, each in a thread of its own, saves checkpoints, and writes down each row
//! that it delivers. It is killed (SIGKILL) at random times and at every one of the [named places](packmill::places) in the
//! code, and resumed from its newest complete checkpoint with another number of workers and ranks. Each of its rows
//! must be the row of that number in the uninterrupted stream; over the lives of a run each row must come.

#![allow(
    clippy::print_stdout,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test program: what cannot be set up has nothing to show"
)]

#[path = "../common/mod.rs"]
mod common;

mod child;
mod configs;
mod corpus;

use child::Life;
use configs::Config;
use packmill::places;
use packmill::recipe::Plan;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(life) = arguments.strip_prefix(&["--child".to_owned()]) {
        child::live(&Life::parse(life));
        return;
    }
    let number = |name: &str, default: u64| {
        let at = arguments.iter().position(|argument| argument == name);
        let value = at.and_then(|at| arguments.get(at + 1));
        value.map_or(default, |value| value.parse().unwrap())
    };
    let mut random = Random(number("--seed", 1));
    run(number("--kills", 50), &mut random);
}

fn run(kills: u64, random: &mut Random) {
    let folder = tempfile::tempdir().unwrap();
    corpus::write(folder.path());
    let configs = configs::all();
    let expected: Vec<Vec<String>> = configs
        .iter()
        .map(|config| child::uninterrupted(folder.path(), config))
        .collect();
    let global = configs.iter().filter(|config| config.plan == Plan::Global);
    let rows: Vec<usize> = expected.iter().map(Vec::len).collect();
    println!(
        "{} configurations, {} of them with plan: global; {} to {} rows each",
        configs.len(),
        global.count(),
        rows.iter().min().unwrap(),
        rows.iter().max().unwrap(),
    );
    let mut tally = Tally::default();
    let mut next = 0;
    while tally.kills < kills {
        let (config, expected) = (
            &configs[next % configs.len()],
            &expected[next % configs.len()],
        );
        one_run(folder.path(), config, expected, kills, random, &mut tally);
        next += 1;
    }
    tally.report();
    assert_eq!(tally.different, 0);
}

/// One stream from its start to its end, through as many lives as it takes.
fn one_run(
    folder: &Path,
    config: &Config,
    expected: &[String],
    kills: u64,
    random: &mut Random,
    tally: &mut Tally,
) {
    let own = tempfile::tempdir_in(folder).unwrap();
    let log = own.path().join("rows");
    // Some kills at most, so that the run comes to its end.
    let mut left = 8.min(kills - tally.kills);
    loop {
        let life = Life {
            config: config.clone(),
            folder: folder.to_owned(),
            own: own.path().to_owned(),
            world_size: config.worlds[random.below(config.worlds.len() as u64) as usize],
            workers: 1 + random.below(8) as usize,
        };
        let end = if left == 0 {
            End::Natural
        } else if random.below(2) == 0 {
            let place = tally.next_place(config.plan, random);
            // Places that come seldom are waited for once, others a few times.
            End::Place(place, 1 + random.below(3))
        } else {
            End::Time(Duration::from_millis(random.below(400)))
        };
        // What is kept in the cache may be lost at any time, and only then do these places come again.
        let in_cache = matches!(end, End::Place(place, _) if IN_CACHE.contains(&place));
        if in_cache || random.below(8) == 0 {
            let _ = std::fs::remove_dir_all(own.path().join("cache"));
        }
        let before = lines(&log).len();
        let killed = live_and_die(&life, &end, tally);
        let rows = lines(&log);
        tally.lives += 1;
        // The first life begins at 0; a later one delivers at least a step or shows that a kill can come sooner.
        tally.delivering += u64::from(rows.len() > before);
        for row in &rows[before..] {
            let (number, hash) = row.split_once(' ').unwrap();
            let number: usize = number.parse().unwrap();
            tally.rows += 1;
            if expected.get(number).map(String::as_str) != Some(hash) {
                tally.different += 1;
                println!(
                    "row {number} differs: {config:?}, {} ranks",
                    life.world_size
                );
            }
        }
        if killed {
            tally.kills += 1;
            left -= 1;
        } else {
            let mut seen = vec![false; expected.len()];
            for row in &rows {
                let number: usize = row.split_once(' ').unwrap().0.parse().unwrap();
                // One that should not be is a difference already.
                if let Some(seen) = seen.get_mut(number) {
                    *seen = true;
                }
            }
            let wanted = match config.plan {
                Plan::Lanes => configs::ROWS as usize,
                Plan::Global => expected.len(),
            };
            let missing = seen[..wanted].iter().filter(|seen| !**seen).count();
            tally.different += missing as u64;
            if missing > 0 {
                println!("{missing} rows never came: {config:?}");
            }
            tally.runs += 1;
            return;
        }
    }
}

/// Places that are come to while something is put into the cache folder.
const IN_CACHE: [&str; 4] = [
    places::SPOOL_WRITTEN,
    places::SPOOL_PUBLISHED,
    places::LENGTHS_WRITTEN,
    places::LENGTHS_PUBLISHED,
];

/// Whether a stream of this plan comes to a place.
fn comes_to(plan: Plan, place: &str) -> bool {
    match plan {
        Plan::Lanes => ![places::LENGTHS_WRITTEN, places::LENGTHS_PUBLISHED].contains(&place),
        Plan::Global => place != places::LANE_RESTORED,
    }
}

/// How a child's life ends.
enum End {
    /// When it has delivered everything.
    Natural,
    /// So long after it has begun to stream.
    Time(Duration),
    /// When it comes to a place for the n-th time.
    Place(&'static str, u64),
}

/// Whether it was killed before its natural end.
fn live_and_die(life: &Life, end: &End, tally: &mut Tally) -> bool {
    let place = match end {
        End::Place(place, count) => format!("{place}:{count}"),
        _ => String::new(),
    };
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg("--child")
        .args(life.arguments())
        .env("KILL_RESUME_PLACE", place)
        .env("PACKMILL_CACHE", life.own.join("cache"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let (sender, events) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let mut deadline: Option<Instant> = None;
    let mut killed = false;
    loop {
        let patience = deadline.map_or(Duration::from_secs(120), |at| {
            at.saturating_duration_since(Instant::now())
        });
        match events.recv_timeout(patience) {
            Ok(line) if line == "streaming" => {
                if let End::Time(after) = end {
                    deadline = Some(Instant::now() + *after);
                }
            }
            Ok(line) if line == "at the place" => {
                killed = child.kill().is_ok();
                if let End::Place(place, _) = end {
                    *tally.fired.entry(place).or_default() += 1;
                }
                break;
            }
            Ok(line) if line == "done" => break,
            Ok(line) => panic!("the child says {line:?}"),
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) if deadline.is_some() => {
                killed = child.kill().is_ok();
                break;
            }
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("the child hangs: {life:?}"),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => {
                panic!("the child failed: {life:?}")
            }
        }
    }
    let status = child.wait().unwrap();
    reader.join().unwrap();
    // One that ended by itself just before it was to be killed is not killed.
    killed && !status.success()
}

/// Whole lines of a file that may end in a half one.
fn lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or(0, |at| at + 1);
    text[..whole].lines().map(str::to_owned).collect()
}

#[derive(Default)]
struct Tally {
    kills: u64,
    lives: u64,
    /// Lives in which rows were delivered.
    delivering: u64,
    runs: u64,
    rows: u64,
    different: u64,
    /// Lives that were to end at a place, and those that did.
    tried: BTreeMap<&'static str, u64>,
    fired: BTreeMap<&'static str, u64>,
}

impl Tally {
    /// One of the places that were tried least often of those that the plan comes to.
    fn next_place(&mut self, plan: Plan, random: &mut Random) -> &'static str {
        let tried = |place: &&str| self.tried.get(place).copied().unwrap_or(0);
        let all = places::ALL
            .into_iter()
            .filter(|place| comes_to(plan, place));
        let least = all.clone().map(|place| tried(&place)).min();
        let all: Vec<_> = all.filter(|place| Some(tried(place)) == least).collect();
        let place = all[random.below(all.len() as u64) as usize];
        *self.tried.entry(place).or_default() += 1;
        place
    }

    fn report(&self) {
        println!(
            "{} kills in {} lives of {} runs; {} lives delivered rows; {} rows compared, {} differences",
            self.kills, self.lives, self.runs, self.delivering, self.rows, self.different
        );
        for place in places::ALL {
            let fired = self.fired.get(place).copied().unwrap_or(0);
            println!("  killed at {place}: {fired}");
        }
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        (x ^ x >> 31) % end
    }
}
