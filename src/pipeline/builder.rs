//! Setting up a loader: what is opened, checked and dealt before the first row.

use super::assemble::{Assembler, Setup};
use super::duplicates::{Duplicates, Search};
use super::eval::EvalSide;
use super::feed::Feed;
use super::global::{self, Count, Epochs, Opening};
use super::identity::{self, of_another_stream};
use super::in_order::InOrder;
use super::loader::Loader;
use super::model::Model;
use super::outlet::{Delivering, Stopped};
use super::progress::Progress;
use super::resume::begins;
use super::sources::{Purpose, Sources};
use super::split::{self, Side};
use super::stream::{Begin, Dealt};
use super::warning::Warning;
use super::workers::{Workers, panicked};
use crate::batch::{BatchSpec, BatchWriter, BufferPool, IdWidth};
use crate::channel;
use crate::checkpoint::{Fingerprint, Whole, Whose};
use crate::error::{Error, Kind, Result, Stage};
use crate::order::lanes::{Lanes, Rank};
use crate::order::sequence::Sequence;
use crate::read::ReadAhead;
use crate::recipe::{OnExhausted, Plan, Recipe, Render};
use crate::stats::Stats;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Stored bytes that may be read ahead at a time, over all lanes.
pub(crate) const READ_AHEAD_BYTES: u64 = 64 << 20;

/// Batch buffers kept beyond the channel's depth: the one that is written, and two with the trainer.
const SPARE_BUFFERS: usize = 3;

/// Sets up a [`Loader`]. Setters cannot fail; [`build`](LoaderBuilder::build) checks and opens everything.
#[derive(Clone)]
pub struct LoaderBuilder {
    recipe: Recipe,
    width: IdWidth,
    steps: Option<u64>,
    cache: Option<PathBuf>,
    model: Option<Arc<Model>>,
    rank: Rank,
    side: Side,
    resume: Option<Whole>,
    checkpoints: Checkpoints,
    counting: Arc<Tick>,
}

/// Is told how far counting has come; its error ends the opening.
type Tick = dyn Fn(Count) -> Result<()> + Send + Sync;

/// Whether states are wanted that another process can go on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checkpoints {
    None,
    Wanted,
}

impl fmt::Debug for LoaderBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoaderBuilder")
            .field("recipe", &self.recipe)
            .field("rank", &self.rank)
            .field("steps", &self.steps)
            .finish_non_exhaustive()
    }
}

impl LoaderBuilder {
    /// One rank of one, from the start, without end but the recipe's.
    pub(super) fn new(recipe: Recipe) -> Self {
        LoaderBuilder {
            recipe,
            width: IdWidth::I32,
            steps: None,
            cache: None,
            model: None,
            rank: Rank::ALONE,
            side: Side::Train,
            resume: None,
            checkpoints: Checkpoints::None,
            counting: Arc::new(|_| Ok(())),
        }
    }

    /// Width of `input_ids` and labels: i32 (the default) or i64, which torch's losses want.
    #[must_use]
    pub fn width(mut self, width: IdWidth) -> Self {
        self.width = width;
        self
    }

    /// Ends delivery after this many steps. Changes no row.
    #[must_use]
    pub fn steps(mut self, steps: u64) -> Self {
        self.steps = Some(steps);
        self
    }

    /// Folder for spools, instead of the user's cache folder.
    #[must_use]
    pub fn cache(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cache = Some(folder.into());
        self
    }

    /// A tokenizer and templates that were loaded before, with [`Model::load`] on the same recipe.
    #[must_use]
    pub fn model(mut self, model: Arc<Model>) -> Self {
        self.model = Some(model);
        self
    }

    /// Delivers one rank's share of the rows. All ranks' shares together are the stream.
    #[must_use]
    pub fn rank(mut self, rank: Rank) -> Self {
        self.rank = rank;
        self
    }

    /// Streams what is held out, in place of what is trained on: one epoch in corpus order, on any number of ranks, without
    /// shuffling, weights or checkpoints.
    #[must_use]
    pub fn side(mut self, side: Side) -> Self {
        self.side = side;
        self
    }

    /// Prepares for [`Loader::state`]: the fingerprint of recipe, files, tokenizer and templates is taken at open.
    #[must_use]
    pub fn checkpoints(mut self) -> Self {
        self.checkpoints = Checkpoints::Wanted;
        self
    }

    /// Is told, from any thread, how far a pass over the corpus has come that a stream needs before its first row: for
    /// `plan: global`, of lengths and then of epochs' rows, and for `duplicates`. An error ends the opening. What was in the
    /// cache counts too.
    #[must_use]
    pub fn counting(mut self, tick: impl Fn(Count) -> Result<()> + Send + Sync + 'static) -> Self {
        self.counting = Arc::new(tick);
        self
    }

