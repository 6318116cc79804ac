//! The messages of an Arrow stream, one after the other, from their headers alone.
//!
//! ```text
//! ff ff ff ff | length of the header | header (flatbuffer) | body        … until a header of length 0
//! ```

use super::corrupt;
use crate::error::Result;
use crate::read::decode::Fault;
use arrow_ipc::{Message, root_as_message};
use bytes::Bytes;
use std::ops::Range;

/// What every message begins with, since Arrow 0.15.
pub(super) const CONTINUATION: &[u8] = &[0xff; 4];

/// Continuation and length.
pub(super) const PREFIX_BYTES: u64 = 8;

/// Largest header that is read: a schema's has some hundred bytes a column.
const MAX_HEADER_BYTES: u64 = 64 << 20;

/// What comes next in a stream.
pub(super) enum Next {
    /// A message.
    Message(Envelope),
    /// The end that its writer set, and the byte behind it.
    End(u64),
    /// It cannot be made out.
    Fault(Fault),
}

/// A message's header and where all of it lies.
pub(super) struct Envelope {
    pub(super) header: Bytes,
    /// Prefix, header and body.
    pub(super) stored: Range<u64>,
    /// Where the body begins.
    pub(super) body: u64,
}

/// Reads the header of the message at `at` in a stream that ends before `end`.
pub(super) fn next(
    at: u64,
    end: u64,
    read: &mut impl FnMut(Range<u64>) -> Result<Bytes>,
) -> Result<Next> {
    let header_at = at.saturating_add(PREFIX_BYTES);
    if header_at > end {
        return Ok(Next::Fault(Fault::Cut));
    }
    let prefix = read(at..header_at)?;
    let (marker, len) = prefix.split_at_checked(4).unwrap_or_default();
    if marker != CONTINUATION {
        return Ok(Next::Fault(corrupt("no message begins there")));
    }
    let len = <[u8; 4]>::try_from(len).map_or(-1, i32::from_le_bytes);
    let Some(len) = u64::try_from(len).ok().filter(|n| *n <= MAX_HEADER_BYTES) else {
        return Ok(Next::Fault(corrupt("a header has no length")));
    };
    if len == 0 {
        return Ok(Next::End(header_at));
    }
    let body = header_at + len;
    if body > end {
        return Ok(Next::Fault(Fault::Cut));
    }
    let header = read(header_at..body)?;
    let body_len = match super::guard(|| parse(&header).map(|message| message.bodyLength())) {
        Ok(len) => len,
        Err(fault) => return Ok(Next::Fault(fault)),
    };
    let stored_end = u64::try_from(body_len).ok();
    let stored_end = stored_end.and_then(|len| body.checked_add(len));
    Ok(match stored_end {
        Some(stored_end) if stored_end <= end => Next::Message(Envelope {
            header,
            stored: at..stored_end,
            body,
        }),
        Some(_) => Next::Fault(Fault::Cut),
        None => Next::Fault(corrupt("a body has no length")),
    })
}

/// A header as a message, checked to lie within its bytes.
pub(super) fn parse(header: &[u8]) -> Result<Message<'_>, Fault> {
    root_as_message(header).map_err(|error| corrupt(format!("a header: {error}")))
}
