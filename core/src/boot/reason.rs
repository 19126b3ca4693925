//! Why a slot failed, as one short word.

use core::fmt;

/// The class of a failure. It is kept in the boot environment, where there is room for a word;
/// the story is kept elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// All tries were spent, and nobody committed or said why.
    Tries,
    /// A block did not match the signed root hash.
    Verity,
    /// A required health check failed.
    Health,
    /// Health checks did not end in time.
    Deadline,
    /// Kernel or initramfs could not be loaded.
    Load,
    /// A watchdog ended the trial.
    Watchdog,
    /// An operator asked for it.
    Operator,
    /// A word that a newer version wrote. It is kept as it is.
    Other(Word),
}

/// Every reason with a word of its own.
const KNOWN: [(Reason, &str); 7] = [
    (Reason::Tries, "tries"),
    (Reason::Verity, "verity"),
    (Reason::Health, "health"),
    (Reason::Deadline, "deadline"),
    (Reason::Load, "load"),
    (Reason::Watchdog, "watchdog"),
    (Reason::Operator, "operator"),
];

impl Reason {
    /// Longest word, in bytes.
    pub const LEN_MAX: usize = 16;

    /// The reason that `word` stands for: 1 to [`Reason::LEN_MAX`] of `a-z`, `0-9` and `-`.
    /// `None` for anything else.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        let known = KNOWN.into_iter().find(|(_, known)| *known == word);
        known.map(|(reason, _)| reason).or_else(|| Word::new(word).map(Self::Other))
    }

    /// The word as it stands in the environment.
    #[must_use]
    pub fn word(&self) -> &str {
        match self {
            Self::Other(word) => word.as_str(),
            _ => KNOWN.iter().find(|(known, _)| known == self).map_or("", |(_, word)| word),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A word this version does not know. Made by [`Reason::from_word`] only, so that a known reason
/// never hides in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Word {
    bytes: [u8; Reason::LEN_MAX],
    len: usize,
}

impl Word {
    fn new(word: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if word.is_empty() || !word.bytes().all(plain) {
            return None;
        }
        let mut bytes = [0; Reason::LEN_MAX];
        bytes.get_mut(..word.len())?.copy_from_slice(word.as_bytes());
        Some(Self { bytes, len: word.len() })
    }

    fn as_str(&self) -> &str {
        let word = self.bytes.get(..self.len).unwrap_or_default();
        core::str::from_utf8(word).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_survives_a_round_trip() {
        for word in ["tries", "verity", "health", "deadline", "load", "watchdog", "operator"] {
            let reason = Reason::from_word(word).unwrap();
            assert!(!matches!(reason, Reason::Other(_)), "{word}");
            assert_eq!(reason.word(), word);
        }
        for word in ["thermal", "a", "sixteen-letters-"] {
            let reason = Reason::from_word(word).unwrap();
            assert!(matches!(reason, Reason::Other(_)), "{word}");
            assert_eq!(reason.word(), word);
        }
    }

    #[test]
    fn what_is_not_a_word_is_refused() {
        for word in ["", "Tries", "two words", "a:b", "seventeen-letters", "na\u{ef}ve"] {
            assert_eq!(Reason::from_word(word), None, "{word:?}");
        }
    }
}
