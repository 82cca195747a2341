//! Text written by strangers.

use borsh::{BorshDeserialize, BorshSerialize};

/// Bytes that a contract calls a string: unbounded, perhaps not UTF-8, never to be believed.
///
/// `Display` shows at most [`UntrustedText::SHOWN_CHARS_MAX`] characters, with every character
/// that could steer a terminal, a page or a reader's eye escaped.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct UntrustedText(pub Vec<u8>);

impl UntrustedText {
    /// Characters shown of a text: a description longer than a screen informs nobody.
    pub const SHOWN_CHARS_MAX: usize = 280;
}

impl std::fmt::Display for UntrustedText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = String::from_utf8_lossy(&self.0);
        for (shown, character) in text.chars().enumerate() {
            if shown == Self::SHOWN_CHARS_MAX {
                return f.write_str("…");
            }
            if is_plain(character) {
                write!(f, "{character}")?;
            } else {
                write!(f, "{}", character.escape_unicode())?;
            }
        }
        Ok(())
    }
}

/// Whether a character can do no more than be read: no control, no direction change, no
/// invisible joiner, no private use.
#[must_use]
pub fn is_plain(character: char) -> bool {
    !character.is_control()
        && !matches!(character,
            '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e000}'..='\u{f8ff}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{10ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_escapes_and_direction_changes_are_shown_and_not_obeyed() {
        let text = UntrustedText("a\u{1b}[31m\u{202e}b👉 x".as_bytes().to_vec());
        assert_eq!(text.to_string(), "a\\u{1b}[31m\\u{202e}b👉 x");
        assert!(UntrustedText(vec![0xff, 0xfe]).to_string().starts_with('\u{fffd}'));
    }

    #[test]
    fn a_long_text_is_cut() {
        let shown = UntrustedText(vec![b'x'; 10_000]).to_string();
        assert_eq!(shown.chars().count(), UntrustedText::SHOWN_CHARS_MAX + 1);
    }
}
