//! Stored bytes to text, a bounded piece at a time: whatever a frame claims to hold, no more of it is in
//! memory than the decoder's window and the caller's buffer.

use crate::error::{Error, Kind, Stage};
use crate::shard::Codec;
use flate2::{Decompress, FlushDecompress, Status};
use serde::{Deserialize, Serialize};
use zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode;
use zstd::zstd_safe::{self, DCtx, DParameter, InBuffer, OutBuffer, ResetDirective};

/// Decodes one block after the other of a shard.
pub(super) struct Decoder(Engine);

enum Engine {
    Plain,
    Zstd {
        context: Option<DCtx<'static>>,
        /// Largest window, as a power of two.
        window_log: u32,
        ended: bool,
    },
    Gzip {
        inflate: Decompress,
        at: Member,
    },
}

/// Where in a gzip file the decoder stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Member {
    /// Before the first one.
    First,
    /// Behind one, where another may begin.
    Next,
    Inside,
    /// In the zeros that tape and block devices leave behind the last one.
    Padding,
}

/// What one call did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    /// Bytes taken of the input.
    pub(super) used: usize,
    /// Bytes written to the output. If they fill it, there may be more without further input.
    pub(super) made: usize,
}

/// Why a block's rest cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Fault {
    /// It ends before its last byte.
    Cut,
    /// The decoder's own words.
    Corrupt(String),
    /// It wants a larger window than this power of two.
    Window(u32),
    /// It gives more text than this for each stored byte.
    Ratio(u64),
    /// No memory for a decoder.
    Memory,
    /// More than a fixed cap allows: what it has, as a clause.
    TooLarge(String),
    /// Whole, and of a form that is not read: a clause.
    Unsupported(String),
}

impl Fault {
    /// The error, for a block that begins at stored byte `start`.
    pub(super) fn into_error(self, codec: Codec, start: u64) -> Error {
        let what = match codec {
            Codec::Plain => "text",
            Codec::Zstd => "zstd frame",
            Codec::Gzip => "gzip file",
            Codec::Parquet => "Parquet row group",
            Codec::ArrowFile | Codec::ArrowStream => "Arrow record batch",
        };
        let error = |kind, clause: &str| {
            Error::new(
                kind,
                Stage::Read,
                format!("the {what} at byte {start} {clause}"),
            )
        };
        match self {
            Fault::Cut => error(Kind::Corrupt, "is cut short")
                .remedy("fetch the shard again, or set on_bad_record: skip"),
            Fault::Corrupt(detail) => error(Kind::Corrupt, &format!("cannot be decoded: {detail}"))
                .remedy("fetch the shard again, or set on_bad_record: skip"),
            Fault::Window(log) => error(
                Kind::Limit,
                &format!("wants a window of more than 2^{log} bytes"),
            )
            .remedy(format!(
                "compress it again with zstd --long={log} or less, or set a larger limits.window_log"
            )),
            Fault::Ratio(ratio) => error(
                Kind::Limit,
                &format!("decodes to more than {ratio} times its stored bytes"),
            )
            .remedy("it may be a bomb; if it is not, set a larger limits.ratio"),
            Fault::Memory => error(Kind::Internal, "got no memory for a decoder"),
            Fault::TooLarge(what) => {
                error(Kind::Limit, &what).remedy("write it in smaller row groups or record batches")
            }
            Fault::Unsupported(what) => error(Kind::Corrupt, &what),
        }
    }
}

impl Decoder {
    /// A decoder of zstd windows of at most 2^`window_log` bytes: memory that a file asks for, for each block that is
    /// open.
    pub(super) fn new(codec: Codec, window_log: u32) -> Decoder {
        Decoder(match codec {
            Codec::Plain => Engine::Plain,
            Codec::Zstd => Engine::Zstd {
                context: new_context(window_log),
                window_log,
                ended: false,
            },
            Codec::Gzip => Engine::Gzip {
                inflate: Decompress::new_gzip(15),
                at: Member::First,
            },
            // Their blocks are decoded as rows: there is no text to stream.
            Codec::Parquet | Codec::ArrowFile | Codec::ArrowStream => Engine::Plain,
        })
    }