    /// Goes on from where a stream stood, whatever the number of its ranks was.
    #[must_use]
    pub fn resume(mut self, from: Whole) -> Self {
        self.resume = Some(from);
        self
    }

    /// Loads tokenizer and templates, opens the corpus and starts the threads.
    ///
    /// # Errors
    /// Whatever is wrong with recipe, tokenizer, templates or corpus before the first record is encoded.
    pub fn build(self) -> Result<Loader> {
        let recipe = self.recipe;
        // What the recipe alone can refuse is refused before anything is read.
        let step_rows = step_rows(&recipe, self.rank, self.side)?;
        if self.side == Side::Eval {
            let resumes = self.resume.is_some() || self.checkpoints == Checkpoints::Wanted;
            eval_is_there(&recipe, resumes)?;
        }
        if self.side == Side::Train && recipe.plan == Plan::Global {
            global::check_epochs(recipe.epochs)?;
        }
        let model = match self.model {
            Some(model) => model,
            None => Arc::new(Model::load(&recipe)?),
        };
        let workers = worker_count(&recipe);
        let cache = match self.cache {
            Some(cache) => cache,
            None => crate::read::cache_folder()?,
        };
        let lanes = Lanes::new(recipe.lanes);
        let io = ReadAhead::new(READ_AHEAD_BYTES)?;
        let dealing = match self.side {
            Side::Eval => Dealing::InOrder,
            Side::Train => Dealing::Plan(recipe.plan),
        };
        let purpose = match dealing {
            Dealing::Plan(Plan::Lanes) => Purpose::Stream(lanes),
            Dealing::Plan(Plan::Global) | Dealing::InOrder => Purpose::Samples,
        };
        let resume = self.resume;
        let opened = Sources::open(&recipe, &model, &io, &cache, purpose);
        let sources = match resume {
            Some(_) => opened.map_err(of_another_stream)?,
            None => opened?,
        };
        let search = Search {
            recipe: &recipe,
            model: &model,
            sources: &sources,
            io: &io,
            cache: &cache,
            workers,
            tick: self.counting.as_ref(),
        };
        let duplicates = Duplicates::find(&search)?;
        let sources = Arc::new(sources.of_side(self.side).without(duplicates));
        if dealing == Dealing::Plan(Plan::Global) {
            global::check(&sources)?;
        }
        let stats = Arc::new(Stats::default());
        let (sender, receiver) = channel::bounded(recipe.prefetch);
        // A plan is kept under it.
        let wanted = self.checkpoints == Checkpoints::Wanted || resume.is_some();
        let (prints, fingerprint) = if wanted || dealing == Dealing::Plan(Plan::Global) {
            let prints = identity::prints(&recipe, &model, &sources)?;
            let fingerprint = identity::of_opened(&recipe, &model, &prints);
            (prints, fingerprint)
        } else {
            (Vec::new(), Fingerprint::default())
        };
        if let Some(whole) = &resume {
            fits(whole, &fingerprint, self.rank)?;
        }
        let spec = BatchSpec {
            rows: recipe.batch.rows,
            sequence_length: recipe.pack.sequence_length,
            pad_id: model.tokenizer.pad,
            labels: recipe.batch.labels,
            loss_weights: recipe.loss_weights(),
            width: self.width,
            segment_multiple: recipe.pack.segment_multiple,
            max_segments: recipe.pack.max_segments,
        };
        let bos = model.tokenizer.bos.as_ref().map(|token| token.id);
        let delivering = Delivering {
            writer: BatchWriter::new(spec, BufferPool::new(recipe.prefetch + SPARE_BUFFERS))?,
            rank: self.rank,
            rows: recipe.batch.rows,
            step_rows,
            steps: self.steps,
            sender,
            stats: Arc::clone(&stats),
            sequence_length: recipe.pack.sequence_length,
            bos,
        };
        let mut warnings = sources.warnings(&recipe);
        warnings.extend(Warning::step_rows(resume.as_ref(), step_rows));
        let sequence_length = recipe.pack.sequence_length;
        let since = resume.as_ref().map_or(0, |whole| whole.rows);
        let history = resume.as_ref().map(|whole| whole.history.clone());
        let progress = match &resume {
            Some(whole) => Progress::resumed(whole, self.rank),
            None => Progress::default(),
        };
        let (packing, outlook) = match dealing {
            Dealing::InOrder => {
                let records = InOrder::open(&recipe, &sources, workers, &stats)?;
                let eval = EvalSide::new(&recipe, bos, records, delivering)?;
                (Packing::Eval(Box::new(eval)), None)
            }
            Dealing::Plan(Plan::Global) => {
                let opening = Opening {
                    recipe: &recipe,
                    sources: &sources,
                    bos,
                    fingerprint: &fingerprint,
                    prints: &prints,
                    cache: &cache,
                    workers,
                    checkpoints: self.checkpoints,
                    resume: resume.as_ref(),
                    tick: self.counting.as_ref(),
                };
                let (epochs, outlook) = global::open(opening, delivering, io)?;
                (Packing::Global(Box::new(epochs)), Some(outlook))
            }
            Dealing::Plan(Plan::Lanes) => {
                let dealt = deal(&recipe, &sources, lanes, self.rank);
                let begin = match &resume {
                    Some(whole) => begins(whole, &dealt)?,
                    None => vec![Begin::first(); dealt.own.len() * dealt.sequences.len()],
                };
                let setup = Setup {
                    feed: open_feed(&sources, dealt, begin, workers, io, &stats)?,
                    lanes,
                    weights: recipe.weights(),
                    sources: recipe.sources.iter().map(|s| s.name.clone()).collect(),
                    pack: recipe.pack.clone(),
                    bos,
                    most_examples: most_examples(&recipe, &model),
                    on_bad_record: recipe.on_bad_record,
                    checkpoints: self.checkpoints,
                };
                let assembler = Box::new(Assembler::new(setup, delivering)?);
                (Packing::Lanes(assembler, resume.map(Box::new)), None)
            }
        };
        let thread = std::thread::Builder::new()
            .name("packmill-pack".to_owned())
            .spawn(move || packing.run(workers))
            .map_err(|e| {
                Error::new(
                    Kind::Io,
                    Stage::Pack,
                    "the packing thread cannot be started",
                )
                .caused_by(e)
            })?;
        Ok(Loader {
            receiver,
            thread: Some(thread),
            progress,
            rank: self.rank,
            step_rows,
            fingerprint: Arc::new(fingerprint),
            since,
            history: history.unwrap_or_default(),
            ended: false,
            stats,
            sources,
            model,
            warnings,
            sequence_length,
            outlook,
        })
    }
}

