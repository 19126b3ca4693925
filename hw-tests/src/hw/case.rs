//! A case: what is done, on which targets, and in which set.

use super::{
    machine::{Arch, Model, Start},
    rig::Rig,
    trouble::Trouble,
};

/// When a case runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Set {
    /// With every commit.
    Every,
    /// With `--all`, and by name.
    Full,
}

/// One claim about a device.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    /// What it is called on the command line and in tables.
    pub(crate) name: &'static str,
    /// What is claimed, as a sentence without its end.
    pub(crate) claim: &'static str,
    /// When it runs.
    pub(crate) set: Set,
    /// On which machines.
    pub(crate) on: &'static [Model],
    /// What is on the disk when it begins.
    pub(crate) start: Start,
    /// Does it. What is returned is shown beside the verdict.
    pub(crate) run: fn(&mut Rig, Arch) -> Result<String, Trouble>,
}

/// Most cases: one loader for each architecture.
pub(crate) const BOTH: &[Model] = &[Model::BIOS, Model::U_BOOT];

/// Fails with `what` unless it holds.
pub(crate) fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), Trouble> {
    if holds { Ok(()) } else { Err(Trouble::Case(what())) }
}
