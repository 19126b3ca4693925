//! The two slots of a device.

use core::fmt;
use core::ops::Not;

/// One of the two places an operating system can live in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Slot {
    /// The first slot.
    A,
    /// The second slot.
    B,
}

impl Slot {
    /// Both slots, A first.
    pub const ALL: [Self; 2] = [Self::A, Self::B];

    /// The name used in variables, on command lines and in configuration: `a` or `b`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }

    /// The slot with this name, in lower case as [`Slot::name`] writes it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|slot| slot.name() == name)
    }
}

/// `!running` is the inactive slot.
impl Not for Slot {
    type Output = Self;

    fn not(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One value for each slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PerSlot<T> {
    /// What belongs to slot A.
    pub a: T,
    /// What belongs to slot B.
    pub b: T,
}

impl<T> PerSlot<T> {
    /// What belongs to `slot`.
    #[must_use]
    pub const fn of(&self, slot: Slot) -> &T {
        match slot {
            Slot::A => &self.a,
            Slot::B => &self.b,
        }
    }

    /// What belongs to `slot`, to be changed.
    #[must_use]
    pub const fn of_mut(&mut self, slot: Slot) -> &mut T {
        match slot {
            Slot::A => &mut self.a,
            Slot::B => &mut self.b,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_back_to_its_slot() {
        for slot in Slot::ALL {
            assert_eq!(Slot::from_name(slot.name()), Some(slot));
            assert_eq!(!!slot, slot);
            assert_ne!(!slot, slot);
        }
        assert_eq!(Slot::from_name("A"), None);
    }

    #[test]
    fn each_slot_has_its_own_value() {
        let mut count = PerSlot { a: 1, b: 2 };
        *count.of_mut(Slot::B) = 7;
        assert_eq!(Slot::ALL.map(|slot| *count.of(slot)), [1, 7]);
    }
}
