//! What assistants say in the text of a template without `{% generation %}`, shown and not guessed.
//!
//! A template goes through the messages in a loop. Its loops are made to say which message they stand at, so
//! each statement's text is known to be printed at some message's turn: that is the assistant's **turn**. What it
//! begins with and the generation prompt would print, is context ([`Opening`]); the rest, to the
//! end of the turn, is trained, as `{% generation %}` blocks are put in templates for training. Left out are
//!
//! - statements that print fields of other messages (a tool's answer within the turn that called it), and
//! - spaces at the turn's very end: tokenizers give them to the word that follows.
//!
//! What shows that this is right: a second render has a private character in each field of each message. Its text
//! without them must be the text of the first, and each assistant's characters must have come out at its own
//! turn. Where the template notices the characters, because it cuts, counts or compares what is said, the
//! conversation's beginnings are rendered instead: the text must begin with each, and each must end where turns
//! meet. The same tells turns from each other where a template has no loop over its messages. Where neither
//! shows it, the conversation is refused.

use super::conversation::Conversation;
use super::fields::{Field, FieldMark, Marks};
use super::opening::{Opening, behind};
use super::owners::{Marking, assistants};
use super::page::Piece;
use super::template::{ChatTemplate, Ending, Rendered};
use crate::error::{Error, Kind, Result, Stage};
use std::ops::Range;

/// What to do about a refusal.
pub(super) const REMEDY: &str = "give `template.path` a template with {% generation %} tags around what \
     assistants say, or use train: completion or train: markers";

/// Most messages of a conversation whose beginnings are rendered one by one.
const MAX_BEGINNINGS: usize = 256;

/// What is trained of each assistant turn.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Turns {
    /// Byte ranges of the text, in order, disjoint, on character boundaries.
    pub spans: Vec<Range<usize>>,
    /// The message that each was printed for.
    pub owners: Vec<usize>,
}

impl ChatTemplate {
    /// The spans of a render and the messages that they belong to: the template's own where it has
    /// generation tags ([`owners`](Self::owners)), else what can be shown of each assistant's turn.
    ///
    /// # Errors
    /// [`Kind::Mask`] where they cannot be shown.
    pub fn turns(&self, conversation: &Conversation, rendered: &Rendered) -> Result<Turns> {
        if self.has_generation_tags() {
            return Ok(Turns {
                spans: rendered.spans.clone(),
                owners: self.owners(conversation, rendered)?,
            });
        }
        if assistants(conversation).next().is_none() {
            return Ok(Turns::default());
        }
        let text = rendered.text.as_str();
        let opening = self.opening(&conversation.kwargs)?;
        let mut printed = match self.marked_pieces(conversation, rendered) {
            Some(printed) => printed,
            None => self.verified_pieces(conversation, rendered)?,
        };
        if behind(&printed.pieces) == 0 {
            printed.pieces = self.beginnings(conversation, text)?;
        }
        if opening.closes {
            printed.close();
        }
        printed.check(conversation)?;
        let mut turns = Turns::default();
        for message in assistants(conversation) {
            for span in printed.spans_of(message, text, &opening, conversation)? {
                turns.spans.push(span);
                turns.owners.push(message);
            }
        }
        turns.sort();
        Ok(turns)
    }

    /// What each statement printed, and where the fields came out; none if the template noticed the marks.
    fn marked_pieces(&self, conversation: &Conversation, rendered: &Rendered) -> Option<Printed> {
        let marks = Marks::for_text(&rendered.text, conversation.messages.len())?;
        let marked = marks.put_in(conversation, Marking::NotNames);
        // A template that fails now has noticed, since it did not fail before.
        let (text, mut pieces) = self.render_pieces(&marked, rendered.ending).ok()?;
        let mut before = 0;
        for piece in &mut pieces {
            let (own, found) = marks.take_out(text.get(piece.at.clone())?);
            debug_assert_eq!(own.len() + Marks::LEN * found.len(), piece.at.len());
            piece.at = before..before + own.len();
            before += own.len();
        }
        let (unmarked, marks) = marks.take_out(&text);
        (unmarked == rendered.text).then_some(Printed {
            pieces,
            marks,
            closing: None,
        })
    }

