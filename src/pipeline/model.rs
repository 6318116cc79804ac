//! What a recipe loads before it opens the corpus: the tokenizer and each source's templates.

use super::filter::Filter;
use super::function::{RowFunction, RowFunctions};
use super::templates::Templates;
use crate::error::{Error, Kind, Result, Stage};
use crate::recipe::{MaskConfig, Recipe, Render, SpecialTokensInText};
use crate::tokenize::{self, HubCache, LoadedTokenizer};
use std::sync::Arc;

/// The tokenizer, and each source's templates and mask.
#[derive(Debug)]
pub struct Model {
    /// The tokenizer and its special tokens.
    pub tokenizer: Arc<LoadedTokenizer>,
    /// One entry a source, in the recipe's order.
    pub sources: Vec<SourceModel>,
}

/// One source's templates, mask, render and filter: its own, or the recipe's.
#[derive(Debug, Clone)]
pub struct SourceModel {
    /// Its compiled chat templates; shared between sources that use the recipe's.
    pub templates: Arc<Templates>,
    /// What is trained of it.
    pub mask: MaskConfig,
    /// What its conversations become.
    pub render: Render,
    /// What becomes of special tokens that its rows spell.
    pub special_tokens_in_text: SpecialTokensInText,
    /// What is left out of it.
    pub(crate) filter: Filter,
    /// System message for conversations that have none.
    pub system: Option<String>,
    /// What its records go through before they are understood.
    pub(crate) function: Option<Arc<dyn RowFunction>>,
}

impl Model {
    /// Loads what `recipe` names.
    ///
    /// # Errors
    /// A tokenizer or template that is not there or does not load.
    pub fn load(recipe: &Recipe) -> Result<Self> {
        Model::with_functions(recipe, &RowFunctions::default())
    }

    /// The same, with functions over records.
    ///
    /// # Errors
    /// As [`load`](Self::load), and functions over sources that the recipe does not have.
    pub fn with_functions(recipe: &Recipe, functions: &RowFunctions) -> Result<Self> {
        let is_there = |name: &str| recipe.sources.iter().any(|source| source.name == name);
        if let Some(name) = functions.named().find(|name| !is_there(name)) {
            let message =
                format!("a function is over source `{name}`, which the recipe does not have");
            return Err(Error::new(Kind::Recipe, Stage::Recipe, message)
                .remedy("name a source of the recipe"));
        }
        let cache = HubCache::from_environment();
        let tokenizer = Arc::new(tokenize::load(&recipe.tokenizer, &recipe.folder, &cache)?);
        let common = Arc::new(Templates::load(
            &recipe.template,
            &tokenizer,
            &recipe.limits,
        )?);
        let mut sources = Vec::with_capacity(recipe.sources.len());
        for source in &recipe.sources {
            let config = source.template.as_ref().unwrap_or(&recipe.template);
            let templates = match &source.template {
                Some(own) => Arc::new(Templates::load(own, &tokenizer, &recipe.limits)?),
                None => Arc::clone(&common),
            };
            let mask = source.mask.clone().unwrap_or_else(|| recipe.mask.clone());
            let filter = source.filter.as_ref().or(recipe.filter.as_ref());
            let filter = filter.map(Filter::new).transpose()?;
            sources.push(SourceModel {
                templates,
                mask,
                render: source.render.unwrap_or(recipe.render),
                special_tokens_in_text: source
                    .special_tokens_in_text
                    .unwrap_or(recipe.special_tokens_in_text),
                filter: filter.unwrap_or_default(),
                system: config.system.clone(),
                function: functions.of(&source.name),
            });
        }
        Ok(Model { tokenizer, sources })
    }
}
