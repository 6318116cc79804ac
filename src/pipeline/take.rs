//! What becomes of an item that a lane takes: pieces for its pool, or a line in the ledger.

use super::assemble::Assembler;
use super::encode::{Encoded, Item, Outcome};
use super::fit::{FittedRecord, fit_record};
use super::lane::Lane;
use crate::error::{Error, Kind, Result, Stage};
use crate::example::Origin;
use crate::ledger::{Intake, Reason};
use crate::recipe::OnBadRecord;

/// Records that a lane may read without finding an example before it gives up, at least; and ends of blocks without
/// finding a record.
const BARREN: u64 = 4_096;

impl Assembler {
    /// Books an item and keeps what is to be pooled of it.
    pub(super) fn take(&mut self, lane: usize, stream: usize, item: Item) -> Result<()> {
        self.lanes[lane].took(stream, &item);
        let Item {
            origin,
            outcome,
            ends_block,
            ends_group: _,
        } = item;
        let source = origin.source;
        let blank = matches!(outcome, Outcome::Nothing);
        if let (false, Some(read)) = (blank, self.lanes[lane].bad.get_mut(source as usize)) {
            read.0 += 1;
        }
        let mut found = false;
        match outcome {
            Outcome::Examples(examples) => found = self.keep(lane, stream, origin, examples)?,
            Outcome::Nothing => {}
            Outcome::Fatal(error) => return Err(error),
            Outcome::Bad(error) => {
                self.forgive(lane, source, error)?;
                self.ledger.took(source, &Intake::none(Reason::BadRecord));
            }
            Outcome::Unreadable { error, bytes } => {
                self.forgive(lane, source, error)?;
                self.ledger.unreadable(source, bytes);
            }
        }
        let sequence = &self.setup.feed.dealt().sequences[stream];
        let share = self.setup.lanes.share(sequence.blocks());
        let endless = sequence.positions().is_none();
        let Lane {
            number, streams, ..
        } = &mut self.lanes[lane];
        let barren = &mut streams[stream].barren;
        if found {
            *barren = (0, 0);
            return Ok(());
        }
        barren.0 += u64::from(!blank);
        barren.1 += u64::from(ends_block.is_some());
        let (records, blocks) = *barren;
        if records >= BARREN && blocks >= share {
            return Err(Error::new(
                Kind::Mask,
                Stage::Order,
                format!("a whole epoch of lane {number}, {records} records, gave no example: all were dropped"),
            )
            .remedy("look at the ledger's reasons and at `packmill samples`: the mask may not fit the rows"));
        }
        // Where the list ends, the lane does.
        if endless && records == 0 && blocks >= share.max(BARREN) {
            return Err(Error::new(
                Kind::Row,
                Stage::Order,
                format!("a whole epoch of lane {number} has no record: its {blocks} blocks hold blank lines alone"),
            )
            .remedy("take the blank lines out, use shuffle: true, or another number of lanes"));
        }
        Ok(())
    }

    /// Fits a record's examples to rows, for the pool to take piece by piece; whether any of it is kept.
    fn keep(
        &mut self,
        lane: usize,
        stream: usize,
        origin: Origin,
        examples: Vec<Encoded>,
    ) -> Result<bool> {
        let lengths = examples.iter().flatten().map(|example| example.len());
        self.drawn.record(lengths);
        if self.drawn.is_news() {
            self.want_all();
        }
        let FittedRecord { pieces, intake } = self.fit(origin, examples)?;
        self.ledger.took(origin.source, &intake);
        let found = !pieces.is_empty();
        self.lanes[lane].streams[stream].waiting.extend(pieces);
        Ok(found)
    }

    /// What is packed of a record.
    pub(super) fn fit(&self, origin: Origin, examples: Vec<Encoded>) -> Result<FittedRecord> {
        fit_record(examples, &self.setup.pack, self.setup.bos)
            .map_err(|error| self.setup.feed.place(error, origin))
    }

    /// Lets a bad record pass within the recipe's limit.
    fn forgive(&mut self, lane: usize, source: u32, error: Error) -> Result<()> {
        if self.setup.on_bad_record == OnBadRecord::Stop {
            return Err(error);
        }
        let Some((read, bad)) = self.lanes[lane].bad.get_mut(source as usize) else {
            return Err(error);
        };
        *bad += 1;
        let (read, bad) = (*read, *bad);
        if !self.setup.on_bad_record.forgives(read, bad) {
            let name = self.setup.sources.get(source as usize);
            let name = name.map_or("", String::as_str);
            let of = format!("source `{name}` in lane {}", self.lanes[lane].number);
            return Err(too_many_bad(bad, read, &of, &error));
        }
        Ok(())
    }
}

/// The error of `bad` bad records among `read`, more than the recipe lets pass; `last` is the last one's.
pub(super) fn too_many_bad(bad: u64, read: u64, of: &str, last: &Error) -> Error {
    let message = format!(
        "{bad} of {read} records of {of} are bad, more than on_bad_record allows; the last: {last}"
    );
    Error::new(last.kind(), last.stage(), message).remedy("mend the source or raise max_fraction")
}
