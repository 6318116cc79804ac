//! Assembly: the only folder that names two stages in one file.
//!
//! - [`Model`]: the tokenizer and each source's templates and mask, loaded;
//! - [`Sources`]: the corpus, opened, every source's blocks as one list;
//! - `encode`: one record to examples, or to the reason why there are none;
//! - `workers`, `feed`: records encoded ahead of time, each lane's results in the lane's order;
//! - `assemble`: draw, pack, batch, send, on one thread;
//! - [`Loader`]: what a trainer iterates; [`Progress`]: where the stream stood after a batch;
//! - [`Samples`]: what each record becomes, in corpus order; [`Estimate`]: about how long an epoch is.

mod model;
mod templates;

mod sources;

mod peek;

mod encode;

mod workers;

mod feed;

mod lane;

mod assemble;
mod progress;
mod resume;

mod identity;

mod loader;

mod estimate;
mod samples;
mod stop_token;
mod warning;

pub use estimate::{Estimate, SourceEstimate};
pub use identity::fingerprint;
pub use loader::{Loader, LoaderBuilder, StopHandle, worker_count};
pub use model::{Model, SourceModel};
pub use progress::{Progress, Refilled};
pub use samples::{Sample, Samples};
pub use sources::{SourceSummary, Sources};
pub use templates::Templates;
pub use warning::Warning;
