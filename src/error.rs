//! The one public error type: what went wrong, where (shard, record, stage), and what to do about it.

use std::fmt;
use std::sync::Arc;

/// `Result` with packmill's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What class of thing went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A recipe, a command line or a combination of keys is wrong. The binary exits with 2.
    Recipe,
    /// The operating system refused: no such file, no space, no permission.
    Io,
    /// Stored bytes cannot be decoded: a cut frame, a bad checksum, bytes that are not UTF-8.
    Corrupt,
    /// A file changed or shrank while it was read, or holds other records than a checkpoint was saved of.
    Changed,
    /// A record is not of a shape that is understood.
    Row,
    /// A chat template does not compile, raised, or ran past its limits.
    Template,
    /// A tokenizer cannot be loaded or gave something impossible.
    Tokenizer,
    /// A mask cannot be had without guessing.
    Mask,
    /// An example does not fit where the recipe says that it must.
    Pack,
    /// A fixed cap was passed (line length, nesting, window, decoded size).
    Limit,
    /// A checkpoint is missing, damaged, or of another stream. The binary exits with 2.
    Checkpoint,
    /// A fault of packmill itself, a panic in a worker included.
    Internal,
}

/// Where on the way from corpus to trainer it went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// Reading the configuration.
    Recipe,
    /// Finding shards.
    Corpus,
    /// Deciding which record is next.
    Order,
    /// Bytes to records.
    Read,
    /// Records to text.
    Render,
    /// Text to ids.
    Tokenize,
    /// Ids to labels.
    Mask,
    /// Examples to rows.
    Pack,
    /// Rows to tensors.
    Batch,
    /// Hand-over to the trainer.
    Channel,
    /// Saving and restoring where a stream stands.
    Checkpoint,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Stage::Recipe => "recipe",
            Stage::Corpus => "corpus",
            Stage::Order => "order",
            Stage::Read => "read",
            Stage::Render => "render",
            Stage::Tokenize => "tokenize",
            Stage::Mask => "mask",
            Stage::Pack => "pack",
            Stage::Batch => "batch",
            Stage::Channel => "channel",
            Stage::Checkpoint => "checkpoint",
        };
        f.write_str(name)
    }
}

/// Everything that packmill can say about a failure. Cheap to clone; printed on one line.
///
/// Built with [`Error::new`] and completed on the way up by whoever knows more: the render stage
/// knows what is wrong, the worker knows which shard and record it was.
#[derive(Clone, thiserror::Error)]
#[error("{0}")]
pub struct Error(Box<Detail>);

#[derive(Clone)]
struct Detail {
    kind: Kind,
    stage: Stage,
    message: String,
    remedy: Option<String>,
    shard: Option<String>,
    record: Option<u64>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `kind`, seen in `stage`. `message` is a clause without a full stop.
    pub fn new(kind: Kind, stage: Stage, message: impl Into<String>) -> Self {
        Error(Box::new(Detail {
            kind,
            stage,
            message: message.into(),
            remedy: None,
            shard: None,
            record: None,
            source: None,
        }))
    }

    /// Adds what the user can do about it, a clause without a full stop.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.0.remedy = Some(remedy.into());
        self
    }

    /// The same of another kind, for whoever knows better what it means.
    #[must_use]
    pub(crate) fn of_kind(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        self
    }

    /// Adds the shard, unless one is known already.
    #[must_use]
    pub fn in_shard(mut self, shard: impl fmt::Display) -> Self {
        if self.0.shard.is_none() {
            self.0.shard = Some(shard.to_string());
        }
        self
    }

    /// Adds the record (line or row, from 0, within its shard), unless one is known already.
    #[must_use]
    pub fn at_record(mut self, record: u64) -> Self {
        self.0.record.get_or_insert(record);
        self
    }

    /// Adds the underlying error.
    #[must_use]
    pub fn caused_by(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.0.source = Some(Arc::new(source));
        self
    }

    /// What class of thing went wrong.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Where it went wrong.
    pub fn stage(&self) -> Stage {
        self.0.stage
    }

    /// The shard, if one is to blame.
    pub fn shard(&self) -> Option<&str> {
        self.0.shard.as_deref()
    }

    /// The record within its shard, if one is to blame.
    pub fn record(&self) -> Option<u64> {
        self.0.record
    }

    /// What is wrong, without place and remedy.
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(shard) = &self.shard {
            write!(f, "{shard}: ")?;
        }
        if let Some(record) = self.record {
            write!(f, "record {record}: ")?;
        }
        write!(f, "{}: {}", self.stage, self.message)?;
        if let Some(source) = &self.source {
            write!(f, ": {source}")?;
        }
        if let Some(remedy) = &self.remedy {
            write!(f, "; {remedy}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.0.kind, self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_shard_record_stage_and_remedy_on_one_line() {
        let error = Error::new(Kind::Row, Stage::Render, "no messages")
            .remedy("set sources[].kind")
            .in_shard("a.jsonl")
            .in_shard("b.jsonl")
            .at_record(7);
        assert_eq!(
            error.to_string(),
            "a.jsonl: record 7: render: no messages; set sources[].kind"
        );
        assert_eq!(error.shard(), Some("a.jsonl"));
    }
}
