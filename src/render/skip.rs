//! Which part of a turn's spans is reasoning and which is tool calls, for recipes that leave one out.
//!
//! A turn is reasoning, then content, then calls. Where a render with marks shows that it was printed in this
//! order, the turn is cut in three: **reasoning** reaches from the turn's start to the end of the reasoning's
//! text, so that its closing tag stays with what follows; **calls** reach from the end of the content (or, where there is
//! none, of the reasoning and its closing tag) to the end of the turn, where only the token that ends it is
//! not theirs. Where the order is another one, or a text did not come out as it went in, the conversation is
//! refused.

use super::conversation::{Conversation, Message};
use super::fields::{END_OF_THINKING, Field, FieldMark, Marks};
use super::owners::{Marking, mark_text};
use super::template::{ChatTemplate, Input, REASONING, Rendered};
use super::turns::Turns;
use crate::error::{Error, Kind, Result, Stage};
use crate::recipe::FieldLoss;
use std::ops::Range;

/// What of a text span belongs to the loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of it. If its last token ends the turn, `end_of_turn` has a say in that one.
    Whole,
    /// All of it, and the turn goes on behind it.
    Inner,
    /// The token that ends the turn, and nothing else.
    End,
}

impl ChatTemplate {
    /// `turns` without the fields that are left out: spans in order, with what of them is trained.
    ///
    /// # Errors
    /// [`Kind::Mask`] where it cannot be shown which part of a turn is which.
    pub fn without_fields(
        &self,
        conversation: &Conversation,
        rendered: &Rendered,
        turns: &Turns,
        reasoning: FieldLoss,
        tool_calls: FieldLoss,
    ) -> Result<Vec<(Range<usize>, Extent)>> {
        let skips = |owner: usize| {
            conversation.messages.get(owner).map(|message| Skips {
                reasoning: thought(message).filter(|_| reasoning == FieldLoss::Skip),
                calls: tool_calls == FieldLoss::Skip && calls_tools(message),
            })
        };
        let nothing = |owner: &usize| skips(*owner).is_none_or(|skips| skips.is_empty());
        if turns.owners.iter().all(nothing) {
            let whole = turns.spans.iter().map(|span| (span.clone(), Extent::Whole));
            return Ok(whole.collect());
        }
        let (marks, calls) = self.field_marks(conversation, rendered, turns)?;
        let mut parts = Vec::new();
        let mut spans = turns.spans.iter().zip(&turns.owners).peekable();
        while let Some((first, owner)) = spans.next() {
            let mut turn = vec![first.clone()];
            while let Some((span, _)) = spans.next_if(|(_, next)| *next == owner) {
                turn.push(span.clone());
            }
            let message = conversation.messages.get(*owner);
            match skips(*owner).zip(message) {
                Some((skips, message)) if !skips.is_empty() => {
                    let own = |mark: &&FieldMark| {
                        let inside =
                            |span: &Range<usize>| span.start < mark.at && mark.at <= span.end;
                        mark.message == *owner && turn.iter().any(inside)
                    };
                    let marks: Vec<FieldMark> = marks.iter().filter(own).copied().collect();
                    let turn = Turn {
                        text: &rendered.text,
                        spans: &turn,
                        marks: &marks,
                        index: *owner,
                        calls,
                    };
                    parts.extend(turn.without(&skips, message)?);
                }
                _ => parts.extend(turn.into_iter().map(|span| (span, Extent::Whole))),
            }
        }
        Ok(parts)
    }

    /// Where fields came out, and what of calls was marked.
    fn field_marks(
        &self,
        conversation: &Conversation,
        rendered: &Rendered,
        turns: &Turns,
    ) -> Result<(Vec<FieldMark>, Marking)> {
        let marks = Marks::for_text(&rendered.text, conversation.messages.len());
        for calls in [Marking::Everything, Marking::NotNames] {
            let Some(marks) = &marks else { break };
            let marked = marks.put_in(conversation, calls);
            let Ok(input) = Input::new(&marked, rendered.ending) else {
                continue;
            };
            let Ok((text, spans)) = self.render_input(&input) else {
                continue;
            };
            let (unmarked, found) = marks.take_out(&text);
            if unmarked == rendered.text && spans.len() == rendered.spans.len() {
                return Ok((found, calls));
            }
        }
        let first = turns.owners.first().copied().unwrap_or_default();
        Err(refusal(first, "the template looks into what is said"))
    }
}

/// What is left out of one message.
struct Skips {
    /// The text that is thought, if that is left out and there is any.
    reasoning: Option<Said>,
    calls: bool,
}

impl Skips {
    fn is_empty(&self) -> bool {
        self.reasoning.is_none() && !self.calls
    }
}

/// One message's spans, and its marks in them.
struct Turn<'a> {
    text: &'a str,
    spans: &'a [Range<usize>],
    marks: &'a [FieldMark],
    index: usize,
    /// What was marked of calls.
    calls: Marking,
}

