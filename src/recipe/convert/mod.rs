//! Recipes from the configurations of other tools: the keys that have an equal, those that have none, and what behaves
//! otherwise, said.
//!
//! A dialect takes what it knows out of a configuration and writes a recipe's keys; what nobody took is listed, so that no
//! key is lost in silence. Nothing is guessed: where a configuration does not say what a recipe needs, a note does.

mod axolotl;
mod draft;
mod llama_factory;
mod trl;

#[cfg(test)]
mod tests;

use super::fault::Fault;
use super::{Faults, print, yaml};
use draft::Draft;
use serde_json::{Map, Value};
use std::fmt::{self, Write};

/// Whose configuration it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// TRL's `SFTConfig`, as the keys of its fields.
    Trl,
    /// An Axolotl YAML file.
    Axolotl,
    /// A LLaMA-Factory YAML file for SFT.
    LlamaFactory,
}

impl Dialect {
    /// The dialect of a configuration by the keys that only one of them has; none where it could be several or none.
    pub fn of(config: &Map<String, Value>) -> Option<Dialect> {
        let has = |keys: &[&str]| keys.iter().any(|key| config.contains_key(*key));
        let found = [
            (
                Dialect::Axolotl,
                has(&["base_model", "sequence_len", "micro_batch_size"]),
            ),
            (
                Dialect::LlamaFactory,
                has(&["cutoff_len", "dataset_dir", "finetuning_type", "stage"]),
            ),
            (
                Dialect::Trl,
                has(&[
                    "assistant_only_loss",
                    "completion_only_loss",
                    "dataset_text_field",
                ]),
            ),
        ];
        let mut found = found.iter().filter(|(_, is)| *is);
        match (found.next(), found.next()) {
            (Some((dialect, _)), None) => Some(*dialect),
            _ => None,
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Dialect::Trl => "TRL",
            Dialect::Axolotl => "Axolotl",
            Dialect::LlamaFactory => "LLaMA-Factory",
        })
    }
}

/// What a configuration does not say itself.
#[derive(Debug, Clone, Default)]
pub struct Beside {
    /// The data-parallel ranks, which `step_rows` counts. 1 where nothing is said.
    pub world_size: Option<u64>,
    /// LLaMA-Factory's `dataset_info.json`.
    pub dataset_info: Option<Value>,
    /// Which keys the configuration has.
    pub keys: Keys,
}

/// Which keys a configuration has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keys {
    /// Those that somebody wrote: each that is not translated is named.
    #[default]
    Written,
    /// All that there are, with their defaults, as a configuration object in Python has them.
    All,
}

/// A recipe, and what is to be known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Converted {
    /// The keys that the configuration speaks of. Not checked: files may be missing that a note asks for.
    pub recipe: Value,
    /// What has no equal or behaves otherwise, in the order in which it was met.
    pub notes: Vec<Note>,
}

/// One thing to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The keys of the configuration.
    pub keys: String,
    /// What kind of thing.
    pub about: About,
    /// What, in a clause.
    pub says: String,
}

/// What a note is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// The recipe needs something that the configuration does not say.
    Missing,
    /// packmill has no equal.
    NoEqual,
    /// It is translated, and packmill does it otherwise.
    Otherwise,
    /// Not a matter of data: the trainer's.
    Trainer,
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            About::Missing => "missing",
            About::NoEqual => "no equal",
            About::Otherwise => "otherwise",
            About::Trainer => "left to the trainer",
        })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Note { keys, about, says } = self;
        let text = match says.is_empty() {
            true => format!("{about}: {keys}"),
            false => format!("{about}: {keys}: {says}"),
        };
        // Notes are comments: what a configuration says in them must not begin a line.
        text.chars().try_for_each(|c| match c {
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => f.write_char(' '),
            c => f.write_char(c),
        })
    }
}

impl fmt::Display for Converted {
    /// The recipe as YAML behind its notes as comments.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for note in &self.notes {
            writeln!(f, "# {note}")?;
        }
        f.write_str(&print::to_yaml(&self.recipe))
    }
}

/// Translates a configuration.
pub fn convert(dialect: Dialect, config: &Map<String, Value>, beside: &Beside) -> Converted {
    let mut draft = Draft::new(config.clone(), beside.clone());
    match dialect {
        Dialect::Trl => trl::convert(&mut draft),
        Dialect::Axolotl => axolotl::convert(&mut draft),
        Dialect::LlamaFactory => llama_factory::convert(&mut draft),
    }
    draft.finish()
}

/// Reads a configuration's YAML or JSON text, within the caps of a recipe.
///
/// # Errors
/// What is no YAML, or no mapping.
pub fn read(text: &str, name: &str) -> Result<Map<String, Value>, Faults> {
    let node = yaml::read(text).map_err(|fault| Faults::one(name, fault))?;
    match node.into_json() {
        Value::Object(map) => Ok(map),
        _ => {
            let fault = Fault::new(Some(1), "", "expected a mapping of keys");
            Err(Faults::one(name, fault))
        }
    }
}
