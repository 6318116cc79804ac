//! Runs of like characters, which bound what an engine merges at once.
//!
//! Pre-tokenizers cut a text where letters, digits, blanks and other characters meet, and BPE merges what lies between
//! two cuts in one go, at more than a hundred bytes of memory a character. Words are short; a run of a million letters
//! is not text that anybody wrote. The rule looks at the text alone, so that every engine refuses the same records.

use crate::error::{Error, Kind, Result, Stage};
use regex_syntax::try_is_word_character;

/// What a run is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Blank,
    Number,
    /// Letters, with the marks that are put on them.
    Word,
    Other,
}

impl Class {
    fn of(character: char) -> Class {
        if character.is_whitespace() {
            Class::Blank
        } else if character.is_numeric() {
            Class::Number
        } else if try_is_word_character(character).unwrap_or(true) {
            Class::Word
        } else {
            Class::Other
        }
    }
}

/// Refuses a text with a run of more than `most` bytes.
///
/// # Errors
///
/// [`Kind::Limit`], with the place of the run.
pub fn refuse_long_runs(text: &str, most: usize) -> Result<()> {
    // Nearly all texts are shorter than any run that is refused.
    if text.len() <= most {
        return Ok(());
    }
    let mut run: Option<(usize, Class)> = None;
    for (at, character) in text.char_indices() {
        let class = Class::of(character);
        let start = match run {
            Some((start, of)) if of == class => start,
            _ => at,
        };
        run = Some((start, class));
        if at + character.len_utf8() - start > most {
            return Err(too_long(start, class, most));
        }
    }
    Ok(())
}

fn too_long(start: usize, class: Class, most: usize) -> Error {
    let class = match class {
        Class::Blank => "blanks",
        Class::Number => "digits",
        Class::Word => "letters",
        Class::Other => "signs",
    };
    let message = format!(
        "at byte {start} of the text there is a run of {class} that is longer than {most} bytes"
    );
    Error::new(Kind::Limit, Stage::Tokenize, message).remedy(
        "take it out of the row, set a larger limits.run_bytes, or skip such records with on_bad_record",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The longest run, in bytes.
    fn longest(text: &str) -> usize {
        let mut longest = 0;
        for (start, _) in text.char_indices() {
            let class = Class::of(text[start..].chars().next().unwrap());
            let alike = text[start..]
                .chars()
                .take_while(|&character| Class::of(character) == class);
            longest = longest.max(alike.map(char::len_utf8).sum());
        }
        longest
    }

    proptest! {
        #[test]
        fn exactly_texts_with_a_longer_run_are_refused(text in "[a\u{301}é日 \u{3000}\n7½=!🙂]{0,40}", most in 0..30usize) {
            let refused = refuse_long_runs(&text, most).is_err();
            prop_assert_eq!(refused, longest(&text) > most);
        }
    }

    #[test]
    fn a_letter_and_its_marks_are_one_run() {
        for (text, class) in [
            ("e\u{301}e\u{301}e\u{301}", "letters"),
            (" \n\u{a0}  \t   ", "blanks"),
            ("12\u{661}\u{bd}45", "digits"),
            ("==!=?\u{1f642}", "signs"),
        ] {
            let error = refuse_long_runs(text, 5).unwrap_err();
            assert!(error.to_string().contains(class), "{error}");
            assert!(error.to_string().contains("byte 0"), "{error}");
        }
    }
}