    /// What each statement printed, where the conversation's beginnings agree with it.
    fn verified_pieces(&self, conversation: &Conversation, rendered: &Rendered) -> Result<Printed> {
        let beginnings = self.beginnings(conversation, &rendered.text)?;
        let announced = self.render_pieces(conversation, rendered.ending).ok();
        let pieces = match announced {
            Some((text, pieces)) if text == rendered.text && behind(&pieces) > 0 => {
                let agree = assistants(conversation)
                    .all(|message| runs(&pieces, message) == runs(&beginnings, message));
                if !agree {
                    return Err(refusal(
                        "looks into what is said, and prints its beginnings otherwise than the whole",
                    ));
                }
                pieces
            }
            _ => beginnings,
        };
        Ok(Printed {
            pieces,
            marks: Vec::new(),
            closing: None,
        })
    }

    /// The turns of the assistants as the conversation's beginnings show them: the text begins with what is
    /// printed for the messages before a turn, and with what is printed for them and it.
    fn beginnings(&self, conversation: &Conversation, text: &str) -> Result<Vec<Piece>> {
        let len = conversation.messages.len();
        if len > MAX_BEGINNINGS {
            return Err(refusal(
                "does not show whose turn it prints, and the conversation is too long to try its beginnings",
            ));
        }
        let end_of = |count: usize| -> Result<usize> {
            if count == 0 {
                return Ok(0);
            }
            let beginning = conversation.beginning(count);
            let printed = self.render(&beginning, Ending::Whole).map_err(|error| {
                refusal("does not show whose turn it prints, and takes no beginning of the conversation")
                    .caused_by(error)
            })?;
            if text.starts_with(&printed.text) {
                Ok(printed.text.len())
            } else {
                Err(refusal(
                    "looks into what is said or does not show whose turn it prints, and what it prints for a \
                     beginning of the conversation is not the beginning of the whole",
                ))
            }
        };
        let mut pieces = Vec::new();
        for message in assistants(conversation) {
            let start = end_of(message)?;
            let end = if message + 1 == len {
                text.len()
            } else {
                end_of(message + 1)?
            };
            if start > end {
                return Err(refusal("prints less for more messages"));
            }
            pieces.push(Piece {
                at: start..end,
                turn: Some(message),
            });
        }
        Ok(pieces)
    }
}

impl Turns {
    fn sort(&mut self) {
        let mut pairs: Vec<_> = self.spans.drain(..).zip(self.owners.drain(..)).collect();
        pairs.sort_by_key(|(span, _)| span.start);
        (self.spans, self.owners) = pairs.into_iter().unzip();
    }
}

/// What was printed, and where fields came out in it.
#[derive(Debug)]
struct Printed {
    pieces: Vec<Piece>,
    marks: Vec<FieldMark>,
    /// Where what was printed behind the last turn and given to it begins: a span of its own, as the end of a
    /// text after the end of a turn.
    closing: Option<usize>,
}

impl Printed {
    /// Gives what stands behind the last turn to it.
    fn close(&mut self) {
        let Some(last) = self.pieces.iter().rposition(|piece| piece.turn.is_some()) else {
            return;
        };
        let turn = self.pieces.get(last).and_then(|piece| piece.turn);
        let behind = self.pieces.iter_mut().skip(last + 1);
        for piece in behind {
            self.closing.get_or_insert(piece.at.start);
            piece.turn = turn;
        }
    }

    /// The marks in a piece. A mark stands behind a character of its field.
    fn marks_in(&self, piece: &Piece) -> &[FieldMark] {
        let from = self.marks.partition_point(|mark| mark.at <= piece.at.start);
        let to = self.marks.partition_point(|mark| mark.at <= piece.at.end);
        self.marks.get(from..to).unwrap_or_default()
    }

    /// Whether what assistants say came out at their own turns.
    fn check(&self, conversation: &Conversation) -> Result<()> {
        let speaks = |message: usize| {
            let message = conversation.messages.get(message);
            message.is_some_and(|message| message.role == "assistant")
        };
        let mut covered = 0;
        for piece in &self.pieces {
            let gap = Piece {
                at: covered..piece.at.start,
                turn: None,
            };
            covered = piece.at.end;
            for piece in [&gap, piece] {
                for mark in self.marks_in(piece) {
                    if !speaks(mark.message) || piece.turn == Some(mark.message) {
                        continue;
                    }
                    // The name and arguments of a call may be repeated where its result is printed.
                    let echo = piece.turn.is_some_and(|turn| !speaks(turn))
                        && mark.field == Field::Calls
                        && !runs(&self.pieces, mark.message).is_empty();
                    if !echo {
                        return Err(refusal(format!(
                            "prints what message {} says outside of its turn",
                            mark.message
                        )));
                    }
                }
            }
        }
        if self
            .marks
            .last()
            .is_some_and(|mark| mark.at > covered && speaks(mark.message))
        {
            return Err(refusal("prints what assistants say behind their turns"));
        }
        Ok(())
    }

