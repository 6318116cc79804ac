//! With colours or without, and how wide.

use anstyle::{AnsiColor, Style};

/// How a token is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mark {
    /// Text that the model sees but is not trained on.
    Context,
    /// A special token that is not trained.
    Special,
    /// Packmill's own word on what the text behind it weighs, which carries a label.
    Weight,
    /// Text that carries a label.
    Trained,
    /// A special token that carries a label.
    TrainedSpecial,
    /// Packmill's own words.
    Note,
    /// Packmill's own words that begin a part.
    Heading,
}

impl Mark {
    /// Whether the token carries a label.
    pub(crate) fn is_trained(self) -> bool {
        matches!(self, Mark::Weight | Mark::Trained | Mark::TrainedSpecial)
    }

    /// The colours for a terminal.
    pub(crate) fn style(self) -> Style {
        match self {
            Mark::Context => Style::new().dimmed(),
            Mark::Special => AnsiColor::Magenta.on_default().dimmed(),
            Mark::Trained => AnsiColor::Green.on_default(),
            Mark::TrainedSpecial => AnsiColor::Green.on_default().bold().underline(),
            Mark::Weight | Mark::Note => AnsiColor::Cyan.on_default(),
            Mark::Heading => Style::new().bold(),
        }
    }
}

/// Whether trained text is told by colour or by brackets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    /// ANSI colours.
    Ansi,
    /// No escape sequences at all: trained text stands in ⟦…⟧, special tokens in ‹…›.
    Plain,
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    /// Colours or brackets.
    pub(crate) colour: Colour,
    /// Columns to fill at most.
    pub(crate) width: usize,
}

/// Columns where nothing says how many there are.
const DEFAULT_WIDTH: usize = 100;
/// Below this a line holds too little to be read, above it too much.
const READABLE: std::ops::RangeInclusive<usize> = 40..=140;

impl Look {
    /// What suits the standard output: no colours where it is no terminal or `NO_COLOR` is set.
    pub(crate) fn of_stdout() -> Self {
        let choice = anstream::AutoStream::choice(&std::io::stdout());
        let colour = match choice {
            anstream::ColorChoice::Never => Colour::Plain,
            _ => Colour::Ansi,
        };
        let width = comfy_table::Table::new()
            .width()
            .map_or(DEFAULT_WIDTH, usize::from);
        Look {
            colour,
            width: width.clamp(*READABLE.start(), *READABLE.end()),
        }
    }

    /// `text` in the mark's colours.
    pub(crate) fn paint(self, mark: Mark, text: &str) -> String {
        match self.colour {
            Colour::Plain => text.to_owned(),
            Colour::Ansi => {
                let style = mark.style();
                format!("{style}{text}{style:#}")
            }
        }
    }
}
