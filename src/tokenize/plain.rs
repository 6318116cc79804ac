//! Plain text: exactly one BOS where the tokenizer adds one, EOS once at the end.

use super::{Encoding, LoadedTokenizer, SpecialToken, SpecialTokens};
use crate::error::Result;
use std::borrow::Cow;
use std::ops::Range;

impl LoadedTokenizer {
    /// `text` with the EOS token's text at its end: added if it is not there, and if there is an EOS token.
    /// For plain text; a conversation's end is the template's business.
    pub fn with_eos<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match &self.eos {
            Some(eos) if !text.ends_with(&eos.content) => {
                Cow::Owned([text, eos.content.as_str()].concat())
            }
            _ => Cow::Borrowed(text),
        }
    }

    /// Encodes plain text with the special tokens that the tokenizer adds. One that the text itself begins
    /// (BOS) or ends (EOS) with is not added a second time.
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::encode`](super::Tokenizer::encode).
    pub fn encode_plain(&self, text: &str, out: &mut Encoding) -> Result<()> {
        self.encode_plain_except(text, &[], out).map(drop)
    }

    /// The same with special tokens that are not taken out of bytes of `plain`; where these stand, in order.
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::encode_except`](super::Tokenizer::encode_except).
    pub fn encode_plain_except(
        &self,
        text: &str,
        plain: &[Range<usize>],
        out: &mut Encoding,
    ) -> Result<Vec<Range<usize>>> {
        let spelled = self
            .engine
            .encode_except(text, plain, SpecialTokens::Add, out)?;
        let is = |out: &Encoding, place: usize, token: &SpecialToken, inserted: bool| {
            out.ids.get(place) == Some(&token.id)
                && out
                    .offsets
                    .get(place)
                    .is_some_and(|(start, end)| (start == end) == inserted)
        };
        if let Some(bos) = &self.bos
            && is(out, 0, bos, true)
            && is(out, 1, bos, false)
        {
            out.ids.remove(0);
            out.offsets.remove(0);
        }
        if let Some(eos) = &self.eos
            && let Some(last) = out.ids.len().checked_sub(1)
            && let Some(before) = last.checked_sub(1)
            && is(out, last, eos, true)
            && is(out, before, eos, false)
        {
            out.ids.truncate(last);
            out.offsets.truncate(last);
        }
        Ok(spelled)
    }
}
