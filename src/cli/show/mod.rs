//! What a person sees in the terminal: rows with their trained tokens in colour, and reports of a run.
//!
//! Everything here writes to an [`io::Write`](std::io::Write) or returns a `String`; nothing decides where output goes.
//! Text from data passes through [`visible`], so that no control character of a corpus ever reaches the terminal.

mod bar;
pub(crate) mod byte_level;
mod engine;
mod feeds;
mod look;
pub(crate) mod number;
mod outlook;
mod pieces;
pub(crate) mod plot;
mod report;
mod row;
mod stages;
mod visible;
mod warning;
mod wrap;

pub(crate) use engine::engine;
pub(crate) use feeds::{feeds, feeds_json};
pub(crate) use look::{Colour, Look};
pub(crate) use outlook::outlook;
pub(crate) use pieces::Pieces;
pub(crate) use report::{Ending, LedgerEntry, Report};
pub(crate) use row::{RowView, SegmentView, write_row};
pub(crate) use stages::{StageStats, stage_table};
pub(crate) use warning::{warning, warnings_json};
