//! What a short conversation of our own shows of a source before its first record: whether models learn to stop, and
//! whether template and tokenizer fit each other.

use super::encode::Encoder;
use super::warning::Warning;
use crate::mask::{self, Tokens};
use crate::recipe::Train;
use crate::render::row::Shape;
use crate::render::{ChatTemplate, Conversation, Ending, Message};
use crate::tokenize::{Encoding, SpecialTokens};
use minijinja::Value;
use std::ops::Range;

/// Most tokens that a warning names.
const MOST_NAMED: usize = 5;

/// What the source's template, tokenizer and mask give cause for. Nothing where the template does not take the
/// conversation: what it does with others is not known then.
pub(crate) fn warnings(source: &str, shape: Shape, encoder: &Encoder) -> Vec<Warning> {
    let source = || source.to_owned();
    let mut found = Vec::new();
    let template = match shape {
        Shape::Text | Shape::Tokens => None,
        _ => encoder.templates.choose(false).ok(),
    };
    let shown = template.and_then(|template| Shown::of(template, encoder));
    let stop = match &shown {
        Some(shown) => shown.stop(encoder),
        // Of texts the end is trained with whatever is trained up to it.
        None if matches!(shape, Shape::Text | Shape::PromptCompletion) => {
            let eos = encoder.tokenizer.eos.as_ref();
            eos.map_or(Stop::Unknown, |eos| Stop::Trained(eos.id))
        }
        None => Stop::Unknown,
    };
    match stop {
        Stop::Untrained if shape != Shape::PromptCompletion => {
            found.push(Warning::StopTokenUntrained { source: source() });
        }
        Stop::Trained(id) if id == encoder.tokenizer.pad => found.push(Warning::PadEqualsEos {
            source: source(),
            token: encoder.tokenizer.engine.token(id).unwrap_or_default(),
        }),
        Stop::Trained(_) | Stop::Untrained | Stop::Unknown => {}
    }
    if let Some(template) = template
        && template.prints_time(&probe())
    {
        found.push(Warning::TemplatePrintsDate { source: source() });
    }
    let split = shown.map_or_else(Vec::new, |shown| shown.split_tokens());
    if !split.is_empty() {
        found.push(Warning::SpecialTokenSplit {
            source: source(),
            tokens: split,
        });
    }
    found
}

/// What becomes of the token that ends an answer.
enum Stop {
    Trained(u32),
    Untrained,
    /// It cannot be told which one it is.
    Unknown,
}

/// The conversation as a source's template and tokenizer show it.
struct Shown<'a> {
    template: &'a ChatTemplate,
    conversation: Conversation,
    rendered: crate::render::Rendered,
    encoding: Encoding,
}

impl<'a> Shown<'a> {
    fn of(template: &'a ChatTemplate, encoder: &Encoder) -> Option<Self> {
        let turns = matches!(encoder.mask.train, Train::Assistant | Train::LastAssistant);
        // Some templates leave the terminator to the message that follows: the answer whose end counts is followed
        // by another question. Where no turns are known, what is trained reaches to the end of the text.
        let conversation = if turns { probe() } else { probe().beginning(2) };
        let rendered = template.render(&conversation, Ending::Whole).ok()?;
        let mut encoding = Encoding::default();
        let engine = &encoder.tokenizer.engine;
        engine
            .encode(&rendered.text, SpecialTokens::Leave, &mut encoding)
            .ok()?;
        Some(Shown {
            template,
            conversation,
            rendered,
            encoding,
        })
    }

    fn stop(&self, encoder: &Encoder) -> Stop {
        let turns = matches!(encoder.mask.train, Train::Assistant | Train::LastAssistant);
        let trained = if !turns {
            mask::all(self.encoding.ids.len())
        } else {
            let spans = if self.template.has_generation_tags() {
                self.rendered.spans.clone()
            } else {
                match self.template.turns(&self.conversation, &self.rendered) {
                    Ok(turns) => turns.spans,
                    Err(_) => return Stop::Unknown,
                }
            };
            if spans.is_empty() {
                return Stop::Unknown;
            }
            mask::spans_to_tokens(&spans, &self.encoding.offsets)
        };
        let tokens = Tokens {
            text: &self.rendered.text,
            ids: &self.encoding.ids,
            offsets: &self.encoding.offsets,
        };
        let stop = mask::stop_token(&tokens, &trained, |id| encoder.tokenizer.is_added(id));
        match stop {
            Some(id) if !turns || encoder.mask.end_of_turn => Stop::Trained(id),
            _ if turns => Stop::Untrained,
            _ => Stop::Unknown,
        }
    }

    /// What the template writes as special tokens are written and the tokenizer takes apart, each once.
    fn split_tokens(&self) -> Vec<String> {
        let text = self.rendered.text.as_str();
        let whole = |at: &Range<usize>| {
            let mut offsets = self.encoding.offsets.iter();
            offsets.any(|&(start, end)| start as usize <= at.start && at.end <= end as usize)
        };
        let mut split: Vec<String> = Vec::new();
        for at in token_like(text).filter(|at| !whole(at)) {
            let token = text.get(at).unwrap_or_default();
            if split.len() < MOST_NAMED && !split.iter().any(|known| known == token) {
                split.push(token.to_owned());
            }
        }
        split
    }
}

/// Where something stands that is written as special tokens are: `<|…|>`, `<｜…｜>`, `<start_of_…>`, `<end_of_…>`.
/// Tags such as `<think>` and `[INST]` are plain text to many models and say nothing.
fn token_like(text: &str) -> impl Iterator<Item = Range<usize>> {
    /// Bytes of the longest that is looked for.
    const LONGEST: usize = 64;
    text.match_indices('<').filter_map(|(start, _)| {
        let rest = text.get(start..)?;
        let end = rest.find('>')? + 1;
        let token = rest.get(..end).filter(|token| token.len() <= LONGEST)?;
        let inner = token.get(1..end - 1)?;
        let barred = |bar: char| {
            let name = inner.strip_prefix(bar).and_then(|n| n.strip_suffix(bar));
            name.is_some_and(|name| !name.is_empty() && !name.contains(['<', ' ', '\n']))
        };
        let edge = ["start_of_", "end_of_"]
            .iter()
            .any(|edge| inner.strip_prefix(edge).is_some_and(is_word));
        (barred('|') || barred('｜') || edge).then(|| start..start + end)
    })
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

fn probe() -> Conversation {
    let message = |role: &str, content: &str| {
        Message::new(
            role,
            Value::from_pairs([("role", role), ("content", content)]),
        )
    };
    Conversation {
        messages: vec![
            message("user", "one"),
            message("assistant", "two"),
            message("user", "three"),
        ],
        ..Conversation::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_is_written_as_special_tokens_are() {
        let found = |text: &str| -> Vec<String> {
            token_like(text).map(|at| text[at].to_owned()).collect()
        };
        assert_eq!(
            found(
                "<|im_start|>a <b> <think> <|two words|> <｜User｜> 1<2|3> <||> <start_of_turn>x<end_of_turn><end_of_>"
            ),
            [
                "<|im_start|>",
                "<｜User｜>",
                "<start_of_turn>",
                "<end_of_turn>"
            ]
        );
    }
}
