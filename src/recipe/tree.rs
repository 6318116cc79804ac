//! The marked tree that YAML and JSON both become before they are checked.

use super::fault::Fault;
use serde_json::Value;

/// Levels of nesting that a recipe may have. The deepest key is at level 5; the rest is for template kwargs.
pub(super) const MOST_DEPTH: usize = 48;

/// A value and the line that it begins in.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// From 1; none where the recipe was no text.
    pub(super) line: Option<usize>,
    pub(super) tree: Tree,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tree {
    Null,
    Flag(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    /// In the order written, keys perhaps more than once.
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    /// Line of the key, which is where people look for a value.
    pub(super) line: Option<usize>,
    pub(super) node: Node,
}

impl Node {
    /// A tree without lines.
    pub(super) fn from_json(value: &Value) -> Result<Node, Fault> {
        from_json(value, 0)
    }

    /// The values without their lines; of a key that is given twice the last one, of integers beyond 64 bits the float.
    pub(super) fn into_json(self) -> Value {
        match self.tree {
            Tree::Null => Value::Null,
            Tree::Flag(flag) => Value::Bool(flag),
            Tree::Integer(integer) => match (u64::try_from(integer), i64::try_from(integer)) {
                (Ok(integer), _) => integer.into(),
                (_, Ok(integer)) => integer.into(),
                _ => (integer as f64).into(),
            },
            Tree::Float(float) => float.into(),
            Tree::Text(text) => Value::String(text),
            Tree::List(items) => items.into_iter().map(Node::into_json).collect(),
            Tree::Map(entries) => {
                let pairs = entries.into_iter();
                Value::Object(
                    pairs
                        .map(|entry| (entry.key, entry.node.into_json()))
                        .collect(),
                )
            }
        }
    }

    /// Line of the deepest part of `path` (`sources[1].mask.train`) that was written.
    pub(super) fn line_of(&self, path: &str) -> Option<usize> {
        let (Ok((_, line)) | Err(line)) = self.find(path);
        line
    }

    /// The value of `path`, if it was written.
    pub(super) fn at(&self, path: &str) -> Option<&Node> {
        self.find(path).ok().map(|(node, _)| node)
    }

    /// The value of `path` and its line, or the line of the deepest part that was written.
    fn find(&self, path: &str) -> Result<(&Node, Option<usize>), Option<usize>> {
        let (mut node, mut line) = (self, self.line);
        for step in path.split(['.', '[']) {
            let next = match (&node.tree, step.strip_suffix(']')) {
                (Tree::Map(entries), None) => entries
                    .iter()
                    .find(|entry| entry.key == step)
                    .map(|entry| (&entry.node, entry.line)),
                (Tree::List(items), Some(index)) => index
                    .parse()
                    .ok()
                    .and_then(|index: usize| items.get(index))
                    .map(|item| (item, item.line)),
                _ => None,
            };
            match next {
                Some((next, at)) => (node, line) = (next, at),
                None => return Err(line),
            }
        }
        Ok((node, line))
    }
}

fn from_json(value: &Value, depth: usize) -> Result<Node, Fault> {
    if depth > MOST_DEPTH {
        return Err(Fault::new(None, "", too_deep()));
    }
    let tree = match value {
        Value::Null => Tree::Null,
        Value::Bool(flag) => Tree::Flag(*flag),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(integer), _) => Tree::Integer(integer.into()),
            (None, Some(integer)) => Tree::Integer(integer.into()),
            (None, None) => Tree::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Tree::Text(text.clone()),
        Value::Array(items) => Tree::List(
            items
                .iter()
                .map(|item| from_json(item, depth + 1))
                .collect::<Result<_, _>>()?,
        ),
        Value::Object(map) => Tree::Map(
            map.iter()
                .map(|(key, value)| {
                    Ok(Entry {
                        key: key.clone(),
                        line: None,
                        node: from_json(value, depth + 1)?,
                    })
                })
                .collect::<Result<_, Fault>>()?,
        ),
    };
    Ok(Node { line: None, tree })
}

/// What is said of a recipe that nests too deep.
pub(super) fn too_deep() -> String {
    format!("expected at most {MOST_DEPTH} levels of nesting, found more")
}
