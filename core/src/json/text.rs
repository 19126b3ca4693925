//! Strings, read through their escapes without a buffer.

use core::{fmt, str};

use super::Cause;

/// The inside of a JSON string. Compares and displays as what it means.
#[derive(Clone, Copy)]
pub struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    pub(super) const fn new(raw: &'a str) -> Self {
        Self(raw)
    }

    /// The string as it stands between its quotes, escapes included.
    #[must_use]
    pub const fn raw(self) -> &'a str {
        self.0
    }

    /// The string, if nothing in it is escaped.
    #[must_use]
    pub fn plain(self) -> Option<&'a str> {
        (!self.0.contains('\\')).then_some(self.0)
    }

    /// The characters that the string stands for.
    #[must_use]
    pub const fn chars(self) -> Unescape<'a> {
        Unescape(self.0)
    }

    /// Writes what the string stands for into `buffer`.
    ///
    /// # Errors
    /// [`Cause::TextTooLong`] if `buffer` is too short.
    pub fn unescape(self, buffer: &mut [u8]) -> Result<&str, Cause> {
        let limit = buffer.len();
        let mut len: usize = 0;
        for char in self.chars() {
            let end = len.saturating_add(char.len_utf8());
            let room = buffer.get_mut(len..end).ok_or(Cause::TextTooLong { limit })?;
            char.encode_utf8(room);
            len = end;
        }
        str::from_utf8(buffer.get(..len).unwrap_or_default()).map_err(|_| Cause::NotUtf8)
    }
}

impl PartialEq<str> for Text<'_> {
    fn eq(&self, other: &str) -> bool {
        self.chars().eq(other.chars())
    }
}

impl PartialEq<&str> for Text<'_> {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.chars().eq(other.chars())
    }
}

impl Eq for Text<'_> {}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.chars().try_for_each(|char| fmt::Write::write_char(f, char))
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

/// The characters that a [`Text`] stands for.
#[derive(Clone, Debug)]
pub struct Unescape<'a>(&'a str);

impl Iterator for Unescape<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let first = self.0.chars().next()?;
        // A text comes from a checked document, so an escape in it is a good one.
        let (char, len) = if first == '\\' { escape(self.0)? } else { (first, first.len_utf8()) };
        self.0 = self.0.get(len..)?;
        Some(char)
    }
}

/// The character that the escape at the start of `text` stands for, and the escape's length.
pub(super) fn escape(text: &str) -> Option<(char, usize)> {
    let char = match text.as_bytes().get(1)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode(text),
        _ => return None,
    };
    Some((char, 2))
}

/// `\uXXXX`, or a surrogate pair of two of them. A surrogate alone means nothing.
fn unicode(text: &str) -> Option<(char, usize)> {
    let first = code_unit(text, 0)?;
    if let Some(char) = char::from_u32(first) {
        return Some((char, 6));
    }
    let second = code_unit(text, 6)?;
    if !(0xd800..0xdc00).contains(&first) || !(0xdc00..0xe000).contains(&second) {
        return None;
    }
    let char = (((first & 0x3ff) << 10) | (second & 0x3ff)).checked_add(0x1_0000)?;
    Some((char::from_u32(char)?, 12))
}

fn code_unit(text: &str, at: usize) -> Option<u32> {
    let digits = at.checked_add(2)?..at.checked_add(6)?;
    if text.get(at..digits.start)? != "\\u" {
        return None;
    }
    let digits = text.get(digits)?;
    // from_str_radix would also take a sign.
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u32::from_str_radix(digits, 16).ok()
}
