//! Assembly: the only folder that names two stages in one file.
//!
//! - [`Model`]: the tokenizer and each source's templates and mask, loaded;
//! - [`Sources`]: the corpus, opened, every source's blocks as one list;
//! - `encode`: one record to examples, or to the reason why there are none;
//! - `workers`, `stream`, `feed`: records encoded ahead of time, each stream's results in the stream's order;
//! - `lane`, `assemble`, `take`, `last_pool`, `outlet`: draw and pack, on one thread; `resume`: from where another stood; `batching`: batch and send, on another;
//! - `global`: the same for `plan: global`, planned from lengths that were counted before;
//! - `filter`, `split`, `duplicates`: what is left out, held out, a copy; `kept`: what is kept in the cache folder of a pass over the corpus; `in_order`, `eval`: one side in corpus order, and the rows of what is held out;
//! - [`Loader`]: what a trainer iterates, set up by [`LoaderBuilder`]; [`Progress`]: where the stream stood after a batch;
//! - [`fingerprint`]: which stream it is; [`fork`]: a checkpoint carried into another, its pools fitted anew by `refit`;
//! - [`Samples`]: what each record becomes, in corpus order; [`Estimate`]: about how long an epoch is;
//! - `probe`, `signs`: what gives cause for a [`Warning`], before the first record and as they come.
//! - [`verify_recipe`]: what is wrong with a corpus, and where.

mod model;
mod templates;

mod sources;

mod peek;

mod encode;
mod filter;
mod fit;
mod function;
mod per_turn;
mod spelled;
mod split;

mod workers;

mod group;
mod stream;

mod feed;

mod lane;

mod assemble;
mod batching;
mod drawn;
mod last_pool;
mod outlet;
mod progress;
mod resume;
mod take;

mod duplicates;
mod kept;

mod global;

mod eval;
mod in_order;

mod identity;

mod builder;
mod loader;
mod made_by;

mod fork;
mod refit;

mod estimate;
mod samples;
mod verify;

mod probe;
mod signs;
mod warning;

pub use builder::{LoaderBuilder, worker_count};
pub use estimate::{Estimate, SourceEstimate};
pub use fork::{Forked, fork};
pub use function::{RowFunction, RowFunctions};
pub use global::{Count, Outlook, Pass};
pub use identity::fingerprint;
pub use loader::{Loader, StopHandle};
pub use model::{Model, SourceModel};
pub use progress::{Progress, Refilled};
pub use samples::{Sample, Samples};
pub use sources::{SourceSummary, Sources};
pub use split::Side;
pub use templates::Templates;
pub use verify::{Finding, VerifiedShard, verify_recipe, verify_shards};
pub use warning::Warning;
