//! `packmill stream --output DIR`: every batch as a safetensors file.

use crate::batch::{Batch, Ids, PROVENANCE_FIELDS};
use crate::order::lanes::Rank;
use anyhow::{Context, Result};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Shape, type and bytes of a tensor.
type Tensor = (Vec<usize>, (Dtype, Vec<u8>));

/// Writes batches under one rank's folder.
pub(crate) struct Output {
    folder: PathBuf,
}

impl Output {
    /// Makes the rank's folder. Refuses one that holds steps already: files of two runs side by side would pass for
    /// one run.
    pub(crate) fn create(dir: &Path, rank: u32) -> Result<Self> {
        let output = Output::open(dir, rank)?;
        let mut names = names(&output.folder)?.into_iter();
        match names.find(|name| name.starts_with("step-")) {
            None => Ok(output),
            Some(name) => Err(crate::cli::usage(format!(
                "{} holds steps of an earlier run, {name} among them; remove the folder or give another --output",
                output.folder.display(),
            ))),
        }
    }

    /// Makes the rank's folder, for a run that goes on. Refuses where ranks that there are no more left steps from
    /// `step` on: their rows come again, in other ranks' files.
    pub(crate) fn go_on(dir: &Path, rank: Rank, step: u64) -> Result<Self> {
        for number in names(dir)?.iter().filter_map(|name| rank_of(name)) {
            let folder = dir.join(folder_name(number));
            if number < rank.world_size {
                continue;
            }
            let again = |name: &String| step_of(name).is_some_and(|of| of >= step);
            if let Some(name) = names(&folder)?.into_iter().find(again) {
                return Err(crate::cli::usage(format!(
                    "{} holds {name}, and there are {} ranks now, which write its rows again from step {step} on; remove \
                     that rank's files from there on, or give another --output",
                    folder.display(),
                    rank.world_size,
                )));
            }
        }
        Output::open(dir, rank.number)
    }

    fn open(dir: &Path, rank: u32) -> Result<Self> {
        let folder = dir.join(folder_name(rank));
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(Output { folder })
    }

    /// Removes what the rank wrote of `step` and later ones: their rows come again, and where steps or batches have
    /// another size now, in other files.
    pub(crate) fn remove_from(&self, step: u64) -> Result<()> {
        for name in names(&self.folder)? {
            if step_of(&name).is_some_and(|of| of >= step) {
                let path = self.folder.join(name);
                std::fs::remove_file(&path)
                    .with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
        Ok(())
    }

    /// Writes micro-batch `micro` of step `step`, both from 0, under a temporary name first.
    pub(crate) fn write(&self, batch: &Batch, step: u64, micro: u64) -> Result<()> {
        let (rows, length) = (batch.rows(), batch.sequence_length());
        let table = [rows, length];
        let ids = |ids: Ids<'_>| {
            let dtype = match ids {
                Ids::I32(_) => Dtype::I32,
                Ids::I64(_) => Dtype::I64,
            };
            (dtype, ids.as_bytes().to_vec())
        };
        let i32s = |v: &[i32]| (Dtype::I32, bytemuck::cast_slice::<i32, u8>(v).to_vec());
        let flat = |v: &[i32]| (vec![v.len()], i32s(v));
        let labels = match (batch.labels(), batch.shift_labels()) {
            (Some(labels), _) => ("labels", labels),
            (None, Some(labels)) => ("shift_labels", labels),
            (None, None) => anyhow::bail!("a batch without labels"),
        };
        let provenance = bytemuck::cast_slice::<i64, u8>(batch.provenance()).to_vec();
        let mut tensors: Vec<(&str, Tensor)> = vec![
            ("input_ids", (table.to_vec(), ids(batch.input_ids()))),
            (labels.0, (table.to_vec(), ids(labels.1))),
            ("position_ids", (table.to_vec(), i32s(batch.position_ids()))),
            ("segment_ids", (table.to_vec(), i32s(batch.segment_ids()))),
            ("cu_seqlens", flat(batch.cu_seqlens())),
            ("segment_lengths", flat(batch.segment_lengths())),
            (
                "provenance",
                (
                    vec![batch.num_segments(), PROVENANCE_FIELDS.len()],
                    (Dtype::I64, provenance),
                ),
            ),
        ];
        if let Some(weights) = batch.loss_weights() {
            let bytes = bytemuck::cast_slice::<f32, u8>(weights).to_vec();
            tensors.push(("loss_weights", (table.to_vec(), (Dtype::F32, bytes))));
        }
        let views = tensors
            .iter()
            .map(|(name, (shape, (dtype, data)))| {
                Ok((*name, TensorView::new(*dtype, shape.clone(), data)?))
            })
            .collect::<Result<Vec<_>>>()?;
        let metadata: HashMap<String, String> = [
            ("max_seqlen", batch.max_seqlen() as u64),
            ("num_tokens", batch.num_tokens()),
            ("num_label_tokens", batch.num_label_tokens()),
            ("filling", batch.filling() as u64),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_string()))
        .collect();
        let path = self
            .folder
            .join(format!("step-{step:08}-{micro:02}.safetensors"));
        let part = path.with_extension("safetensors.part");
        let bytes = safetensors::serialize(views, Some(metadata))?;
        std::fs::write(&part, bytes)
            .and_then(|()| std::fs::rename(&part, &path))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

fn folder_name(rank: u32) -> String {
    format!("rank-{rank:05}")
}

/// The rank whose folder has this name.
fn rank_of(name: &str) -> Option<u32> {
    let rank = name.strip_prefix("rank-")?.parse().ok()?;
    (folder_name(rank) == name).then_some(rank)
}

/// The step that a file of this name, whole or half-written, is of.
fn step_of(name: &str) -> Option<u64> {
    let (step, rest) = name.strip_prefix("step-")?.split_once('-')?;
    let own = rest.ends_with(".safetensors") || rest.ends_with(".safetensors.part");
    step.parse().ok().filter(|_| own)
}

/// Names in a folder, none where it is not there; those that are no text are nobody's here.
fn names(folder: &Path) -> Result<Vec<String>> {
    let unread = || format!("cannot read {}", folder.display());
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(unread)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.with_context(unread)?.file_name();
        names.extend(name.into_string());
    }
    Ok(names)
}
