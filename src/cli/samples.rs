//! `packmill samples`: what each record becomes, as JSON lines.

use crate::Example;
use crate::cli::{args, stdio};
use crate::pipeline::{Model, Samples};
use crate::recipe::LossWeights;
use anyhow::Result;
use serde::Serialize;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;

#[derive(Serialize)]
#[serde(untagged)]
enum Line<'a> {
    Example {
        source: &'a str,
        shard: &'a str,
        record: u64,
        example: u32,
        input_ids: &'a [u32],
        labels: Vec<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        loss_weights: Option<Vec<f32>>,
    },
    Dropped {
        source: &'a str,
        shard: &'a str,
        record: u64,
        example: u32,
        dropped: String,
    },
}

pub(crate) fn run(args: &args::Samples) -> Result<()> {
    let recipe = crate::cli::recipe(&args.source)?;
    let model = Arc::new(Model::load(&recipe)?);
    let cache = crate::read::cache_folder()?;
    let samples = Samples::open_side(&recipe, &model, &cache, args.side.into())?;
    let mut out: Box<dyn Write> = match &args.output {
        Some(path) => Box::new(stdio::create(path)?),
        None => Box::new(stdio::stdout()),
    };
    write(samples, args.limit, recipe.loss_weights(), &mut out)?;
    out.flush()?;
    Ok(())
}

fn write(
    mut samples: Samples,
    limit: Option<u64>,
    weights: LossWeights,
    out: &mut dyn Write,
) -> Result<()> {
    let mut written = 0;
    while limit.is_none_or(|limit| written < limit) {
        let Some(sample) = samples.next() else { break };
        let sample = match sample {
            Ok(sample) => sample,
            Err(error) => {
                // What was made before the error is an answer too.
                out.flush()?;
                return Err(error.into());
            }
        };
        let sources = samples.sources();
        let (source, shard) = (
            sources.name(sample.source),
            sources.shard(sample.source, sample.shard),
        );
        let (record, example) = (sample.record, sample.example);
        let line = match &sample.content {
            Ok(content) => {
                let labels = content.labels();
                Line::Example {
                    source,
                    shard,
                    record,
                    example,
                    input_ids: &content.ids,
                    labels,
                    loss_weights: (weights == LossWeights::Use).then(|| loss_weights(content)),
                }
            }
            Err(reason) => Line::Dropped {
                source,
                shard,
                record,
                example,
                dropped: reason.to_string(),
            },
        };
        serde_json::to_writer(&mut *out, &line).map_err(io::Error::from)?;
        out.write_all(b"\n")?;
        written += 1;
    }
    Ok(())
}

/// How much each label counts: 0 where it is -100.
fn loss_weights(example: &Example) -> Vec<f32> {
    let mut weights = vec![0.0; example.ids.len()];
    let mut put = |span: &Range<u32>, weight: f32| {
        weights[span.start as usize..span.end as usize].fill(weight);
    };
    for span in &example.trained {
        put(span, 1.0);
    }
    for lighter in &example.weights {
        put(&lighter.tokens, lighter.weight.get());
    }
    weights
}
