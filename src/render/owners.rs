//! Which message a span was printed from.
//!
//! A template is a program, and nothing in its output says which message a piece came from. So the conversation is rendered
//! a second time with a private character in the strings of each message, one character a message: a span belongs to the
//! message whose character it holds. The answer counts only if the text without those characters is the text that was
//! rendered in the first place, that is if the template did not notice.

use super::conversation::{Conversation, Message};
use super::methods::{Ends, strip};
use super::template::{ChatTemplate, Input, Rendered};
use crate::error::{Error, Kind, Result, Stage};
use minijinja::value::{Value, ValueKind};
use std::ops::RangeInclusive;

/// Private planes that marks are taken from, the first that does not occur in the text.
const PLANES: [RangeInclusive<u32>; 2] = [0xF_0000..=0xF_FFFD, 0x10_0000..=0x10_FFFD];

/// Keys whose strings are compared rather than printed.
const NEVER_MARKED: [&str; 5] = ["role", "type", "id", "tool_call_id", "call_id"];

/// Which strings of a message are marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marking {
    /// All that may be printed.
    Everything,
    /// All but names, which a template may know by heart.
    NotNames,
}

impl ChatTemplate {
    /// For each span of `rendered` the index of the message that it was printed from.
    ///
    /// Spans that show no mark (an empty answer, a constant) go by order where there is one span for each assistant message
    /// and every other span agrees.
    ///
    /// # Errors
    /// [`Kind::Mask`] where it cannot be told without guessing; what [`render`](ChatTemplate::render) gives.
    pub fn owners(&self, conversation: &Conversation, rendered: &Rendered) -> Result<Vec<usize>> {
        if rendered.spans.is_empty() {
            return Ok(Vec::new());
        }
        let mut seen = None;
        for marking in [Marking::Everything, Marking::NotNames] {
            seen = self.marked_owners(conversation, rendered, marking)?;
            if seen.is_some() {
                break;
            }
        }
        let seen = seen.unwrap_or_else(|| vec![None; rendered.spans.len()]);
        if let Some(owners) = seen.iter().copied().collect::<Option<Vec<usize>>>() {
            return Ok(owners);
        }
        let assistants: Vec<usize> = conversation
            .messages
            .iter()
            .enumerate()
            .filter(|(_, message)| message.role == "assistant")
            .map(|(index, _)| index)
            .collect();
        let agrees = assistants.len() == seen.len()
            && assistants
                .iter()
                .zip(&seen)
                .all(|(assistant, owner)| owner.is_none_or(|owner| owner == *assistant));
        if agrees {
            return Ok(assistants);
        }
        Err(refusal(format!(
            "the template has {} generation blocks for {} assistant messages, and for {} of them it cannot be told which \
             message they were printed from",
            seen.len(),
            assistants.len(),
            seen.iter().filter(|owner| owner.is_none()).count()
        )))
    }

    /// The owners that marks show; none if the template noticed the marks.
    fn marked_owners(
        &self,
        conversation: &Conversation,
        rendered: &Rendered,
        marking: Marking,
    ) -> Result<Option<Vec<Option<usize>>>> {
        let Some(plane) = PLANES
            .into_iter()
            .find(|plane| !rendered.text.chars().any(|c| plane.contains(&u32::from(c))))
        else {
            return Ok(None);
        };
        let mut marked = conversation.clone();
        for (message, code) in marked.messages.iter_mut().zip(plane.clone()) {
            if let Some(mark) = char::from_u32(code) {
                mark_message(message, mark, marking);
            }
        }
        // A template that fails now has noticed, since it did not fail before.
        let Ok((text, spans)) = self.render_input(&Input::new(&marked, rendered.ending)?) else {
            return Ok(None);
        };
        let unmarked = |text: &str| -> String {
            text.chars()
                .filter(|c| !plane.contains(&u32::from(*c)))
                .collect()
        };
        if unmarked(&text) != rendered.text || spans.len() != rendered.spans.len() {
            return Ok(None);
        }
        let mut owners = Vec::with_capacity(spans.len());
        for (span, original) in spans.iter().zip(&rendered.spans) {
            let piece = text.get(span.clone()).unwrap_or_default();
            if unmarked(piece) != rendered.text.get(original.clone()).unwrap_or_default() {
                return Ok(None);
            }
            let mut codes = piece
                .chars()
                .map(u32::from)
                .filter(|code| plane.contains(code));
            let owner = codes.next();
            if let Some(other) = codes.find(|code| Some(*code) != owner) {
                return Err(refusal(format!(
                    "one generation block prints messages {} and {}",
                    owner.unwrap_or(other) - plane.start(),
                    other - plane.start()
                )));
            }
            owners.push(owner.map(|code| (code - plane.start()) as usize));
        }
        Ok(Some(owners))
    }
}

