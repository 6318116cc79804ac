//! A picture of schemes beside each other: which places of the corpus a stretch of the stream comes from.

use crate::rows::Rows;
use std::fmt::Write;

/// Rows of the stretch, and how many of its records are drawn.
pub(crate) const STRETCH: usize = 1_024;
const POINTS: usize = 900;

const COLUMNS: usize = 4;
const WIDTH: usize = 230;
const HEIGHT: usize = 150;
/// Room around a panel.
const GAP: usize = 26;

/// The panels drawn so far.
#[derive(Default)]
pub(crate) struct Plot {
    panels: Vec<String>,
}

impl Plot {
    /// Adds a panel: the place in the corpus over the place in the stream, for a stretch from the stream's middle.
    pub(crate) fn add(&mut self, title: &str, stream: &Rows, records: usize) {
        let column = self.panels.len() % COLUMNS;
        let line = self.panels.len() / COLUMNS;
        let (left, top) = (
            GAP + column * (WIDTH + GAP),
            GAP + line * (HEIGHT + 2 * GAP),
        );
        let from = stream.steady.saturating_sub(STRETCH) / 2;
        let stretch: Vec<u32> = stream.rows[from..stream.steady.min(from + STRETCH)].concat();
        let mut points = String::new();
        for point in 0..POINTS.min(stretch.len()) {
            let at = point * stretch.len() / POINTS.min(stretch.len());
            let x = left + at * WIDTH / stretch.len();
            let y = top + HEIGHT - stretch[at] as usize * HEIGHT / records;
            let _ = write!(points, "M{x} {y}h0");
        }
        self.panels.push(format!(
            "<text x=\"{left}\" y=\"{}\">{title}</text>\n<rect x=\"{left}\" y=\"{top}\" width=\"{WIDTH}\" \
             height=\"{HEIGHT}\"/>\n<path d=\"{points}\"/>\n",
            top - 6
        ));
    }

    /// The picture.
    pub(crate) fn svg(&self) -> String {
        let lines = self.panels.len().div_ceil(COLUMNS);
        let (width, height) = (
            GAP + COLUMNS * (WIDTH + GAP),
            GAP + lines * (HEIGHT + 2 * GAP),
        );
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\">\n<style>\nsvg {{ background: \
             #fff }} text {{ font: 13px sans-serif; fill: #222 }} rect {{ fill: none; stroke: #999 }}\npath {{ stroke: \
             #1f5fa8; stroke-width: 2; stroke-linecap: round }}\n</style>\n{}<text x=\"{GAP}\" y=\"{}\">Right: {STRETCH} \
             rows from the middle of the stream. Up: where in the corpus, sorted by topic, their records lie.</text>\n\
             </svg>\n",
            self.panels.concat(),
            height - GAP / 2
        )
    }
}
