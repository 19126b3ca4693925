//! Which bytes of a blob an answer holds.
//!
//! Source: RFC 9110, 14.4. Ranges are closed and single: some registries answer an open one with
//! 416, and several at once with everything, or in parts that nobody else reads.

use std::ops::Range;

/// The header that asks for `range`, which is not empty.
pub(super) fn header(range: &Range<u64>) -> String {
    format!("bytes={}-{}", range.start, range.end.saturating_sub(1))
}

/// The bytes that a `Content-Range` names, and the length of the whole if it says so.
pub(super) fn content_range(text: &str) -> Option<(Range<u64>, Option<u64>)> {
    let rest = text.trim().strip_prefix("bytes ")?;
    let (range, len) = rest.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    let len = match len {
        "*" => None,
        len => Some(number(len)?),
    };
    let end = last.checked_add(1)?;
    (first <= last && len.is_none_or(|len| end <= len)).then_some((first..end, len))
}

/// A number without a sign, which [`str::parse`] would take.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_asked_for_closed_and_read_strictly() {
        assert_eq!(header(&(5..10)), "bytes=5-9");
        for (text, expected) in [
            ("bytes 5-9/20", Some((5..10, Some(20)))),
            ("bytes 0-0/*", Some((0..1, None))),
            (" bytes 5-9/10 ", Some((5..10, Some(10)))),
            ("bytes 5-9/9", None),
            ("bytes 9-5/20", None),
            ("bytes */20", None),
            ("bytes 5-/20", None),
            ("bytes +5-9/20", None),
            ("bytes 0-18446744073709551615/*", None),
            ("items 5-9/20", None),
            ("bytes 5-9", None),
            ("", None),
        ] {
            assert_eq!(content_range(text), expected, "{text}");
        }
    }
}
