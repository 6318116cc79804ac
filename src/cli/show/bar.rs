//! A row as a picture: its segments side by side, and how much of each part is trained.

use super::look::{Look, Mark};

/// Eighths of a cell, from nothing to all of it.
const LEVELS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Two lines of `cells` cells: segments in two shades by turns with `░` for padding, and under each cell the share of
/// trained tokens as a height. A segment narrower than a cell may not show.
pub(crate) fn bar(segment_ids: &[i32], trained: &[bool], cells: usize, look: Look) -> [String; 2] {
    let length = segment_ids.len();
    let mut segments = String::new();
    let mut shares = String::new();
    let mut cell = 0;
    while cell < cells.min(length) {
        let cells = cells.min(length);
        let tokens = cell * length / cells..(cell + 1) * length / cells;
        let segment = segment_ids.get(tokens.start).copied().unwrap_or(0);
        segments.push(match segment {
            0 => '░',
            odd if odd % 2 == 1 => '█',
            _ => '▓',
        });
        let all = tokens.len();
        let some = trained
            .get(tokens)
            .unwrap_or_default()
            .iter()
            .filter(|&&t| t)
            .count();
        // A single trained token among hundreds is still shown.
        shares.push(LEVELS[(some * 8).div_ceil(all.max(1)).min(8)]);
        cell += 1;
    }
    [
        look.paint(Mark::Note, &segments),
        look.paint(Mark::Trained, shares.trim_end()),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::look::Colour;
    use super::*;

    const PLAIN: Look = Look {
        colour: Colour::Plain,
        width: 80,
    };

    #[test]
    fn draws_segments_padding_and_trained_share() {
        let segment_ids = [1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 0, 0];
        let trained: Vec<bool> = "..##.....#..".chars().map(|c| c == '#').collect();
        assert_eq!(bar(&segment_ids, &trained, 6, PLAIN), ["██▓▓█░", " █  ▄"]);
        assert_eq!(bar(&segment_ids, &trained, 3, PLAIN), ["█▓█", "▄ ▂"]);
        assert_eq!(bar(&segment_ids, &trained, 50, PLAIN)[0], "████▓▓▓▓██░░");
        assert_eq!(bar(&[], &[], 5, PLAIN), ["", ""]);
    }
}
