//! Signs on lines of a certain width.

use super::look::Mark;
use unicode_width::UnicodeWidthStr;

/// One shown character, or one code that stands for a character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Glyph {
    /// What is shown.
    pub(crate) text: String,
    /// How.
    pub(crate) mark: Mark,
    /// Whether the data has a line break here.
    pub(crate) breaks: bool,
}

impl Glyph {
    /// A sign that no line break follows.
    pub(crate) fn new(text: impl Into<String>, mark: Mark) -> Self {
        Glyph {
            text: text.into(),
            mark,
            breaks: false,
        }
    }

    fn width(&self) -> usize {
        self.text.width()
    }
}

/// The signs as lines of at most `width` columns: a new one after each line break of the data, else after a space where
/// there is one, else in the middle of a word. A single sign that is wider has a line of its own.
pub(crate) fn wrap(glyphs: &[Glyph], width: usize) -> Vec<&[Glyph]> {
    let mut lines = Vec::new();
    let mut start = 0;
    let mut after_space = None;
    let mut columns = 0;
    let mut at = 0;
    while let Some(glyph) = glyphs.get(at) {
        let wide = glyph.width();
        if columns + wide > width && at > start {
            // A space may hang over the edge: nobody sees it.
            let end = match after_space {
                _ if glyph.text == " " => at + 1,
                Some(place) => place,
                None => at,
            };
            lines.push(&glyphs[start..end]);
            (start, at, columns, after_space) = (end, end, 0, None);
            continue;
        }
        columns += wide;
        at += 1;
        if glyph.breaks {
            lines.push(&glyphs[start..at]);
            (start, columns, after_space) = (at, 0, None);
        } else if glyph.text == " " {
            after_space = Some(at);
        }
    }
    if start < glyphs.len() {
        lines.push(&glyphs[start..]);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn glyphs(text: &str) -> Vec<Glyph> {
        text.chars()
            .map(|c| Glyph {
                text: c.to_string(),
                mark: Mark::Context,
                breaks: c == '/',
            })
            .collect()
    }

    fn lines(text: &str, width: usize) -> Vec<String> {
        wrap(&glyphs(text), width)
            .iter()
            .map(|line| line.iter().map(|glyph| glyph.text.as_str()).collect())
            .collect()
    }

    #[test]
    fn breaks_at_spaces_then_at_line_breaks_then_anywhere() {
        assert_eq!(lines("one two three", 8), ["one two ", "three"]);
        assert_eq!(lines("one two three", 7), ["one two ", "three"]);
        assert_eq!(lines("a/b//c", 8), ["a/", "b/", "/", "c"]);
        assert_eq!(lines("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(lines("日本語です", 4), ["日本", "語で", "す"]);
        assert_eq!(lines("日本", 1), ["日", "本"]);
        assert_eq!(lines("", 5), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn no_sign_is_lost_and_no_line_is_too_wide(text in "[ab /日]{0,60}", width in 2usize..12) {
            let glyphs = glyphs(&text);
            let lines = wrap(&glyphs, width);
            prop_assert_eq!(lines.concat(), glyphs.clone());
            for line in &lines {
                let columns: usize = line.iter().map(Glyph::width).sum();
                let hanging = line.last().is_some_and(|glyph| glyph.text == " ");
                prop_assert!(columns <= width + usize::from(hanging), "{:?}", line);
                prop_assert!(line[..line.len() - 1].iter().all(|glyph| !glyph.breaks));
            }
        }
    }
}
