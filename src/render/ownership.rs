//! Where given characters of a row's fields come out in what a template prints.
//!
//! A template is a program, and nothing in its output says what of it stood in the row. So the conversation is rendered
//! a second time with a mark behind each of these characters, and the answer counts only if the text without marks is
//! the text of the first render, that is if the template did not notice. The mark is a letter of a script that neither
//! text nor row uses: printable, so that Python's `repr` and JSON write it as it is, and without upper or lower case.

use super::conversation::Conversation;
use super::template::{ChatTemplate, Input, Rendered};
use crate::error::{Error, Kind, Result, Stage};
use std::ops::{Range, RangeInclusive};

/// Cuneiform, which few chats are written in, and enough of it that some signs are not used.
const MARKS: RangeInclusive<char> = '\u{12000}'..='\u{1236E}';

impl ChatTemplate {
    /// Bytes of those characters of `rendered` that `find` finds in a text of the conversation, in order.
    /// `find` gives the bytes of the characters, in order and disjoint.
    ///
    /// # Errors
    /// [`Kind::Mask`] where the template notices the marks.
    pub fn come_out(
        &self,
        conversation: &Conversation,
        rendered: &Rendered,
        find: &dyn Fn(&str) -> Vec<Range<usize>>,
    ) -> Result<Vec<Range<usize>>> {
        let Some(mark) = absent(conversation, &rendered.text) else {
            return Err(refusal());
        };
        let marked = conversation.with_texts(&|text| {
            let characters = find(text);
            (!characters.is_empty()).then(|| {
                let mut marked = String::with_capacity(text.len() + 4 * characters.len());
                let mut done = 0;
                for character in characters {
                    marked.push_str(text.get(done..character.end).unwrap_or_default());
                    marked.push(mark);
                    done = character.end;
                }
                marked.push_str(text.get(done..).unwrap_or_default());
                marked
            })
        });
        // A template that fails now has noticed, since it did not fail before.
        let (text, spans) = self
            .render_input(&Input::new(&marked, rendered.ending)?)
            .map_err(|error| refusal().caused_by(error))?;
        let mut out = Vec::new();
        let mut unmarked = String::with_capacity(rendered.text.len());
        for c in text.chars() {
            if c != mark {
                unmarked.push(c);
            } else if let Some(before) = unmarked.chars().next_back() {
                out.push(unmarked.len() - before.len_utf8()..unmarked.len());
            }
        }
        if unmarked != rendered.text || spans.len() != rendered.spans.len() {
            return Err(refusal());
        }
        // A template may print a mark and not what is before it, twice.
        out.dedup();
        Ok(out)
    }
}

/// A sign that is neither in the text nor in the conversation.
fn absent(conversation: &Conversation, text: &str) -> Option<char> {
    let used = |text: &str| text.chars().any(|c| MARKS.contains(&c));
    let mut texts = vec![text.to_owned()];
    // No error is ever made here.
    let _ = conversation.each_text::<()>(&mut |text, _| {
        if used(text) {
            texts.push(text.to_owned());
        }
        Ok(())
    });
    texts.retain(|text| used(text));
    MARKS
        .into_iter()
        .find(|mark| !texts.iter().any(|text| text.contains(*mark)))
}

fn refusal() -> Error {
    Error::new(
        Kind::Mask,
        Stage::Render,
        "the row spells a special token, and the template looks into what is said, so that it cannot be told from those \
         that the template writes",
    )
    .remedy(
        "take the token out of the row, use special_tokens_in_text: parse for this source, or skip such records with \
         on_bad_record",
    )
}