impl Turn<'_> {
    fn without(&self, skips: &Skips, message: &Message) -> Result<Vec<(Range<usize>, Extent)>> {
        let mut start = 0;
        if let Some(reasoning) = &skips.reasoning
            && let Some(end) = self.end_of(Field::Reasoning, Some(reasoning))?
        {
            start = end;
            self.all_behind(end, &[Field::Content, Field::Calls, Field::Other])?;
        }
        let shown = self.marks.iter().any(|mark| mark.field == Field::Calls);
        // Calls whose very names do not come out are not printed.
        let calls = if skips.calls && (shown || self.calls == Marking::NotNames) {
            Some(self.start_of_calls(message)?.max(start))
        } else {
            None
        };
        let mut parts = Vec::new();
        for span in self.spans {
            let end = calls.map_or(span.end, |calls| span.end.min(calls));
            let kept = span.start.max(start)..end;
            let extent = if calls.is_some() {
                Extent::Inner
            } else {
                Extent::Whole
            };
            parts.extend(Some((kept, extent)).filter(|(kept, _)| !kept.is_empty()));
        }
        // What ends the turn stands in its last span.
        if let (Some(calls), Some(last)) = (calls, self.spans.last()) {
            let rest = last.start.max(calls)..last.end;
            parts.extend(Some((rest, Extent::End)).filter(|(rest, _)| !rest.is_empty()));
        }
        Ok(parts)
    }

    /// Where the calls begin: behind content, else behind reasoning, else at once.
    fn start_of_calls(&self, message: &Message) -> Result<usize> {
        let shown = |field| self.marks.iter().any(|mark| mark.field == field);
        if !shown(Field::Calls) {
            return Err(refusal(
                self.index,
                "its calls do not come out as they went in",
            ));
        }
        let start = match self.end_of(Field::Content, answer(message).as_ref())? {
            Some(end) => end,
            None => {
                let end = self.end_of(Field::Reasoning, thought(message).as_ref())?;
                end.map_or(0, |end| {
                    end + closing_tag(self.text.get(end..).unwrap_or_default())
                })
            }
        };
        self.all_behind(start, &[Field::Calls])?;
        Ok(start)
    }

    /// Where a field's printed text ends; none where the template leaves it out.
    fn end_of(&self, field: Field, said: Option<&Said>) -> Result<Option<usize>> {
        let mut marks = self.marks.iter().filter(|mark| mark.field == field);
        let Some(last) = marks.next_back() else {
            return Ok(None);
        };
        said.and_then(|said| said.place(last.at, self.text))
            .map(|place| Some(place.end))
            .ok_or_else(|| {
                refusal(
                    self.index,
                    "its reasoning or its content does not come out as it went in",
                )
            })
    }

    /// Refuses a turn that prints one of these fields before `at`.
    fn all_behind(&self, at: usize, fields: &[Field]) -> Result<()> {
        let early = |mark: &FieldMark| mark.at <= at && fields.contains(&mark.field);
        if self.marks.iter().any(early) {
            return Err(refusal(
                self.index,
                "it is not printed as reasoning, content and calls, in this order",
            ));
        }
        Ok(())
    }
}

/// The length of white space and a closing tag that `text` begins with, if it does.
fn closing_tag(text: &str) -> usize {
    let tag = text.trim_start();
    match (tag.starts_with("</"), tag.find('>')) {
        (true, Some(end)) => text.len() - tag.len() + end + 1,
        _ => 0,
    }
}

/// A text of a message.
struct Said {
    /// As it is marked.
    whole: String,
    /// What is printed of it in any case: without blanks and tags around it.
    core: Range<usize>,
}

impl Said {
    /// None if nothing is left without blanks and, if there is one, `tag` before it.
    fn new(whole: &str, tag: &str) -> Option<Said> {
        let text = whole.trim_start();
        let core = text.strip_prefix(tag).unwrap_or(text).trim();
        let text = whole.trim_end();
        let core = text.len().checked_sub(core.len())?..text.len();
        Some(core).filter(|core| !core.is_empty()).map(|core| Said {
            whole: whole.to_owned(),
            core,
        })
    }

    /// Where the core stands in a printed text, if the last mark of it came out at `last`.
    fn place(&self, last: usize, printed: &str) -> Option<Range<usize>> {
        const MARK: char = '\u{10_FFFD}';
        let mark = mark_text(&self.whole, MARK).rfind(MARK)?;
        // Marks are put in line by line, so others stand before the last.
        let marks = mark_text(&self.whole, MARK).matches(MARK).count() - 1;
        let offset = mark.checked_sub(marks * Marks::LEN)?;
        let place = (last + self.core.start).checked_sub(offset)?
            ..(last + self.core.end).checked_sub(offset)?;
        (printed.get(place.clone())? == self.whole.get(self.core.clone())?).then_some(place)
    }
}

/// What a message thinks.
fn thought(message: &Message) -> Option<Said> {
    let field = REASONING.iter().find_map(|name| {
        let value = message.value.get_attr(name).ok()?;
        Said::new(value.as_str()?, "")
    });
    field.or_else(|| {
        let content = message.value.get_attr("content").ok()?;
        let (thought, _) = content.as_str()?.split_once(END_OF_THINKING)?;
        Said::new(thought, "<think>")
    })
}

/// What a message says aloud; of parts the last one.
fn answer(message: &Message) -> Option<Said> {
    let content = message.value.get_attr("content").ok()?;
    if let Some(text) = content.as_str() {
        let answer = text.split_once(END_OF_THINKING);
        return Said::new(answer.map_or(text, |(_, answer)| answer), "");
    }
    let texts = content
        .try_iter()
        .ok()?
        .filter_map(|part| match part.as_str() {
            Some(text) => Said::new(text, ""),
            None => Said::new(part.get_attr("text").ok()?.as_str()?, ""),
        });
    texts.last()
}

fn calls_tools(message: &Message) -> bool {
    ["tool_calls", "function_call"].iter().any(|name| {
        message
            .value
            .get_attr(name)
            .is_ok_and(|calls| calls.is_true())
    })
}

fn refusal(message: usize, what: &str) -> Error {
    Error::new(
        Kind::Mask,
        Stage::Render,
        format!("which part of message {message} is reasoning, content or tool calls cannot be shown: {what}"),
    )
    .remedy("set mask.reasoning and mask.tool_calls to train, or take the message out of the loss with train: false")
}
