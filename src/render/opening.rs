//! What a template prints before an answer, and what behind the last one, for templates without
//! `{% generation %}`.
//!
//! Asked of conversations of our own, which the template prints with and without the generation prompt. What
//! it prints there is context, the program that runs the model writes it, with three exceptions, which follow
//! from what the template does with an answer:
//!
//! - The opening tag of a thinking block (`<think>`) is the model's, whoever writes it: where the prompt holds
//!   the tag that the template puts before reasoning, context ends before it.
//! - Where the prompt comes several times in one answer, before each of its parts, the model has to write it
//!   itself, and none of it is context (gpt-oss).
//! - A statement that prints text of an answer is the answer's, whole, if the turn was begun by a statement
//!   before it: context ends before that statement.

use super::conversation::{Conversation, Message};
use super::page::Piece;
use super::template::{ChatTemplate, Ending};
use super::turns::REMEDY;
use crate::error::{Error, Kind, Result, Stage};
use minijinja::Value;

/// What a template prints around answers that no model has to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Opening {
    /// Printed before an answer, and context; empty if nothing is.
    pub(super) header: String,
    /// Whether what is printed behind the last message belongs to it: it is left out where an answer is asked
    /// for.
    pub(super) closes: bool,
    /// Whether the template prints no prompt and yet something before an answer: what of that is context is not
    /// known.
    unasked: bool,
}

const QUESTION: &str = "What is packmill?";
const ANSWER: &str = "A loader.";
const REASONING: &str = "They ask about packmill.";
const ARGUMENT: &str = "packmill-7";

/// How contents are written: some templates take text alone, some parts alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Parts,
}

impl Form {
    fn content(self, text: &str) -> Value {
        match self {
            Form::Text => Value::from(text),
            Form::Parts => Value::from(vec![Value::from_pairs([("type", "text"), ("text", text)])]),
        }
    }

    fn message(self, role: &str, text: &str, more: Vec<(&str, Value)>) -> Message {
        let pairs = [("role", Value::from(role)), ("content", self.content(text))];
        Message::new(role, Value::from_pairs(pairs.into_iter().chain(more)))
    }
}

/// The kinds of answer that a template may print each in its own way.
fn answers(form: Form) -> [Message; 3] {
    let function = Value::from_pairs([
        ("name", Value::from("look_up")),
        ("arguments", Value::from_pairs([("what", ARGUMENT)])),
    ]);
    let call = Value::from_pairs([
        ("type", Value::from("function")),
        ("id", Value::from("call00001")),
        ("function", function),
    ]);
    let reasoning = Value::from(REASONING);
    [
        form.message("assistant", ANSWER, vec![]),
        form.message("assistant", ANSWER, vec![("reasoning_content", reasoning)]),
        form.message(
            "assistant",
            ANSWER,
            vec![("tool_calls", Value::from(vec![call]))],
        ),
    ]
}

impl ChatTemplate {
    /// How answers open in a conversation with these kwargs.
    pub(super) fn opening(&self, kwargs: &[(String, Value)]) -> Result<Opening> {
        if kwargs.is_empty() {
            self.opening
                .get_or_init(|| self.find_opening(kwargs))
                .clone()
        } else {
            self.find_opening(kwargs)
        }
    }

    fn find_opening(&self, kwargs: &[(String, Value)]) -> Result<Opening> {
        // A form whose text comes out is better than one that the template merely puts up with.
        let mut found = None;
        for form in [Form::Text, Form::Parts] {
            match self.opening_of(form, kwargs) {
                Some((opening, true)) => {
                    found = Some((opening, true));
                    break;
                }
                other => found = found.or(other),
            }
        }
        let opening = found.map(|(opening, _)| opening).ok_or_else(|| {
            Error::new(
                Kind::Mask,
                Stage::Render,
                "the chat template has no {% generation %} tags, and what it prints before an answer \
                 cannot be told: with a generation prompt it prints another conversation than without",
            )
            .remedy(REMEDY)
        })?;
        if opening.unasked {
            return Err(Error::new(
                Kind::Mask,
                Stage::Render,
                "the chat template has no {% generation %} tags and no generation prompt, so which part of what it \
                 prints before an answer is context is not known",
            )
            .remedy(REMEDY));
        }
        Ok(opening)
    }

