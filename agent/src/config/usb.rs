//! The section `[usb]`: whether sticks are looked at, and what follows an install from one.

use super::document::{DocumentError, Section};

const KEYS: [&str; 2] = ["enabled", "reboot"];

/// What is done with sticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usb {
    /// Whether they are looked at: `false` in either file switches it off, so that `/etc` can only
    /// restrict it.
    pub enabled: bool,
    /// What follows an install.
    pub then: Then,
}

impl Default for Usb {
    fn default() -> Self {
        Self { enabled: true, then: Then::Wait }
    }
}

/// What follows an install from a stick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The machine reboots at once.
    Reboot,
    /// The next boot tries the release, whenever that comes.
    Wait,
}

/// What one file says of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Layer {
    enabled: Option<bool>,
    then: Option<Then>,
}

impl Layer {
    pub(super) fn read(section: &Section<'_>) -> Result<Self, DocumentError> {
        section.allow(&KEYS)?;
        let then = match section.text("reboot")? {
            None => None,
            Some(text) if text.value == "now" => Some(Then::Reboot),
            Some(text) if text.value == "wait" => Some(Then::Wait),
            Some(text) => {
                return Err(section.value_error("reboot", text.line, "is not now or wait"));
            }
        };
        Ok(Self { enabled: section.boolean("enabled")?, then })
    }

    /// This layer, and what it does not say from `base`.
    pub(super) fn over(self, base: Self) -> Self {
        let enabled = match (self.enabled, base.enabled) {
            (Some(ours), Some(theirs)) => Some(ours && theirs),
            (ours, theirs) => ours.or(theirs),
        };
        Self { enabled, then: self.then.or(base.then) }
    }

    pub(super) fn finish(self) -> Usb {
        let default = Usb::default();
        Usb {
            enabled: self.enabled.unwrap_or(default.enabled),
            then: self.then.unwrap_or(default.then),
        }
    }
}
