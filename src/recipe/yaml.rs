//! YAML text to a marked tree, within caps.
//!
//! Built on the parser's events rather than on a ready-made document: events keep every line and every
//! duplicate key, and nothing recurses, so a hostile recipe meets a cap and not the end of the stack.

use super::fault::Fault;
use super::scalar::resolve;
use super::tree::{Entry, MOST_DEPTH, Node, Tree, too_deep};
use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Bytes that a recipe may have. A person writes a few thousand.
const MOST_BYTES: usize = 1 << 20;

/// Values that all anchors and aliases together may copy: enough to say a mask once for a hundred sources,
/// too few for a bomb.
const MOST_COPIED: usize = 10_000;

/// Reads a recipe file as text.
pub(super) fn text(path: &Path) -> Result<String, Fault> {
    let unread = |error: std::io::Error| Fault::new(None, "", format!("cannot be read: {error}"));
    let mut bytes = Vec::new();
    // One byte more than may be, so that devices and growing files end too.
    File::open(path)
        .map_err(unread)?
        .take(MOST_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(unread)?;
    if bytes.len() > MOST_BYTES {
        return Err(too_long());
    }
    String::from_utf8(bytes).map_err(|error| {
        let sound = error.utf8_error().valid_up_to();
        let line = 1 + error
            .as_bytes()
            .iter()
            .take(sound)
            .filter(|b| **b == b'\n')
            .count();
        Fault::new(
            Some(line),
            "",
            "expected UTF-8 text, found a byte that is none",
        )
    })
}

/// Reads one YAML document.
pub(super) fn read(text: &str) -> Result<Node, Fault> {
    if text.len() > MOST_BYTES {
        return Err(too_long());
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| {
            let line = error.marker().line().max(1);
            match tab(text, line).filter(|_| error.info().contains("tab")) {
                Some(line) => Fault::new(
                    Some(line),
                    "",
                    "not YAML: a tab in the indentation; use spaces",
                ),
                None => Fault::new(Some(line), "", format!("not YAML: {}", error.info())),
            }
        })?;
        builder.event(event, span)?;
    }
    builder
        .root
        .ok_or_else(|| Fault::new(Some(1), "", "expected a recipe, found nothing"))
}

/// The first line from `line` on that is indented with a tab. The parser blames the line before it where it
/// took that for an unfinished text.
fn tab(text: &str, line: usize) -> Option<usize> {
    let indented = |line: &str| {
        let text = line.trim_start();
        line.get(..line.len() - text.len())
            .is_some_and(|indent| indent.contains('\t'))
    };
    let mut lines = text.lines().enumerate().skip(line.saturating_sub(1));
    lines
        .find(|(_, line)| indented(line))
        .map(|(index, _)| index + 1)
}

fn too_long() -> Fault {
    let message = format!("expected at most {MOST_BYTES} bytes, found more; is this a recipe?");
    Fault::new(None, "", message)
}

/// A collection whose end has not come yet.
struct Open<'input> {
    /// The list so far, or the entries so far.
    tree: Tree,
    line: usize,
    anchor: usize,
    /// A mapping's key that waits for its value.
    key: Option<(std::borrow::Cow<'input, str>, usize)>,
}

#[derive(Default)]
struct Builder<'input> {
    open: Vec<Open<'input>>,
    /// Finished nodes that aliases may name, by the parser's number.
    anchors: BTreeMap<usize, Node>,
    copied: usize,
    root: Option<Node>,
}

