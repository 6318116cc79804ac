//! What is trained.

use super::keys::{FILLED, json};
use super::shape::{Section, Shape, choice, key};
use serde::{Deserialize, Serialize};

/// What is trained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaskConfig {
    /// The policy.
    pub train: Train,
    /// For [`Train::Markers`].
    pub markers: Option<Markers>,
    /// Roles whose turns are trained.
    pub roles: Vec<String>,
    /// Whether the end-of-turn token belongs to the loss.
    pub end_of_turn: bool,
    /// Reasoning: a field of its own, or what content holds before `</think>`.
    pub reasoning: FieldLoss,
    /// Calls of tools.
    pub tool_calls: FieldLoss,
    /// Weights between 0 and 1 that rows bring.
    pub weights: LossWeights,
}

impl Default for MaskConfig {
    fn default() -> Self {
        MaskConfig {
            train: Train::default(),
            markers: None,
            roles: vec!["assistant".to_owned()],
            // A model that never saw the end of its turn as a target does not learn to stop.
            end_of_turn: true,
            reasoning: FieldLoss::default(),
            tool_calls: FieldLoss::default(),
            weights: LossWeights::default(),
        }
    }
}

/// Which tokens are trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Train {
    /// Every assistant turn, by the template's generation tags or what can be shown without. The default: it is what chat post-training
    /// means unless it says otherwise.
    #[default]
    Assistant,
    /// The last assistant turn alone.
    LastAssistant,
    /// The completion of prompt and completion.
    Completion,
    /// Every token.
    All,
    /// What stands between a response marker and the next instruction marker.
    Markers,
}

/// Whether a part of trained turns belongs to the loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum FieldLoss {
    /// It does. The default: the model has to write it.
    #[default]
    Train,
    /// It is context.
    Skip,
}

/// What a weight between 0 and 1 does that a row gives to a message, a part or a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum LossWeights {
    /// Its record is refused. The default: a trainer that does not ask for `loss_weights` would train it in full.
    #[default]
    Refuse,
    /// Batches carry `loss_weights`, and it is in them.
    Use,
}

/// The texts that begin an answer and a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Markers {
    /// Begins an answer.
    pub response: String,
    /// Begins a question; none: only the last answer is trained.
    pub instruction: Option<String>,
}

/// The keys.
pub(super) static KEYS: Section = Section {
    defaults: || json(&MaskConfig::default()),
    keys: &[
        key(
            "train",
            Shape::Choice(&[
                choice("assistant", "Every assistant turn."),
                choice("last_assistant", "The last assistant turn alone."),
                choice("completion", "The completion of prompt and completion."),
                choice("all", "Every token."),
                choice(
                    "markers",
                    "What stands between a response marker and the next instruction marker.",
                ),
            ]),
            "Which tokens are trained.",
        )
        .elsewhere(&["train_on", "assistant_only_loss", "completion_only_loss"]),
        key(
            "markers",
            Shape::Nullable(&Shape::Section(&MARKERS)),
            "The texts that begin an answer and a question, for train: markers.",
        ),
        key(
            "roles",
            Shape::List {
                of: &FILLED,
                what: "roles",
            },
            "Roles whose turns are trained.",
        )
        .elsewhere(&["roles_to_train"]),
        key(
            "end_of_turn",
            Shape::Flag,
            "Whether the end-of-turn token is trained; with generation tags the template \
             decides, and false takes the token off.",
        )
        .elsewhere(&["train_on_eos", "train_on_eot"]),
        key(
            "reasoning",
            FIELD_LOSS,
            "Whether the reasoning in trained turns is trained; skip leaves out what stands \
             before the end of its text.",
        ),
        key(
            "tool_calls",
            FIELD_LOSS,
            "Whether the tool calls in trained turns are trained; skip leaves out what stands \
             between the content and the end-of-turn token.",
        ),
        key(
            "weights",
            Shape::Choice(&[
                choice("refuse", "Their records are refused."),
                choice("use", "Batches carry loss_weights."),
            ]),
            "What weights between 0 and 1 do that rows give to messages, parts or tokens; with \
             use every batch carries loss_weights.",
        )
        .elsewhere(&["loss_weights", "loss_scale"]),
    ],
};

const FIELD_LOSS: Shape = Shape::Choice(&[
    choice("train", "It is trained."),
    choice("skip", "It is context."),
]);

/// The keys.
pub(super) static MARKERS: Section = Section {
    defaults: || serde_json::Value::Null,
    keys: &[
        key("response", FILLED, "Begins an answer.")
            .required()
            .elsewhere(&["response_template", "response_part"]),
        key(
            "instruction",
            Shape::Nullable(&FILLED),
            "Begins a question; null trains the last answer alone.",
        )
        .elsewhere(&["instruction_template", "instruction_part"]),
    ],
};
