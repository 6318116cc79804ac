//! Which stream it is: what a checkpoint is compared with.

use super::builder::READ_AHEAD_BYTES;
use super::model::Model;
use super::sources::{Purpose, Sources};
use crate::checkpoint::{
    ENDS_BYTES, Fingerprint, Form, ShardPrint, SourcePrint, TokenizerPrint, shard_print,
};
use crate::error::{Error, Kind, Result};
use crate::read::{BlockTable, LocalShard, ReadAhead, open_shards};
use crate::recipe::Recipe;
use crate::render::row::Shape;
use std::path::Path;
use std::sync::Arc;

/// The reference engine, pinned in Cargo.toml. Another version may give other ids.
const REFERENCE_ENGINE: &str = "tokenizers 0.23.2";

/// Which stream a recipe gives: what its checkpoints are compared with. Opens the corpus as a stream does; `cache` is
/// where spools go.
///
/// # Errors
/// A corpus that cannot be opened or is refused.
pub fn fingerprint(recipe: &Recipe, model: &Arc<Model>, cache: &Path) -> Result<Fingerprint> {
    let io = ReadAhead::new(READ_AHEAD_BYTES)?;
    let sources = Sources::open(recipe, model, &io, cache, Purpose::Samples)?;
    let prints = prints(recipe, model, &sources)?;
    Ok(of_opened(recipe, model, &prints))
}

/// What keeps a corpus from being opened for a stream that goes on. A shard that is not what its index says is not what
/// the checkpoint was saved of either.
pub(super) fn of_another_stream(error: Error) -> Error {
    match error.kind() {
        Kind::Changed => error.of_kind(Kind::Checkpoint),
        _ => error,
    }
}

/// The fingerprint of sources that are open.
pub(crate) fn of_opened(recipe: &Recipe, model: &Model, sources: &[SourcePrint]) -> Fingerprint {
    let tokenizer = &model.tokenizer;
    let tokenizer = TokenizerPrint {
        version: REFERENCE_ENGINE.to_owned(),
        files: tokenizer.engine.fingerprint(),
        special_tokens: tokenizer.special_tokens.clone(),
        bos: tokenizer.bos.as_ref().map(|token| token.id),
        eos: tokenizer.eos.as_ref().map(|token| token.id),
        pad: tokenizer.pad,
    };
    Fingerprint::of(recipe, sources, &tokenizer)
}

/// Looks at every shard's size, frames, beginning and end.
pub(crate) fn prints(
    recipe: &Recipe,
    model: &Model,
    sources: &Sources,
) -> Result<Vec<SourcePrint>> {
    let mut prints = Vec::new();
    for (number, summary) in (0..).zip(sources.summaries()) {
        let shards = open_shards(&sources.files(number), recipe.io)?;
        let renders = !matches!(summary.shape, Shape::Text | Shape::Tokens);
        let template = model.sources.get(number as usize).filter(|_| renders);
        prints.push(SourcePrint {
            form: match sources.is_held(number) {
                true => Form::Held,
                false => Form::Streamed,
            },
            blocks: summary.blocks,
            shards: shards.iter().map(print).collect::<Result<_>>()?,
            template: template.map(|source| source.templates.hash()),
            function: model
                .sources
                .get(number as usize)
                .and_then(|source| source.function.as_ref())
                .map(|function| function.identity()),
        });
    }
    Ok(prints)
}

fn print(shard: &Arc<LocalShard>) -> Result<ShardPrint> {
    let file = shard.file();
    let size = file.size_bytes();
    let head = shard.read_now(0..size.min(ENDS_BYTES))?;
    let tail = shard.read_now(size.saturating_sub(ENDS_BYTES)..size)?;
    let table = BlockTable::list(file, |range| shard.read_now(range))?;
    let frames = (0..table.len()).filter_map(|block| {
        let stored = table.stored(block)?;
        Some((stored, table.decoded_bytes_of(block)))
    });
    Ok(ShardPrint {
        name: file.name.clone(),
        bytes: size,
        hash: shard_print(file, &head, &tail, frames),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_engine_is_the_one_that_is_built_in() {
        let manifest = include_str!("../../Cargo.toml");
        let version = REFERENCE_ENGINE.trim_start_matches("tokenizers ");
        assert!(manifest.contains(&format!("tokenizers = {{ version = \"={version}\"")));
    }
}