/// Rows of all ranks in a step; the refusals of what cannot be shared out.
fn step_rows(recipe: &Recipe, rank: Rank, side: Side) -> Result<u64> {
    let refuse = |message: String, remedy: String| {
        Err(Error::new(Kind::Recipe, Stage::Order, message).remedy(remedy))
    };
    let (world, lanes, rows) = (rank.world_size, recipe.lanes, recipe.batch.rows as u64);
    if world == 0 || rank.number >= world {
        return refuse(
            format!("rank {} of {world}", rank.number),
            "ranks count from 0 to the world size - 1".to_owned(),
        );
    }
    let by_lanes = recipe.plan == Plan::Lanes && side == Side::Train;
    if by_lanes && !lanes.is_multiple_of(world) {
        let fits: Vec<String> = (1..=lanes)
            .filter(|size| lanes.is_multiple_of(*size))
            .map(|size| size.to_string())
            .collect();
        let (below, above) = (lanes / world * world, lanes.div_ceil(world) * world);
        let nearest = match below {
            0 => above,
            below if lanes - below <= above - lanes => below,
            _ => above,
        };
        return refuse(
            format!("{lanes} lanes cannot be dealt to {world} ranks"),
            format!(
                "a world size of {} does, or begin anew with lanes: {nearest}",
                fits.join(", ")
            ),
        );
    }
    let stops = recipe.weights().is_some() && recipe.on_exhausted == OnExhausted::Stop;
    let finite = by_lanes && (recipe.epochs.is_some() || stops);
    if world > 1 && finite {
        let key = if stops {
            "on_exhausted: stop"
        } else {
            "epochs"
        };
        return refuse(
            format!("{key} with {world} ranks: lanes end at different rows"),
            match stops {
                true => "count steps instead, or use one rank".to_owned(),
                false => "use plan: global, count steps instead, or use one rank".to_owned(),
            },
        );
    }
    let a_round = rows * u64::from(world);
    let step_rows = recipe.batch.step_rows.map_or(a_round, |rows| rows as u64);
    if step_rows == 0 || !step_rows.is_multiple_of(a_round) {
        return refuse(
            format!("batch.step_rows {step_rows} is no multiple of {world} ranks × {rows} rows"),
            format!("make it a multiple of {a_round}, or change batch.rows"),
        );
    }
    Ok(step_rows)
}

/// Refuses an eval side where nothing is held out, and one that is to be gone on with.
fn eval_is_there(recipe: &Recipe, resumes: bool) -> Result<()> {
    let refuse = |kind, message: &str, remedy: &str| {
        Err(Error::new(kind, Stage::Order, message).remedy(remedy))
    };
    if (0..recipe.sources.len()).all(|source| split::config(recipe, source).is_none()) {
        let message = "the recipe holds nothing out, so that there is no eval side";
        return refuse(Kind::Recipe, message, "set split: {fraction: 0.01}");
    }
    if resumes {
        let message = "the eval side has no checkpoints: it is short, and read whole every time";
        return refuse(
            Kind::Checkpoint,
            message,
            "stream it anew, without checkpoints",
        );
    }
    Ok(())
}

