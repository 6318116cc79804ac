//! `packmill stream --output DIR`: every batch as a safetensors file.

use anyhow::{Context, Result};
use packmill::batch::{Batch, Ids, PROVENANCE_FIELDS};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use std::collections::HashMap;
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
        let output = Output::go_on(dir, rank)?;
        let folder = &output.folder;
        let unread = || format!("cannot read {}", folder.display());
        for entry in std::fs::read_dir(folder).with_context(unread)? {
            let name = entry.with_context(unread)?.file_name();
            if name.as_encoded_bytes().starts_with(b"step-") {
                return Err(crate::usage(format!(
                    "{} holds steps of an earlier run, {} among them; remove the folder or give another --output",
                    folder.display(),
                    name.display(),
                )));
            }
        }
        Ok(output)
    }

    /// Makes the rank's folder, for a run that goes on: steps that are written again come out the same.
    pub(crate) fn go_on(dir: &Path, rank: u32) -> Result<Self> {
        let folder = dir.join(format!("rank-{rank:05}"));
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(Output { folder })
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
