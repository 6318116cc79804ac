//! Text to runs of records: where lines end, which of them hold a record, and how many are kept together.

use super::{Bad, Limits, Lost};
use crate::error::{Error, Kind, Stage};
use crate::recipe::format_size;
use bytes::Bytes;
use memchr::{memchr, memchr_iter};
use std::collections::VecDeque;

/// Consecutive records of a shard: at most 1,024, and 1 MiB of text, or what is asked for, unless it is a single longer record.
///
/// A run is closed before the record that would exceed either, and before and after a line that is too long to
/// be a record. Only the records' own bytes count, without line ends and blank lines. The order inside
/// a streamed block is drawn within runs, so these bounds are a part of the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The records' bytes, perhaps with what ends their lines between them.
    pub text: Bytes,
    /// Where they lie in it, in file order, at least one.
    pub records: Vec<RecordSpan>,
}

/// One record of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordSpan {
    /// First byte within the run's text.
    pub start: u32,
    /// One past its last byte.
    pub end: u32,
    /// Its line, counted from 0 where the reader began, blank lines included.
    pub number: u64,
}

impl Run {
    /// The records' own bytes, which bound a run.
    pub fn record_bytes(&self) -> usize {
        let spans = self.records.iter();
        spans.map(|span| (span.end - span.start) as usize).sum()
    }

    /// The records with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u64, Bytes)> + '_ {
        let records = self.records.iter();
        records.map(|span| {
            let text = self.text.slice(span.start as usize..span.end as usize);
            (span.number, text)
        })
    }
}

/// Bytes that the line ends of a run take, about: `\r\n` behind each record.
const LINE_ENDS: usize = 2 << 10;

/// Whether a line holds no record.
pub(super) fn is_blank(line: &[u8]) -> bool {
    line.iter().all(u8::is_ascii_whitespace)
}

/// A line without its end, `\n` and one `\r` before it.
pub(super) fn strip_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The error of a line that is longer than a record may be.
pub(super) fn too_long(limits: &Limits) -> Error {
    let most = format_size(limits.line_bytes as u64);
    Error::new(
        Kind::Limit,
        Stage::Read,
        format!("the line is longer than {most}"),
    )
    .remedy(
        "is it one JSON object a line? split it, set a larger limits.line_bytes, or set on_bad_record: skip",
    )
}

/// Collects lines into runs. Holds one run and the beginning of one line.
#[derive(Debug)]
pub(super) struct Lines {
    limits: Limits,
    /// The run's records, some with their line ends, and behind them the line that is not complete.
    text: Vec<u8>,
    records: Vec<RecordSpan>,
    /// Bytes of the records alone.
    own: usize,
    /// Bytes of the run before: room for as much is made when the next begins, instead of by doubling.
    before: usize,
    line_start: usize,
    /// Of the line that is not complete; behind one that is too long, of the next.
    number: u64,
    state: State,
    /// What is complete and not taken yet: after each piece of a line a run and a bad line at most.
    due: VecDeque<Emit>,
}

/// What is known of the line that is not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing but white space so far.
    Blank,
    Record,
    /// Longer than allowed, and told so: nothing of it is kept, and its end is looked for.
    TooLong,
}

/// What comes out, in file order.
#[derive(Debug)]
pub(super) enum Emit {
    Run(Run),
    Bad(Bad),
}

/// What one call took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    /// Bytes of the text.
    pub(super) used: usize,
    /// Whether the last of them ended a line.
    pub(super) line_ended: bool,
}

impl Lines {
    pub(super) fn new(limits: Limits) -> Lines {
        Lines {
            limits,
            text: Vec::new(),
            records: Vec::new(),
            own: 0,
            before: 0,
            line_start: 0,
            number: 0,
            state: State::Blank,
            due: VecDeque::new(),
        }
    }

    /// The number of the line that is not complete: how many came before. One that is too long has come.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Whether nothing is wanted of the line that is not complete but its end.
    pub(super) fn passes_over(&self) -> bool {
        self.state == State::TooLong
    }

    /// Takes at least the text that [`take`](Lines::take) would, and as many lines behind it as are plainly records of the
    /// same run; how much. The same comes out as by single lines.
    pub(super) fn take_many(&mut self, text: &[u8]) -> usize {
        match self.take_records(text) {
            0 => self.take(text).used,
            used => used,
        }
    }

