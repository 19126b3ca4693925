//! Why a case did not pass: it failed, the guest crashed by itself, or the target cannot do it.

use std::fmt;

/// What ended a case early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// What was expected did not happen: this is what cases are for.
    Case(String),
    /// The guest's kernel, or the emulator, broke down where nobody asked it to. The case says nothing
    /// about Gybe.
    GuestCrash(String),
    /// A program or file of the harness is missing or broken.
    Harness(String),
    /// This target has no such ability, such as a disk that can be made read-only.
    Cannot(String),
}

impl Trouble {
    /// What went wrong with the harness itself.
    pub(crate) fn harness(what: impl Into<String>) -> Self {
        Self::Harness(what.into())
    }

    /// What was expected, and what was seen.
    pub(crate) fn case(what: impl Into<String>) -> Self {
        Self::Case(what.into())
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Case(what) => f.write_str(what),
            Self::GuestCrash(line) => write!(f, "the guest crashed by itself: {line}"),
            Self::Harness(what) => write!(f, "harness: {what}"),
            Self::Cannot(what) => write!(f, "not on this target: {what}"),
        }
    }
}

/// For the places where only a sentence is known.
impl From<String> for Trouble {
    fn from(what: String) -> Self {
        Self::Harness(what)
    }
}

impl From<std::io::Error> for Trouble {
    fn from(cause: std::io::Error) -> Self {
        Self::Harness(cause.to_string())
    }
}
