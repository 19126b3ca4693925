//! The mounts themselves.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sys::statvfs::{FsFlags, statvfs};

use super::{ENVIRONMENT, ENVIRONMENT_LABEL, InitramfsError, STATE_LABEL};
use crate::device::identity::DeviceNumber;
use crate::device::sysfs::Sysfs;
use crate::output;

/// Mounts `source` with file system `what`.
pub(super) fn mount_at(
    source: &Path,
    what: &'static str,
    point: &Path,
    flags: MsFlags,
    options: &str,
) -> Result<(), InitramfsError> {
    let mounted = mount(Some(source), point, Some(what), flags, Some(options));
    mounted.map_err(|cause| InitramfsError::Mount {
        what,
        point: point.to_owned(),
        cause: cause.into(),
    })
}

/// Whether something is mounted at `point`, which is no link.
pub(super) fn is_mount_point(point: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let parent = point.parent().unwrap_or(point);
    Ok(fs::symlink_metadata(point)?.dev() != fs::symlink_metadata(parent)?.dev())
}

/// The partition with this label on this disk, and on no other: a second disk may have it too.
pub(super) fn partition(sysfs: &Sysfs, disk: DeviceNumber, label: &str) -> Result<PathBuf, String> {
    let mut found = sysfs.labelled(label);
    found.retain(|partition| partition.disk == disk);
    match found.as_slice() {
        [partition] => Ok(Path::new("/dev").join(&partition.name)),
        [] => Err(format!("no partition of the root's disk has the label {label}")),
        [..] => {
            Err(format!("{} partitions of the root's disk have the label {label}", found.len()))
        }
    }
}

/// Mounts the environment partition of `disk`, read-only, if there is one. Mounting writes nothing.
pub(super) fn environment(sysfs: &Sysfs, disk: DeviceNumber) -> Result<(), InitramfsError> {
    let point = Path::new(ENVIRONMENT);
    let made = fs::create_dir_all(point);
    made.map_err(|cause| InitramfsError::Write { doing: "make", path: point.into(), cause })?;
    let mounted = is_mount_point(point);
    if mounted.map_err(|cause| InitramfsError::Read { path: point.into(), cause })? {
        return Ok(());
    }
    let partition = match partition(sysfs, disk, ENVIRONMENT_LABEL) {
        Ok(partition) => partition,
        Err(why) => {
            output::talk(format_args!("gybe: {ENVIRONMENT} is not mounted: {why}"));
            return Ok(());
        }
    };
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOEXEC | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount_at(&partition, "vfat", point, flags, "umask=0022")
}

/// Mounts the state partition of `disk` at `point`. A journal is replayed by the kernel; nothing
/// else is repaired here, because what repairs can also take away.
///
/// # Errors
/// Why there is no state, in words.
pub(super) fn state(sysfs: &Sysfs, disk: DeviceNumber, point: &Path) -> Result<(), String> {
    let partition = partition(sysfs, disk, STATE_LABEL)?;
    mount_at(&partition, "ext4", point, MsFlags::empty(), "").map_err(|it| it.to_string())?;
    let flags = statvfs(point).map(|it| it.flags()).unwrap_or(FsFlags::ST_RDONLY);
    if flags.contains(FsFlags::ST_RDONLY) {
        // A folder that cannot be written keeps nothing. What it holds is left for whoever repairs.
        let unmounted = nix::mount::umount(point).map_err(|cause| cause.to_string());
        return unmounted.and(Err(format!("{} can only be read", partition.display())));
    }
    Ok(())
}

/// Mounts memory in place of what is lost.
pub(super) fn memory(point: &Path) -> Result<(), InitramfsError> {
    mount_at(Path::new("gybe"), "tmpfs", point, MsFlags::empty(), "mode=0755")
}
