//! The end of a finite stream: what the lanes' pools still hold.

use super::assemble::Assembler;
use super::lane::Lane;
use super::outlet::{Stopped, no_row};
use crate::error::Result;
use crate::example::Piece;
use crate::pack;
use std::collections::VecDeque;

impl Assembler {
    /// What the lanes' pools still hold, one example of each lane in turn, through one last pool; then the
    /// last step is filled.
    pub(super) fn pack_last(&mut self) -> Result<Stopped> {
        // Their states stay as they are: a resume packs the last pool anew, up to where it was.
        for lane in 0..self.lanes.len() {
            self.reread(lane)?;
        }
        let by_source = self.setup.feed.dealt().by_source;
        for lane in &mut self.lanes {
            lane.state(by_source);
        }
        self.last_pool = Some(0);
        let mut pools: Vec<VecDeque<Piece>> = self.lanes.iter_mut().map(Lane::rest).collect();
        let mut packer = pack::packer(&self.setup.pack)?;
        loop {
            let mut empty = true;
            for pool in &mut pools {
                let Some(piece) = pool.pop_front() else {
                    continue;
                };
                empty = false;
                while !packer.wants() {
                    let Some(row) = packer.row(&mut self.scratch) else {
                        break;
                    };
                    if let Some(stopped) = self.emit_last(row.segments) {
                        return Ok(stopped);
                    }
                }
                packer.push(piece);
            }
            if empty {
                break;
            }
        }
        self.refillable = false;
        while let Some(row) = packer.row(&mut self.scratch) {
            if let Some(stopped) = self.emit_last(row.segments) {
                return Ok(stopped);
            }
        }
        if self.next_row == 0 {
            return Err(no_row());
        }
        while self.outlet.in_step > 0 {
            self.outlet.push_filling();
            if let Some(stopped) = self.row_done() {
                return Ok(stopped);
            }
        }
        Ok(Stopped::Done)
    }

    /// Sends a row of the last pool, unless it was sent before a resume.
    fn emit_last(&mut self, segments: Vec<Piece>) -> Option<Stopped> {
        let made = self.last_pool.get_or_insert(0);
        *made += 1;
        if *made <= self.made_before {
            return None;
        }
        self.emit(segments)
    }
}
