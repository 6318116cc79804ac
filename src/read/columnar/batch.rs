//! The rows of a batch as lines.

use super::column::{Line, Named, write_struct};
use super::corrupt;
use crate::read::decode::Fault;
use arrow_array::RecordBatch;

/// Rows that are still to be written.
pub(super) struct Rows {
    columns: Vec<Named>,
    next: usize,
    len: usize,
    /// Met behind rows that were written.
    fault: Option<Fault>,
}

impl Rows {
    pub(super) fn of(batch: &RecordBatch) -> Result<Rows, Fault> {
        let schema = batch.schema();
        let columns = schema.fields().iter().zip(batch.columns());
        Ok(Rows {
            columns: columns
                .map(|(field, array)| Named::of(array, field))
                .collect::<Result<_, _>>()?,
            next: 0,
            len: batch.num_rows(),
            fault: None,
        })
    }

    /// Writes lines until there are `enough` bytes, and says how many; 0 is the end. Of a line that is longer than
    /// `most` comes as much as shows that it is.
    pub(super) fn write(
        &mut self,
        out: &mut Vec<u8>,
        enough: usize,
        most: usize,
    ) -> Result<u64, Fault> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        let first = self.next;
        while self.next < self.len && out.len() < enough {
            let start = out.len();
            let mut line = Line {
                most: start.saturating_add(most),
                out,
            };
            let written = write_struct(&self.columns, self.next, &mut line);
            if let Err(fault) = written {
                out.truncate(start);
                match self.next > first {
                    true => self.fault = Some(fault),
                    false => return Err(fault),
                }
                break;
            }
            out.push(b'\n');
            self.next += 1;
        }
        u64::try_from(self.next - first).map_err(|_| corrupt("it has too many rows"))
    }
}
