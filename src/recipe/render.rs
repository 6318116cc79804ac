//! What a conversation becomes.

use super::shape::{Shape, choice};
use serde::{Deserialize, Serialize};

/// What a conversation becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Render {
    /// One example, rendered as a whole. The default: every token is seen once.
    #[default]
    Whole,
    /// One example of each trained assistant turn, behind its history as the model sees it when it is asked for the
    /// turn: for templates that print earlier turns otherwise than the last one.
    PerTurn,
}

/// The choice, for the recipe's key and a source's own.
pub(super) const CHOICE: Shape = Shape::Choice(&[
    choice("whole", "One example a conversation."),
    choice(
        "per_turn",
        "One example of each trained assistant turn, behind its history as the model sees it at inference.",
    ),
]);