/// Examples that one record of any source is at most.
fn most_examples(recipe: &Recipe, model: &Model) -> u64 {
    let mut renders = model.sources.iter().map(|source| source.render);
    match renders.any(|render| render == Render::PerTurn) {
        true => recipe.limits.examples_per_record as u64,
        false => 1,
    }
}

/// Refuses to go on with another stream than the one that was begun.
fn fits(whole: &Whole, fingerprint: &Fingerprint, rank: Rank) -> Result<()> {
    if let Whose::Rank(number) = whole.whose
        && (number, whole.world_size) != (rank.number, rank.world_size)
    {
        let message = format!(
            "a state of rank {number} of {} alone cannot be gone on with by rank {} of {}",
            whole.world_size, rank.number, rank.world_size
        );
        return Err(Error::new(Kind::Checkpoint, Stage::Checkpoint, message)
            .remedy("give each rank its own state, or every rank all of them"));
    }
    let differences = whole.fingerprint.differences(fingerprint);
    if differences.is_empty() {
        return Ok(());
    }
    let message = format!(
        "the checkpoint is of another stream: {}",
        differences.join("; ")
    );
    Err(Error::new(Kind::Checkpoint, Stage::Checkpoint, message)
        .remedy("restore what differs, or begin anew"))
}

/// What a rank is dealt: without weights all blocks as one list, with them each source's own.
pub(super) fn deal(recipe: &Recipe, sources: &Sources, lanes: Lanes, rank: Rank) -> Dealt {
    let sequence = |name: &str, blocks, epochs| {
        Sequence::new(recipe.seed, name, blocks, recipe.shuffle, epochs)
    };
    let by_source = recipe.weights().is_some();
    let sequences = if by_source {
        // A source that ends begins again, unless the stream ends with it.
        let epochs = (recipe.on_exhausted == OnExhausted::Stop).then_some(1);
        let configs = recipe.sources.iter().zip(sources.summaries());
        configs
            .enumerate()
            .map(|(index, (source, opened))| {
                sequence(&source.name, opened.blocks, epochs)
                    .taken_together(sources.together(Some(index)))
            })
            .collect()
    } else {
        let all = sequence("", sources.blocks(), recipe.epochs);
        vec![all.taken_together(sources.together(None))]
    };
    Dealt {
        sequences,
        by_source,
        lanes,
        own: rank.lanes(lanes),
    }
}

/// The recipe's number of workers, else the machine's cores.
pub fn worker_count(recipe: &Recipe) -> usize {
    recipe
        .workers
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
        .max(1)
}
/// Starts workers and joins them to lanes.
pub(crate) fn open_feed(
    sources: &Arc<Sources>,
    dealt: Dealt,
    begin: Vec<Begin>,
    workers: usize,
    io: ReadAhead,
    stats: &Arc<Stats>,
) -> Result<Feed> {
    let cancelled = Arc::new(AtomicBool::new(false));
    let workers = Workers::start(workers, sources, stats, &cancelled)?;
    Ok(Feed::new(
        Arc::clone(sources),
        dealt,
        begin,
        workers,
        io,
        Arc::clone(stats),
    ))
}

/// How rows come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dealing {
    Plan(Plan),
    InOrder,
}

/// The sequential part, of one plan or the other, or of the eval side.
enum Packing {
    Lanes(Box<Assembler>, Option<Box<Whole>>),
    Global(Box<Epochs>),
    Eval(Box<EvalSide>),
}

impl Packing {
    /// The packing thread: an error, or a panic, is the last thing that the receiver gets.
    fn run(mut self, workers: usize) {
        let stopped = catch_unwind(AssertUnwindSafe(|| match &mut self {
            Packing::Lanes(assembler, resume) => {
                if let Some(whole) = &resume {
                    assembler.resume(whole)?;
                }
                assembler.run()
            }
            Packing::Global(epochs) => epochs.run(workers),
            Packing::Eval(eval) => eval.run(),
        }));
        let error = match stopped {
            Ok(Ok(Stopped::Done | Stopped::Closed)) => return,
            Ok(Err(error)) => error,
            Err(panic) => panicked(panic.as_ref()),
        };
        match &mut self {
            Packing::Lanes(assembler, _) => assembler.fail(error),
            Packing::Global(epochs) => epochs.fail(error),
            Packing::Eval(eval) => eval.fail(error),
        }
    }
}
