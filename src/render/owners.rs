//! Which message a span was printed from.
//!
//! A template is a program, and nothing in its output says which message a piece came from. So the
//! conversation is rendered a second time with a private character in the strings of each message, one
//! character a message: a span belongs to the message whose character it holds. The answer counts only
//! if the text without those characters is the text that was rendered in the first place, that is if
//! the template did not notice.

use super::conversation::Conversation;
use super::methods::{Ends, strip};
use super::template::{ChatTemplate, Input, Rendered};
use crate::error::{Error, Kind, Result, Stage};
use minijinja::value::{Value, ValueKind};
use std::ops::{Range, RangeInclusive};

/// Private planes that marks are taken from, the first that does not occur in the text.
pub(super) const PLANES: [RangeInclusive<u32>; 2] = [0xF_0000..=0xF_FFFD, 0x10_0000..=0x10_FFFD];

/// Keys whose strings are compared rather than printed.
pub(super) const NEVER_MARKED: [&str; 5] = ["role", "type", "id", "tool_call_id", "call_id"];

/// Which strings of a message are marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marking {
    /// All that may be printed.
    Everything,
    /// All but names, which a template may know by heart.
    NotNames,
}

impl ChatTemplate {
    /// For each span of `rendered` the index of the message that it was printed from.
    ///
    /// A span that shows no mark (an empty answer, an end-of-turn token in a block of its own) is the
    /// one assistant message's that lies between the marks before and behind it. What is still open, or
    /// all of them if the template notices the marks, goes by order if there is one span for each
    /// assistant message and nothing speaks against it.
    ///
    /// # Errors
    /// [`Kind::Mask`] where it cannot be told without guessing.
    pub fn owners(&self, conversation: &Conversation, rendered: &Rendered) -> Result<Vec<usize>> {
        if rendered.spans.is_empty() {
            return Ok(Vec::new());
        }
        let mut shown = vec![None; rendered.spans.len()];
        for marking in [Marking::Everything, Marking::NotNames] {
            if let Some(marked) = self.render_marked(conversation, rendered, marking)? {
                shown = marked.owners(conversation)?;
                break;
            }
        }
        if let Some(owners) = shown.iter().copied().collect::<Option<Vec<usize>>>() {
            return Ok(owners);
        }
        let assistants: Vec<usize> = assistants(conversation).collect();
        let agree = |(assistant, shown): (&usize, &Option<usize>)| {
            shown.is_none_or(|shown| shown == *assistant)
        };
        if assistants.len() == shown.len() && assistants.iter().zip(&shown).all(agree) {
            return Ok(assistants);
        }
        Err(refusal(format!(
            "of {} generation blocks, for {} assistant messages, {} do not show which message they print",
            shown.len(),
            assistants.len(),
            shown.iter().filter(|owner| owner.is_none()).count(),
        )))
    }

    /// The conversation rendered with marks; none if the template noticed them.
    fn render_marked(
        &self,
        conversation: &Conversation,
        rendered: &Rendered,
        marking: Marking,
    ) -> Result<Option<Marked>> {
        let free = |plane: &RangeInclusive<u32>| {
            !rendered.text.chars().any(|c| plane.contains(&u32::from(c)))
        };
        let Some(plane) = PLANES.into_iter().find(free) else {
            return Ok(None);
        };
        let mut marked = conversation.clone();
        for (message, code) in marked.messages.iter_mut().zip(plane.clone()) {
            if let Some(mark) = char::from_u32(code) {
                message.value = mark_value(&message.value, mark, marking);
            }
        }
        // A template that fails now has noticed, since it did not fail before.
        let Ok((text, spans)) = self.render_input(&Input::new(&marked, rendered.ending)?) else {
            return Ok(None);
        };
        let mut marks = Vec::new();
        let mut places = Vec::new();
        let mut unmarked = String::with_capacity(rendered.text.len());
        for (place, c) in text.char_indices() {
            let code = u32::from(c);
            if plane.contains(&code) {
                places.push(place);
                marks.push(Mark {
                    at: unmarked.len(),
                    message: (code - plane.start()) as usize,
                });
            } else {
                unmarked.push(c);
            }
        }
        // The marks before a span's ends shift them, by four bytes each.
        let shift = |at: usize| at - 4 * places.partition_point(|place| *place < at);
        let shifted = spans.iter().map(|span| shift(span.start)..shift(span.end));
        if unmarked != rendered.text || !shifted.eq(rendered.spans.iter().cloned()) {
            return Ok(None);
        }
        Ok(Some(Marked {
            marks,
            spans: rendered.spans.clone(),
        }))
    }
}

/// A mark that came out, at a byte of the text without marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    at: usize,
    message: usize,
}

/// Where the marks came out, and the spans among them.
#[derive(Debug)]
struct Marked {
    marks: Vec<Mark>,
    spans: Vec<Range<usize>>,
}

impl Marked {
    /// The owner of each span, where the marks show it.
    fn owners(&self, conversation: &Conversation) -> Result<Vec<Option<usize>>> {
        let in_order = self.marks.is_sorted_by_key(|mark| mark.message);
        self.spans
            .iter()
            .map(|span| {
                // A mark stands behind a character, so one at a span's start belongs to what is before
                // it.
                let first = self.marks.partition_point(|mark| mark.at <= span.start);
                let last = self.marks.partition_point(|mark| mark.at <= span.end);
                let inside = self.marks.get(first..last).unwrap_or_default();
                if let Some(owner) = inside.first() {
                    return match inside.iter().find(|mark| mark.message != owner.message) {
                        None => Ok(Some(owner.message)),
                        Some(other) => Err(refusal(format!(
                            "one generation block prints messages {} and {}",
                            owner.message, other.message
                        ))),
                    };
                }
                let before = first.checked_sub(1).and_then(|index| self.marks.get(index));
                let behind = self.marks.get(last);
                let from = before.map_or(0, |mark| mark.message);
                let to = behind.map_or(usize::MAX, |mark| mark.message);
                let mut between =
                    assistants(conversation).filter(|index| (from..=to).contains(index));
                Ok(match (in_order, between.next(), between.next()) {
                    (true, owner, None) => owner,
                    _ => None,
                })
            })
            .collect()
    }
}

pub(super) fn assistants(conversation: &Conversation) -> impl Iterator<Item = usize> {
    let messages = conversation.messages.iter().enumerate();
    messages
        .filter(|(_, message)| message.role == "assistant")
        .map(|(index, _)| index)
}

fn refusal(message: String) -> Error {
    Error::new(Kind::Mask, Stage::Render, message).remedy(
        "use a template whose generation blocks print one message each, or train every assistant turn \
         alike: no train flags in the rows and mask.train: assistant",
    )
}

pub(super) fn mark_value(value: &Value, mark: char, marking: Marking) -> Value {
    match value.kind() {
        ValueKind::String => Value::from(mark_text(value.as_str().unwrap_or_default(), mark)),
        ValueKind::Seq => match value.try_iter() {
            Ok(items) => Value::from(
                items
                    .map(|item| mark_value(&item, mark, marking))
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
                    mark_value(&item, mark, marking)
                };
                (key, item)
            })),
            None => value.clone(),
        },
        _ => value.clone(),
    }
}

/// Puts the mark where a template is least likely to look: inside a word of each line, never at an end,
/// which may be trimmed or compared, and never inside `<…>` or `[…]`, which may be searched for.
pub(super) fn mark_text(text: &str, mark: char) -> String {
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