fn refusal(message: String) -> Error {
    Error::new(Kind::Mask, Stage::Render, message).remedy(
        "use a template whose generation blocks print one message each, or train all assistant turns: mask.train: assistant \
         without train flags in the rows",
    )
}

fn mark_message(message: &mut Message, mark: char, marking: Marking) {
    message.value = marked(&message.value, mark, marking);
}

fn marked(value: &Value, mark: char, marking: Marking) -> Value {
    match value.kind() {
        ValueKind::String => Value::from(mark_text(value.as_str().unwrap_or_default(), mark)),
        ValueKind::Seq => match value.try_iter() {
            Ok(items) => Value::from(
                items
                    .map(|item| marked(&item, mark, marking))
                    .collect::<Vec<_>>(),
            ),
            Err(_) => value.clone(),
        },
        ValueKind::Map => match value.as_object().and_then(|object| object.try_iter_pairs()) {
            Some(pairs) => Value::from_pairs(pairs.map(|(key, item)| {
                let kept = match key.as_str() {
                    Some("name") => marking == Marking::NotNames,
                    Some(name) => NEVER_MARKED.contains(&name),
                    None => false,
                };
                let item = if kept {
                    item
                } else {
                    marked(&item, mark, marking)
                };
                (key, item)
            })),
            None => value.clone(),
        },
        _ => value.clone(),
    }
}

/// Puts the mark where a template is least likely to look: inside a word of each line, never at an end, which may be
/// trimmed or compared, and never inside `<…>` or `[…]`, which may be searched for.
fn mark_text(text: &str, mark: char) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut closing = None;
    let mut wanted = true;
    let mut marks = 0_usize;
    for c in text.chars() {
        out.push(c);
        if let Some(end) = closing {
            if c == end || c == '\n' {
                closing = None;
                wanted = true;
            }
            continue;
        }
        match c {
            '<' => closing = Some('>'),
            '[' => closing = Some(']'),
            '\n' => wanted = true,
            c if wanted && c.is_alphanumeric() => {
                out.push(mark);
                wanted = false;
                marks += 1;
            }
            _ => {}
        }
    }
    if marks > 0 {
        return out;
    }
    let core = strip(text, None, Ends::Both);
    let middle = core.chars().count() / 2;
    let Some((at, c)) = core.char_indices().nth(middle) else {
        return out;
    };
    let lead = text.len() - strip(text, None, Ends::Left).len();
    out.insert(lead + at + c.len_utf8(), mark);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_keep_clear_of_ends_and_tags() {
        for (text, expected) in [
            ("Hello there\nyou", "H*ello there\ny*ou"),
            (
                "<think>\nwell\n</think>\n\nYes",
                "<think>\nw*ell\n</think>\n\nY*es",
            ),
            ("<tool_call>x</tool_call>", "<tool_call>x*</tool_call>"),
            (" 4 ", " 4* "),
            (" !? ", " !?* "),
            ("<b>", "<b*>"),
            ("", ""),
            ("  ", "  "),
        ] {
            assert_eq!(mark_text(text, '*'), expected);
        }
    }
}
