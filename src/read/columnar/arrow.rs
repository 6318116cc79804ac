//! Arrow IPC: record batches from the headers of a stream, and of the stream that every file holds.
//!
//! A file is `ARROW1`, a stream, and a footer that repeats where its batches lie. The stream is walked in both cases,
//! so that a damaged footer cannot make a shard shorter: the two must agree.

use super::messages::{self, Envelope, Next};
use super::{Batches, Columnar, Format, MAX_BUFFER_BYTES, MAX_ROWS, Unit, corrupt, guard, schema};
use crate::error::{Error, Kind, Result, Stage};
use crate::read::decode::Fault;
use crate::shard::Codec;
use arrow_array::ArrayRef;
use arrow_buffer::Buffer;
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::{read_dictionary, read_record_batch};
use arrow_ipc::{Message, MessageHeader, MetadataVersion, root_as_footer};
use arrow_schema::Schema;
use bytes::Bytes;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// `ARROW1` and two bytes of padding.
const MAGIC_BYTES: u64 = 8;

/// Most bytes of padding that a file has behind that, and behind its stream: arrow-rs aligns to 64 bytes.
const PADDING_BYTES: u64 = 64;

/// Length of the footer, and `ARROW1`.
const TAIL_BYTES: u64 = 10;

/// Largest footer of a file that is read. They have 24 bytes a record batch.
const MAX_FOOTER_BYTES: u64 = 256 << 20;

/// Most bytes of all dictionaries, which stay in memory as long as the source is open.
const MAX_DICTIONARY_BYTES: u64 = 64 << 20;

/// What record batches are decoded with.
#[derive(Debug)]
pub(super) struct Head {
    schema: Arc<Schema>,
    version: MetadataVersion,
    dictionaries: HashMap<i64, ArrayRef>,
}

pub(super) fn list(
    codec: Codec,
    size: u64,
    read: &mut impl FnMut(Range<u64>) -> Result<Bytes>,
) -> Result<Columnar> {
    let found = match codec {
        Codec::ArrowFile => footer(size, read)?.map(Some),
        _ => Ok(None),
    };
    let footer = match found {
        Ok(footer) => footer,
        Err(fault) => return Ok(Columnar::unreadable(size, fault)),
    };
    let stream = match &footer {
        Some(footer) => {
            let padding = read(MAGIC_BYTES..footer.at.min(MAGIC_BYTES + PADDING_BYTES))?;
            let zeros = padding.iter().take_while(|byte| **byte == 0).count();
            MAGIC_BYTES + zeros as u64..footer.at
        }
        None => 0..size,
    };
    let mut at = stream.start;
    let mut head = match messages::next(at, stream.end, read)? {
        Next::Message(envelope) => {
            at = envelope.stored.end;
            match guard(|| Head::of(&envelope)) {
                Ok(head) => head,
                Err(fault) => return Ok(Columnar::unreadable(size, fault)),
            }
        }
        Next::End(_) => return Ok(Columnar::unreadable(size, corrupt("it has no schema"))),
        Next::Fault(fault) => return Ok(Columnar::unreadable(size, fault)),
    };
    schema::check(&head.schema)?;
    let mut walk = Walk::default();
    let fault = loop {
        match messages::next(at, stream.end, read)? {
            Next::Message(envelope) => {
                match walk.take(&mut head, &envelope, read)? {
                    Ok(()) => at = envelope.stored.end,
                    Err(fault) => break Some(fault),
                };
            }
            Next::End(end) => break walk.at_end(end, &stream, footer.as_ref()),
            Next::Fault(Fault::Cut) if at == stream.end => {
                break Some(corrupt("its end is missing: the stream has no end mark"));
            }
            Next::Fault(fault) => break Some(fault),
        }
    };
    let mut columnar = Columnar {
        units: walk.units,
        rest: None,
        format: Format::Arrow(head),
    };
    if let Some(fault) = fault {
        columnar.end_with(at..size, fault);
    }
    Ok(columnar)
}

/// What a file's footer says.
struct FileFooter {
    /// First byte of it.
    at: u64,
    /// Where record batches begin.
    batches: Vec<i64>,
}

