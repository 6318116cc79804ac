//! A source's chat templates, compiled once: one file's, or those of the tokenizer's folder.

use crate::checkpoint::hash_of_texts;
use crate::error::{Error, Kind, Result, Stage};
use crate::recipe::{LimitsConfig, TemplateConfig};
use crate::render::{ChatTemplate, FolderTemplates, TemplateContext, TemplateLimits};
use crate::small_file;
use crate::tokenize::LoadedTokenizer;

/// Compiled templates and the rule that chooses between them.
#[derive(Debug)]
pub struct Templates {
    compiled: Vec<ChatTemplate>,
    choice: Choice,
    /// Of their names and texts.
    hash: u64,
}

#[derive(Debug)]
enum Choice {
    /// There is one.
    One,
    /// As Transformers chooses among a folder's, by name or by whether there are tools.
    Folder {
        folder: FolderTemplates,
        name: Option<String>,
    },
    /// There is none, which only matters to chats.
    Missing,
}

impl Templates {
    /// Finds and compiles what `config` names, else what the tokenizer's folder has.
    ///
    /// # Errors
    /// A file that cannot be read, or a template that does not compile.
    pub fn load(
        config: &TemplateConfig,
        tokenizer: &LoadedTokenizer,
        limits: &LimitsConfig,
    ) -> Result<Self> {
        let compile = |source: &str| {
            ChatTemplate::compile(
                source,
                TemplateContext {
                    now: config.now.clone(),
                    special_tokens: tokenizer.special_tokens.clone(),
                    kwargs: config.kwargs.clone(),
                    limits: TemplateLimits::of(limits),
                },
            )
        };
        if let Some(path) = &config.path {
            let source = small_file::read_text(path).map_err(|e| {
                Error::new(
                    Kind::Recipe,
                    Stage::Render,
                    format!("cannot read the template {}", path.display()),
                )
                .remedy("set template.path to a Jinja file")
                .caused_by(e)
            })?;
            let compiled = compile(&source).map_err(|e| e.in_shard(path.display()))?;
            return Ok(Templates {
                compiled: vec![compiled],
                choice: Choice::One,
                hash: hash_of_texts([("", source.as_str())]),
            });
        }
        let Some(folder) = &tokenizer.folder else {
            return Ok(Templates {
                compiled: Vec::new(),
                choice: Choice::Missing,
                hash: hash_of_texts([]),
            });
        };
        let folder = FolderTemplates::read(folder)?;
        let compiled = folder
            .templates()
            .iter()
            .map(|t| compile(&t.source).map_err(|e| e.in_shard(t.path.display())))
            .collect::<Result<Vec<_>>>()?;
        let templates = folder.templates().iter();
        let hash = hash_of_texts(templates.map(|t| (t.name.as_str(), t.source.as_str())));
        let choice = if compiled.is_empty() {
            Choice::Missing
        } else {
            Choice::Folder {
                folder,
                name: config.name.clone(),
            }
        };
        Ok(Templates {
            compiled,
            choice,
            hash,
        })
    }

    /// The template for a conversation with or without tools.
    ///
    /// # Errors
    /// [`Kind::Recipe`] where there is none.
    pub fn choose(&self, has_tools: bool) -> Result<&ChatTemplate> {
        let index = match &self.choice {
            Choice::One => 0,
            Choice::Folder { folder, name } => folder.choose(name.as_deref(), has_tools)?,
            Choice::Missing => usize::MAX,
        };
        self.compiled.get(index).ok_or_else(|| {
            Error::new(
                Kind::Recipe,
                Stage::Render,
                "the tokenizer's folder has no chat template",
            )
            .remedy("set template.path to a Jinja file")
        })
    }

    /// Hash of their names and texts.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// All of them.
    pub fn all(&self) -> &[ChatTemplate] {
        &self.compiled
    }
}
