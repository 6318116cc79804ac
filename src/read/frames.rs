//! The frames of a zstd shard, from their headers (RFC 8878, section 3.1).
//!
//! A frame does not say how long it is: its end is found by going from one block header to the next, three
//! bytes every 128 KiB at most. Nothing is decoded.

use super::blocks::Frame;
use crate::error::Result;
use bytes::Bytes;
use std::ops::Range;

const MAGIC: u32 = 0xfd2f_b528;
/// The lower four bits are free.
const SKIPPABLE: u32 = 0x184d_2a50;
/// Longest frame header: magic, descriptor, window, dictionary id, content size.
const HEADER_MAX: u64 = 4 + 1 + 1 + 4 + 8;

/// Finds all frames that hold text. What is not understood becomes the last one, up to the shard's end.
pub(super) fn walk(
    size: u64,
    mut read: impl FnMut(Range<u64>) -> Result<Bytes>,
) -> Result<Vec<Frame>> {
    let mut frames = Vec::new();
    let mut start = 0;
    while start < size {
        let head = read(start..size.min(start + HEADER_MAX))?;
        let next = match parse(&head) {
            Some(Header::Skippable { len }) => start.checked_add(len).filter(|end| *end <= size),
            Some(Header::Frame {
                len,
                checksum,
                content,
            }) => {
                let end = end_of_blocks(start + len, checksum, size, &mut read)?;
                frames.push(Frame {
                    start,
                    end: end.unwrap_or(size),
                    content,
                });
                if end.is_none() {
                    return Ok(frames);
                }
                end
            }
            None => None,
        };
        let Some(next) = next else {
            frames.push(Frame {
                start,
                end: size,
                content: Frame::UNKNOWN,
            });
            return Ok(frames);
        };
        start = next;
    }
    Ok(frames)
}

#[derive(Debug, PartialEq, Eq)]
enum Header {
    /// `len`: of header and content.
    Skippable { len: u64 },
    /// `len`: of the header. `checksum`: bytes that follow the last block.
    Frame {
        len: u64,
        checksum: u64,
        content: u64,
    },
}

fn parse(head: &[u8]) -> Option<Header> {
    let magic = u32::from_le_bytes(head.get(..4)?.try_into().ok()?);
    if magic & !0xf == SKIPPABLE {
        let len = u32::from_le_bytes(head.get(4..8)?.try_into().ok()?);
        return Some(Header::Skippable {
            len: 8 + u64::from(len),
        });
    }
    let descriptor = *head.get(4)?;
    // Bit 3 is reserved: a frame that sets it is of a format to come.
    if magic != MAGIC || descriptor & 0b1000 != 0 {
        return None;
    }
    let single_segment = descriptor & 0b10_0000 != 0;
    let window = usize::from(!single_segment);
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 0b11)];
    let content_len = match descriptor >> 6 {
        0 => usize::from(single_segment),
        1 => 2,
        2 => 4,
        _ => 8,
    };
    let at = 5 + window + dictionary;
    let field = head.get(at..at + content_len)?;
    let mut value = [0; 8];
    value.get_mut(..content_len)?.copy_from_slice(field);
    let value = u64::from_le_bytes(value);
    Some(Header::Frame {
        len: (at + content_len) as u64,
        checksum: if descriptor & 0b100 != 0 { 4 } else { 0 },
        content: match content_len {
            0 => Frame::UNKNOWN,
            // Two bytes count from 256, as one byte reaches the sizes below.
            2 => value + 256,
            _ => value,
        },
    })
}

/// Where a frame ends whose blocks begin at `at`; none if that is past the shard's end, or unclear.
fn end_of_blocks(
    mut at: u64,
    checksum: u64,
    size: u64,
    read: &mut impl FnMut(Range<u64>) -> Result<Bytes>,
) -> Result<Option<u64>> {
    loop {
        if at.saturating_add(3) > size {
            return Ok(None);
        }
        let head = read(at..at + 3)?;
        let &[a, b, c] = head.as_ref() else {
            return Ok(None);
        };
        let head = u32::from_le_bytes([a, b, c, 0]);
        let stored = match head >> 1 & 0b11 {
            // Raw and compressed blocks are as long as they say; a run is one byte, repeated.
            0 | 2 => u64::from(head >> 3),
            1 => 1,
            _ => return Ok(None),
        };
        at += 3 + stored;
        if head & 1 == 1 {
            return Ok(Some(at + checksum).filter(|end| *end <= size));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn frames(bytes: &[u8]) -> Vec<Frame> {
        let stored = Bytes::copy_from_slice(bytes);
        walk(bytes.len() as u64, |range| {
            Ok(stored.slice(range.start as usize..range.end as usize))
        })
        .unwrap()
    }

    /// Frames of several shapes: with and without content size, checksum, several blocks, nothing in them.
    fn sample() -> (Vec<u8>, Vec<Frame>) {
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for (len, sized, checksum) in [
            (0, true, false),
            (10, true, true),
            (255, true, false),
            (256, true, true),
            (700_000, true, true),
            (70_000, false, false),
            (0, true, true),
        ] {
            bytes.extend_from_slice(b"\x5a\x2a\x4d\x18\x03\0\0\0abc");
            let text: Vec<u8> = (0..len)
                .map(|i: u32| (i.wrapping_mul(i) >> 3) as u8)
                .collect();
            let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
            encoder.include_checksum(checksum).unwrap();
            if sized {
                encoder.set_pledged_src_size(Some(u64::from(len))).unwrap();
            }
            encoder.write_all(&text).unwrap();
            let frame = encoder.finish().unwrap();
            let start = bytes.len() as u64;
            bytes.extend_from_slice(&frame);
            expected.push(Frame {
                start,
                end: bytes.len() as u64,
                content: if sized {
                    u64::from(len)
                } else {
                    Frame::UNKNOWN
                },
            });
        }
        (bytes, expected)
    }

    #[test]
    fn finds_each_frame_and_passes_over_skippable_ones() {
        let (mut bytes, expected) = sample();
        assert_eq!(frames(&bytes), expected);
        bytes.extend_from_slice(b"\x5e\x2a\x4d\x18\x00\0\0\0");
        assert_eq!(frames(&bytes), expected);
    }

    #[test]
    fn agrees_with_the_library_about_where_a_frame_ends() {
        let (bytes, expected) = sample();
        for frame in expected {
            let rest = &bytes[frame.start as usize..];
            let len = zstd::zstd_safe::find_frame_compressed_size(rest).unwrap();
            assert_eq!(len as u64, frame.end - frame.start);
        }
    }

    #[test]
    fn a_cut_shard_keeps_its_whole_frames_and_a_rest() {
        let (bytes, expected) = sample();
        for cut in 1..bytes.len() {
            let found = frames(&bytes[..cut]);
            let whole = expected
                .iter()
                .filter(|frame| frame.end <= cut as u64)
                .count();
            assert_eq!(found[..whole], expected[..whole], "cut at {cut}");
            assert!(found.len() <= whole + 1);
            if let Some(rest) = found.get(whole) {
                assert_eq!(rest.end, cut as u64);
            }
        }
    }

    #[test]
    fn bytes_that_begin_no_frame_are_one_rest() {
        let (mut bytes, mut expected) = sample();
        let start = bytes.len() as u64;
        bytes.extend_from_slice(b"{\"text\": \"not a frame\"}\n");
        expected.push(Frame {
            start,
            end: bytes.len() as u64,
            content: Frame::UNKNOWN,
        });
        assert_eq!(frames(&bytes), expected);
    }
}