    /// What is trained of one message's turn.
    fn spans_of(
        &self,
        message: usize,
        text: &str,
        opening: &Opening,
        conversation: &Conversation,
    ) -> Result<Vec<Range<usize>>> {
        let turn = match runs(&self.pieces, message).as_slice() {
            // The template leaves the message out.
            [] => return Ok(Vec::new()),
            [turn] => turn.clone(),
            _ => {
                return Err(refusal(format!(
                    "prints message {message} in several places"
                )));
            }
        };
        let start = turn.start + self.context(message, &turn, text, opening);
        let end = turn.end - loose_end(text, &turn, conversation.messages.get(message));
        let mut spans: Vec<Range<usize>> = Vec::new();
        for piece in self
            .pieces
            .iter()
            .filter(|piece| piece.turn == Some(message))
        {
            let marks = self.marks_in(piece);
            let own = marks.iter().any(|mark| mark.message == message);
            let foreign = marks.iter().find(|mark| mark.message != message);
            match foreign {
                Some(foreign) if own => {
                    return Err(refusal(format!(
                        "prints messages {message} and {} in one statement",
                        foreign.message
                    )));
                }
                Some(_) => continue,
                None => {}
            }
            let at = piece.at.start.max(start)..piece.at.end.min(end);
            if at.is_empty() {
                continue;
            }
            match spans.last_mut() {
                Some(last) if last.end == at.start && self.closing != Some(at.start) => {
                    last.end = at.end;
                }
                _ => spans.push(at),
            }
        }
        Ok(spans)
    }

    /// How many bytes at a turn's start are context.
    fn context(&self, message: usize, turn: &Range<usize>, text: &str, opening: &Opening) -> usize {
        let own = self
            .marks
            .iter()
            .find(|mark| mark.message == message && turn.contains(&mark.at));
        let printed = text.get(turn.clone()).unwrap_or_default();
        let header = opening.header.as_str();
        if header.is_empty() {
            return 0;
        }
        // Before it may stand what begins the text.
        let before = own.and_then(|mark| text.get(turn.start..mark.at));
        match before.and_then(|before| before.find(header)) {
            Some(at) => at + header.len(),
            None if printed.starts_with(header) => header.len(),
            // The turn is not opened as an answer is: it goes on with the one before, or the prompt asks for
            // something else than what is printed here.
            None => 0,
        }
    }
}

/// The places where a message's turn is printed.
fn runs(pieces: &[Piece], message: usize) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    let pieces = pieces.iter().filter(|piece| !piece.at.is_empty());
    for piece in pieces.filter(|piece| piece.turn == Some(message)) {
        match runs.last_mut() {
            Some(last) if last.end == piece.at.start => last.end = piece.at.end,
            _ => runs.push(piece.at.clone()),
        }
    }
    runs
}

/// How many bytes of spaces stand at a turn's very end, unless they are the message's own.
fn loose_end(
    text: &str,
    turn: &Range<usize>,
    message: Option<&super::conversation::Message>,
) -> usize {
    let printed = text.get(turn.clone()).unwrap_or_default();
    let loose = printed.len() - printed.trim_end_matches([' ', '\t']).len();
    let content = message.and_then(|message| message.value.get_attr("content").ok());
    let own = content
        .as_ref()
        .and_then(|content| content.as_str())
        .is_some_and(|content| !content.is_empty() && printed.ends_with(content));
    if own { 0 } else { loose }
}

fn refusal(what: impl std::fmt::Display) -> Error {
    Error::new(
        Kind::Mask,
        Stage::Render,
        format!("the chat template has no {{% generation %}} tags, and {what}, so which text is an assistant's cannot be shown"),
    )
    .remedy(REMEDY)
}
