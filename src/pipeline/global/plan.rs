//! The rows of an epoch, planned from lengths: one sequence through one pool, emptied at the epoch's end.

use super::lengths::{Lengths, Taken};
use crate::checkpoint::{LaneState, Pooled, StreamState};
use crate::error::{Error, Kind, Result, Stage};
use crate::example::{Ends, Span};
use crate::ledger::Intake;
use crate::order::sequence::{Pass, Sequence};
use crate::pack::{self, Packable, Packer, Row, Scratch};
use crate::read::Joined;
use crate::recipe::PackConfig;
use std::collections::VecDeque;
use std::sync::Arc;

/// What stands in a planned row for a piece of an example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Planned {
    /// Where the record stands in the sequence.
    pub(super) position: u64,
    pub(super) source: u32,
    /// Which of its record's examples it is of.
    pub(super) example: u32,
    pub(super) tokens: Span,
    /// What is delivered with it.
    pub(super) ends: Ends,
}

impl Packable for Planned {
    fn tokens(&self) -> usize {
        (self.tokens.end - self.tokens.start) as usize
    }

    fn cut(&mut self, room: usize) -> Option<Planned> {
        let room = u32::try_from(room).ok().filter(|room| *room > 0)?;
        let cut = self.tokens.start.saturating_add(room);
        let beginning = Planned {
            tokens: self.tokens.start..cut,
            ends: Ends::Nothing,
            ..self.clone()
        };
        self.tokens.start = cut;
        Some(beginning)
    }
}

/// Is told what is taken into the pool, record by record in the order of the sequence.
pub(super) trait Account {
    /// A record, kept or dropped.
    fn took(&mut self, source: u32, intake: &Intake);

    /// The rest of a block cannot be read; `block` is the source's.
    fn unreadable(&mut self, source: u32, block: u64) -> Result<()>;
}

/// Nobody who wants to know.
impl Account for () {
    fn took(&mut self, _: u32, _: &Intake) {}

    fn unreadable(&mut self, _: u32, _: u64) -> Result<()> {
        Ok(())
    }
}

/// What plans are made from.
#[derive(Clone)]
pub(super) struct Material {
    /// The sources' blocks as one list.
    pub(super) blocks: Joined,
    pub(super) lengths: Arc<Lengths>,
    pub(super) sequence: Sequence,
    pub(super) pack: PackConfig,
}

/// Plans rows, epoch after epoch.
pub(super) struct Planner {
    material: Material,
    packer: Box<dyn Packer<Planned>>,
    epoch: u64,
    pass: Pass,
    /// The first position that was not taken.
    cursor: u64,
    /// Pieces of the last record that the pool had no place for yet.
    waiting: VecDeque<Planned>,
    scratch: Scratch,
}

impl Planner {
    /// At the beginning of an epoch.
    pub(super) fn new(material: Material, epoch: u64) -> Result<Planner> {
        Ok(Planner {
            packer: pack::packer(&material.pack)?,
            pass: material.sequence.pass(epoch),
            cursor: epoch.saturating_mul(material.sequence.blocks()),
            epoch,
            waiting: VecDeque::new(),
            scratch: Scratch::default(),
            material,
        })
    }

    /// Where another stood: nothing is read but lengths of what its pool held.
    pub(super) fn resumed(material: Material, state: &LaneState) -> Result<Planner> {
        let cursor = state.streams.first().map_or(0, |stream| stream.position);
        let blocks = material.sequence.blocks().max(1);
        // With something in the pool, an epoch whose last record was taken is not over.
        let holds = !state.pool.is_empty() || !state.waiting.is_empty();
        let epoch = (cursor - u64::from(holds && cursor > 0)) / blocks;
        let mut planner = Planner::new(material, epoch)?;
        planner.cursor = cursor;
        for pooled in &state.pool {
            let piece = planner.piece(pooled)?;
            planner.packer.push(piece);
        }
        for pooled in &state.waiting {
            let piece = planner.piece(pooled)?;
            planner.waiting.push_back(piece);
        }
        Ok(planner)
    }

