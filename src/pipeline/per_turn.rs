//! `render: per_turn`: an example of each trained assistant turn, behind its history as the model sees it when it is
//! asked for the turn.
//!
//! Templates print earlier turns otherwise than the last one: Qwen3 leaves out what was thought before the last
//! question, gpt-oss ends the last turn with another token. Trained as a whole, a model learns turns that it will never
//! be asked for in that form. Here each turn is the last one of its example.
//!
//! What is context is shown, not guessed: the history with the generation prompt must be the beginning of the history
//! with the turn. What comes after it is what the model writes, and of that is trained what the template's generation
//! tags, or the proofs for templates without them, say.

use super::encode::{Dropped, Encoded, Encoder, Masked, Scratch, example};
use crate::error::{Error, Kind, Result, Stage};
use crate::example::Origin;
use crate::ledger::Reason;
use crate::recipe::Train;
use crate::render::{ChatTemplate, Conversation, Ending, Rendered, Turns};
use crate::stats::Lap;

impl Encoder {
    /// The examples of a conversation, one a trained assistant turn.
    pub(super) fn per_turn(
        &self,
        chat: &Conversation,
        origin: Origin,
        lap: &mut Lap,
        line_bytes: usize,
        scratch: &mut Scratch,
    ) -> Result<Vec<Encoded>> {
        let template = self.templates.choose(chat.tools.is_some())?;
        let turns = self.turns_of_their_own(chat)?;
        if turns.is_empty() {
            // No text was made that could have tokens.
            return Ok(vec![Err(Dropped {
                reason: Reason::NoTrainedToken,
                tokens: 0,
            })]);
        }
        let mut left = template.limits().output_bytes;
        let mut all = Vec::with_capacity(turns.len());
        // All are rendered before one is tokenized, which costs far more: a record whose texts are too long together
        // is refused for what it costs to render them.
        for &turn in &turns {
            let asked = asked(template, chat, turn)?;
            left = left
                .checked_sub(asked.rendered.text.len())
                .ok_or_else(too_much_text)?;
            all.push((turn, asked));
        }
        scratch.render.add(1, line_bytes, lap.lap());
        let mut examples = Vec::with_capacity(all.len());
        for (number, (turn, asked)) in (0..).zip(all) {
            let trained = self.turn(template, &asked, turn, lap, scratch)?;
            let origin = Origin {
                example: number,
                ..origin
            };
            examples.push(example(origin, trained, scratch));
            scratch.mask.add(scratch.encoding.ids.len(), 0, lap.lap());
        }
        Ok(examples)
    }

    /// The assistant turns that an example is made of.
    fn turns_of_their_own(&self, chat: &Conversation) -> Result<Vec<usize>> {
        let mut turns = Vec::new();
        let trained = self.trained_messages(chat);
        for (index, (message, trained)) in chat.messages.iter().zip(trained).enumerate() {
            if message.role == "assistant" {
                if self.mask.train == Train::LastAssistant {
                    turns.clear();
                }
                if trained {
                    turns.push(index);
                }
            } else if trained {
                let message = format!(
                    "message {index}, of role {:?}, should be trained, and render: per_turn makes examples of assistant turns",
                    message.role
                );
                return Err(Error::new(Kind::Mask, Stage::Mask, message)
                    .remedy("use render: whole, or take the flag out of the row"));
            }
        }
        let most = self.limits.examples_per_record;
        if turns.len() > most {
            let message = format!(
                "the conversation has {} trained turns, and render: per_turn makes at most {most} examples of a record",
                turns.len()
            );
            return Err(Error::new(Kind::Limit, Stage::Render, message)
                .remedy("split the conversation, use train: last_assistant or render: whole, set a larger limits.examples_per_record, or skip such records with on_bad_record"));
        }
        Ok(turns)
    }

    fn turn(
        &self,
        template: &ChatTemplate,
        asked: &Asked,
        turn: usize,
        lap: &mut Lap,
        scratch: &mut Scratch,
    ) -> Result<Masked> {
        let Asked {
            conversation,
            rendered,
            prompt_bytes,
        } = asked;
        self.tokenize(template, conversation, rendered, lap, scratch)?;
        let Turns { spans, owners } = template.turns(conversation, rendered)?;
        let (mut own, mut spans_own) = (Vec::new(), Vec::new());
        for (span, owner) in spans.into_iter().zip(owners) {
            // What a template prints before the answer is asked for, inside its tags or not, is context.
            let span = span.start.max(*prompt_bytes)..span.end;
            if owner == turn && !span.is_empty() {
                own.push(owner);
                spans_own.push(span);
            }
        }
        let turns = Turns {
            spans: spans_own,
            owners: own,
        };
        let parts = self.trained_parts(template, conversation, rendered, &turns)?;
        let lighter = self.lighter(template, conversation, rendered, &turns)?;
        Ok(self.masked(&parts, &lighter, &rendered.text, scratch))
    }
}

/// A conversation that ends with one turn, as the model is asked for it.
struct Asked {
    conversation: Conversation,
    rendered: Rendered,
    /// How much of the text is there when the model is asked.
    prompt_bytes: usize,
}

fn asked(template: &ChatTemplate, chat: &Conversation, turn: usize) -> Result<Asked> {
    let conversation = chat.beginning(turn + 1);
    let rendered = template.render(&conversation, Ending::Whole)?;
    let prompt_bytes = match turn {
        // Nobody asks for a conversation's first message: what of it is context, the proofs alone say.
        0 => 0,
        _ => {
            let prompt = template.render(&chat.beginning(turn), Ending::GenerationPrompt)?;
            if !rendered.text.starts_with(&prompt.text) {
                return Err(prompt_differs(turn));
            }
            prompt.text.len()
        }
    };
    Ok(Asked {
        conversation,
        rendered,
        prompt_bytes,
    })
}

fn prompt_differs(turn: usize) -> Error {
    let message = format!(
        "what the template prints to ask for message {turn} is not the beginning of what it prints with it, so that what \
         the model has to write cannot be told"
    );
    Error::new(Kind::Mask, Stage::Render, message).remedy(
        "use render: whole, or template.kwargs or a template whose generation prompt begins answers as it prints them",
    )
}

fn too_much_text() -> Error {
    Error::new(
        Kind::Limit,
        Stage::Render,
        "the examples of the record are together longer than one text may be",
    )
    .remedy("split the conversation, use render: whole, set a larger limits.template_output_bytes, or skip such records with on_bad_record")
}
