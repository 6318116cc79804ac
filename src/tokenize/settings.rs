//! What the files beside tokenizer.json say: special tokens, added tokens, the class that the reference
//! would use.
//!
//! The rules are those of `PreTrainedTokenizerBase.from_pretrained` in Transformers 5.23:
//! tokenizer_config.json first; special_tokens_map.json and added_tokens.json only where it has no
//! `added_tokens_decoder`.

use crate::error::{Error, Kind, Result, Stage};
use crate::small_file;
use serde_json::{Map, Value};
use std::path::Path;
use tokenizers::AddedToken;

/// The special tokens that have names of their own, in the reference's order.
pub(super) const NAMED: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];

/// A special token as the files give it: a bare text, or a token with its own way of matching.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    /// Only its text.
    Text(String),
    /// A token with flags.
    Token(AddedToken),
}

impl Word {
    pub(super) fn content(&self) -> &str {
        match self {
            Word::Text(text) => text,
            Word::Token(token) => &token.content,
        }
    }

    /// The token to add, for a special token that the vocabulary lacks.
    pub(super) fn to_special(&self) -> AddedToken {
        match self {
            Word::Text(text) => AddedToken::from(text.clone(), true),
            Word::Token(token) => token.clone().special(true),
        }
    }

    fn parse(value: &Value) -> Option<Word> {
        match value {
            Value::String(text) => Some(Word::Text(text.clone())),
            Value::Object(_) => added_token(value).map(Word::Token),
            _ => None,
        }
    }
}

/// The settings files of a folder, parsed but not yet resolved.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    /// tokenizer_config.json.
    pub(super) config: Map<String, Value>,
    /// config.json, which names the model's kind.
    pub(super) model: Option<Map<String, Value>>,
    special_tokens_map: Map<String, Value>,
    added_tokens: Map<String, Value>,
}

impl Settings {
    /// Reads what is there of a folder's settings files.
    pub(super) fn read(folder: &Path) -> Result<Settings> {
        Ok(Settings {
            config: read_object(&folder.join("tokenizer_config.json"))?.unwrap_or_default(),
            model: read_object(&folder.join("config.json"))?,
            special_tokens_map: read_object(&folder.join("special_tokens_map.json"))?
                .unwrap_or_default(),
            added_tokens: read_object(&folder.join("added_tokens.json"))?.unwrap_or_default(),
        })
    }

    /// A text of tokenizer_config.json.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.config.get(key).and_then(Value::as_str)
    }

    /// A switch of tokenizer_config.json; `None` where it is absent or null.
    pub(super) fn switch(&self, key: &str) -> Option<bool> {
        self.config.get(key).and_then(Value::as_bool)
    }

    /// A text of config.json.
    pub(super) fn model_text(&self, key: &str) -> Option<&str> {
        self.model.as_ref()?.get(key)?.as_str()
    }
}

/// Special and added tokens, resolved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Words {
    /// Named special tokens: those of [`NAMED`] in that order, then the model's own.
    pub(super) named: Vec<(String, Word)>,
    /// Special tokens without a name.
    pub(super) extra: Vec<Word>,
    /// Added tokens in order of the id that they were saved with.
    pub(super) added: Vec<AddedToken>,
}

