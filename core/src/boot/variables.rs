//! The variables that hold a [`BootState`], the same in every boot environment.
//!
//! | variable | value |
//! |---|---|
//! | `gybe_order` | the preferred slot: `a` or `b` |
//! | `gybe_a`, `gybe_b` | `good` or `bad` |
//! | `gybe_try` | the slot on trial, or empty |
//! | `gybe_tries` | its tries left: so many `x` in GRUB, a digit in U-Boot |
//! | `gybe_failed` | the last failure, such as `b:tries`, or empty |
//! | `gybe_end` | `1`, last: what stands before it is complete |

use core::fmt::Write as _;

use super::{BootState, Failed, Reason, TRIES_MAX, Trial};
use crate::slot::{PerSlot, Slot};

/// The preferred slot.
pub const ORDER: &str = "gybe_order";
/// Whether slot A is Good.
pub const GOOD_A: &str = "gybe_a";
/// Whether slot B is Good.
pub const GOOD_B: &str = "gybe_b";
/// The slot on trial.
pub const TRY: &str = "gybe_try";
/// The tries it has left.
pub const TRIES: &str = "gybe_tries";
/// The last failure.
pub const FAILED: &str = "gybe_failed";
/// The sentinel, always last.
pub const END: &str = "gybe_end";

/// All variables, in the order in which they are written.
pub const NAMES: [&str; 7] = [ORDER, GOOD_A, GOOD_B, TRY, TRIES, FAILED, END];

/// Value of the sentinel: the version of this list.
pub const END_VALUE: &str = "1";

/// Longest value, in bytes: a slot, a colon and a reason.
pub const VALUE_LEN_MAX: usize = 2 + Reason::LEN_MAX;

/// How the tries left are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notation {
    /// One `x` each, for GRUB, whose scripts cannot count.
    Unary,
    /// A decimal digit, for U-Boot.
    Digit,
}

/// A variable and its value; an empty value stands for an absent variable, and the reverse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// One of [`NAMES`].
    pub name: &'static str,
    value: heapless::String<VALUE_LEN_MAX>,
}

impl Variable {
    /// The value, at most [`VALUE_LEN_MAX`] bytes.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }
}

/// Why variables do not hold a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VariableError {
    /// The sentinel is missing: a write was cut.
    #[error("gybe_end is missing")]
    NoEnd,
    /// The sentinel is of a version we do not know.
    #[error("gybe_end is not {END_VALUE}: written by another version of gybe")]
    Version,
    /// A variable that every state has is missing.
    #[error("{name} is missing")]
    Missing {
        /// Which.
        name: &'static str,
    },
    /// A variable has a value that it cannot have.
    #[error("{name} has no such value")]
    Value {
        /// Which.
        name: &'static str,
    },
}

/// The variables of `state`, in the order of [`NAMES`].
#[must_use]
pub fn encode(state: &BootState, notation: Notation) -> [Variable; 7] {
    NAMES.map(|name| {
        let mut value = heapless::String::new();
        // Every value fits: the longest is a reason's, and VALUE_LEN_MAX is made from it.
        let _fits = write_value(&mut value, name, state, notation);
        debug_assert!(_fits.is_ok(), "a value of {name} is longer than {VALUE_LEN_MAX}");
        Variable { name, value }
    })
}

fn write_value(
    value: &mut heapless::String<VALUE_LEN_MAX>,
    name: &str,
    state: &BootState,
    notation: Notation,
) -> core::fmt::Result {
    let goodness = |good| if good { "good" } else { "bad" };
    match (name, state.trial, state.failed) {
        (ORDER, ..) => value.write_str(state.order.name()),
        (GOOD_A, ..) => value.write_str(goodness(state.good.a)),
        (GOOD_B, ..) => value.write_str(goodness(state.good.b)),
        (TRY, Some(trial), _) => value.write_str(trial.slot.name()),
        (TRIES, Some(trial), _) => match notation {
            Notation::Unary => (0..trial.tries_left).try_for_each(|_| value.write_str("x")),
            Notation::Digit => write!(value, "{}", trial.tries_left),
        },
        (FAILED, _, Some(failed)) => write!(value, "{}:{}", failed.slot, failed.reason),
        (END, ..) => value.write_str(END_VALUE),
        _ => Ok(()),
    }
}

/// The state that variables hold, or `None` when none of them is there.
///
/// # Errors
/// When they are incomplete, or one has an impossible value.
pub fn decode<'a>(
    notation: Notation,
    mut variable: impl FnMut(&str) -> Option<&'a str>,
) -> Result<Option<BootState>, VariableError> {
    let mut value = |name| variable(name).filter(|value| !value.is_empty());
    match value(END) {
        Some(END_VALUE) => {}
        Some(_) => return Err(VariableError::Version),
        None if NAMES.into_iter().all(|name| value(name).is_none()) => return Ok(None),
        None => return Err(VariableError::NoEnd),
    }
    let order = value(ORDER).ok_or(VariableError::Missing { name: ORDER })?;
    let order = Slot::from_name(order).ok_or(VariableError::Value { name: ORDER })?;
    let mut good = |name| match value(name) {
        None => Err(VariableError::Missing { name }),
        Some("good") => Ok(true),
        Some("bad") => Ok(false),
        Some(_) => Err(VariableError::Value { name }),
    };
    let good = PerSlot { a: good(GOOD_A)?, b: good(GOOD_B)? };
    let tries_left = tries(notation, value(TRIES).unwrap_or_default())
        .ok_or(VariableError::Value { name: TRIES })?;
    let trial = match value(TRY) {
        None => None,
        Some(slot) => {
            let slot = Slot::from_name(slot).ok_or(VariableError::Value { name: TRY })?;
            Some(Trial { slot, tries_left })
        }
    };
    let failed = match value(FAILED) {
        None => None,
        Some(text) => Some(failed(text).ok_or(VariableError::Value { name: FAILED })?),
    };
    Ok(Some(BootState { order, good, trial, failed }))
}

/// The tries left that `text` stands for; nothing at all is none left.
fn tries(notation: Notation, text: &str) -> Option<u8> {
    let tries = match (notation, text.as_bytes()) {
        (_, []) => 0,
        (Notation::Unary, letters) if letters.iter().all(|letter| *letter == b'x') => {
            u8::try_from(letters.len()).ok()?
        }
        (Notation::Digit, [digit @ b'0'..=b'9']) => digit.checked_sub(b'0')?,
        _ => return None,
    };
    (tries <= TRIES_MAX).then_some(tries)
}

fn failed(text: &str) -> Option<Failed> {
    let (slot, reason) = text.split_once(':')?;
    Some(Failed { slot: Slot::from_name(slot)?, reason: Reason::from_word(reason)? })
}

#[cfg(test)]
mod tests;
