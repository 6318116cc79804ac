//! Where stretches of a message's content came out, for rows that say something of single characters or parts.
//!
//! The conversation is rendered a second time with a private character in every line of the texts in question. It counts
//! only if the text without those characters is the text of the first render, so the template did not notice. They show
//! how far a text was moved; from there on both are compared byte by byte, so that what is said of a character is never
//! applied to another. A text that does not come out as it went in is refused.

use super::conversation::{Conversation, Detail, Message};
use super::fields::END_OF_THINKING;
use super::owners::{PLANES, mark_text};
use super::template::{ChatTemplate, Input, Rendered};
use crate::error::{Error, Kind, Result, Stage};
use crate::example::LossWeight;
use minijinja::Value;
use std::ops::{Range, RangeInclusive};

/// Text of which a row says that it is not trained, or for how much it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lighter {
    /// Bytes of the rendered text, not empty.
    pub text: Range<usize>,
    /// The message whose text it is.
    pub message: usize,
    /// How much it counts, times the message's own weight; none: it is not trained.
    pub weight: Option<LossWeight>,
}

impl ChatTemplate {
    /// The [details](super::Message::details) of those messages that `of` names, where they were printed: all that say
    /// less than a full weight. What a template leaves out (a trimmed space, an earlier turn's thoughts) has no place.
    ///
    /// # Errors
    /// [`Kind::Mask`] where it cannot be shown what was printed of a text.
    pub fn lighter(
        &self,
        conversation: &Conversation,
        rendered: &Rendered,
        of: impl Fn(usize) -> bool,
    ) -> Result<Vec<Lighter>> {
        let texts = texts(conversation, of);
        let Some(first) = texts.first() else {
            return Ok(Vec::new());
        };
        let noticed = || refusal(first.message, "the template looks into what is said");
        let marks = Marks::put_in(conversation, rendered, &texts).ok_or_else(noticed)?;
        let input = Input::new(&marks.conversation, rendered.ending)?;
        // A template that fails now has noticed, since it did not fail before.
        let (marked, spans) = self.render_input(&input).map_err(|_| noticed())?;
        let (unmarked, found) = marks.take_out(&marked);
        if unmarked != rendered.text || spans.len() != rendered.spans.len() {
            return Err(noticed());
        }
        let mut lighter = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let message = text.message;
            let own = found
                .get(index * UNITS..(index + 1) * UNITS)
                .unwrap_or_default();
            let places = text.places(own, &rendered.text)?;
            for detail in text.details.iter().filter(|detail| is_lighter(detail)) {
                lighter.extend(places.iter().filter_map(|place| {
                    let text = place.printed(&detail.bytes)?;
                    Some(Lighter {
                        text,
                        message,
                        weight: detail.weight,
                    })
                }));
            }
        }
        Ok(lighter)
    }
}

fn is_lighter(detail: &Detail) -> bool {
    detail.weight != Some(LossWeight::ONE)
}

/// A text that is thought and one that is said: what a template may move apart.
const UNITS: usize = 2;

/// A text of a message of which the row says something.
struct Text<'a> {
    message: usize,
    part: Option<usize>,
    text: String,
    details: &'a [Detail],
}

/// The texts with details that say less than a full weight.
fn texts(conversation: &Conversation, of: impl Fn(usize) -> bool) -> Vec<Text<'_>> {
    let messages = conversation.messages.iter().enumerate();
    let mut texts = Vec::new();
    for (message, said) in messages.filter(|(index, _)| of(*index)) {
        for details in said.details.chunk_by(|a, b| a.part == b.part) {
            let part = details.first().and_then(|detail| detail.part);
            let text = text_of(said, part);
            if let (Some(text), true) = (text, details.iter().any(is_lighter)) {
                texts.push(Text {
                    message,
                    part,
                    text,
                    details,
                });
            }
        }
    }
    texts
}

