//! What a boot environment remembers, and every way in which that may change.

use super::Reason;
use crate::slot::{PerSlot, Slot};

/// Most tries a trial can have: a digit in U-Boot, and as many letters in GRUB, which cannot count.
pub const TRIES_MAX: u8 = 7;

/// What a boot environment remembers of both slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootState {
    /// The preferred slot of two Good ones.
    pub order: Slot,
    /// Which slots were committed, and not cleared or failed since.
    pub good: PerSlot<bool>,
    /// The slot to try next, if any.
    pub trial: Option<Trial>,
    /// The last failure, until the slot is cleared or something is armed.
    pub failed: Option<Failed>,
}

/// An open trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trial {
    /// The slot on trial.
    pub slot: Slot,
    /// How often it may still be loaded, up to [`TRIES_MAX`]. While its last try runs this is 0.
    pub tries_left: u8,
}

/// A recorded failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The slot that failed.
    pub slot: Slot,
    /// Why.
    pub reason: Reason,
}

/// What the environment says of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotState {
    /// Cleared, or never committed. It may be proven: the slot itself knows.
    Unbootable,
    /// On trial.
    Trial {
        /// How often it may still be loaded.
        tries_left: u8,
    },
    /// Committed.
    Good,
    /// Not to be loaded while anything is Good.
    Failed {
        /// Why.
        reason: Reason,
    },
}

/// Why a transition is not possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransitionError {
    /// The running slot would be cleared.
    #[error("slot {slot} is running and cannot be cleared")]
    Running {
        /// The running slot.
        slot: Slot,
    },
    /// The running slot is not Good, so that nothing would be left to fall back to.
    #[error("slot {slot} is running and not yet committed, so the other slot must stay")]
    RunningNotGood {
        /// The running slot.
        slot: Slot,
    },
    /// A Good slot needs no trial.
    #[error("slot {slot} is already good")]
    AlreadyGood {
        /// The slot.
        slot: Slot,
    },
    /// There is a trial already.
    #[error("slot {slot} is already on trial")]
    OnTrial {
        /// The slot on trial.
        slot: Slot,
    },
    /// The slot is not on trial.
    #[error("slot {slot} is not on trial")]
    NotOnTrial {
        /// The slot.
        slot: Slot,
    },
    /// There is no trial to cancel.
    #[error("no slot is on trial")]
    NoTrial,
    /// A trial of so many tries is not possible.
    #[error("{found} tries, not 1 to {TRIES_MAX}")]
    Tries {
        /// The number asked for.
        found: u8,
    },
    /// The slot is the last Good one.
    #[error("slot {slot} is the only good one")]
    LastGood {
        /// The slot.
        slot: Slot,
    },
    /// The slot is not Good, so it cannot be returned to or preferred.
    #[error("slot {slot} is not good")]
    NotGood {
        /// The slot.
        slot: Slot,
    },
}

impl BootState {
    /// What an environment in which nothing was ever stored means: the running slot is Good. Without
    /// a running slot (when a device is provisioned from another system) nothing is.
    #[must_use]
    pub fn factory(running: Option<Slot>) -> Self {
        let mut good = PerSlot::default();
        if let Some(running) = running {
            *good.of_mut(running) = true;
        }
        Self { order: running.unwrap_or(Slot::A), good, trial: None, failed: None }
    }

    /// Whether `slot` is Good.
    #[must_use]
    pub const fn is_good(&self, slot: Slot) -> bool {
        *self.good.of(slot)
    }

    /// Whether `slot` is on trial.
    #[must_use]
    pub fn is_on_trial(&self, slot: Slot) -> bool {
        self.trial.is_some_and(|trial| trial.slot == slot)
    }

    /// What is recorded of `slot`.
    #[must_use]
    pub fn slot_state(&self, slot: Slot) -> SlotState {
        match (self.trial, self.failed) {
            (Some(trial), _) if trial.slot == slot => {
                SlotState::Trial { tries_left: trial.tries_left }
            }
            _ if self.is_good(slot) => SlotState::Good,
            (_, Some(failed)) if failed.slot == slot => SlotState::Failed { reason: failed.reason },
            _ => SlotState::Unbootable,
        }
    }

    /// Makes `slot` Unbootable, which is what is stored before its first block is written. A trial
    /// of it ends, and its failure is forgotten: save the evidence first. `running` is `None` when
    /// the device is provisioned from another system.
    ///
    /// # Errors
    /// When `slot` is running, or the running slot is not Good.
    pub fn clear(self, slot: Slot, running: Option<Slot>) -> Result<Self, TransitionError> {
        match running {
            Some(running) if running == slot => return Err(TransitionError::Running { slot }),
            Some(running) if !self.is_good(running) => {
                return Err(TransitionError::RunningNotGood { slot: running });
            }
            _ => {}
        }
        let cleared = Self {
            trial: self.trial.filter(|trial| trial.slot != slot),
            failed: self.failed.filter(|failed| failed.slot != slot),
            ..self
        };
        Ok(cleared.with_good(slot, false).falling_back_from(slot))
    }

