//! A case: what is done, on which targets, and in which set.

use super::{
    machine::{Model, Start},
    rig::Rig,
    trouble::Trouble,
};

/// One claim about a device.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    /// What it is called on the command line and in tables.
    pub(crate) name: &'static str,
    /// What is claimed, as a sentence without its end.
    pub(crate) claim: &'static str,
    /// On which of them it runs with every commit.
    pub(crate) every: &'static [Model],
    /// On which machines it can run: all of them with `--all`, and by name.
    pub(crate) on: &'static [Model],
    /// What is on the disk when it begins.
    pub(crate) start: Start,
    /// Does it. What is returned is shown beside the verdict.
    pub(crate) run: fn(&mut Rig, Model) -> Result<String, Trouble>,
}

/// One loader for each architecture.
pub(crate) const BOTH: &[Model] = &[Model::BIOS, Model::U_BOOT];
/// Every kind of environment.
pub(crate) const EACH: &[Model] = &[Model::BIOS, Model::U_BOOT, Model::U_BOOT_REDUNDANT];
/// GRUB alone: where every commit need not see both.
pub(crate) const GRUB: &[Model] = &[Model::BIOS];
/// U-Boot alone.
pub(crate) const U_BOOT: &[Model] = &[Model::U_BOOT];
/// Too long for every commit.
pub(crate) const NONE: &[Model] = &[];

/// Fails with `what` unless it holds.
pub(crate) fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), Trouble> {
    if holds { Ok(()) } else { Err(Trouble::Case(what())) }
}