/// The content, or the text of one of its parts.
fn text_of(message: &Message, part: Option<usize>) -> Option<String> {
    let content = message.value.get_attr("content").ok()?;
    let text = match part {
        None => content,
        Some(part) => content
            .get_item_by_index(part)
            .ok()?
            .get_attr("text")
            .ok()?,
    };
    text.as_str().map(str::to_owned)
}

/// A conversation with marks in it, two characters a text: one for what is thought, one for what is said.
struct Marks {
    conversation: Conversation,
    plane: RangeInclusive<u32>,
    codes: usize,
}

impl Marks {
    /// None where there are no characters left that do not occur in the text.
    fn put_in(
        conversation: &Conversation,
        rendered: &Rendered,
        texts: &[Text<'_>],
    ) -> Option<Marks> {
        let codes = texts.len() * UNITS;
        let free = |plane: &RangeInclusive<u32>| {
            (plane.end() - plane.start()) as usize >= codes
                && !rendered.text.chars().any(|c| plane.contains(&u32::from(c)))
        };
        let plane = PLANES.into_iter().find(free)?;
        let mut conversation = conversation.clone();
        for (index, text) in texts.iter().enumerate() {
            let code = plane.start() + u32::try_from(index * UNITS).ok()?;
            let (thought, said) = (char::from_u32(code)?, char::from_u32(code + 1)?);
            let marked = text.marked([thought, said]);
            let message = conversation.messages.get_mut(text.message)?;
            replace(message, text.part, Value::from(marked))?;
        }
        Some(Marks {
            conversation,
            plane,
            codes,
        })
    }

    /// The text without marks, and for each code where in it the code's marks were.
    fn take_out(&self, marked: &str) -> (String, Vec<Vec<usize>>) {
        let mut text = String::with_capacity(marked.len());
        let mut found = vec![Vec::new(); self.codes];
        for c in marked.chars() {
            let code = u32::from(c).checked_sub(*self.plane.start());
            match code.and_then(|code| found.get_mut(code as usize)) {
                Some(found) => found.push(text.len()),
                None => text.push(c),
            }
        }
        (text, found)
    }
}

/// Puts another text into a message's content.
fn replace(message: &mut Message, part: Option<usize>, text: Value) -> Option<()> {
    let with = |value: &Value, key: &str, item: Value| -> Option<Value> {
        let pairs = value.as_object()?.try_iter_pairs()?;
        Some(Value::from_pairs(pairs.map(|(own, old)| {
            let new = own.as_str() == Some(key);
            (own, if new { item.clone() } else { old })
        })))
    };
    let content = match part {
        None => text,
        Some(part) => {
            let content = message.value.get_attr("content").ok()?;
            let mut parts: Vec<Value> = content.try_iter().ok()?.collect();
            let own = parts.get_mut(part)?;
            *own = with(own, "text", text)?;
            Value::from(parts)
        }
    };
    message.value = with(&message.value, "content", content)?;
    Some(())
}

impl Text<'_> {
    /// What is thought and what is said: bytes of the text. All is said where nothing ends a thought.
    fn units(&self) -> [Range<usize>; UNITS] {
        match self.text.split_once(END_OF_THINKING) {
            Some((thought, _)) => [
                0..thought.len(),
                thought.len() + END_OF_THINKING.len()..self.text.len(),
            ],
            None => [0..0, 0..self.text.len()],
        }
    }

    fn marked(&self, marks: [char; UNITS]) -> String {
        let [thought, said] = self.units();
        let (thought, said) = (self.unit(thought), self.unit(said));
        let tag = &self.text[thought.len()..self.text.len() - said.len()];
        let thought = match opening_tag_alone(thought) {
            true => thought.to_owned(),
            false => mark_text(thought, marks[0]),
        };
        format!("{thought}{tag}{}", mark_text(said, marks[1]))
    }

    fn unit(&self, bytes: Range<usize>) -> &str {
        self.text.get(bytes).unwrap_or_default()
    }