    /// Opens a trial of `slot`, which must be proven. The last failure is forgotten.
    ///
    /// # Errors
    /// When `slot` is Good, a trial is open, or `tries` is not 1 to [`TRIES_MAX`].
    pub fn arm(self, slot: Slot, tries: u8) -> Result<Self, TransitionError> {
        if let Some(trial) = self.trial {
            return Err(TransitionError::OnTrial { slot: trial.slot });
        }
        if self.is_good(slot) {
            return Err(TransitionError::AlreadyGood { slot });
        }
        if tries == 0 || tries > TRIES_MAX {
            return Err(TransitionError::Tries { found: tries });
        }
        let trial = Some(Trial { slot, tries_left: tries });
        Ok(Self { trial, failed: None, ..self }.falling_back_from(slot))
    }

    /// Makes the running `slot` Good and preferred. A Good slot stays as it is, so this may be
    /// repeated, and does not undo a [`rollback`](Self::rollback) that waits for a reboot.
    ///
    /// # Errors
    /// When `slot` is not on trial, not Good, and something else is: see [`adopt`](Self::adopt).
    pub fn commit(self, slot: Slot) -> Result<Self, TransitionError> {
        if self.is_good(slot) && !self.is_on_trial(slot) {
            return Ok(self);
        }
        if !self.is_on_trial(slot) && self.is_good(!slot) {
            return Err(TransitionError::NotOnTrial { slot });
        }
        Ok(self.adopt(slot))
    }

    /// Makes the running `slot` Good and preferred, whatever is recorded of it: for the operator of
    /// a device that the loader started from a slot that is not Good, because no other could be
    /// loaded.
    #[must_use]
    pub fn adopt(self, slot: Slot) -> Self {
        let adopted = Self {
            order: slot,
            trial: self.trial.filter(|trial| trial.slot != slot),
            failed: self.failed.filter(|failed| failed.slot != slot),
            ..self
        };
        adopted.with_good(slot, true)
    }

    /// Records that `slot` failed: it is not loaded again while another is Good.
    ///
    /// # Errors
    /// When `slot` is Good and the only Good one: then the record would help nobody.
    pub fn fail(self, slot: Slot, reason: Reason) -> Result<Self, TransitionError> {
        if self.is_good(slot) && !self.is_good(!slot) {
            return Err(TransitionError::LastGood { slot });
        }
        let failed = Self {
            trial: self.trial.filter(|trial| trial.slot != slot),
            failed: Some(Failed { slot, reason }),
            ..self
        };
        Ok(failed.with_good(slot, false).falling_back_from(slot))
    }

    /// Ends a trial that has not begun, without a judgement: the slot may be armed again.
    ///
    /// # Errors
    /// When there is no trial.
    pub fn cancel_trial(self) -> Result<Self, TransitionError> {
        self.trial.ok_or(TransitionError::NoTrial)?;
        Ok(Self { trial: None, ..self })
    }

    /// Prefers the Good `slot` from the next boot on.
    ///
    /// # Errors
    /// When `slot` is not Good.
    pub fn prefer(self, slot: Slot) -> Result<Self, TransitionError> {
        if !self.is_good(slot) {
            return Err(TransitionError::NotGood { slot });
        }
        Ok(Self { order: slot, ..self })
    }

    /// What `gybe rollback` does while `running` runs: a trial that waits for a reboot is cancelled,
    /// a trial that runs has failed, and else the next boot loads the other slot.
    ///
    /// # Errors
    /// When the other slot is not Good and there is no trial to cancel.
    pub fn rollback(self, running: Slot) -> Result<Self, TransitionError> {
        if self.is_on_trial(!running) {
            return self.cancel_trial();
        }
        if !self.is_good(!running) {
            return Err(TransitionError::NotGood { slot: !running });
        }
        if self.is_on_trial(running) {
            return self.fail(running, Reason::Operator);
        }
        self.prefer(!running)
    }

    const fn with_good(mut self, slot: Slot, good: bool) -> Self {
        *self.good.of_mut(slot) = good;
        self
    }

    /// Prefers the other slot if it is Good, and else leaves the loader nothing but `slot`.
    fn falling_back_from(self, slot: Slot) -> Self {
        Self { order: if self.is_good(!slot) { !slot } else { slot }, ..self }
    }
}

#[cfg(test)]
mod tests;
