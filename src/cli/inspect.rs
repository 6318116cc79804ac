//! `packmill inspect`: rows for the eyes.

use crate::batch::{Batch, PROVENANCE_FIELDS};
use crate::cli::args;
use crate::cli::show::{self, Colour, Look, Pieces, RowView, SegmentView, write_row};
use crate::cli::stdio;
use crate::error::{Error, Kind, Stage};
use crate::pipeline::{Loader, Model, RowFunctions, Sources};
use crate::{Recipe, recipe::Labels};
use anyhow::{Context, Result};
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) fn run(args: &args::Inspect) -> Result<()> {
    let recipe = crate::cli::recipe(&args.source)?;
    let shown = Shown::open(recipe, &RowFunctions::default(), None)?;
    for warning in shown.loader.warnings() {
        show::warning(warning);
    }
    let mut out = stdio::stdout();
    let rows = args.skip..args.skip + args.rows;
    shown.write(rows, &mut [(&mut out, Look::of_stdout())])?;
    out.flush()?;
    Ok(())
}

/// What `packmill inspect` shows of some rows, with functions over records, `width` columns wide: in ANSI colours, and plain.
///
/// # Errors
/// What keeps the recipe from being streamed.
pub fn inspected(
    recipe: &Recipe,
    functions: &RowFunctions,
    cache: Option<&Path>,
    rows: Range<usize>,
    width: usize,
) -> crate::Result<(String, String)> {
    let look = |colour| Look { colour, width };
    let written = || {
        let (mut ansi, mut plain) = (Vec::new(), Vec::new());
        let shown = Shown::open(recipe.clone(), functions, cache)?;
        let mut outs: [Out<'_>; 2] = [
            (&mut ansi, look(Colour::Ansi)),
            (&mut plain, look(Colour::Plain)),
        ];
        shown.write(rows, &mut outs)?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok((text(ansi), text(plain)))
    };
    written().map_err(|error: anyhow::Error| match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => Error::new(Kind::Internal, Stage::Channel, format!("{error:#}")),
    })
}

/// Where rows are written, and how they look there.
type Out<'a> = (&'a mut dyn Write, Look);

/// A recipe that is streamed to be looked at.
struct Shown {
    loader: Loader,
    model: Arc<Model>,
    pieces: Pieces,
    rows_a_batch: usize,
}

impl Shown {
    fn open(mut recipe: Recipe, functions: &RowFunctions, cache: Option<&Path>) -> Result<Shown> {
        // A person reads labels where they stand; the shifted form would show each a token early.
        recipe.batch.labels = Labels::Aligned;
        let model = Arc::new(Model::with_functions(&recipe, functions)?);
        let pieces = Pieces::open(&tokenizer_file(&recipe, &model))?;
        let rows_a_batch = recipe.batch.rows;
        let mut builder = Loader::builder(recipe).model(Arc::clone(&model));
        if let Some(cache) = cache {
            builder = builder.cache(cache);
        }
        Ok(Shown {
            loader: builder.build()?,
            model,
            pieces,
            rows_a_batch,
        })
    }

    /// What was found, and the rows of these numbers.
    fn write(mut self, rows: Range<usize>, outs: &mut [Out<'_>]) -> Result<()> {
        for (out, _) in outs.iter_mut() {
            write_sources(out, &self.loader, &self.model)?;
        }
        let mut number = 0;
        while number < rows.end {
            let Some(batch) = self.loader.next().transpose()? else {
                break;
            };
            for row in 0..self.rows_a_batch.saturating_sub(batch.filling()) {
                if rows.contains(&number) {
                    let sources = self.loader.sources();
                    for (out, look) in outs.iter_mut() {
                        writeln!(out)?;
                        show_row(
                            out,
                            &batch,
                            row,
                            number as u64,
                            sources,
                            &self.pieces,
                            *look,
                        )?;
                    }
                }
                number += 1;
            }
        }
        Ok(())
    }
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
