//! The end of a text of any length, in bounded memory.

/// The last bytes of what was pushed.
#[derive(Clone, Debug)]
pub struct Tail {
    bytes: Vec<u8>,
    limit: usize,
    is_cut: bool,
}

impl Tail {
    /// Keeps the last `limit` bytes.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), limit, is_cut: false }
    }

    /// Adds `bytes` at the end.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        let spare = self.bytes.len().saturating_sub(self.limit);
        if spare > 0 {
            self.bytes.drain(..spare);
            self.is_cut = true;
        }
    }

    /// What was kept as text of at most the limit: what is no text is `?`, and a first line that was
    /// cut is left out, if there is another.
    #[must_use]
    pub fn text(&self) -> String {
        let mut bytes = self.bytes.as_slice();
        if self.is_cut
            && let Some(end) = bytes.iter().position(|&byte| byte == b'\n')
            && let Some(rest) = bytes.get(end.saturating_add(1)..)
            && !rest.is_empty()
        {
            bytes = rest;
        }
        let plain = |letter: char| match letter {
            '\n' | '\t' => letter,
            char::REPLACEMENT_CHARACTER => '?',
            control if control.is_control() => '?',
            other => other,
        };
        // A byte that is no text becomes one letter, so that the text is not longer than the bytes.
        String::from_utf8_lossy(bytes).trim_end().chars().map(plain).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_give_a_bounded_text(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..9),
            limit in 0_usize..100,
        ) {
            let mut tail = Tail::new(limit);
            pieces.iter().for_each(|piece| tail.push(piece));
            prop_assert!(tail.text().len() <= limit);
            let mut whole = Tail::new(limit);
            whole.push(&pieces.concat());
            prop_assert_eq!(tail.text(), whole.text());
        }
    }

    #[test]
    fn the_end_is_kept_in_whole_lines() {
        let mut tail = Tail::new(16);
        tail.push(b"first line\n");
        assert_eq!(tail.text(), "first line");
        tail.push(b"second\nthird\n");
        assert_eq!(tail.text(), "second\nthird");
        tail.push(b"a line that is longer than the limit");
        assert_eq!(tail.text(), "r than the limit");
        tail.push(b"\x1b[31m \xff \x07\n");
        assert_eq!(tail.text(), " limit?[31m ? ?");
    }
}
