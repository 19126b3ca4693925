//! The decision of a boot loader: the reference that its script is tested against.

use super::{BootState, Failed, Reason, Trial};
use crate::slot::Slot;

/// What a boot loader does with a [`BootState`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boot {
    /// What to store before anything is loaded. `None`: nothing is written.
    pub store: Option<BootState>,
    /// What to load when there was nothing to store, or it was stored.
    pub stored: Load,
    /// What to load when storing failed: never a trial, because it could not be counted.
    pub unstored: Load,
}

/// What to load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// The slot to load first.
    pub slot: Slot,
    /// Whether this is a counted try. The kernel is then told `gybe.trial=1`.
    pub trial: bool,
    /// The slot to load, with nothing written, when `slot` cannot be loaded. `None`: reset. A trial
    /// that cannot be loaded has so cost a try.
    pub otherwise: Option<Slot>,
}

impl BootState {
    /// What the loader does next.
    ///
    /// - A trial with tries left is tried, if the spent try could be stored first.
    /// - A trial without tries left has failed: that is stored, if it can be, and a Good slot loaded.
    /// - Without a trial nothing is written.
    /// - Of two Good slots the preferred one comes first, and a slot that cannot be loaded gives way
    ///   to the other. One that is not Good comes last, and not at all while it is on trial and
    ///   something is Good. This is no risk: a slot that is not proven cannot be loaded.
    #[must_use]
    pub fn boot(&self) -> Boot {
        let Some(trial) = self.trial else {
            let load = self.load_untried();
            return Boot { store: None, stored: load, unstored: load };
        };
        match trial.tries_left.checked_sub(1) {
            Some(tries_left) => Boot {
                store: Some(Self { trial: Some(Trial { tries_left, ..trial }), ..*self }),
                stored: Load { slot: trial.slot, trial: true, otherwise: None },
                unstored: self.load_untried(),
            },
            None => {
                let failed = Some(Failed { slot: trial.slot, reason: Reason::Tries });
                let spent = Self { trial: None, failed, ..*self };
                let load = spent.load_untried();
                Boot { store: Some(spent), stored: load, unstored: load }
            }
        }
    }

    fn load_untried(&self) -> Load {
        let preferred_first = self.is_good(self.order) || !self.is_good(!self.order);
        let slot = if preferred_first { self.order } else { !self.order };
        let on_trial = self.trial.is_some_and(|trial| trial.slot != slot);
        let otherwise = if on_trial && self.is_good(slot) { None } else { Some(!slot) };
        Load { slot, trial: false, otherwise }
    }
}

#[cfg(test)]
mod tests;
