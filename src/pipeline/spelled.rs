//! Rows that spell special tokens: what becomes of them is the recipe's choice.
//!
//! A template writes special tokens, and so may a row: a user can say `<|im_end|>`. Nothing in a rendered text tells the
//! two apart. Where the recipe asks for it, the fields are searched, and of a row that spells one (few do) those
//! characters are followed through the template ([`ChatTemplate::come_out`]), so that only what the template wrote becomes a token.

use super::encode::{Check, Encoder};
use crate::error::{Error, Kind, Result, Stage};
use crate::recipe::SpecialTokensInText::{Parse, Plain, Refuse};
use crate::render::{ChatTemplate, Conversation, Rendered};
use crate::tokenize::{Encoding, SpecialTokens, refuse_long_runs};
use std::borrow::Cow;
use std::ops::Range;

impl Encoder {
    /// Encodes a rendered conversation; where special tokens stand that were left as text, in order.
    pub(super) fn encode_chat(
        &self,
        template: &ChatTemplate,
        chat: &Conversation,
        rendered: &Rendered,
        check: Check,
        out: &mut Encoding,
    ) -> Result<Vec<Range<usize>>> {
        refuse_long_runs(&rendered.text, self.longest_run())?;
        let engine = &self.tokenizer.engine;
        let leave = SpecialTokens::Leave;
        if self.special_tokens_in_text == Parse {
            engine.encode(&rendered.text, leave, out)?;
            if check == Check::Compare {
                engine.check(&rendered.text, &[], leave, out)?;
            }
            return Ok(Vec::new());
        }
        let mut suspect = false;
        chat.each_text(&mut |text, place| {
            let found = engine.spellings(text)?;
            suspect |= !found.is_empty();
            let token = found.into_iter().find_map(|spelling| spelling.token);
            match token {
                Some(token) if self.special_tokens_in_text == Refuse => {
                    Err(refused(place, text.get(token).unwrap_or_default()))
                }
                _ => Ok(()),
            }
        })?;
        let plain = match suspect {
            false => Vec::new(),
            true => template.come_out(chat, rendered, &|text| {
                // What could fail has failed above.
                let found = engine.spellings(text).unwrap_or_default();
                found
                    .into_iter()
                    .map(|spelling| spelling.character)
                    .collect()
            })?,
        };
        let spelled = engine.encode_except(&rendered.text, &plain, leave, out)?;
        if check == Check::Compare {
            engine.check(&rendered.text, &plain, leave, out)?;
        }
        self.allow(&rendered.text, spelled)
    }

    /// Encodes the first `own` bytes of a text, which are the row's, the first `prompt` of them its prompt, and an EOS
    /// that was put behind them; where special tokens stand that were left as text, in order.
    pub(super) fn encode_text(
        &self,
        text: &str,
        own: usize,
        prompt: usize,
        check: Check,
        out: &mut Encoding,
    ) -> Result<Vec<Range<usize>>> {
        refuse_long_runs(text, self.longest_run())?;
        let whole = 0..own;
        let plain: &[Range<usize>] = match self.special_tokens_in_text {
            Parse => &[],
            Plain | Refuse => std::slice::from_ref(&whole),
        };
        if self.special_tokens_in_text == Refuse {
            let row = text.get(..own).unwrap_or_default();
            let found = self.tokenizer.engine.spellings(row)?;
            if let Some(token) = found.into_iter().find_map(|spelling| spelling.token) {
                let field = match prompt {
                    0 => "the text",
                    prompt if token.start < prompt => "the prompt",
                    _ => "the completion",
                };
                return Err(refused(field, text.get(token).unwrap_or_default()));
            }
        }
        if check == Check::Compare {
            // Before what is doubled is taken out.
            let engine = &self.tokenizer.engine;
            engine.encode_except(text, plain, SpecialTokens::Add, out)?;
            engine.check(text, plain, SpecialTokens::Add, out)?;
        }
        let spelled = self.tokenizer.encode_plain_except(text, plain, out)?;
        self.allow(text, spelled)
    }

    fn longest_run(&self) -> usize {
        usize::try_from(self.limits.run_bytes).unwrap_or(usize::MAX)
    }

    /// A text of the row with EOS at its end: once, if what the row spells becomes a token.
    pub(super) fn with_eos<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match (self.special_tokens_in_text, &self.tokenizer.eos) {
            (Plain | Refuse, Some(eos)) => Cow::Owned([text, eos.content.as_str()].concat()),
            _ => self.tokenizer.with_eos(text),
        }
    }

    /// What was left as text, unless the recipe refuses it: pieces of a row that spell a token side by side.
    fn allow(&self, text: &str, spelled: Vec<Range<usize>>) -> Result<Vec<Range<usize>>> {
        match (self.special_tokens_in_text, spelled.first()) {
            (Refuse, Some(token)) => {
                let token = text.get(token.clone()).unwrap_or_default();
                Err(refused("its texts, side by side,", token))
            }
            _ => Ok(spelled),
        }
    }
}

fn refused(field: impl std::fmt::Display, token: &str) -> Error {
    Error::new(
        Kind::Row,
        Stage::Tokenize,
        format!("{field} spells the special token {token:?}, which special_tokens_in_text refuses"),
    )
    .remedy(
        "take it out of the row, use special_tokens_in_text: plain, which leaves it as text, or skip such records with \
         on_bad_record",
    )
}
