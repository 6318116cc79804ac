//! The chat templates of a model folder, found and chosen as Transformers does.
//!
//! In this order, the first that has any:
//!
//! 1. `chat_template.jinja`, named `default`, and `additional_chat_templates/*.jinja`, named by their
//!    files;
//! 2. `chat_template` of `tokenizer_config.json`: a string, or a list of `{name, template}`;
//! 3. `chat_template.json`, which old processors wrote and only Transformers' processors read.

use crate::error::{Error, Kind, Result, Stage};
use crate::small_file;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The name that a template has when nobody names it.
const DEFAULT: &str = "default";
/// The template that is taken for conversations with tools, where a folder has several.
const TOOL_USE: &str = "tool_use";

/// One template of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedTemplate {
    /// `default`, `tool_use`, `rag`, …
    pub name: String,
    /// Jinja source.
    pub source: String,
    /// The file that it was read from.
    pub path: PathBuf,
}

/// All templates of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderTemplates {
    folder: PathBuf,
    templates: Vec<NamedTemplate>,
    /// Whether the folder names its templates; a single one without a name is for everything.
    named: bool,
}

impl FolderTemplates {
    /// Reads the templates of a folder. There may be none.
    ///
    /// # Errors
    /// [`Kind::Io`], [`Kind::Limit`], and [`Kind::Template`] for files that are not what their names say.
    pub fn read(folder: &Path) -> Result<Self> {
        let mut found = FolderTemplates {
            folder: folder.to_owned(),
            templates: Vec::new(),
            named: false,
        };
        found.read_files()?;
        if found.templates.is_empty() {
            found.read_config("tokenizer_config.json")?;
        }
        if found.templates.is_empty() {
            found.read_config("chat_template.json")?;
        }
        Ok(found)
    }

    /// The templates, sorted by name.
    pub fn templates(&self) -> &[NamedTemplate] {
        &self.templates
    }

    /// Index in [`templates`](Self::templates) of the one for a conversation with or without tools, or
    /// of the one named.
    ///
    /// # Errors
    /// [`Kind::Recipe`] where there is none, none of that name, or none to fall back to.
    pub fn choose(&self, name: Option<&str>, has_tools: bool) -> Result<usize> {
        let at = |name: &str| self.templates.iter().position(|t| t.name == name);
        let refused = |message: String, remedy: String| {
            Err(Error::new(Kind::Recipe, Stage::Render, message).remedy(remedy))
        };
        let folder = self.folder.display();
        if self.templates.is_empty() {
            return refused(
                format!("{folder} has no chat template"),
                "set template.path to a Jinja file".to_owned(),
            );
        }
        let names: Vec<&str> = self.templates.iter().map(|t| t.name.as_str()).collect();
        let names = names.join(", ");
        match name {
            Some(name) => match at(name) {
                Some(index) => Ok(index),
                None => refused(
                    format!("{folder} has no chat template named {name:?}"),
                    format!("set template.name to one of: {names}"),
                ),
            },
            None if !self.named => Ok(0),
            None => match at(TOOL_USE).filter(|_| has_tools).or_else(|| at(DEFAULT)) {
                Some(index) => Ok(index),
                None => refused(
                    format!("{folder} has several chat templates and none named {DEFAULT}"),
                    format!("set template.name to one of: {names}"),
                ),
            },
        }
    }

    fn read_files(&mut self) -> Result<()> {
        let path = self.folder.join("chat_template.jinja");
        if let Some(source) = read_text(&path)? {
            self.insert(DEFAULT.to_owned(), source, &path);
        }
        let folder = self.folder.join("additional_chat_templates");
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                return Ok(());
            }
            Err(error) => return Err(io_error(&folder, error)),
        };
        for entry in entries {
            let path = entry.map_err(|error| io_error(&folder, error))?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(name) = name
                .and_then(|name| name.strip_suffix(".jinja"))
                .map(str::to_owned)
            else {
                continue;
            };
            if let Some(source) = read_text(&path)? {
                self.named = true;
                self.insert(name, source, &path);
            }
        }
        Ok(())
    }

    fn read_config(&mut self, file: &str) -> Result<()> {
        let path = self.folder.join(file);
        let Some(text) = read_text(&path)? else {
            return Ok(());
        };
        let wrong = |what: &str| {
            Error::new(
                Kind::Template,
                Stage::Render,
                format!("{}: {what}", path.display()),
            )
        };
        let config: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| wrong("not JSON").caused_by(error))?;
        match config.get("chat_template") {
            None | Some(serde_json::Value::Null) => {}
            Some(serde_json::Value::String(source)) => {
                self.insert(DEFAULT.to_owned(), source.clone(), &path)
            }
            Some(serde_json::Value::Array(list)) => {
                for item in list {
                    let field = |name: &str| item.get(name).and_then(|value| value.as_str());
                    let (Some(name), Some(source)) = (field("name"), field("template")) else {
                        return Err(wrong(
                            "an entry of chat_template has no name or no template",
                        ));
                    };
                    self.named = true;
                    self.insert(name.to_owned(), source.to_owned(), &path);
                }
            }
            Some(serde_json::Value::Object(map)) => {
                for (name, source) in map {
                    let source = source
                        .as_str()
                        .ok_or_else(|| wrong("a template in chat_template is not a string"))?;
                    self.named = true;
                    self.insert(name.clone(), source.to_owned(), &path);
                }
            }
            Some(_) => return Err(wrong("chat_template is neither a string nor a list")),
        }
        Ok(())
    }

    /// Adds a template; a later one of the same name replaces it, as in a Python dict.
    fn insert(&mut self, name: String, source: String, path: &Path) {
        let template = NamedTemplate {
            name,
            source,
            path: path.to_owned(),
        };
        match self
            .templates
            .binary_search_by(|t| t.name.cmp(&template.name))
        {
            Ok(index) => self.templates[index] = template,
            Err(index) => self.templates.insert(index, template),
        }
    }
}

