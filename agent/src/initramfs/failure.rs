//! What is done about a root that cannot be opened.
//!
//! | what was loaded | what is done |
//! |---|---|
//! | a trial | reboot: the try is spent already, and the loader falls back when all are |
//! | a Good slot, and the other is Good | it is marked Failed, once, and the other boots |
//! | anything else | nothing: the initramfs goes on with its own emergency, which is a reboot |
//!
//! Marking is one write of the environment: cut before it, the slot is tried and marked again; cut
//! after it, the loader takes the other slot. It is not done where the partition is missing or
//! the kernel lacks a module: those say nothing about what the slot holds.

use std::fs;
use std::path::Path;

use gybe_core::boot::{BootEnv as _, Reason};
use gybe_core::slot::Slot;
use nix::mount::umount;
use nix::sys::reboot::{RebootMode, reboot};
use nix::unistd::sync;

use super::arguments::Arguments;
use super::{InitramfsError, candidates, kernel_log, mounting};
use crate::cli::Exit;
use crate::config::Config;
use crate::device::environment::AnyEnvironment;
use crate::device::identity::DeviceNumber;
use crate::device::sysfs::Sysfs;
use crate::device::this_boot::ThisBoot;
use crate::error::Error;
use crate::evidence::{Fault, Note, Reached, note_boot};
use crate::root::Root;

/// Where the state is mounted for a moment.
const KEPT: &str = "/run/gybe/kept";

/// Does what helps, and returns if nothing does.
pub(super) fn handle(
    root: &Root,
    sysfs: &Sysfs,
    arguments: &Arguments,
    cause: InitramfsError,
) -> Result<Exit, Error> {
    kernel_log::say(&cause);
    if arguments.line.trial {
        if cause.is_fault_of_the_slot()
            && let Err(why) = note(sysfs, arguments, &cause)
        {
            kernel_log::say(format_args!("there will be no evidence of this: {why}"));
        }
        kernel_log::say("the trial's root cannot be opened, rebooting");
        restart();
    } else if cause.is_fault_of_the_slot()
        && let Some(slot) = arguments.line.slot
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

/// Notes that the release is to blame, where the state can be reached. Cut off here the try is spent
/// like any other, and the next one finds the same.
fn note(sysfs: &Sysfs, arguments: &Arguments, cause: &InitramfsError) -> Result<(), String> {
    let disk = only_disk(sysfs, arguments).ok_or("it is not known which disk is this device's")?;
    let point = Path::new(KEPT).join("var");
    fs::create_dir_all(&point).map_err(|cause| cause.to_string())?;
    mounting::state(sysfs, disk, &point)?;
    let kept = Root::below(KEPT.into());
    let boot = ThisBoot::read(&Root::host());
    let said =
        Note { reached: Some(Reached::Initramfs), ..Note::fault(Fault::Verity, cause.to_string()) };
    let noted = note_boot(&kept, &boot, &arguments.line, said).map_err(|cause| cause.to_string());
    umount(&point).map_err(|cause| cause.to_string()).and(noted)
}

/// The disk of this device, if only one can be.
fn only_disk(sysfs: &Sysfs, arguments: &Arguments) -> Option<DeviceNumber> {
    let named = candidates::named(sysfs, &arguments.partition);
    let mut disks = named.iter().map(|partition| partition.disk);
    let first = disks.next()?;
    disks.all(|disk| disk == first).then_some(first)
}

/// Whether there is another slot to boot.
enum Marked {
    Yes,
    OnlyGood,
}

fn mark(root: &Root, sysfs: &Sysfs, arguments: &Arguments, slot: Slot) -> Result<Marked, Error> {
    // Where the environment lies elsewhere there is no such partition, and none is needed.
    if let Some(disk) = only_disk(sysfs, arguments) {
        mounting::environment(sysfs, disk)?;
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
