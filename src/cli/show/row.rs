//! One row of a batch for the eyes: every segment with what is trained of it.

use super::bar::bar;
use super::look::{Colour, Look, Mark};
use super::number::{exact, percent};
use super::pieces::Piece;
use super::visible::{visible, visible_byte, visible_line};
use super::wrap::{Glyph, wrap};
use crate::IGNORE_INDEX;
use std::io::{self, Write};
use std::ops::Range;

/// Columns to the left of a segment's text.
const INDENT: usize = 2;
/// Columns of the picture's own labels.
const LABEL: usize = 9;

/// A row as the batch holds it: `ids`, `labels` and `segment_ids` are of one length.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowView<'a> {
    /// The row's number in the stream.
    pub(crate) number: u64,
    /// `input_ids`.
    pub(crate) ids: &'a [i32],
    /// Aligned `labels`: -100 is not trained.
    pub(crate) labels: &'a [i32],
    /// `loss_weights` in the place of the labels, where the batch has them.
    pub(crate) loss_weights: Option<&'a [f32]>,
    /// `segment_ids`: 1, 2, … and 0 for padding.
    pub(crate) segment_ids: &'a [i32],
    /// Where the segments come from, first to last.
    pub(crate) segments: &'a [SegmentView<'a>],
}

/// Where a segment comes from.
#[derive(Debug, Clone)]
pub(crate) struct SegmentView<'a> {
    /// The source's name.
    pub(crate) source: &'a str,
    /// Shard within the source.
    pub(crate) shard: u64,
    /// Record within the shard.
    pub(crate) record: u64,
    /// Example within the record.
    pub(crate) example: u64,
    /// Pass over the corpus.
    pub(crate) epoch: u64,
    /// Which of the example's tokens, `first..end`.
    pub(crate) tokens: Range<u64>,
}

/// Writes a row. `piece` gives what an id stands for.
pub(crate) fn write_row<'p>(
    out: &mut dyn Write,
    row: &RowView<'_>,
    piece: impl Fn(i32) -> Piece<'p>,
    look: Look,
) -> io::Result<()> {
    let trained: Vec<bool> = row
        .labels
        .iter()
        .map(|&label| label != IGNORE_INDEX)
        .collect();
    let weights: Vec<f32> = match row.loss_weights {
        Some(weights) => weights.to_vec(),
        None => trained.iter().map(|&trained| f32::from(trained)).collect(),
    };
    write_summary(out, row, &trained, look)?;
    let mut start = 0;
    for run in row.segment_ids.chunk_by(|a, b| a == b) {
        let tokens = start..start + run.len();
        start = tokens.end;
        let (Some(ids), Some(weights)) = (row.ids.get(tokens.clone()), weights.get(tokens)) else {
            break;
        };
        match run.first() {
            Some(0) | None => {
                write_note(out, &format!("· {} padding", exact(run.len() as u64)), look)?
            }
            Some(&id) => {
                let from = usize::try_from(id - 1)
                    .ok()
                    .and_then(|place| row.segments.get(place));
                write_segment(out, id, from, ids, weights, &piece, look)?;
            }
        }
    }
    Ok(())
}

fn write_summary(
    out: &mut dyn Write,
    row: &RowView<'_>,
    trained: &[bool],
    look: Look,
) -> io::Result<()> {
    let length = row.ids.len();
    let padding = row.segment_ids.iter().filter(|&&id| id == 0).count();
    let segments = row
        .segment_ids
        .chunk_by(|a, b| a == b)
        .filter(|run| run.first() != Some(&0))
        .count();
    let targets = trained.iter().filter(|&&trained| trained).count();
    let heading = format!("row {}", exact(row.number));
    let facts = format!(
        " · {segments} {} · {} of {} tokens ({}) · {} trained ({})",
        if segments == 1 { "segment" } else { "segments" },
        exact((length - padding) as u64),
        exact(length as u64),
        percent((length - padding) as f64, length as f64),
        exact(targets as u64),
        percent(targets as f64, (length - padding) as f64),
    );
    writeln!(out, "{}{facts}", look.paint(Mark::Heading, &heading))?;
    let [packed, shares] = bar(
        row.segment_ids,
        trained,
        look.width.saturating_sub(LABEL),
        look,
    );
    writeln!(out, "{:LABEL$}{packed}", "packed")?;
    writeln!(out, "{:LABEL$}{shares}", "trained")
}