impl Words {
    /// Resolves the words of `settings`.
    ///
    /// `overrides` are the recipe's (`bos_token` → content), `defaults` what the class falls back to for a
    /// name that the files do not mention, `in_file` the added tokens of tokenizer.json with their ids.
    pub(super) fn resolve(
        settings: &Settings,
        overrides: &[(&str, &str)],
        defaults: &[(&str, &str)],
        in_file: &[(u32, AddedToken)],
    ) -> Words {
        let mut values = settings.config.clone();
        for (name, content) in overrides {
            values.insert((*name).to_owned(), Value::String((*content).to_owned()));
        }
        if values.contains_key("additional_special_tokens")
            && !values.get("extra_special_tokens").is_some_and(is_filled)
            && let Some(tokens) = values.shift_remove("additional_special_tokens")
        {
            values.insert("extra_special_tokens".to_owned(), tokens);
        }
        let mut own = own_tokens(&values, |value| value.is_string());
        for (name, _) in &own {
            values.shift_remove(name);
        }
        take_named_extras(&mut values, &mut own);
        if own.is_empty()
            && let Some(Value::Object(saved)) = values.get("model_specific_special_tokens")
        {
            own = saved.clone().into_iter().collect();
        }

        let added = if values.contains_key("added_tokens_decoder") {
            saved_tokens(values.get("added_tokens_decoder"))
        } else {
            merge_legacy_map(settings, overrides, &mut values);
            take_named_extras(&mut values, &mut own);
            let mut added = legacy_added_tokens(settings, &values);
            added.extend(in_file.iter().cloned());
            added
        };
        let added = last_by_id(added);

        let known = |word: Word| match added
            .iter()
            .rev()
            .find(|(_, token)| token.content == word.content())
        {
            Some((_, token)) => Word::Token(token.clone()),
            None => word,
        };
        let mut named = Vec::new();
        for name in NAMED {
            let word = match values.get(name) {
                Some(value) => Word::parse(value).map(known),
                None => defaults
                    .iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, content)| Word::Text((*content).to_owned())),
            };
            named.extend(word.map(|word| (name.to_owned(), word)));
        }
        let flagged = own_tokens(&values, |value| added_token(value).is_some());
        for (name, value) in flagged.into_iter().chain(own) {
            if let Some(word) = Word::parse(&value) {
                named.retain(|(key, _)| *key != name);
                named.push((name, word));
            }
        }
        let extra = ["extra_special_tokens", "additional_special_tokens"]
            .into_iter()
            .find_map(|key| values.get(key))
            .and_then(Value::as_array)
            .map(|tokens| tokens.iter().filter_map(Word::parse).collect())
            .unwrap_or_default();
        Words {
            named,
            extra,
            added: added.into_iter().map(|(_, token)| token).collect(),
        }
    }

    /// The special token of a name.
    pub(super) fn get(&self, name: &str) -> Option<&Word> {
        self.named
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, word)| word)
    }

    /// Gives a name its special token.
    pub(super) fn set(&mut self, name: &str, word: Word) {
        self.named.retain(|(key, _)| key != name);
        self.named.push((name.to_owned(), word));
        let place = |key: &str| NAMED.iter().position(|named| *named == key);
        self.named
            .sort_by_key(|(key, _)| place(key).unwrap_or(NAMED.len()));
    }

    /// Whether a named special token has this text.
    pub(super) fn is_named(&self, content: &str) -> bool {
        self.named.iter().any(|(_, word)| word.content() == content)
    }

    /// Named and unnamed special tokens, each once.
    pub(super) fn all_special(&self) -> Vec<&Word> {
        let mut all: Vec<&Word> = Vec::new();
        for word in self.named.iter().map(|(_, word)| word).chain(&self.extra) {
            if !all.iter().any(|seen| seen.content() == word.content()) {
                all.push(word);
            }
        }
        all
    }
}

/// Keys such as `image_token`, which are not among [`NAMED`], with values that `accept` takes.
fn own_tokens(
    values: &Map<String, Value>,
    accept: impl Fn(&Value) -> bool,
) -> Vec<(String, Value)> {
    values
        .iter()
        .filter(|(key, value)| {
            key.ends_with("_token") && !NAMED.contains(&key.as_str()) && accept(value)
        })
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Moves `extra_special_tokens` to the named tokens where it is an object.
fn take_named_extras(values: &mut Map<String, Value>, own: &mut Vec<(String, Value)>) {
    if let Some(Value::Object(extras)) = values.get("extra_special_tokens").cloned() {
        values.shift_remove("extra_special_tokens");
        for (name, value) in extras {
            own.retain(|(key, _)| *key != name);
            own.push((name, value));
        }
    }
}

/// special_tokens_map.json over tokenizer_config.json, the recipe over both.
fn merge_legacy_map(
    settings: &Settings,
    overrides: &[(&str, &str)],
    values: &mut Map<String, Value>,
) {
    for (key, value) in &settings.special_tokens_map {
        if overrides.iter().any(|(name, _)| name == key) {
            continue;
        }
        let value = match value {
            Value::Object(token) if key != "extra_special_tokens" => {
                let mut token = token.clone();
                token.insert("special".to_owned(), Value::Bool(true));
                Value::Object(token)
            }
            Value::Array(tokens) if key == "extra_special_tokens" => {
                let known = values.get(key).and_then(Value::as_array);
                let mut merged = known.cloned().unwrap_or_default();
                for token in tokens {
                    if !merged.contains(token) {
                        merged.push(token.clone());
                    }
                }
                Value::Array(merged)
            }
            other => other.clone(),
        };
        values.insert(key.clone(), value);
    }
}

/// added_tokens.json: token to id.
fn legacy_added_tokens(settings: &Settings, values: &Map<String, Value>) -> Vec<(u32, AddedToken)> {
    let special = |content: &str| {
        let is = |value: &Value| Word::parse(value).is_some_and(|word| word.content() == content);
        NAMED.iter().any(|name| values.get(*name).is_some_and(is))
            || values
                .get("extra_special_tokens")
                .and_then(Value::as_array)
                .is_some_and(|tokens| tokens.iter().any(is))
    };
    settings
        .added_tokens
        .iter()
        .filter_map(|(content, id)| {
            let id = u32::try_from(id.as_u64()?).ok()?;
            Some((id, AddedToken::from(content.clone(), special(content))))
        })
        .collect()
}

/// `added_tokens_decoder`: id to token.
fn saved_tokens(value: Option<&Value>) -> Vec<(u32, AddedToken)> {
    let Some(Value::Object(tokens)) = value else {
        return Vec::new();
    };
    tokens
        .iter()
        .filter_map(|(id, token)| Some((id.parse().ok()?, added_token(token)?)))
        .collect()
}

/// Sorted by id; of several with one id the last.
fn last_by_id(mut tokens: Vec<(u32, AddedToken)>) -> Vec<(u32, AddedToken)> {
    tokens.reverse();
    tokens.sort_by_key(|(id, _)| *id);
    tokens.dedup_by_key(|(id, _)| *id);
    tokens
}

/// A token written as an object. `normalized` defaults to what the reference's class defaults to: not for
/// special tokens.
fn added_token(value: &Value) -> Option<AddedToken> {
    let content = value.get("content")?.as_str()?;
    let flag = |key: &str| value.get(key).and_then(Value::as_bool);
    let special = flag("special").unwrap_or(false);
    Some(
        AddedToken::from(content, special)
            .normalized(flag("normalized").unwrap_or(!special))
            .single_word(flag("single_word").unwrap_or(false))
            .lstrip(flag("lstrip").unwrap_or(false))
            .rstrip(flag("rstrip").unwrap_or(false)),
    )
}

/// What Python calls true.
fn is_filled(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Array(values) => !values.is_empty(),
        Value::Object(values) => !values.is_empty(),
        Value::String(text) => !text.is_empty(),
        Value::Number(_) => true,
    }
}

