//! Characters as a person can see them, and as a terminal can be trusted with them.
//!
//! A corpus may hold anything: escape sequences that would recolour, retitle or reprogram a terminal, marks that turn
//! the direction of writing, characters without a shape. They are shown by a sign or a code instead.

use std::borrow::Cow;
use std::fmt::Write;

/// How a character is shown. A line break is shown as `␊`; the break itself is the writer's business.
pub(crate) fn visible(character: char) -> Cow<'static, str> {
    match character {
        // Unicode has a picture for each of the first 32 and for DEL.
        '\0'..='\u{1f}' => picture(0x2400 + u32::from(character)),
        '\u{7f}' => Cow::Borrowed("␡"),
        _ if is_unsafe(character) => Cow::Owned(format!("\\u{{{:x}}}", u32::from(character))),
        _ => Cow::Owned(character.to_string()),
    }
}

/// A byte that belongs to no whole character.
pub(crate) fn visible_byte(byte: u8) -> String {
    format!("\\x{byte:02X}")
}

/// A whole text on one line, for names and messages that come from data.
pub(crate) fn visible_line(text: &str) -> String {
    text.chars().fold(String::new(), |mut line, character| {
        let _infallible = line.write_str(&visible(character));
        line
    })
}

fn picture(code: u32) -> Cow<'static, str> {
    Cow::Owned(
        char::from_u32(code)
            .unwrap_or(char::REPLACEMENT_CHARACTER)
            .to_string(),
    )
}

/// C1 controls, which some terminals obey; marks that change the direction of writing; what has no shape of its own.
/// The joiners U+200C and U+200D stay: scripts and emoji need them.
fn is_unsafe(character: char) -> bool {
    matches!(
        character,
        '\u{80}'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'
            | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e000}'..='\u{f8ff}'
            | '\u{e0000}'..='\u{e0fff}'
            | '\u{f0000}'..='\u{10ffff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_have_pictures_and_letters_stay() {
        assert_eq!(
            visible_line("a\tb\r\n\u{1b}[31mred\u{7f}"),
            "a␉b␍␊␛[31mred␡"
        );
        assert_eq!(visible_line("ß 日本 👩‍🚀 नमस्ते"), "ß 日本 👩‍🚀 नमस्ते");
        assert_eq!(
            visible_line("\u{9b}31m\u{202e}x\u{feff}"),
            "\\u{9b}31m\\u{202e}x\\u{feff}"
        );
        assert_eq!(visible_byte(0xe2), "\\xE2");
    }

    #[test]
    fn nothing_that_a_terminal_obeys_comes_through() {
        for character in (0..=0x10_ffff).filter_map(char::from_u32) {
            let shown = visible(character);
            assert!(!shown.chars().any(char::is_control), "{character:?}");
        }
    }
}