    /// Makes ready for the next block, whatever became of the one before.
    pub(super) fn begin(&mut self) {
        match &mut self.0 {
            Engine::Plain => {}
            Engine::Zstd {
                context,
                window_log,
                ended,
            } => {
                *ended = false;
                let reset = context
                    .as_mut()
                    .map(|c| c.reset(ResetDirective::SessionOnly));
                if !matches!(reset, Some(Ok(_))) {
                    *context = new_context(*window_log);
                }
            }
            Engine::Gzip { inflate, at } => {
                inflate.reset(true);
                *at = Member::First;
            }
        }
    }

    /// Decodes from `input` into `output`, as far as either reaches. How much text comes out before a fault
    /// depends on how the input is cut, so callers cut it the same way at every reading.
    pub(super) fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<Progress, Fault> {
        match &mut self.0 {
            Engine::Plain => {
                let len = input.len().min(output.len());
                if let (Some(from), Some(to)) = (input.get(..len), output.get_mut(..len)) {
                    to.copy_from_slice(from);
                }
                Ok(Progress {
                    used: len,
                    made: len,
                })
            }
            Engine::Zstd {
                context,
                window_log,
                ended,
            } => {
                let context = context.as_mut().ok_or(Fault::Memory)?;
                decode_zstd(context, *window_log, ended, input, output)
            }
            Engine::Gzip { inflate, at } => decode_gzip(inflate, at, input, output),
        }
    }

    /// After the last input: whether the block is whole.
    pub(super) fn finish(&self) -> Result<(), Fault> {
        match &self.0 {
            Engine::Plain => Ok(()),
            Engine::Zstd { ended, .. } => ended.then_some(()).ok_or(Fault::Cut),
            Engine::Gzip { at, .. } => match at {
                Member::Next | Member::Padding => Ok(()),
                Member::First | Member::Inside => Err(Fault::Cut),
            },
        }
    }
}

fn new_context(window_log: u32) -> Option<DCtx<'static>> {
    let mut context = DCtx::try_create()?;
    let set = context.set_parameter(DParameter::WindowLogMax(window_log));
    set.ok().map(|_| context)
}

fn decode_zstd(
    context: &mut DCtx<'static>,
    window_log: u32,
    ended: &mut bool,
    input: &[u8],
    output: &mut [u8],
) -> Result<Progress, Fault> {
    if *ended {
        return match input.is_empty() {
            true => Ok(Progress { used: 0, made: 0 }),
            false => Err(Fault::Corrupt("bytes follow its end".to_owned())),
        };
    }
    let mut from = InBuffer::around(input);
    let mut to = OutBuffer::around(output);
    let hint = context
        .decompress_stream(&mut to, &mut from)
        .map_err(|code| {
            if zstd_safe::is_error_kind(
                code,
                ZSTD_ErrorCode::ZSTD_error_frameParameter_windowTooLarge,
            ) {
                Fault::Window(window_log)
            } else {
                Fault::Corrupt(zstd_safe::get_error_name(code).to_owned())
            }
        })?;
    *ended = hint == 0;
    progress(from.pos(), to.pos(), input, *ended)
}

fn decode_gzip(
    inflate: &mut Decompress,
    at: &mut Member,
    input: &[u8],
    output: &mut [u8],
) -> Result<Progress, Fault> {
    if let (Member::Next, Some(first)) = (*at, input.first()) {
        *at = match first {
            0 => Member::Padding,
            0x1f => Member::Inside,
            _ => {
                return Err(Fault::Corrupt(
                    "bytes that are no gzip member follow".to_owned(),
                ));
            }
        };
    }
    match *at {
        Member::Padding if input.iter().all(|byte| *byte == 0) => {
            return Ok(Progress {
                used: input.len(),
                made: 0,
            });
        }
        Member::Padding => return Err(Fault::Corrupt("bytes follow the padding".to_owned())),
        Member::Next => return Ok(Progress { used: 0, made: 0 }),
        Member::First if input.is_empty() => return Ok(Progress { used: 0, made: 0 }),
        Member::First | Member::Inside => *at = Member::Inside,
    }
    let (total_in, total_out) = (inflate.total_in(), inflate.total_out());
    let status = inflate
        .decompress(input, output, FlushDecompress::None)
        .map_err(|error| Fault::Corrupt(error.message().unwrap_or("invalid data").to_owned()))?;
    let used = usize::try_from(inflate.total_in() - total_in).unwrap_or(usize::MAX);
    let made = usize::try_from(inflate.total_out() - total_out).unwrap_or(usize::MAX);
    let ended = status == Status::StreamEnd;
    if ended {
        inflate.reset(true);
        *at = Member::Next;
    }
    progress(used, made, input, ended)
}