/// A JSON object in a file; none if there is no such file.
fn read_object(path: &Path) -> Result<Option<Map<String, Value>>> {
    let refuse = |what: String| {
        Error::new(
            Kind::Tokenizer,
            Stage::Tokenize,
            format!("{}: {what}", path.display()),
        )
    };
    let text = match small_file::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(
                Error::new(Kind::Io, Stage::Tokenize, path.display().to_string()).caused_by(error),
            );
        }
    };
    match serde_json::from_slice(&text) {
        Ok(Value::Object(object)) => Ok(Some(object)),
        Ok(_) => Err(refuse("not a JSON object".to_owned())),
        Err(error) => Err(refuse("not JSON".to_owned()).caused_by(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    fn contents(words: &Words) -> Vec<(&str, &str)> {
        words
            .named
            .iter()
            .map(|(name, word)| (name.as_str(), word.content()))
            .collect()
    }

    #[test]
    fn null_beats_the_default_and_absence_does_not() {
        let settings = Settings {
            config: object(json!({"pad_token": null, "eos_token": "</s>"})),
            ..Settings::default()
        };
        let defaults = [("pad_token", "<pad>"), ("unk_token", "<unk>")];
        let words = Words::resolve(&settings, &[], &defaults, &[]);
        assert_eq!(
            contents(&words),
            [("eos_token", "</s>"), ("unk_token", "<unk>")]
        );
    }

    #[test]
    fn legacy_files_count_only_without_added_tokens_decoder() {
        let mut settings = Settings {
            config: object(json!({"eos_token": "</s>"})),
            special_tokens_map: object(
                json!({"eos_token": {"content": "<end>"}, "pad_token": "<pad>"}),
            ),
            added_tokens: object(json!({"<end>": 7, "word": 6})),
            ..Settings::default()
        };
        let in_file = [(5, AddedToken::from("<x>", true))];
        let words = Words::resolve(&settings, &[], &[], &in_file);
        assert_eq!(
            contents(&words),
            [("eos_token", "<end>"), ("pad_token", "<pad>")]
        );
        assert_eq!(
            words.added,
            [
                AddedToken::from("<x>", true),
                AddedToken::from("word", false),
                AddedToken::from("<end>", true),
            ]
        );
        let over = Words::resolve(&settings, &[("eos_token", "<mine>")], &[], &in_file);
        assert_eq!(over.get("eos_token").map(Word::content), Some("<mine>"));

        settings.config = object(json!({
            "eos_token": "</s>",
            "added_tokens_decoder": {"9": {"content": "</s>", "lstrip": true, "special": true}},
        }));
        let words = Words::resolve(&settings, &[], &[], &in_file);
        let token = AddedToken::from("</s>", true).lstrip(true);
        assert_eq!(
            words.named,
            [("eos_token".to_owned(), Word::Token(token.clone()))]
        );
        assert_eq!(words.added, [token]);
    }

    #[test]
    fn own_tokens_get_names_and_lists_do_not() {
        let settings = Settings {
            config: object(json!({
                "video_token": "<video>",
                "add_bos_token": true,
                "extra_special_tokens": {"image_token": "<image>"},
            })),
            ..Settings::default()
        };
        let words = Words::resolve(&settings, &[], &[], &[]);
        assert_eq!(
            contents(&words),
            [("video_token", "<video>"), ("image_token", "<image>")]
        );
        let settings = Settings {
            config: object(
                json!({"additional_special_tokens": ["<a>", "<b>"], "extra_special_tokens": []}),
            ),
            ..Settings::default()
        };
        let words = Words::resolve(&settings, &[], &[], &[]);
        assert_eq!(
            words.extra,
            [Word::Text("<a>".to_owned()), Word::Text("<b>".to_owned())]
        );
        assert!(words.named.is_empty());
    }
}
