//! `packmill inspect`: rows for the eyes.

use crate::args;
use crate::show::{self, Look, Pieces, RowView, SegmentView, write_row};
use crate::stdio;
use anyhow::{Context, Result};
use packmill::batch::{Batch, PROVENANCE_FIELDS};
use packmill::pipeline::{Loader, Model, Sources};
use packmill::{Recipe, recipe::Labels};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

pub(crate) fn run(args: &args::Inspect) -> Result<()> {
    let mut recipe = crate::recipe(&args.source)?;
    // A person reads labels where they stand; the shifted form would show each a token early.
    recipe.batch.labels = Labels::Aligned;
    let model = Arc::new(Model::load(&recipe)?);
    let pieces = Pieces::open(&tokenizer_file(&recipe, &model))?;
    let rows_a_batch = recipe.batch.rows;
    let mut loader = Loader::builder(recipe).model(Arc::clone(&model)).build()?;
    let look = Look::of_stdout();
    let mut out = stdio::stdout();
    write_sources(&mut out, &loader, &model)?;
    let (mut number, last) = (0, args.skip + args.rows);
    while number < last {
        let Some(batch) = loader.next().transpose()? else {
            break;
        };
        for row in 0..rows_a_batch.saturating_sub(batch.filling()) {
            if (args.skip..last).contains(&number) {
                writeln!(out)?;
                show_row(
                    &mut out,
                    &batch,
                    row,
                    number as u64,
                    loader.sources(),
                    &pieces,
                    look,
                )?;
            }
            number += 1;
        }
    }
    out.flush()?;
    Ok(())
}

/// The tokenizer.json that the model was loaded from.
fn tokenizer_file(recipe: &Recipe, model: &Model) -> PathBuf {
    match &model.tokenizer.folder {
        Some(folder) => folder.join("tokenizer.json"),
        None => PathBuf::from(&recipe.tokenizer.path),
    }
}

/// What was found: how rows are read, what is trained, which engine tokenizes.
fn write_sources(out: &mut dyn Write, loader: &Loader, model: &Model) -> Result<()> {
    for summary in loader.sources().summaries() {
        writeln!(out, "{summary}")?;
    }
    let (engine, refused) = show::engine(model.tokenizer.engine.as_ref());
    writeln!(out, "tokenizer: {engine}")?;
    for note in refused.iter().chain(&model.tokenizer.notes) {
        writeln!(out, "note: {note}")?;
    }
    for warning in loader.warnings() {
        show::warning(warning);
    }
    Ok(())
}

fn show_row(
    out: &mut dyn Write,
    batch: &Batch,
    row: usize,
    number: u64,
    sources: &Sources,
    pieces: &Pieces,
    look: Look,
) -> Result<()> {
    let length = batch.sequence_length();
    let tokens = row * length..(row + 1) * length;
    let labels = batch.labels().context("aligned labels were asked for")?;
    let (Some(ids), Some(labels)) = (batch.input_ids().as_i32(), labels.as_i32()) else {
        anyhow::bail!("32-bit ids were asked for");
    };
    let segments: Vec<SegmentView<'_>> = batch
        .provenance()
        .chunks_exact(PROVENANCE_FIELDS.len())
        .filter_map(|fields| segment(fields, row, sources))
        .collect();
    let view = RowView {
        number,
        ids: &ids[tokens.clone()],
        labels: &labels[tokens.clone()],
        loss_weights: batch.loss_weights().and_then(|all| all.get(tokens.clone())),
        segment_ids: &batch.segment_ids()[tokens],
        segments: &segments,
    };
    write_row(out, &view, |id| pieces.get(id), look)?;
    Ok(())
}

/// A segment's provenance, if it is in `row` of its batch.
fn segment<'a>(fields: &[i64], row: usize, sources: &'a Sources) -> Option<SegmentView<'a>> {
    let &[
        source,
        shard,
        block,
        record,
        example,
        epoch,
        first,
        last,
        of,
    ] = fields
    else {
        return None;
    };
    let count = |n: i64| u64::try_from(n).unwrap_or_default();
    let source = u32::try_from(source).ok()?;
    (usize::try_from(of) == Ok(row)).then(|| SegmentView {
        source: sources.name(source),
        shard: count(shard),
        record: if sources.is_held(source) {
            count(block)
        } else {
            count(record)
        },
        example: count(example),
        epoch: count(epoch),
        tokens: count(first)..count(last) + 1,
    })
}