fn footer(
    size: u64,
    read: &mut impl FnMut(Range<u64>) -> Result<Bytes>,
) -> Result<Result<FileFooter, Fault>> {
    let Some(tail_at) = size.checked_sub(TAIL_BYTES).filter(|at| *at >= MAGIC_BYTES) else {
        return Ok(Err(Fault::Cut));
    };
    let tail = read(tail_at..size)?;
    let (len, magic) = tail.split_at_checked(4).unwrap_or_default();
    if magic != b"ARROW1" {
        return Ok(Err(Fault::Cut));
    }
    let len = <[u8; 4]>::try_from(len).map_or(-1, i32::from_le_bytes);
    let at = u64::try_from(len)
        .ok()
        .filter(|len| *len <= MAX_FOOTER_BYTES);
    let at = at
        .and_then(|len| tail_at.checked_sub(len))
        .filter(|at| *at >= MAGIC_BYTES);
    let Some(at) = at else {
        return Ok(Err(corrupt("its footer would begin before the file does")));
    };
    let bytes = read(at..tail_at)?;
    Ok(guard(|| {
        let footer = root_as_footer(&bytes);
        let footer = footer.map_err(|error| corrupt(format!("its footer: {error}")))?;
        let batches = footer.recordBatches();
        Ok(FileFooter {
            at,
            batches: batches
                .iter()
                .flatten()
                .map(|block| block.offset())
                .collect(),
        })
    }))
}

/// What was seen of a stream.
#[derive(Default)]
struct Walk {
    units: Vec<Unit>,
    /// Where all record batches begin, those without rows among them.
    batches: Vec<u64>,
    dictionary_bytes: u64,
}

impl Walk {
    /// Takes a message behind the schema. The outer error is one of reading, or refuses the shard.
    fn take(
        &mut self,
        head: &mut Head,
        envelope: &Envelope,
        read: &mut impl FnMut(Range<u64>) -> Result<Bytes>,
    ) -> Result<Result<(), Fault>> {
        let message = match messages::parse(&envelope.header) {
            Ok(message) => message,
            Err(fault) => return Ok(Err(fault)),
        };
        match message.header_type() {
            MessageHeader::RecordBatch => self.batch(&message, envelope, read),
            MessageHeader::DictionaryBatch => self.dictionary(head, &message, envelope, read),
            _ => Ok(Err(corrupt("it has a message of an unknown kind"))),
        }
    }

    fn batch(
        &mut self,
        message: &Message<'_>,
        envelope: &Envelope,
        read: &mut impl FnMut(Range<u64>) -> Result<Bytes>,
    ) -> Result<Result<(), Fault>> {
        let Some(batch) = message.header_as_record_batch() else {
            return Ok(Err(corrupt("a record batch has no header")));
        };
        let decoded = decoded_bytes(&batch, envelope.body..envelope.stored.end, read)?;
        let rows = u64::try_from(batch.length()).unwrap_or(u64::MAX);
        if rows > MAX_ROWS {
            return Ok(Err(Fault::TooLarge(format!(
                "has {rows} rows, and {MAX_ROWS} is the most"
            ))));
        }
        let decoded = match decoded {
            Ok(decoded) => decoded,
            Err(fault) => return Ok(Err(fault)),
        };
        // A batch without rows is left out: its count alone must not decide that.
        let first = batch.nodes().and_then(|nodes| nodes.iter().next());
        if first.is_none_or(|node| node.length() != batch.length()) {
            return Ok(Err(corrupt("a record batch counts its rows in two ways")));
        }
        self.batches.push(envelope.stored.start);
        if rows > 0 {
            self.units.push(Unit {
                start: envelope.stored.start,
                end: envelope.stored.end,
                decoded,
                rows,
            });
        }
        Ok(Ok(()))
    }

    fn dictionary(
        &mut self,
        head: &mut Head,
        message: &Message<'_>,
        envelope: &Envelope,
        read: &mut impl FnMut(Range<u64>) -> Result<Bytes>,
    ) -> Result<Result<(), Fault>> {
        let Some(batch) = message.header_as_dictionary_batch() else {
            return Ok(Err(corrupt("a dictionary has no header")));
        };
        if !batch.isDelta() && head.dictionaries.contains_key(&batch.id()) {
            let message = "replaces a dictionary between two record batches, which is not read";
            return Err(Error::new(Kind::Recipe, Stage::Read, message)
                .remedy("write the column as strings, or each batch as a shard"));
        }
        let Some(data) = batch.data() else {
            return Ok(Err(corrupt("a dictionary has no values")));
        };
        let body = envelope.body..envelope.stored.end;
        match decoded_bytes(&data, body.clone(), read)? {
            Ok(bytes) => self.dictionary_bytes = self.dictionary_bytes.saturating_add(bytes),
            Err(fault) => return Ok(Err(fault)),
        }
        if self.dictionary_bytes > MAX_DICTIONARY_BYTES {
            let message = format!("has dictionaries of more than {MAX_DICTIONARY_BYTES} bytes");
            return Err(Error::new(Kind::Limit, Stage::Read, message)
                .remedy("write the columns as strings"));
        }
        let body = Buffer::from(read(body)?);
        Ok(guard(|| {
            let (schema, version) = (&head.schema, &head.version);
            read_dictionary(&body, batch, schema, &mut head.dictionaries, version)
                .map_err(|error| corrupt(format!("a dictionary: {error}")))
        }))
    }

