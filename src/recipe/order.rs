//! How the order is dealt.

use serde::{Deserialize, Serialize};

/// How the order is dealt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Plan {
    /// Lanes: endless streams of any size.
    #[default]
    Lanes,
    /// Exact epochs of held sources on any number of ranks.
    Global,
}
