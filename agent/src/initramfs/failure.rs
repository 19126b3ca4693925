//! What is done about a root that cannot be opened.
//!
//! | what was loaded | what is done |
//! |---|---|
//! | a trial | the evidence says why, then reboot: the try is spent already, and the loader falls back when all are |
//! | a Good slot, and the other is Good | it is marked Failed, once, and the other boots |
//! | anything else | nothing: the initramfs goes on with its own emergency, which is a reboot |
//!
//! Marking is one write of the environment: cut before it, the slot is tried and marked again; cut
//! after it, the loader takes the other slot. It is not done where the partition is missing or
//! the kernel lacks a module: those say nothing about what the slot holds.

use gybe_core::boot::{BootEnv as _, Reason};
use gybe_core::slot::Slot;
use nix::sys::reboot::{RebootMode, reboot};
use nix::unistd::sync;

use super::arguments::Arguments;
use super::{InitramfsError, candidates, evidence, kernel_log, mounting};
use crate::cli::Exit;
use crate::config::Config;
use crate::device::environment::AnyEnvironment;
use crate::device::sysfs::Sysfs;
use crate::error::Error;
use crate::output;
use crate::root::Root;

/// Does what helps, and returns if nothing does.
pub(super) fn handle(
    root: &Root,
    sysfs: &Sysfs,
    arguments: &Arguments,
    line: &str,
    cause: InitramfsError,
) -> Result<Exit, Error> {
    kernel_log::say(&cause);
    output::talk(format_args!("gybe: {cause}"));
    if arguments.trial {
        evidence::not_opened(sysfs, arguments, line, &cause);
        kernel_log::say("the trial's root cannot be opened, rebooting");
        restart();
    } else if cause.is_fault_of_the_slot()
        && let Some(slot) = arguments.slot
    {
        match mark(root, sysfs, arguments, slot) {
            Ok(Marked::Yes) => {
                kernel_log::say(format_args!("slot {slot} is marked failed, rebooting"));
                restart();
            }
            Ok(Marked::OnlyGood) => kernel_log::say("no other slot is good"),
            Err(cause) => kernel_log::say(format_args!("slot {slot} is not marked: {cause}")),
        }
    }
    Err(cause.into())
}

/// Whether there is another slot to boot.
enum Marked {
    Yes,
    OnlyGood,
}

fn mark(root: &Root, sysfs: &Sysfs, arguments: &Arguments, slot: Slot) -> Result<Marked, Error> {
    let named = candidates::named(sysfs, &arguments.partition);
    let mut disks: Vec<_> = named.iter().map(|partition| partition.disk).collect();
    disks.dedup();
    if let [disk] = disks.as_slice() {
        // Where the environment lies elsewhere there is no such partition, and none is needed.
        mounting::environment(sysfs, *disk)?;
    }
    let config = Config::load(root)?;
    let mut environment = AnyEnvironment::open(root, &config.bootloader)?;
    let boot = environment.load()?.state;
    let Some(boot) = boot.filter(|it| it.is_good(slot) && it.is_good(!slot)) else {
        return Ok(Marked::OnlyGood);
    };
    environment.store(&boot.fail(slot, Reason::Verity)?)?;
    Ok(Marked::Yes)
}

/// Ends it here and now. Returns only where that is not possible.
fn restart() {
    sync();
    let Err(cause) = reboot(RebootMode::RB_AUTOBOOT);
    kernel_log::say(format_args!("cannot reboot: {cause}"));
}
