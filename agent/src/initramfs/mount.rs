//! `gybe initramfs mount DIR`: `/var`, `/etc` and the boot environment for the root at DIR.
//!
//! Nothing here may keep a device from booting: what is lost is replaced by memory, and the running
//! system says so. What is written goes to the state partition only:
//!
//! | step | a power cut in it leaves |
//! |---|---|
//! | `/var` is filled from the image | what is whole or nothing of each entry, and no marker: it goes on |
//! | the changes of `/etc` are brought over | a folder under another name, made again |
//! | they are put in place by one rename | the slot's changes of before, or all of them |

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use gybe_core::slot::Slot;
use nix::libc::{O_DIRECTORY, O_PATH};
use tracing::info;

use super::arguments::Arguments;
use super::{
    AMBIGUOUS, ETC_CONFLICTS, InitramfsError, STATE_LOST, candidates, command_line, evidence,
    kernel_log, leave_note, mounting, other_root::OtherRoot,
};
use crate::cli::Exit;
use crate::device::identity::DeviceNumber;
use crate::device::sysfs::{SysPartition, Sysfs};
use crate::error::Error;
use crate::etc::{self, Changes, Overlay};
use crate::{output, var};

/// Where `/etc` is kept when the state partition cannot hold it.
const ETC_IN_MEMORY: &str = "/run/gybe/etc";

/// Makes the mounts of the root that is mounted at `folder`.
///
/// # Errors
/// When there is nothing to make them for, or even memory cannot be mounted.
pub fn run(folder: &Path) -> Result<Exit, Error> {
    let line = command_line()?;
    let Some(arguments) = Arguments::parse(&line).map_err(InitramfsError::from)? else {
        output::talk("gybe: the command line names no slot, nothing to mount");
        return Ok(Exit::Done);
    };
    let sysfs = Sysfs::new("/sys");
    let slot = arguments.slot.ok_or(InitramfsError::NoSlot)?;
    let partition = partition_of(&sysfs, folder)?;
    tell_of_others(&sysfs, &arguments, &partition);
    let release = arguments.root_hash.hex().to_string();
    let mut lost = state(&sysfs, folder, partition.disk, &release)?;
    evidence::opened(folder, &line);
    if let Err(why) = etc(&sysfs, folder, slot, &release, partition.disk)? {
        lost.push(why);
    }
    if !lost.is_empty() {
        let lost = lost.join("; ");
        kernel_log::say(format_args!("the state is lost, going on without it: {lost}"));
        note(STATE_LOST, &lost);
    }
    // The agent says what it lacks; a device without it still runs what it runs.
    if let Err(cause) = mounting::environment(&sysfs, partition.disk) {
        kernel_log::say(cause);
    }
    info!(%slot, "the root is ready");
    Ok(Exit::Done)
}

fn note(path: &str, text: &str) {
    if let Err(cause) = leave_note(path, text) {
        output::talk(format_args!("gybe: cannot write {path}: {cause}"));
    }
}

/// The partition that the root at `folder` finally stands on.
fn partition_of(sysfs: &Sysfs, folder: &Path) -> Result<SysPartition, InitramfsError> {
    let metadata = fs::metadata(folder);
    let metadata =
        metadata.map_err(|cause| InitramfsError::Read { path: folder.to_owned(), cause })?;
    let number = DeviceNumber::from_stat(metadata.dev());
    let below = sysfs.foundations(number);
    let found = sysfs.partitions().into_iter().find(|it| below.contains(&it.number));
    found.ok_or_else(|| InitramfsError::NoDevice { path: folder.to_owned() })
}

/// Says so if the root could have been opened from another disk too, whoever opened it.
fn tell_of_others(sysfs: &Sysfs, arguments: &Arguments, partition: &SysPartition) {
    if Path::new(AMBIGUOUS).exists() {
        return;
    }
    let name = |it: &SysPartition| Path::new("/dev").join(&it.name);
    let Arguments { geometry, root_hash, .. } = arguments;
    let others = candidates::named(sysfs, &arguments.partition).into_iter().filter(|it| {
        it.number != partition.number && candidates::check(&name(it), geometry, root_hash).is_ok()
    });
    let others: Vec<_> = others.map(|it| name(&it).display().to_string()).collect();
    if !others.is_empty() {
        note(AMBIGUOUS, &format!("{} {}", name(partition).display(), others.join(" ")));
    }
}

