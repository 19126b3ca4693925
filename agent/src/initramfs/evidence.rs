//! What is noted of a trial before its userspace begins.
//!
//! A note is one store of the evidence: cut before it, the attempt looks like one that met a power cut,
//! which it then did. What cannot be noted is said, and stops nothing.

use std::fs;
use std::path::Path;

use nix::mount::umount;

use super::arguments::{Arguments, PartitionName};
use super::{InitramfsError, candidates, kernel_log, mounting};
use crate::device::cmdline::CommandLine;
use crate::device::identity::DeviceNumber;
use crate::device::sysfs::Sysfs;
use crate::device::this_boot::ThisBoot;
use crate::evidence::{self, Fault, Note, Reached, note_boot};
use crate::root::Root;

/// Where the state partition is mounted for a note, where there is no root to mount it in.
const FOLDER: &str = "/run/gybe/evidence";

/// Notes that the root of a trial was opened. `folder` has `/var` already.
pub(super) fn opened(folder: &Path, line: &str) {
    note(&Root::below(folder.to_owned()), line, Note::reached(Reached::Initramfs));
}

/// Notes that the root of a trial could not be opened, and why, where the state partition can be
/// reached: on the disk that has the slot.
pub(super) fn not_opened(sysfs: &Sysfs, arguments: &Arguments, line: &str, cause: &InitramfsError) {
    let Some(disk) = disk_of(sysfs, &arguments.partition) else {
        kernel_log::say("there is no evidence of this: it is not known which disk is meant");
        return;
    };
    let point = Path::new(FOLDER).join("var");
    let mounted = fs::create_dir_all(&point).map_err(|cause| cause.to_string());
    if let Err(why) = mounted.and_then(|()| mounting::state(sysfs, disk, &point)) {
        kernel_log::say(format_args!("there is no evidence of this: {why}"));
        return;
    }
    let text = cause.to_string();
    // What is missing may be there the next time; what is not the signed root never will be.
    let fault = cause.is_fault_of_the_slot().then_some(Fault::Verity);
    let kernel = evidence::kernel_log(&Root::host());
    let reached = Some(Reached::Initramfs);
    let note_of = Note { reached, fault, output: Some(text), kernel, ..Note::default() };
    note(&Root::below(FOLDER.into()), line, note_of);
    if let Err(cause) = umount(&point) {
        kernel_log::say(format_args!("{FOLDER} stays mounted: {cause}"));
    }
}

fn note(kept: &Root, line: &str, note: Note) {
    let Ok(line) = CommandLine::parse(line) else { return };
    if let Err(cause) = note_boot(kept, &ThisBoot::read(&Root::host()), &line, note) {
        kernel_log::say(format_args!("there is no evidence of this: {cause}"));
    }
}

/// The only disk that has a partition of this name.
fn disk_of(sysfs: &Sysfs, name: &PartitionName) -> Option<DeviceNumber> {
    let named = candidates::named(sysfs, name);
    let mut disks: Vec<_> = named.iter().map(|partition| partition.disk).collect();
    disks.dedup();
    match disks.as_slice() {
        [disk] => Some(*disk),
        _ => None,
    }
}