    /// At the end mark: whether it is the end, and the footer of a file agrees.
    fn at_end(&self, end: u64, stream: &Range<u64>, footer: Option<&FileFooter>) -> Option<Fault> {
        let padded = footer.is_some() && stream.end - end < PADDING_BYTES;
        if end != stream.end && !padded {
            return Some(corrupt("bytes follow its end"));
        }
        let footer = footer?;
        let mut told: Vec<u64> = Vec::new();
        for batch in &footer.batches {
            told.push(u64::try_from(*batch).unwrap_or(u64::MAX));
        }
        told.sort_unstable();
        match told == self.batches {
            true => None,
            false => Some(corrupt("its footer lists other record batches than it has")),
        }
    }
}

/// Bytes of a batch's buffers, decompressed. What the decoder would believe of them is checked.
fn decoded_bytes(
    batch: &arrow_ipc::RecordBatch<'_>,
    body: Range<u64>,
    read: &mut impl FnMut(Range<u64>) -> Result<Bytes>,
) -> Result<Result<u64, Fault>> {
    let len = body.end - body.start;
    let mut decoded = 0u64;
    for buffer in batch.buffers().iter().flatten() {
        let start = u64::try_from(buffer.offset()).ok();
        let size = u64::try_from(buffer.length()).ok();
        let range = start.zip(size).and_then(|(start, size)| {
            let end = start.checked_add(size)?;
            (end <= len).then_some(start..end)
        });
        let Some(range) = range else {
            return Ok(Err(corrupt("a buffer lies outside of its batch")));
        };
        let size = range.end - range.start;
        let mut bytes = size;
        if batch.compression().is_some() && size > 0 {
            if size < 8 {
                return Ok(Err(corrupt("a buffer has no length")));
            }
            let at = body.start + range.start;
            let claim = read(at..at + 8)?;
            let claim = <[u8; 8]>::try_from(claim.as_ref()).map_or(-2, i64::from_le_bytes);
            bytes = match (claim, u64::try_from(claim)) {
                // Stored as it is.
                (-1, _) => size - 8,
                (_, Ok(claim)) => claim,
                _ => return Ok(Err(corrupt("a buffer has no length"))),
            };
        }
        decoded = decoded.saturating_add(bytes);
    }
    if decoded > MAX_BUFFER_BYTES.max(len) {
        return Ok(Err(Fault::TooLarge(format!(
            "decompresses to {decoded} bytes, and {MAX_BUFFER_BYTES} is the most"
        ))));
    }
    Ok(Ok(decoded))
}

impl Head {
    fn of(envelope: &Envelope) -> Result<Head, Fault> {
        let message = messages::parse(&envelope.header)?;
        let schema = message.header_as_schema();
        let schema = schema.ok_or_else(|| corrupt("it does not begin with a schema"))?;
        if !schema.endianness().equals_to_target_endianness() {
            return Err(Fault::Unsupported(
                "is written in the other byte order, which is not read".to_owned(),
            ));
        }
        let schema = try_fb_to_schema(schema).map_err(|error| corrupt(error.to_string()))?;
        Ok(Head {
            schema: Arc::new(schema),
            version: message.version(),
            dictionaries: HashMap::new(),
        })
    }

    /// Decodes a record batch.
    pub(super) fn open(&self, unit: &Unit, bytes: Bytes) -> Result<Batches, Fault> {
        let mut read = |range: Range<u64>| -> Result<Bytes> {
            let at = |at: u64| usize::try_from(at - unit.start).unwrap_or(usize::MAX);
            Ok(bytes.slice(at(range.start)..at(range.end)))
        };
        let next = messages::next(unit.start, unit.end, &mut read);
        let Ok(Next::Message(envelope)) = next else {
            return Err(corrupt("no message begins there"));
        };
        let message = messages::parse(&envelope.header)?;
        let batch = message.header_as_record_batch();
        let batch = batch.ok_or_else(|| corrupt("a record batch has no header"))?;
        let body = envelope.body..envelope.stored.end;
        match decoded_bytes(&batch, body.clone(), &mut read) {
            Ok(checked) => checked?,
            Err(error) => return Err(corrupt(error.message())),
        };
        let body = read(body).map_err(|error| corrupt(error.message()))?;
        let (schema, version) = (Arc::clone(&self.schema), &self.version);
        let body = Buffer::from(body);
        let batch = read_record_batch(&body, batch, schema, &self.dictionaries, None, version)
            .map_err(|error| corrupt(error.to_string()))?;
        match u64::try_from(batch.num_rows()) == Ok(unit.rows) {
            true => Ok(Batches::One(Box::new(batch))),
            false => Err(corrupt("a record batch has another number of rows")),
        }
    }
}