/// A decoder that takes nothing of what it has and makes nothing would be asked for ever.
fn progress(used: usize, made: usize, input: &[u8], ended: bool) -> Result<Progress, Fault> {
    if used == 0 && made == 0 && !input.is_empty() && !ended {
        return Err(Fault::Corrupt("the decoder makes no progress".to_owned()));
    }
    Ok(Progress { used, made })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// Decodes with input and output cut small.
    fn decode(codec: Codec, stored: &[u8], chunk: usize, room: usize) -> Result<Vec<u8>, Fault> {
        let mut decoder = Decoder::new(codec, 27);
        decoder.begin();
        let mut text = Vec::new();
        let mut output = vec![0; room];
        for mut input in stored.chunks(chunk) {
            loop {
                let progress = decoder.decode(input, &mut output)?;
                text.extend_from_slice(&output[..progress.made]);
                input = &input[progress.used..];
                if input.is_empty() && progress.made < room {
                    break;
                }
            }
        }
        decoder.finish()?;
        Ok(text)
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn gives_the_text_however_input_and_output_are_cut() {
        let text = b"hello, hello, hello\n".repeat(100);
        let members = [gzip(&text), gzip(b""), gzip(&text), vec![0; 512]].concat();
        let frame = zstd::encode_all(text.as_slice(), 3).unwrap();
        for (chunk, room) in [(1, 1), (3, 1000), (1000, 3), (10_000, 10_000)] {
            assert_eq!(
                decode(Codec::Gzip, &members, chunk, room).unwrap(),
                text.repeat(2)
            );
            assert_eq!(decode(Codec::Zstd, &frame, chunk, room).unwrap(), text);
            assert_eq!(decode(Codec::Plain, &text, chunk, room).unwrap(), text);
        }
    }

    #[test]
    fn every_cut_is_told() {
        let text = b"hello, hello, hello\n".repeat(100);
        for stored in [
            (Codec::Gzip, gzip(&text)),
            (Codec::Zstd, zstd::encode_all(text.as_slice(), 3).unwrap()),
        ] {
            for cut in 0..stored.1.len() {
                assert_eq!(
                    decode(stored.0, &stored.1[..cut], 7, 64),
                    Err(Fault::Cut),
                    "cut at {cut}"
                );
            }
        }
    }

    #[test]
    fn what_follows_the_last_member_is_told() {
        let stored = [gzip(b"a\n"), b"xyz".to_vec()].concat();
        assert!(matches!(
            decode(Codec::Gzip, &stored, 9, 64),
            Err(Fault::Corrupt(_))
        ));
        let stored = [gzip(b"a\n"), vec![0, 0, 1]].concat();
        assert!(matches!(
            decode(Codec::Gzip, &stored, 9, 64),
            Err(Fault::Corrupt(_))
        ));
    }

    #[test]
    fn a_window_past_the_cap_is_refused_and_costs_nothing() {
        // Magic, descriptor without content size, window exponent 18: 2^28 bytes.
        let frame = b"\x28\xb5\x2f\xfd\x00\x90\x01\0\0";
        assert_eq!(decode(Codec::Zstd, frame, 64, 64), Err(Fault::Window(27)));
        let error = Fault::Window(27).into_error(Codec::Zstd, 7);
        assert_eq!(error.kind(), Kind::Limit);
    }

    #[test]
    fn a_decoder_goes_on_after_a_fault() {
        let frame = zstd::encode_all(b"hello\n".as_slice(), 3).unwrap();
        let mut decoder = Decoder::new(Codec::Zstd, 27);
        let mut output = [0; 64];
        decoder.decode(b"not a frame", &mut output).unwrap_err();
        decoder.begin();
        assert_eq!(decoder.decode(&frame, &mut output).unwrap().made, 6);
    }
}
