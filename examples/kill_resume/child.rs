//! The process that is killed: all ranks of a stream, from the newest complete checkpoint to the last row.

use crate::configs::{Config, MOST_RANKS, ROWS, all};
use packmill::checkpoint::{Folder, Whole, merge};
use packmill::order::lanes::Rank;
use packmill::pipeline::{Loader, LoaderBuilder};
use packmill::recipe::Plan;
use packmill::{Recipe, places};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Barrier, OnceLock};
use std::time::Duration;

/// Rows between two checkpoints, about: as many whole steps as come nearest.
const CHECKPOINT_ROWS: u64 = 32;

/// What one life is to do.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    pub(crate) config: Config,
    /// The corpus.
    pub(crate) folder: PathBuf,
    /// The run's own: checkpoints and the rows delivered.
    pub(crate) own: PathBuf,
    pub(crate) world_size: u32,
    pub(crate) workers: usize,
}

impl Life {
    pub(crate) fn arguments(&self) -> Vec<String> {
        vec![
            self.config.name.clone(),
            self.folder.display().to_string(),
            self.own.display().to_string(),
            self.world_size.to_string(),
            self.workers.to_string(),
        ]
    }

    pub(crate) fn parse(arguments: &[String]) -> Self {
        let [name, folder, own, world_size, workers] = arguments else {
            panic!("a child wants five arguments");
        };
        Life {
            config: all()
                .into_iter()
                .find(|config| config.name == *name)
                .unwrap(),
            folder: folder.into(),
            own: own.into(),
            world_size: world_size.parse().unwrap(),
            workers: workers.parse().unwrap(),
        }
    }

    fn recipe(&self) -> Recipe {
        let mut recipe = self.config.recipe(&self.folder);
        recipe.workers = Some(self.workers);
        recipe.batch.rows = 1;
        recipe
    }
}

/// The hash of every row of a stream that nobody disturbs.
pub(crate) fn uninterrupted(folder: &Path, config: &Config) -> Vec<String> {
    let mut recipe = config.recipe(folder);
    recipe.batch.rows = 1;
    let mut builder = Loader::builder(recipe).cache(folder.join("cache"));
    if config.plan == Plan::Lanes {
        // A last step may go past the last row that is wanted.
        builder = builder.steps(ROWS + MOST_RANKS);
    }
    let loader = builder.build().unwrap();
    loader
        .map(|batch| batch.unwrap().digest().to_string())
        .collect()
}

/// Streams to the end, or to the place where it is to be killed.
pub(crate) fn live(life: &Life) {
    wait_at_place();
    let checkpoints = life.own.join("checkpoints");
    let from = Folder::new(&checkpoints)
        .newest()
        .ok()
        .map(|found| merge(found.states).unwrap());
    let log = File::options()
        .create(true)
        .append(true)
        .open(life.own.join("rows"))
        .unwrap();
    // No rank runs on before all are open: the parent's clock starts with the stream.
    let open = Barrier::new(life.world_size as usize);
    std::thread::scope(|scope| {
        for number in 0..life.world_size {
            let rank = Rank {
                number,
                world_size: life.world_size,
            };
            let builder = Loader::builder(life.recipe())
                .cache(life.own.join("cache"))
                .rank(rank)
                .checkpoints();
            let (from, log, open, checkpoints) = (from.clone(), &log, &open, &checkpoints);
            let plan = life.config.plan;
            scope.spawn(move || one_rank(builder, rank, plan, from, checkpoints, log, open));
        }
    });
    println!("done");
}

fn one_rank(
    mut builder: LoaderBuilder,
    rank: Rank,
    plan: Plan,
    from: Option<Whole>,
    checkpoints: &Path,
    mut log: &File,
    open: &Barrier,
) {
    let world = u64::from(rank.world_size);
    let (begun, step) = from
        .as_ref()
        .map_or((0, 0), |whole| (whole.rows, whole.step));
    if let Some(whole) = from {
        builder = builder.resume(whole);
    }
    if plan == Plan::Lanes {
        builder = builder.steps(step + (ROWS - begun).div_ceil(world));
    }
    let mut loader = builder.build().unwrap();
    let mut folder = Folder::new(checkpoints);
    // Nothing there yet is no fault of a first life.
    let _ = folder.newest();
    if open.wait().is_leader() {
        println!("streaming");
    }
    let every = CHECKPOINT_ROWS.div_ceil(world);
    while let Some(batch) = loader.next() {
        let batch = batch.unwrap();
        let hash = batch.digest();
        // None in a batch that only fills an epoch's last step.
        for number in batch.row_numbers() {
            // One write a row, so that a kill leaves whole lines and perhaps a last half one.
            log.write_all(format!("{number} {hash}\n").as_bytes())
                .unwrap();
        }
        std::thread::sleep(Duration::from_micros(300));
        let state = loader.state().unwrap();
        if state.step.is_multiple_of(every) {
            folder.save(&state).unwrap();
            if rank.number == 0 {
                folder.prune(2).unwrap();
            }
        }
    }
}

static PLACE: OnceLock<(String, u64)> = OnceLock::new();
static PASSED: AtomicU64 = AtomicU64::new(0);

/// If the parent named a place, whoever comes there for the n-th time waits to be killed.
fn wait_at_place() {
    let wanted = std::env::var("KILL_RESUME_PLACE").unwrap_or_default();
    let Some((place, count)) = wanted.split_once(':') else {
        return;
    };
    let _ = PLACE.set((place.to_owned(), count.parse().unwrap()));
    places::listen(|place| {
        let wanted = PLACE.get().filter(|(wanted, _)| wanted == place);
        if let Some((_, count)) = wanted
            && PASSED.fetch_add(1, Relaxed) + 1 >= *count
        {
            println!("at the place");
            loop {
                std::thread::sleep(Duration::from_secs(3600));
            }
        }
    });
}
