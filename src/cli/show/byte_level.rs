//! The characters by which byte-level vocabularies write bytes, as GPT-2 began it: printable bytes of Latin-1 stand for
//! themselves, the other 68 are the characters from U+0100 on, in rising order.

/// Whether a byte is written by the character of the same number.
fn is_itself(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff)
}

/// The character that stands for a byte.
pub(crate) fn char_of(byte: u8) -> char {
    if is_itself(byte) {
        char::from(byte)
    } else {
        let before = (0..byte).filter(|&b| !is_itself(b)).count() as u32;
        char::from_u32(0x100 + before).unwrap_or(char::REPLACEMENT_CHARACTER)
    }
}

/// The byte that a character stands for.
pub(crate) fn byte_of(character: char) -> Option<u8> {
    match u32::from(character) {
        code @ 0..=0xff => u8::try_from(code).ok().filter(|&b| is_itself(b)),
        code => {
            let place = usize::try_from(code.checked_sub(0x100)?).ok()?;
            (0..=u8::MAX).filter(|&b| !is_itself(b)).nth(place)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_a_character_of_its_own() {
        for byte in 0..=u8::MAX {
            assert_eq!(byte_of(char_of(byte)), Some(byte));
        }
        assert_eq!(char_of(b' '), 'Ġ');
        assert_eq!(char_of(b'\n'), 'Ċ');
        assert_eq!(char_of(0xad), 'Ń');
        assert_eq!(byte_of(' '), None);
        assert_eq!(byte_of('€'), None);
    }
}
