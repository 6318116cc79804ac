//! Named places in the code, where a test may end the process for good to show that nothing is lost there.
//!
//! Nobody listens unless a test program asks to: then its function is called with each place's name, on the thread that
//! came there. `examples/kill_resume.rs` kills the process in it.

use std::sync::OnceLock;

static LISTENER: OnceLock<fn(&'static str)> = OnceLock::new();

/// A held source's spool is written, and not published yet.
pub const SPOOL_WRITTEN: &str = "spool written";
/// A spool is published.
pub const SPOOL_PUBLISHED: &str = "spool published";
/// The first bytes of a checkpoint are on their way, under its temporary name.
pub const CHECKPOINT_BEGUN: &str = "checkpoint begun";
/// A checkpoint is on the disk under its temporary name.
pub const CHECKPOINT_SYNCED: &str = "checkpoint synced";
/// It has its name, and the folder is not on the disk yet.
pub const CHECKPOINT_RENAMED: &str = "checkpoint renamed";
/// An old checkpoint is about to be removed.
pub const CHECKPOINT_PRUNED: &str = "checkpoint pruned";
/// A row is packed and left its pool.
pub const ROW_PACKED: &str = "row packed";
/// A batch is on its way to the trainer.
pub const BATCH_SENT: &str = "batch sent";
/// A resumed lane has read its pool again.
pub const LANE_RESTORED: &str = "lane restored";

/// What was counted is written under its temporary name.
pub const LENGTHS_WRITTEN: &str = "lengths written";
/// It has its name.
pub const LENGTHS_PUBLISHED: &str = "lengths published";

/// All of them.
pub const ALL: [&str; 11] = [
    SPOOL_WRITTEN,
    SPOOL_PUBLISHED,
    CHECKPOINT_BEGUN,
    CHECKPOINT_SYNCED,
    CHECKPOINT_RENAMED,
    CHECKPOINT_PRUNED,
    ROW_PACKED,
    BATCH_SENT,
    LANE_RESTORED,
    LENGTHS_WRITTEN,
    LENGTHS_PUBLISHED,
];

/// Calls `listener` at every place from now on. Only the first listener of a process is heard: false for others.
pub fn listen(listener: fn(&'static str)) -> bool {
    LISTENER.set(listener).is_ok()
}

/// The code has come to a place.
pub(crate) fn reach(place: &'static str) {
    if let Some(listener) = LISTENER.get() {
        listener(place);
    }
}