    /// Where the text was printed, by the marks that were found of its units.
    fn places(&self, found: &[Vec<usize>], printed: &str) -> Result<Vec<Place>> {
        let mut places: Vec<Place> = Vec::new();
        let marked = self.units().into_iter().zip(found);
        for (unit, found) in marked.filter(|(_, found)| !found.is_empty()) {
            let place = self.place(&unit, found, printed).ok_or_else(|| {
                refusal(self.message, "its content does not come out as it went in")
            })?;
            // One text printed as it stands is one place.
            match places.last_mut() {
                Some(last) if last.printed == place.printed && last.from == place.from => {}
                Some(last) => {
                    last.end = last.end.min(unit.start);
                    let moved = unit.start.saturating_sub(place.from);
                    let place = Place {
                        from: place.from + moved,
                        printed: place.printed + moved,
                        ..place
                    };
                    places.push(place);
                }
                None => places.push(place),
            }
        }
        Ok(places)
    }

    /// Where the text around one unit was printed; none where that cannot be shown.
    fn place(&self, unit: &Range<usize>, found: &[usize], printed: &str) -> Option<Place> {
        const MARK: char = '\u{10_FFFD}';
        let own = self.unit(unit.clone());
        let marked = mark_text(own, MARK);
        // Others stand before a mark, each of so many bytes.
        let offsets = marked.match_indices(MARK).enumerate();
        let offsets = offsets.map(|(before, (at, _))| unit.start + at - before * MARK.len_utf8());
        let offsets: Vec<usize> = offsets.collect();
        if offsets.len() != found.len() {
            return None;
        }
        // Signed: a text may be printed before where it would begin.
        let shift = |(at, offset): (&usize, &usize)| *at as i64 - *offset as i64;
        let mut shifts = found.iter().zip(&offsets).map(shift);
        let by = shifts.next()?;
        if shifts.any(|other| other != by) {
            return None;
        }
        let at = |offset: usize| usize::try_from(offset as i64 + by).ok();
        let (text, printed) = (self.text.as_bytes(), printed.as_bytes());
        let same = |offset: usize| {
            let own = text.get(offset);
            own.is_some() && own == at(offset).and_then(|at| printed.get(at))
        };
        let middle = offsets.first()?.checked_sub(1)?;
        let from = (0..=middle)
            .rev()
            .take_while(|offset| same(*offset))
            .last()?;
        let end = (middle..text.len())
            .take_while(|offset| same(*offset))
            .last()?
            + 1;
        // All but blanks at its ends has to be there.
        let core = core(own);
        let core = unit.start + core.start..unit.start + core.end;
        (from <= core.start && core.end <= end).then_some(Place {
            from,
            end,
            printed: at(from)?,
        })
    }
}

/// Bytes of a text that were printed as they are, one after the other.
struct Place {
    /// The first of them, in the text.
    from: usize,
    end: usize,
    /// Where the first one stands in what was printed.
    printed: usize,
}

impl Place {
    /// Where these bytes of the text were printed, as far as they were.
    fn printed(&self, bytes: &Range<usize>) -> Option<Range<usize>> {
        let own = bytes.start.max(self.from)..bytes.end.min(self.end);
        (own.start < own.end).then(|| {
            let start = self.printed + own.start - self.from;
            start..start + own.len()
        })
    }
}

/// What a template prints of a unit in any case: all but blanks, and the tag that opens a thought.
fn core(unit: &str) -> Range<usize> {
    let text = unit.trim_start();
    let text = text.strip_prefix(OPENING).map_or(text, str::trim_start);
    let start = unit.len() - text.len();
    start..start + text.trim_end().len()
}

/// Whether nothing is thought.
fn opening_tag_alone(unit: &str) -> bool {
    core(unit).is_empty()
}

/// What opens a thought.
const OPENING: &str = "<think>";

fn refusal(message: usize, what: &str) -> Error {
    Error::new(
        Kind::Mask,
        Stage::Render,
        format!("where the parts of message {message} that are trained and those that are not came out cannot be shown: {what}"),
    )
    .remedy("use a template that prints contents as they are, or give the message `train` or `weight` as a whole")
}
