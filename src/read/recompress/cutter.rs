//! Text to frames: where one ends and the next begins.

use memchr::memchr_iter;

/// Cuts a text before newlines, into parts of at most so many bytes.
///
/// Each part but the first begins with the newline that ends the part before. A record belongs to the block that holds
/// the newline before it, so a part holds exactly the records that belong to it: its reader passes over nothing, and
/// needs of the next part only the first byte. A newline at the text's end stays in the last part, where a part of
/// its own would be a block without a record.
///
/// A record that is longer than a part is one alone. One longer than `record_bytes` is cut wherever that is reached:
/// no reader takes it, and whoever cuts need not hold it.
#[derive(Debug)]
pub(super) struct Cutter {
    part_bytes: usize,
    record_bytes: usize,
    /// The part that is not complete.
    text: Vec<u8>,
    /// Up to where newlines were looked for.
    seen: usize,
    /// Where the last record begins, with the newline before it.
    last: usize,
}

impl Cutter {
    /// Parts of at most `part_bytes`, but for longer records of at most `record_bytes`.
    pub(super) fn new(part_bytes: usize, record_bytes: usize) -> Cutter {
        Cutter {
            part_bytes,
            record_bytes: record_bytes.max(part_bytes),
            text: Vec::new(),
            seen: 0,
            last: 0,
        }
    }

    /// Takes text and gives the parts that it completes. How the text is cut into calls changes none of them.
    pub(super) fn take<E>(
        &mut self,
        text: &[u8],
        part: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.text.extend_from_slice(text);
        // A newline cuts only where something follows it.
        let sure = self.text.len() - usize::from(self.text.ends_with(b"\n"));
        let mut start = 0;
        for at in memchr_iter(b'\n', self.text.get(self.seen..sure).unwrap_or_default()) {
            let newline = self.seen + at;
            start = self.cut(start, newline, part)?;
            self.last = newline;
        }
        start = self.cut(start, sure, part)?;
        self.text.drain(..start);
        self.last = self.last.saturating_sub(start);
        self.seen = sure - start;
        Ok(())
    }

    /// Gives what is left.
    pub(super) fn finish<E>(self, part: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut rest = self.text.as_slice();
        if rest.len() > self.part_bytes && self.last > 0 {
            let (before, last) = rest.split_at_checked(self.last).unwrap_or((rest, &[]));
            part(before)?;
            rest = last;
        }
        while let Some((full, more)) = rest.split_at_checked(self.record_bytes)
            && !more.is_empty()
        {
            part(full)?;
            rest = more;
        }
        match rest.is_empty() {
            true => Ok(()),
            false => part(rest),
        }
    }

    /// Gives what is complete if the record that has begun reaches to `end`. Returns where the rest starts.
    fn cut<E>(
        &self,
        mut start: usize,
        end: usize,
        part: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<usize, E> {
        if end - start > self.part_bytes && self.last > start {
            part(self.text.get(start..self.last).unwrap_or_default())?;
            start = self.last;
        }
        while end - start > self.record_bytes {
            let full = start + self.record_bytes;
            part(self.text.get(start..full).unwrap_or_default())?;
            start = full;
        }
        Ok(start)
    }
}