impl<'input> Builder<'input> {
    fn event(&mut self, event: Event<'input>, span: Span) -> Result<(), Fault> {
        // The parser counts lines from 1, but a stream's own events may stand at line 0.
        let line = span.start.line().max(1);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) if self.root.is_some() => {
                let message = "expected one document, found a second; write one recipe a file";
                Err(Fault::new(Some(line), "", message))
            }
            Event::DocumentStart(_) => Ok(()),
            Event::Scalar(text, style, anchor, tag) => {
                if let Some(open) = self.key_is_next() {
                    open.key = Some((text, line));
                    return Ok(());
                }
                let tree = scalar(&text, style, tag.as_deref()).ok_or_else(|| untagged(line))?;
                self.place(
                    Node {
                        line: Some(line),
                        tree,
                    },
                    anchor,
                )
            }
            Event::SequenceStart(anchor, tag) => {
                self.start(Tree::List(Vec::new()), "seq", line, anchor, tag.as_deref())
            }
            Event::MappingStart(anchor, tag) => {
                self.start(Tree::Map(Vec::new()), "map", line, anchor, tag.as_deref())
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(done) => {
                    let node = Node {
                        line: Some(done.line),
                        tree: done.tree,
                    };
                    self.place(node, done.anchor)
                }
                None => Ok(()),
            },
            Event::Alias(anchor) => {
                if self.key_is_next().is_some() {
                    return Err(Fault::new(
                        Some(line),
                        "",
                        "expected a text as key, found an alias",
                    ));
                }
                let node = self.alias(anchor, line)?;
                self.place(node, 0)
            }
        }
    }

    /// The innermost mapping, if a key is what comes next.
    fn key_is_next(&mut self) -> Option<&mut Open<'input>> {
        self.open
            .last_mut()
            .filter(|open| matches!(open.tree, Tree::Map(_)) && open.key.is_none())
    }

    fn start(
        &mut self,
        tree: Tree,
        own_tag: &str,
        line: usize,
        anchor: usize,
        tag: Option<&Tag>,
    ) -> Result<(), Fault> {
        if self.key_is_next().is_some() {
            let message =
                "expected a text as key, found a list or mapping; put text with brackets in quotes";
            return Err(Fault::new(Some(line), "", message));
        }
        if self.open.len() > MOST_DEPTH {
            return Err(Fault::new(Some(line), "", too_deep()));
        }
        if tag.is_some_and(|tag| !(tag.is_yaml_core_schema() && tag.suffix == own_tag)) {
            return Err(untagged(line));
        }
        self.open.push(Open {
            tree,
            line,
            anchor,
            key: None,
        });
        Ok(())
    }

    /// Puts a finished node where it belongs.
    fn place(&mut self, node: Node, anchor: usize) -> Result<(), Fault> {
        if self.open.len() > MOST_DEPTH {
            return Err(Fault::new(node.line, "", too_deep()));
        }
        if anchor > 0 {
            self.copying(&node, node.line)?;
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(open) => match &mut open.tree {
                Tree::Map(entries) => {
                    if let Some((key, line)) = open.key.take() {
                        entries.push(Entry {
                            key: key.into_owned(),
                            line: Some(line),
                            node,
                        });
                    }
                }
                Tree::List(items) => items.push(node),
                _ => {}
            },
        }
        Ok(())
    }

    /// A copy of what an alias names, with the lines of what it names.
    fn alias(&mut self, anchor: usize, line: usize) -> Result<Node, Fault> {
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            let message =
                "expected an alias to something finished, found one inside of what it names";
            return Err(Fault::new(Some(line), "", message));
        };
        let depth = self.copying(&node, Some(line))?;
        if self.open.len() + depth > MOST_DEPTH {
            return Err(Fault::new(Some(line), "", too_deep()));
        }
        Ok(node)
    }

    /// Books a copy; gives the levels below its root.
    fn copying(&mut self, node: &Node, line: Option<usize>) -> Result<usize, Fault> {
        let (nodes, depth) = extent(node);
        self.copied = self.copied.saturating_add(nodes);
        if self.copied > MOST_COPIED {
            let message = format!(
                "expected anchors and aliases of at most {MOST_COPIED} values in all, found more"
            );
            return Err(Fault::new(line, "", message));
        }
        Ok(depth)
    }
}

/// Nodes in a tree, and levels below its root. Recurses no deeper than [`MOST_DEPTH`].
fn extent(node: &Node) -> (usize, usize) {
    let join = |(nodes, depth): (usize, usize), child: &Node| {
        let below = extent(child);
        (nodes + below.0, depth.max(below.1 + 1))
    };
    match &node.tree {
        Tree::List(items) => items.iter().fold((1, 0), join),
        Tree::Map(entries) => entries.iter().map(|entry| &entry.node).fold((1, 0), join),
        _ => (1, 0),
    }
}

/// The value of a scalar; none where its tag asks for what it is not.
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Option<Tree> {
    let Some(tag) = tag else {
        return Some(match style {
            ScalarStyle::Plain => resolve(text),
            _ => Tree::Text(text.to_owned()),
        });
    };
    if !tag.is_yaml_core_schema() {
        return None;
    }
    let tree = resolve(text);
    match (tag.suffix.as_str(), tree) {
        ("str", _) => Some(Tree::Text(text.to_owned())),
        ("float", Tree::Integer(integer)) => Some(Tree::Float(integer as f64)),
        ("null", tree @ Tree::Null)
        | ("bool", tree @ Tree::Flag(_))
        | ("int", tree @ Tree::Integer(_))
        | ("float", tree @ Tree::Float(_)) => Some(tree),
        _ => None,
    }
}

fn untagged(line: usize) -> Fault {
    Fault::new(
        Some(line),
        "",
        "expected a value without a tag; take the !… before it away",
    )
}
