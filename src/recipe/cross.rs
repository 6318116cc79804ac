//! What keys ask of each other.

use super::check::Check;
use super::fault::Fault;
use super::hint::quoted;
use super::paths::looks_like_path;
use super::tree::Node;
use serde_json::Value;
use std::collections::BTreeMap;

/// Every fault between keys that are each right alone.
pub(super) fn check(value: &Value, root: &Node, check: &mut Check) {
    let mut cross = Cross { value, root, check };
    cross.tokenizer();
    cross.mask("mask");
    cross.sources();
    cross.pack();
    cross.batch();
}

struct Cross<'a> {
    /// With all defaults.
    value: &'a Value,
    root: &'a Node,
    check: &'a mut Check,
}

impl<'a> Cross<'a> {
    fn tokenizer(&mut self) {
        let (Some(path), Some(revision)) =
            (self.text("tokenizer.path"), self.text("tokenizer.revision"))
        else {
            return;
        };
        if looks_like_path(path) {
            let message = format!(
                "expected null beside a path, found {}: only a Hub id has revisions",
                quoted(revision)
            );
            self.fault("tokenizer.revision", message);
        }
    }

    fn mask(&mut self, path: &str) {
        let (train, markers) = (format!("{path}.train"), format!("{path}.markers"));
        let by_markers = self.text(&train) == Some("markers");
        if by_markers && self.check.sound(&markers) && self.at(&markers).is_none_or(Value::is_null)
        {
            self.fault(
                &markers,
                "missing, expected {response: …} with train: markers",
            );
        }
    }

    fn sources(&mut self) {
        if !self.check.sound("sources") {
            return;
        }
        let count = self
            .at("sources")
            .and_then(Value::as_array)
            .map_or(0, Vec::len);
        let mut names = BTreeMap::new();
        for index in 0..count {
            let path = format!("sources[{index}].name");
            if let Some(name) = self.text(&path) {
                if let Some(before) = names.get(name) {
                    let message = format!("{} is also the name of sources[{before}]", quoted(name));
                    self.fault(&path, message);
                } else {
                    names.insert(name, index);
                }
            }
            self.mask(&format!("sources[{index}].mask"));
        }
    }

    fn pack(&mut self) {
        let (multiple, length) = ("pack.segment_multiple", "pack.sequence_length");
        if let (Some(multiple_of), Some(tokens)) = (self.number(multiple), self.number(length))
            && !tokens.is_multiple_of(multiple_of)
        {
            let message =
                format!("expected a divisor of sequence_length ({tokens}), found {multiple_of}");
            self.fault(multiple, message);
        }
    }

    fn batch(&mut self) {
        let rows = self.number("batch.rows");
        if let (Some(rows), Some(step_rows)) = (rows, self.number("batch.step_rows"))
            && !step_rows.is_multiple_of(rows)
        {
            let message = format!("expected a multiple of rows ({rows}), found {step_rows}");
            self.fault("batch.step_rows", message);
        }
        if let (Some(rows), Some(tokens)) = (rows, self.number("pack.sequence_length"))
            && rows.saturating_mul(tokens) > i32::MAX as u64
        {
            let message = format!(
                "expected rows × sequence_length ({tokens}) below 2^31, found {rows} rows: \
                 cu_seqlens count in 32 bits"
            );
            self.fault("batch.rows", message);
        }
    }

    fn fault(&mut self, path: &str, message: impl Into<String>) {
        let line = self.root.line_of(path);
        self.check.fault(Fault::new(line, path, message));
    }

    fn number(&self, path: &str) -> Option<u64> {
        self.at(path).filter(|_| self.check.sound(path))?.as_u64()
    }

    fn text(&self, path: &str) -> Option<&'a str> {
        self.at(path).filter(|_| self.check.sound(path))?.as_str()
    }

    fn at(&self, path: &str) -> Option<&'a Value> {
        path.split(['.', '['])
            .try_fold(self.value, |value, step| match step.strip_suffix(']') {
                Some(index) => value.get(index.parse::<usize>().ok()?),
                None => value.get(step),
            })
    }
}