    /// Takes lines that begin with something, are short enough, and leave room in the run: copied in one go, line ends and
    /// all. None where a line has begun.
    fn take_records(&mut self, text: &[u8]) -> usize {
        if self.state != State::Blank || self.text.len() > self.line_start {
            return 0;
        }
        let (base, mut start) = (self.text.len(), 0);
        let most = self.limits.run_bytes.min(self.limits.line_bytes);
        for end in memchr_iter(b'\n', text) {
            let line = text.get(start..end).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let own = self.own + line.len();
            let is_last = own >= self.limits.run_bytes
                || self.records.len() + 1 >= self.limits.run_records
                || line.len() > most;
            if is_last || line.first().is_none_or(u8::is_ascii_whitespace) {
                break;
            }
            let place = |at: usize| u32::try_from(base + at).unwrap_or(u32::MAX);
            self.records.push(RecordSpan {
                start: place(start),
                end: place(start + line.len()),
                number: self.number,
            });
            self.number += 1;
            self.own = own;
            start = end + 1;
        }
        if start > 0 {
            self.make_room();
            self.text
                .extend_from_slice(text.get(..start).unwrap_or_default());
            self.line_start = self.text.len();
        }
        start
    }

    /// Room for as much as the run before had.
    fn make_room(&mut self) {
        let room = self.before.min(self.limits.run_bytes + LINE_ENDS);
        if self.text.capacity() < room {
            self.text.reserve(room.saturating_sub(self.text.len()));
        }
    }

    /// Takes text up to and including the next line end, or all of it.
    pub(super) fn take(&mut self, text: &[u8]) -> Taken {
        let (line, line_ended) = match memchr(b'\n', text) {
            Some(at) => (text.get(..at).unwrap_or_default(), true),
            None => (text, false),
        };
        self.extend(line);
        if line_ended {
            self.end_line();
        }
        Taken {
            used: line.len() + usize::from(line_ended),
            line_ended,
        }
    }

    /// What is complete, in file order. To be emptied after each [`take`](Lines::take).
    pub(super) fn due(&mut self) -> Option<Emit> {
        self.due.pop_front()
    }

    /// Whether nothing is complete that was not taken.
    pub(super) fn nothing_due(&self) -> bool {
        self.due.is_empty()
    }

    /// Completes the run, whether or not it is full. The line that is not complete stays.
    pub(super) fn close_run(&mut self) {
        if self.records.is_empty() {
            return;
        }
        let rest = self.text.split_off(self.line_start);
        let text = std::mem::replace(&mut self.text, rest);
        self.line_start = 0;
        self.own = 0;
        self.before = text.len();
        let as_many = Vec::with_capacity(self.records.len());
        self.due.push_back(Emit::Run(Run {
            text: Bytes::from(text),
            records: std::mem::replace(&mut self.records, as_many),
        }));
    }

    /// The shard ends here: a last line without a line end counts.
    pub(super) fn end_of_shard(&mut self) {
        if self.text.len() > self.line_start {
            self.end_line();
        }
        self.close_run();
    }

    /// Gives up the line that is not complete, for `error`; what lies behind counts on from the next number.
    pub(super) fn abandon_line(&mut self, error: Error, lost: Lost) {
        self.end_bad_line(error, lost);
    }

    fn extend(&mut self, part: &[u8]) {
        if self.state == State::TooLong {
            return;
        }
        if self.state == State::Blank && !is_blank(part) {
            self.state = State::Record;
        }
        // One byte may still turn out to be a `\r`, which does not count.
        if self.text.len() - self.line_start + part.len() > self.limits.line_bytes + 1 {
            // Told at once: whoever stops at it need not read on to where it ends.
            self.end_bad_line(too_long(&self.limits), Lost::Record);
            self.state = State::TooLong;
            return;
        }
        let with_own = self.own + self.text.len() - self.line_start + part.len();
        if self.state == State::Record && with_own > self.limits.run_bytes + 1 {
            // Closed before the line is complete, and before it needs room: a long line and a run are not held twice.
            self.close_run();
        }
        self.make_room();
        self.text.extend_from_slice(part);
    }

    fn end_line(&mut self) {
        if self.state == State::TooLong {
            self.state = State::Blank;
            return;
        }
        let len = strip_end(self.text.get(self.line_start..).unwrap_or_default()).len();
        if len > self.limits.line_bytes {
            return self.end_bad_line(too_long(&self.limits), Lost::Record);
        }
        if self.state == State::Blank {
            self.text.truncate(self.line_start);
        } else {
            self.end_record(len);
        }
        self.state = State::Blank;
        self.number += 1;
    }

