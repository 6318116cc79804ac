//! A batch in the form that one consumer takes: pure functions, one file each.
//!
//! | consumer | function |
//! | --- | --- |
//! | Hugging Face models with FlashAttention | [`hf_flash`] |
//! | Hugging Face models with SDPA or eager attention, and `scaled_dot_product_attention` itself | [`sdpa`] |
//! | FlexAttention | [`flex`] |
//! | `torch.nn.attention.varlen`, `flash_attn_varlen_func` | [`torch_varlen`] |
//! | Megatron and Transformer Engine, packed (`thd`) | [`megatron`] |
//! | MaxText and other JAX trainers | [`maxtext`] |
//! | `torch.compile`, CUDA graphs | [`static_offsets`] |
//!
//! What a batch holds already is borrowed. None gives a two-dimensional attention mask: one of ones makes the
//! models attend across segments. An adapter refuses, with the key to set, a batch that was packed without
//! what the consumer needs.

use super::Batch;
use super::ids::{Id, IdVec, Ids};
use crate::error::{Error, Kind, Result, Stage};
use crate::recipe::Labels;

pub mod flex;

pub mod hf_flash;

pub mod maxtext;

pub mod megatron;

pub mod sdpa;

pub mod static_offsets;

pub mod torch_varlen;

/// A tensor of labels: the batch's own, or built from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelTensor<'a> {
    /// As the batch holds it.
    Borrowed(Ids<'a>),
    /// In the form that the batch does not hold.
    Built(IdVec),
}

impl LabelTensor<'_> {
    /// The labels, `rows × sequence_length` of them.
    pub fn ids(&self) -> Ids<'_> {
        match self {
            LabelTensor::Borrowed(ids) => *ids,
            LabelTensor::Built(ids) => ids.as_ids(),
        }
    }
}

/// Refuses a batch whose `loss_weights` a consumer would leave out without a word.
fn without_weights(batch: &Batch, consumer: &str) -> Result<()> {
    if batch.loss_weights().is_none() {
        return Ok(());
    }
    let message = format!("{consumer} has no place for loss_weights, and this batch carries some");
    Err(Error::new(Kind::Recipe, Stage::Batch, message).remedy(
        "set mask.weights: refuse, or take the batch itself and weigh the loss of each label by its loss_weights",
    ))
}

/// The labels aligned with `input_ids`, whatever form the batch holds.
fn aligned_labels(batch: &Batch) -> LabelTensor<'_> {
    match batch.spec.labels {
        Labels::Aligned => LabelTensor::Borrowed(batch.any_labels()),
        Labels::Shifted => LabelTensor::Built(moved(batch, Move::Right)),
    }
}

/// The labels shifted, whatever form the batch holds.
fn shifted_labels(batch: &Batch) -> LabelTensor<'_> {
    match batch.spec.labels {
        Labels::Aligned => LabelTensor::Built(moved(batch, Move::Left)),
        Labels::Shifted => LabelTensor::Borrowed(batch.any_labels()),
    }
}

enum Move {
    Left,
    Right,
}

/// Each row's labels moved by one token, -100 coming in. Exact in both directions, because a segment's first
/// aligned label and its last shifted one are both -100.
fn moved(batch: &Batch, way: Move) -> IdVec {
    fn rows<T: Id>(labels: &[T], length: usize, way: &Move) -> Vec<T> {
        let mut moved = Vec::with_capacity(labels.len());
        for row in labels.chunks_exact(length) {
            match (way, row) {
                (Move::Left, [_, rest @ ..]) => {
                    moved.extend_from_slice(rest);
                    moved.push(T::IGNORE);
                }
                (Move::Right, [rest @ .., _]) => {
                    moved.push(T::IGNORE);
                    moved.extend_from_slice(rest);
                }
                (_, []) => {}
            }
        }
        moved
    }
    let length = batch.sequence_length();
    match batch.any_labels() {
        Ids::I32(labels) => IdVec::I32(rows(labels, length, &way)),
        Ids::I64(labels) => IdVec::I64(rows(labels, length, &way)),
    }
}