    fn opening_of(&self, form: Form, kwargs: &[(String, Value)]) -> Option<(Opening, bool)> {
        let question = || form.message("user", QUESTION, vec![]);
        let render = |messages: Vec<Message>, ending: Ending| {
            let conversation = Conversation {
                messages,
                kwargs: kwargs.to_vec(),
                ..Conversation::default()
            };
            self.render_pieces(&conversation, ending).ok()
        };
        let (whole, whole_pieces) = render(vec![question()], Ending::Whole)?;
        let (asked, asked_pieces) = render(vec![question()], Ending::GenerationPrompt)?;
        let (mut header, mut closes) = match asked.strip_prefix(&whole) {
            Some(prompt) => (prompt, behind(&whole_pieces) == whole.len()),
            // What is printed behind the last message gives way to the prompt.
            None => {
                let (end, asked_end) = (behind(&whole_pieces), behind(&asked_pieces));
                if end == 0 || whole.get(..end)? != asked.get(..asked_end)? {
                    return None;
                }
                (asked.get(asked_end..)?, true)
            }
        };
        let mut shown = whole.contains(QUESTION);
        let prompt = header;
        let mut shortest = header.len();
        let mut unasked = false;
        for (kind, answer) in answers(form).into_iter().enumerate() {
            let is_plain = kind == 0;
            let Some((text, pieces)) = render(vec![question(), answer], Ending::Whole) else {
                continue;
            };
            shown |= text.contains(ANSWER);
            let turn: Vec<&Piece> = pieces.iter().filter(|p| p.turn == Some(1)).collect();
            let (Some(first), Some(last)) = (turn.first(), turn.last()) else {
                continue;
            };
            let start = first.at.start;
            let Some(printed) = text.get(start..last.at.end) else {
                continue;
            };
            let before = printed.split_once(ANSWER).map_or("", |(before, _)| before);
            unasked |= prompt.trim().is_empty() && is_plain && !before.trim().is_empty();
            if !prompt.trim().is_empty() && printed.matches(prompt.trim()).count() > 1 {
                shortest = 0;
            }
            if let Some(tag) = thinking_tag(printed) {
                shortest = shortest.min(prompt.find(tag).unwrap_or(prompt.len()));
            }
            let says = |piece: &&&Piece| {
                let words = text.get(piece.at.clone()).unwrap_or_default();
                [ANSWER, REASONING, ARGUMENT]
                    .iter()
                    .any(|field| words.contains(field))
            };
            if let (true, Some(piece)) = (printed.starts_with(prompt), turn.iter().find(says))
                && piece.at.start > start
            {
                shortest = shortest.min(piece.at.start - start);
            }
        }
        header = header.get(..shortest)?;
        // A template whose loops say nothing is not known to print anything behind them.
        closes &= behind(&whole_pieces) > 0;
        let opening = Opening {
            header: header.to_owned(),
            closes,
            unasked,
        };
        Some((opening, shown))
    }
}

/// Where the last message's pieces end; 0 if no piece is a message's.
pub(super) fn behind(pieces: &[Piece]) -> usize {
    let last = pieces.iter().rfind(|piece| piece.turn.is_some());
    last.map_or(0, |piece| piece.at.end)
}

/// The tag that opens the reasoning in a printed answer, if its twin closes it: `<think>` of
/// `<think>…</think>`.
fn thinking_tag(printed: &str) -> Option<&str> {
    let (before, after) = printed.split_once(REASONING)?;
    let before = before.trim_end();
    let tag = before.get(before.rfind('<')?..)?;
    let name = tag.strip_prefix('<')?.strip_suffix('>')?;
    let closing = after.trim_start().strip_prefix("</")?;
    closing
        .strip_prefix(name)
        .filter(|rest| rest.starts_with('>'))
        .map(|_| tag)
}
