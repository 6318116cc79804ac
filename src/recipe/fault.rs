//! What is wrong with a recipe: every fault, each with its line and key.

use crate::error::{Error, Kind, Stage};
use std::fmt;

/// Faults beyond this many are counted, not listed: nobody reads them, and a hostile file must not make
/// them fill the memory.
pub(super) const MOST_LISTED: usize = 1000;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// Line in the file, from 1; none where there is no file or no line to blame.
    pub line: Option<usize>,
    /// The key, `sources[1].paths`; empty where the whole recipe is to blame.
    pub path: String,
    /// What was expected and what was found, a clause without a full stop.
    pub message: String,
    /// The nearest valid name or value.
    pub nearest: Option<String>,
}

impl Fault {
    pub(super) fn new(
        line: Option<usize>,
        path: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Fault {
            line,
            path: path.into(),
            message: message.into(),
            nearest: None,
        }
    }

    pub(super) fn at(mut self, line: Option<usize>, path: &str) -> Self {
        self.line = line;
        path.clone_into(&mut self.path);
        self
    }

    pub(super) fn near(mut self, nearest: Option<impl Into<String>>) -> Self {
        self.nearest = nearest.map(Into::into);
        self
    }
}

/// `pack.sequence_lenght: unknown key; did you mean sequence_length?`, without the line.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        match &self.nearest {
            Some(nearest) => write!(f, "; did you mean {nearest}?"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong with one recipe, in the order of its lines. Printed one fault a line:
/// `recipe.yaml:12: pack.sequence_lenght: unknown key; did you mean sequence_length?`
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Faults {
    /// The file as it was named, or `recipe`.
    pub file: String,
    /// At least one.
    pub faults: Vec<Fault>,
}

impl Faults {
    /// Sorts by line; faults without one keep their place at the front.
    pub(super) fn new(file: &str, mut faults: Vec<Fault>) -> Self {
        faults.sort_by_key(|fault| fault.line);
        let more = faults.len().saturating_sub(MOST_LISTED);
        if more > 0 {
            faults.truncate(MOST_LISTED);
            faults.push(Fault::new(
                None,
                "",
                format!("{more} more faults are not listed"),
            ));
        }
        Faults {
            file: file.to_owned(),
            faults,
        }
    }

    pub(super) fn one(file: &str, fault: Fault) -> Self {
        Faults::new(file, vec![fault])
    }

    pub(super) fn in_file(mut self, file: String) -> Self {
        self.file = file;
        self
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            match fault.line {
                Some(line) => write!(f, "{}:{line}: {fault}", self.file)?,
                None => write!(f, "{}: {fault}", self.file)?,
            }
        }
        Ok(())
    }
}

/// One fault stays on the error's line; several follow it, one a line.
impl From<Faults> for Error {
    fn from(faults: Faults) -> Self {
        let message = match faults.faults.len() {
            1 => faults.to_string(),
            many => format!("{many} faults\n{faults}"),
        };
        Error::new(Kind::Recipe, Stage::Recipe, message)
    }
}