/// `/var`. What comes back are the things that are lost, in words.
fn state(
    sysfs: &Sysfs,
    folder: &Path,
    disk: DeviceNumber,
    release: &str,
) -> Result<Vec<String>, InitramfsError> {
    let point = folder.join("var");
    if is_mounted(&point)? {
        return Ok(Vec::new());
    }
    // Held open, the image's own folder can still be read when something is mounted over it.
    let image = OpenOptions::new().read(true).custom_flags(O_PATH | O_DIRECTORY).open(&point);
    let image = image.map_err(|cause| InitramfsError::Read { path: point.clone(), cause })?;
    let mut lost = Vec::new();
    if let Err(why) = mounting::state(sysfs, disk, &point) {
        mounting::memory(&point)?;
        lost.push(why);
    }
    if let Err(cause) = var::fill(&held(&image), &point, release) {
        // A full or failing medium: what runs may miss a folder, and can be repaired from afar.
        kernel_log::say(format_args!("/var is not filled from the image: {cause}"));
    }
    Ok(lost)
}

/// A path by which a folder that is held open is reached, whatever is mounted over it.
fn held(folder: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()))
}

fn is_mounted(point: &Path) -> Result<bool, InitramfsError> {
    let mounted = mounting::is_mount_point(point);
    mounted.map_err(|cause| InitramfsError::Read { path: point.to_owned(), cause })
}

/// `/etc`. Where the state cannot hold its changes, memory does; then why comes back, in words.
fn etc(
    sysfs: &Sysfs,
    folder: &Path,
    slot: Slot,
    release: &str,
    disk: DeviceNumber,
) -> Result<Result<(), String>, InitramfsError> {
    let point = folder.join("etc");
    if is_mounted(&point)? {
        return Ok(Ok(()));
    }
    let (overlay, why) = match changes(sysfs, folder, slot, release, disk) {
        Ok(overlay) => match overlay.mount(&point, &point) {
            Ok(()) => (overlay, None),
            Err(cause) => (in_memory(&point)?, Some(cause.to_string())),
        },
        Err(cause) => (in_memory(&point)?, Some(cause.to_string())),
    };
    let conflicts = overlay.conflicts();
    if !conflicts.is_empty() {
        note(ETC_CONFLICTS, &conflicts.join("\n"));
    }
    Ok(why.map_or(Ok(()), |why| Err(format!("/etc: {why}"))))
}

/// The changes of `slot`, brought to the release that runs.
fn changes(
    sysfs: &Sysfs,
    folder: &Path,
    slot: Slot,
    release: &str,
    disk: DeviceNumber,
) -> io::Result<Overlay> {
    let pending = match etc::look(folder, slot, release)? {
        Changes::Ready(overlay) => return Ok(overlay),
        Changes::Pending(pending) => pending,
    };
    if !pending.has_other() {
        return pending.take_over(None);
    }
    match OtherRoot::open(sysfs, folder, !slot, disk) {
        Ok(other) => {
            let overlay = pending.take_over(Some(&other.etc()));
            if let Err(cause) = other.close() {
                kernel_log::say(format_args!("slot {}: {cause}", !slot));
            }
            overlay
        }
        Err(cause) => {
            kernel_log::say(format_args!(
                "/etc of slot {} cannot be compared, its changes are copied as they are: {cause}",
                !slot
            ));
            pending.take_over(None)
        }
    }
}

fn in_memory(point: &Path) -> Result<Overlay, InitramfsError> {
    let folder = Path::new(ETC_IN_MEMORY);
    let made = Overlay::make(folder);
    let overlay = made.map_err(|cause| memory_error(folder, cause))?;
    overlay.mount(point, point).map_err(|cause| InitramfsError::Mount {
        what: "overlay",
        point: point.to_owned(),
        cause,
    })?;
    Ok(overlay)
}

fn memory_error(folder: &Path, cause: io::Error) -> InitramfsError {
    InitramfsError::Write { doing: "make", path: folder.to_owned(), cause }
}