/// The text of a file; none if there is no such file.
fn read_text(path: &Path) -> Result<Option<String>> {
    let bytes = match small_file::read(path) {
        Ok(bytes) => bytes,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(io_error(path, error)),
    };
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(error) => Err(Error::new(
            Kind::Template,
            Stage::Render,
            format!("{} is not UTF-8", path.display()),
        )
        .caused_by(error.utf8_error())),
    }
}

fn io_error(path: &Path, error: std::io::Error) -> Error {
    Error::new(
        Kind::Io,
        Stage::Render,
        format!("cannot read {}", path.display()),
    )
    .caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with these files.
    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn chosen(files: &[(&str, &str)], name: Option<&str>, has_tools: bool) -> Result<String> {
        let folder = folder(files);
        let found = FolderTemplates::read(folder.path())?;
        found
            .choose(name, has_tools)
            .map(|index| found.templates()[index].source.clone())
    }

    const LIST: &str = r#"{"chat_template": [{"name": "default", "template": "D"}, {"name": "tool_use", "template": "T"}]}"#;

    #[test]
    fn files_win_over_the_config() {
        let config = ("tokenizer_config.json", r#"{"chat_template": "C"}"#);
        let legacy = ("chat_template.json", r#"{"chat_template": "L"}"#);
        let file = ("chat_template.jinja", "F");
        assert_eq!(chosen(&[file, config, legacy], None, true).unwrap(), "F");
        assert_eq!(chosen(&[config, legacy], None, true).unwrap(), "C");
        assert_eq!(chosen(&[legacy], None, false).unwrap(), "L");
        assert_eq!(
            chosen(
                &[("additional_chat_templates/rag.jinja", "R"), config],
                Some("rag"),
                false
            )
            .unwrap(),
            "R"
        );
    }

    #[test]
    fn several_templates_are_chosen_by_name_and_by_tools() {
        let config = &[("tokenizer_config.json", LIST)];
        assert_eq!(chosen(config, None, false).unwrap(), "D");
        assert_eq!(chosen(config, None, true).unwrap(), "T");
        assert_eq!(chosen(config, Some("default"), true).unwrap(), "D");
        let files = &[
            ("chat_template.jinja", "D"),
            ("additional_chat_templates/tool_use.jinja", "T"),
            ("additional_chat_templates/notes.txt", "N"),
        ];
        assert_eq!(chosen(files, None, false).unwrap(), "D");
        assert_eq!(chosen(files, None, true).unwrap(), "T");
        // A single template has tools in hand itself.
        assert_eq!(
            chosen(&[("chat_template.jinja", "D")], None, true).unwrap(),
            "D"
        );
    }

    #[test]
    fn what_cannot_be_chosen_is_refused_with_the_names() {
        let error = chosen(&[("tokenizer_config.json", "{}")], None, false).unwrap_err();
        assert!(error.to_string().contains("set template.path"), "{error}");
        let error =
            chosen(&[("additional_chat_templates/rag.jinja", "R")], None, true).unwrap_err();
        assert!(error.to_string().contains("one of: rag"), "{error}");
        let error = chosen(&[("tokenizer_config.json", LIST)], Some("tools"), true).unwrap_err();
        assert!(
            error.to_string().contains("one of: default, tool_use"),
            "{error}"
        );
        assert_eq!(error.kind(), Kind::Recipe);
    }

    #[test]
    fn broken_files_are_named() {
        for (name, text) in [
            ("tokenizer_config.json", "{"),
            ("tokenizer_config.json", r#"{"chat_template": 1}"#),
            (
                "tokenizer_config.json",
                r#"{"chat_template": [{"name": "default"}]}"#,
            ),
        ] {
            let error = chosen(&[(name, text)], None, false).unwrap_err();
            assert_eq!(error.kind(), Kind::Template);
            assert!(error.to_string().contains(name), "{error}");
        }
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("chat_template.jinja"), b"\xff").unwrap();
        assert!(
            FolderTemplates::read(folder.path())
                .unwrap_err()
                .to_string()
                .contains("UTF-8")
        );
    }
}