fn write_segment<'p>(
    out: &mut dyn Write,
    number: i32,
    from: Option<&SegmentView<'_>>,
    ids: &[i32],
    weights: &[f32],
    piece: &impl Fn(i32) -> Piece<'p>,
    look: Look,
) -> io::Result<()> {
    // A segment's own padding carries its segment id: what goes beyond the example's tokens is padding.
    let real = from
        .and_then(|from| usize::try_from(from.tokens.end.saturating_sub(from.tokens.start)).ok())
        .map_or(ids.len(), |real| real.min(ids.len()));
    let trained = weights.iter().filter(|&&weight| weight > 0.0);
    let targets = trained.clone().count();
    let mut heading = format!("segment {number}");
    if let Some(from) = from {
        heading += &format!(
            " · {} shard {} record {}",
            visible_line(from.source),
            from.shard,
            from.record
        );
        if from.example > 0 {
            heading += &format!(" example {}", from.example);
        }
        if from.epoch > 0 {
            heading += &format!(" epoch {}", from.epoch);
        }
        if from.tokens.start > 0 {
            heading += &format!(" · from token {}", exact(from.tokens.start));
        }
    }
    heading += &format!(
        " · {} tokens, {} trained",
        exact(real as u64),
        exact(targets as u64)
    );
    if trained.clone().any(|&weight| weight < 1.0) {
        heading += &format!(", which weigh {:.2}", trained.sum::<f32>());
    }
    writeln!(out)?;
    writeln!(out, "{}", look.paint(Mark::Heading, &heading))?;

    let tokens = ids
        .iter()
        .zip(weights)
        .take(real)
        .map(|(&id, &weight)| (piece(id), weight));
    let mut glyphs = glyphs(tokens);
    if look.colour == Colour::Plain {
        glyphs = bracketed(glyphs);
    }
    for line in wrap(&glyphs, look.width.saturating_sub(INDENT).max(1)) {
        write!(out, "{:INDENT$}", "")?;
        for run in line.chunk_by(|a, b| a.mark == b.mark) {
            let text: String = run.iter().map(|glyph| glyph.text.as_str()).collect();
            let mark = run.first().map_or(Mark::Context, |glyph| glyph.mark);
            write!(out, "{}", look.paint(mark, &text))?;
        }
        writeln!(out)?;
    }
    match ids.len() - real {
        0 => Ok(()),
        own => write_note(
            out,
            &format!("· {} padding of the segment", exact(own as u64)),
            look,
        ),
    }
}

fn write_note(out: &mut dyn Write, note: &str, look: Look) -> io::Result<()> {
    writeln!(out, "{}", look.paint(Mark::Note, note))
}

/// Tokens as signs. Bytes are joined across tokens, since a token may end within a character; such a character counts
/// as trained if one of its tokens is. Where what is trained begins to weigh otherwise, its weight is put before it.
fn glyphs<'p>(tokens: impl Iterator<Item = (Piece<'p>, f32)>) -> Vec<Glyph> {
    let mut before = 1.0;
    let mut glyphs = Vec::new();
    let mut bytes: Vec<u8> = Vec::new();
    let mut marks: Vec<Mark> = Vec::new();
    for (piece, weight) in tokens {
        let trained = weight > 0.0;
        if trained && weight != before {
            flush(&mut glyphs, &mut bytes, &mut marks);
            glyphs.push(Glyph::new(format!("×{weight} "), Mark::Weight));
        }
        // Every run that is trained begins with a weight of 1.
        before = if trained { weight } else { 1.0 };
        if piece.special {
            flush(&mut glyphs, &mut bytes, &mut marks);
            let mark = if trained {
                Mark::TrainedSpecial
            } else {
                Mark::Special
            };
            let content = String::from_utf8_lossy(&piece.bytes);
            glyphs.push(Glyph::new(visible_line(&content), mark));
        } else {
            bytes.extend_from_slice(&piece.bytes);
            let mark = if trained {
                Mark::Trained
            } else {
                Mark::Context
            };
            marks.resize(bytes.len(), mark);
        }
    }
    flush(&mut glyphs, &mut bytes, &mut marks);
    glyphs
}

/// Turns the bytes so far into signs.
fn flush(glyphs: &mut Vec<Glyph>, bytes: &mut Vec<u8>, marks: &mut Vec<Mark>) {
    let mut marks = marks.drain(..);
    let mut mark_of = |length: usize| marks.by_ref().take(length).max().unwrap_or(Mark::Context);
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            let mut glyph = Glyph::new(visible(character), mark_of(character.len_utf8()));
            glyph.breaks = character == '\n';
            glyphs.push(glyph);
        }
        for &byte in chunk.invalid() {
            let mark = mark_of(1);
            glyphs.push(Glyph::new(visible_byte(byte), mark));
        }
    }
    bytes.clear();
}

/// Puts trained runs into ⟦…⟧ and special tokens into ‹…›. Brackets of these kinds in the data are shown by their codes.
fn bracketed(glyphs: Vec<Glyph>) -> Vec<Glyph> {
    let mut out: Vec<Glyph> = Vec::with_capacity(glyphs.len() + 16);
    let mut open = false;
    for mut glyph in glyphs {
        if glyph.mark.is_trained() != open {
            open = !open;
            if open {
                out.push(Glyph::new("⟦", glyph.mark));
            } else {
                close(&mut out);
            }
        }
        if matches!(glyph.text.as_str(), "⟦" | "⟧" | "‹" | "›") {
            glyph.text = glyph
                .text
                .chars()
                .map(|c| c.escape_unicode().to_string())
                .collect();
        } else if matches!(glyph.mark, Mark::Special | Mark::TrainedSpecial) {
            glyph.text = format!("‹{}›", glyph.text);
        }
        out.push(glyph);
    }
    if open {
        close(&mut out);
    }
    out
}

/// The closing bracket stands on the line of what it closes.
fn close(out: &mut Vec<Glyph>) {
    let mut bracket = Glyph::new("⟧", Mark::Context);
    if let Some(last) = out.last_mut() {
        bracket.breaks = std::mem::take(&mut last.breaks);
    }
    out.push(bracket);
}

#[cfg(test)]
mod tests;