    fn piece(&self, pooled: &Pooled) -> Result<Planned> {
        let odd = || {
            let message = "the checkpoint holds a piece of an example that has become another";
            Error::new(Kind::Checkpoint, Stage::Checkpoint, message)
                .remedy("the corpus has changed: restore it, or begin anew")
        };
        let blocks = self.material.sequence.blocks();
        if pooled.position / blocks.max(1) != self.epoch {
            return Err(odd());
        }
        let (source, _, taken) = self.look(pooled.position)?;
        let Taken::Record(record) = taken else {
            return Err(odd());
        };
        let found = record
            .pieces
            .into_iter()
            .find(|piece| piece.example == pooled.example && piece.tokens.contains(&pooled.first));
        let piece = found.ok_or_else(odd)?;
        Ok(Planned {
            position: pooled.position,
            source,
            example: piece.example,
            // What `concat` has cut off already.
            tokens: pooled.first..piece.tokens.end,
            ends: piece.ends,
        })
    }

    /// The source and block at a position of this epoch, and what becomes of it.
    fn look(&self, position: u64) -> Result<(u32, u64, Taken)> {
        let Material {
            blocks,
            lengths,
            sequence,
            pack,
        } = &self.material;
        let block = self.pass.at(position - self.epoch * sequence.blocks());
        let (source, block) = blocks.locate(block).ok_or_else(|| {
            let message = format!("there is no block {block}");
            Error::new(Kind::Internal, Stage::Order, message)
        })?;
        let taken = lengths.taken(source, block, pack)?;
        Ok((source, block, taken))
    }

    /// The epoch that rows are made of.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Epochs of which something was taken.
    pub(super) fn begun(&self) -> u64 {
        self.cursor.div_ceil(self.material.sequence.blocks().max(1))
    }

    /// Whether the pool can still be refilled in this epoch.
    pub(super) fn is_refillable(&self) -> bool {
        self.cursor < self.end()
    }

    fn end(&self) -> u64 {
        (self.epoch + 1).saturating_mul(self.material.sequence.blocks())
    }

    /// The next row; none where the epoch is over, its pool empty.
    pub(super) fn row(&mut self, account: &mut impl Account) -> Result<Option<Row<Planned>>> {
        while self.packer.wants() {
            if let Some(piece) = self.waiting.pop_front() {
                self.packer.push(piece);
            } else if self.is_refillable() {
                self.take(account)?;
            } else {
                break;
            }
        }
        Ok(self.packer.row(&mut self.scratch))
    }

    fn take(&mut self, account: &mut impl Account) -> Result<()> {
        let position = self.cursor;
        let (source, block, taken) = self.look(position)?;
        self.cursor += 1;
        match taken {
            Taken::Nothing => {}
            Taken::Unreadable => account.unreadable(source, block)?,
            Taken::Record(record) => {
                account.took(source, &record.intake);
                self.waiting
                    .extend(record.pieces.into_iter().map(|piece| Planned {
                        position,
                        source,
                        example: piece.example,
                        tokens: piece.tokens,
                        ends: piece.ends,
                    }));
            }
        }
        Ok(())
    }

    /// Goes on to the next epoch, where this one is over.
    pub(super) fn begin_next(&mut self) {
        self.epoch += 1;
        self.pass = self.material.sequence.pass(self.epoch);
    }

    /// Where it stands, `rows` rows after the stream's start.
    pub(super) fn state(&self, rows: u64) -> LaneState {
        let pooled = |piece: &Planned| Pooled {
            position: piece.position,
            example: piece.example,
            first: piece.tokens.start,
            ..Pooled::default()
        };
        LaneState {
            lane: 0,
            rows,
            ended: false,
            weights: 0,
            streams: vec![StreamState {
                position: self.cursor,
                ..StreamState::default()
            }],
            pool: self.packer.pool().iter().map(pooled).collect(),
            waiting: self.waiting.iter().map(pooled).collect(),
            bad: vec![(0, 0); self.material.lengths.sources()],
            carried: Vec::new(),
        }
    }
}