    fn end_record(&mut self, len: usize) {
        if self.own + len > self.limits.run_bytes {
            self.close_run();
        }
        let end = self.line_start + len;
        self.text.truncate(end);
        // A run's text is at most a line and its line ends longer than a run: far from 4 GiB.
        self.records.push(RecordSpan {
            start: u32::try_from(self.line_start).unwrap_or(u32::MAX),
            end: u32::try_from(end).unwrap_or(u32::MAX),
            number: self.number,
        });
        self.line_start = end;
        self.own += len;
        if self.records.len() >= self.limits.run_records || self.own >= self.limits.run_bytes {
            self.close_run();
        }
    }

    fn end_bad_line(&mut self, error: Error, lost: Lost) {
        self.text.truncate(self.line_start);
        self.close_run();
        // A long line's room is not kept for lines to come.
        self.text = Vec::new();
        self.line_start = 0;
        self.own = 0;
        self.due.push_back(Emit::Bad(Bad {
            error,
            record: self.number,
            lost,
        }));
        self.state = State::Blank;
        self.number += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(run_records: usize, run_bytes: usize, line_bytes: usize) -> Limits {
        Limits {
            run_records,
            run_bytes,
            line_bytes,
            ..Limits::DEFAULT
        }
    }

    /// Each run as its records, a bad line as "!".
    fn runs(limits: Limits, text: &[u8], piece: usize, many: bool) -> Vec<Vec<String>> {
        let mut lines = Lines::new(limits);
        let mut runs = Vec::new();
        let mut drain = |lines: &mut Lines| {
            while let Some(emit) = lines.due() {
                runs.push(match emit {
                    Emit::Run(run) => {
                        assert!(!run.records.is_empty());
                        let records = run.iter();
                        records
                            .map(|(n, text)| format!("{n}:{}", String::from_utf8_lossy(&text)))
                            .collect()
                    }
                    Emit::Bad(bad) => vec![format!("{}!", bad.record)],
                });
            }
        };
        for mut piece in text.chunks(piece) {
            while !piece.is_empty() {
                let used = match many {
                    true => lines.take_many(piece),
                    false => lines.take(piece).used,
                };
                piece = &piece[used..];
                drain(&mut lines);
            }
        }
        lines.end_of_shard();
        drain(&mut lines);
        runs
    }

    fn check(limits: Limits, text: &str, expected: &[&[&str]]) {
        for piece in 1..=text.len() {
            for many in [false, true] {
                assert_eq!(
                    runs(limits, text.as_bytes(), piece, many),
                    expected,
                    "in pieces of {piece}, many at a time: {many}"
                );
            }
        }
    }

    #[test]
    fn counts_blank_lines_and_strips_line_ends() {
        check(
            limits(1024, 1024, 1024),
            "a\r\n\n  \t\r\nb\r\r\n c\n\nd",
            &[&["0:a", "3:b\r", "4: c", "6:d"]],
        );
    }

    #[test]
    fn closes_before_the_record_that_would_exceed_either_bound() {
        let bounds = limits(3, 8, 100);
        check(
            bounds,
            "a\nb\n\nc\nd\n",
            &[&["0:a", "1:b", "3:c"], &["4:d"]],
        );
        check(
            bounds,
            "aaaa\nbbbb\nc\n",
            &[&["0:aaaa", "1:bbbb"], &["2:c"]],
        );
        check(
            bounds,
            "aaaa\nbbbb\r\nc\n",
            &[&["0:aaaa", "1:bbbb"], &["2:c"]],
        );
        check(
            bounds,
            "aaaa\nbbbbb\r\nc\n",
            &[&["0:aaaa"], &["1:bbbbb", "2:c"]],
        );
        check(
            bounds,
            "a\nbbbbbbbbbbbb\nc",
            &[&["0:a"], &["1:bbbbbbbbbbbb"], &["2:c"]],
        );
    }

    #[test]
    fn blank_lines_count_in_no_bound() {
        check(
            limits(3, 4, 100),
            "a\n              \n\n\n\nb\n",
            &[&["0:a", "5:b"]],
        );
    }

    #[test]
    fn a_line_that_is_too_long_stands_alone_and_is_not_kept() {
        let bounds = limits(9, 8, 10);
        check(
            bounds,
            "a\n0123456789\nb\n01234567890\nc\n           \n0123456789\r\nd\n01234567890",
            &[
                &["0:a"],
                &["1:0123456789"],
                &["2:b"],
                &["3!"],
                &["4:c"],
                &["5!"],
                &["6:0123456789"],
                &["7:d"],
                &["8!"],
            ],
        );
        let mut lines = Lines::new(bounds);
        for _ in 0..1000 {
            lines.take(b"0123456789");
            assert!(lines.text.capacity() < 100);
        }
    }
}
