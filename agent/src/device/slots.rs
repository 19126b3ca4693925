//! Which slot runs, and which partitions the slots really are.
//!
//! The kernel command line says which slot was loaded, and the device of the root file system
//! proves it. A stick flashed with the same image has the same labels as the disk: labels are
//! looked up on the disk that runs, and nowhere else.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use gybe_core::digest::Digest;
use gybe_core::slot::{PerSlot, Slot};

use super::cmdline::{self, CommandLine, CommandLineError};
use super::identity::{DeviceNumber, Identity};
use super::sysfs::Sysfs;
use crate::config::{Config, SlotPaths};
use crate::root::Root;

const BY_LABEL: &str = "/dev/disk/by-partlabel";
const BY_ANYTHING: &str = "/dev/disk";
/// Where the device of the running system is seen, the likeliest first.
const ROOTS: [&str; 2] = ["/", "/usr"];
/// What systemd calls the verity device, where the root is an overlay over it.
const MAPPED: [&str; 2] = ["/dev/mapper/root", "/dev/mapper/usr"];

/// The slot that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    /// Which one.
    pub slot: Slot,
    /// Whether the loader started it as a trial.
    pub trial: bool,
    /// The version of the loader's script, if it says so.
    pub loader: Option<u32>,
    /// The root hash the kernel was told.
    pub root_hash: Option<Digest>,
}

/// The slots of this device, as they really are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slots {
    /// The one that runs; none where the device is provisioned from another system.
    pub running: Option<Running>,
    /// The partitions of both, ready to be opened.
    pub paths: PerSlot<SlotPaths>,
}

impl Slots {
    /// Finds the slots that `config` describes.
    ///
    /// # Errors
    /// [`SlotsError`], whenever there is a doubt.
    pub fn find(root: &Root, config: &Config) -> Result<Self, SlotsError> {
        let line = command_line(root)?;
        if !root.is_host() {
            let below = |slot| {
                let SlotPaths { root: root_path, boot } = config.slot(slot);
                let boot = boot.as_ref().map(|boot| root.path(boot));
                SlotPaths { root: root.path(root_path), boot }
            };
            let paths = PerSlot { a: below(Slot::A), b: below(Slot::B) };
            return Ok(Self { running: line.slot.map(|slot| running(slot, line)), paths });
        }
        let sysfs = Sysfs::new("/sys");
        let below: Vec<_> = running_device(&sysfs).into_iter().collect();
        let disk = below.first().map(|&number| sysfs.disk_of(number));
        let resolve = |slot: Slot| -> Result<SlotPaths, SlotsError> {
            let SlotPaths { root, boot } = config.slot(slot);
            // Without a slot that runs, the disk we run on is not the one to look at.
            let disk = line.slot.and(disk);
            let locate = |path: &PathBuf| locate(&sysfs, path, disk);
            Ok(SlotPaths { root: locate(root)?, boot: boot.as_ref().map(locate).transpose()? })
        };
        let paths = PerSlot { a: resolve(Slot::A)?, b: resolve(Slot::B)? };
        let proven = proven_slot(&paths, &below)?;
        let slot = decide(line.slot, proven)?;
        Ok(Self { running: slot.map(|slot| running(slot, line)), paths })
    }

    /// The slot that runs.
    #[must_use]
    pub fn running_slot(&self) -> Option<Slot> {
        self.running.map(|running| running.slot)
    }

    /// The slot to write: the one that does not run, or the one that was `named`.
    ///
    /// # Errors
    /// When the running slot was named, or none runs and none was named.
    pub fn inactive(&self, named: Option<Slot>) -> Result<Slot, SlotsError> {
        match (self.running_slot(), named) {
            (Some(running), Some(named)) if running == named => {
                Err(SlotsError::RunningNamed { slot: named })
            }
            (Some(running), _) => Ok(!running),
            (None, Some(named)) => Ok(named),
            (None, None) => Err(SlotsError::NoneRuns),
        }
    }
}

const fn running(slot: Slot, line: CommandLine) -> Running {
    Running { slot, trial: line.trial, loader: line.loader, root_hash: line.root_hash }
}

/// What the kernel of the device below `root` was told.
///
/// # Errors
/// When it cannot be read, or says nothing certain.
pub fn command_line(root: &Root) -> Result<CommandLine, SlotsError> {
    let path = root.path(cmdline::FILE);
    match fs::read(&path) {
        // Arguments of others may be in any encoding; ours are not touched by this.
        Ok(line) => Ok(CommandLine::parse(&String::from_utf8_lossy(&line))?),
        // Below a folder this is how a device looks that never ran.
        Err(cause) if cause.kind() == io::ErrorKind::NotFound && !root.is_host() => {
            Ok(CommandLine::default())
        }
        Err(cause) => Err(SlotsError::Look { path, cause }),
    }
}

/// The devices the running system finally stands on; empty where that cannot be seen.
pub(crate) fn running_device(sysfs: &Sysfs) -> std::collections::BTreeSet<DeviceNumber> {
    let seen = ROOTS.iter().filter_map(|path| Some(fs::metadata(path).ok()?.dev()));
    let mapped = MAPPED.iter().filter_map(|path| Some(fs::metadata(path).ok()?.rdev()));
    let mut numbers = seen.chain(mapped).map(DeviceNumber::from_stat);
    let number = numbers.find(|number| !number.is_anonymous());
    number.map(|number| sysfs.foundations(number)).unwrap_or_default()
}

/// Where the configured `path` really leads on the disk that runs.
pub(crate) fn locate(
    sysfs: &Sysfs,
    path: &Path,
    disk: Option<DeviceNumber>,
) -> Result<PathBuf, SlotsError> {
    if let Ok(label) = path.strip_prefix(BY_LABEL) {
        let label = unescape(&label.to_string_lossy());
        let mut found = sysfs.labelled(&label);
        found.retain(|partition| disk.is_none_or(|disk| partition.disk == disk));
        return match found.as_slice() {
            [partition] => Ok(Path::new("/dev").join(&partition.name)),
            // Where the kernel shows no labels, the link is all there is to go by.
            [] if disk.is_none() => Ok(path.to_owned()),
            [] => Err(SlotsError::NotOnDisk { path: path.to_owned() }),
            [..] => Err(SlotsError::Ambiguous { path: path.to_owned(), count: found.len() }),
        };
    }
    if let (true, Some(disk)) = (path.starts_with(BY_ANYTHING), disk) {
        return match identity(&path.to_owned())? {
            Identity::Device(number) if sysfs.disk_of(number) == disk => Ok(path.to_owned()),
            _ => Err(SlotsError::NotOnDisk { path: path.to_owned() }),
        };
    }
    Ok(path.to_owned())
}

/// Undoes the `\x20` by which udev writes a space.
fn unescape(label: &str) -> String {
    let mut parts = label.split("\\x");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let escaped = part.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (escaped, part.get(2..)) {
            (Some(byte), Some(rest)) if byte.is_ascii() => {
                plain.push(char::from(byte));
                plain.push_str(rest);
            }
            _ => {
                plain.push_str("\\x");
                plain.push_str(part);
            }
        }
    }
    plain
}

/// The slot whose root partition the running system stands on.
fn proven_slot(
    paths: &PerSlot<SlotPaths>,
    below: &[DeviceNumber],
) -> Result<Option<Slot>, SlotsError> {
    let mut proven = None;
    for slot in Slot::ALL {
        let path = &paths.of(slot).root;
        let found = match Identity::at(path) {
            Ok(found) => found,
            // A slot that is missing cannot be the one that runs; opening it says more.
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => continue,
            Err(cause) => return Err(SlotsError::Look { path: path.clone(), cause }),
        };
        if below.iter().any(|&number| Identity::Device(number) == found) {
            if proven.is_some() {
                return Err(SlotsError::SameDevice { path: path.clone() });
            }
            proven = Some(slot);
        }
    }
    Ok(proven)
}

/// What is believed when the loader says one thing and the device proves another.
fn decide(said: Option<Slot>, proven: Option<Slot>) -> Result<Option<Slot>, SlotsError> {
    match (said, proven) {
        (Some(said), Some(proven)) if said != proven => {
            Err(SlotsError::Contradiction { said, proven })
        }
        (Some(said), None) => Err(SlotsError::NotProven { said }),
        // Started by another loader: the device alone tells, and the slot is not to be written.
        (_, proven) => Ok(proven),
    }
}

fn identity(path: &PathBuf) -> Result<Identity, SlotsError> {
    Identity::at(path).map_err(|cause| SlotsError::Look { path: path.clone(), cause })
}

/// Why it is not certain which slot is which.
#[derive(Debug, thiserror::Error)]
pub enum SlotsError {
    /// The kernel command line makes no sense.
    #[error("kernel command line: {0}")]
    CommandLine(#[from] CommandLineError),
    /// Something cannot be looked at.
    #[error("cannot look at {}: {cause}", path.display())]
    Look {
        /// What.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// A name leads away from the disk that runs.
    #[error("{} is not on the disk that holds the running system", path.display())]
    NotOnDisk {
        /// The name.
        path: PathBuf,
    },
    /// A label is there several times.
    #[error("{} could be any of {count} partitions", path.display())]
    Ambiguous {
        /// The name.
        path: PathBuf,
        /// How many there are.
        count: usize,
    },
    /// Both slots are one device.
    #[error("{} is the root of both slots", path.display())]
    SameDevice {
        /// One of its names.
        path: PathBuf,
    },
    /// The command line names another slot than the one that runs.
    #[error("the kernel command line says slot {said}, but the root is that of slot {proven}")]
    Contradiction {
        /// What the loader said.
        said: Slot,
        /// What is true.
        proven: Slot,
    },
    /// The command line names a slot, but the root file system is on neither.
    #[error("the kernel command line says slot {said}, but the root is not on its partition")]
    NotProven {
        /// What the loader said.
        said: Slot,
    },
    /// The running slot was named as the one to write.
    #[error("slot {slot} is running and is never written")]
    RunningNamed {
        /// The slot.
        slot: Slot,
    },
    /// No slot runs.
    #[error("no slot of this device is running, so none can be chosen as the inactive one")]
    NoneRuns,
}

#[cfg(test)]
mod tests {
    use super::super::sysfs::tests::machine;
    use super::*;

    const DISK: DeviceNumber = DeviceNumber { major: 179, minor: 0 };

    #[test]
    fn a_stick_with_the_same_labels_is_not_taken() {
        let (_folder, sysfs) = machine();
        let path = Path::new("/dev/disk/by-partlabel/root_b");
        assert_eq!(locate(&sysfs, path, Some(DISK)).unwrap(), Path::new("/dev/mmcblk0p4"));
        let nowhere = Path::new("/dev/disk/by-partlabel/root_c");
        assert!(matches!(locate(&sysfs, nowhere, Some(DISK)), Err(SlotsError::NotOnDisk { .. })));
        let ambiguous = locate(&sysfs, path, None);
        assert!(matches!(ambiguous, Err(SlotsError::Ambiguous { count: 2, .. })));
        let plain = Path::new("/dev/mmcblk0p4");
        assert_eq!(locate(&sysfs, plain, Some(DISK)).unwrap(), plain);
    }

    #[test]
    fn udev_names_are_read() {
        for (name, label) in
            [("root_b", "root_b"), ("root\\x20b", "root b"), ("a\\xzz", "a\\xzz"), ("\\x", "\\x")]
        {
            assert_eq!(unescape(name), label);
        }
    }

    #[test]
    fn the_device_has_the_last_word() {
        let [a, b] = [Some(Slot::A), Some(Slot::B)];
        assert_eq!(decide(a, a).unwrap(), a);
        assert_eq!(decide(None, b).unwrap(), b);
        assert_eq!(decide(None, None).unwrap(), None);
        assert!(matches!(decide(a, b), Err(SlotsError::Contradiction { .. })));
        assert!(matches!(decide(a, None), Err(SlotsError::NotProven { said: Slot::A })));
    }

    #[test]
    fn the_running_slot_is_never_the_one_to_write() {
        let paths = PerSlot {
            a: SlotPaths { root: "/a".into(), boot: None },
            b: SlotPaths { root: "/b".into(), boot: None },
        };
        let mut slots = Slots { running: None, paths };
        assert!(matches!(slots.inactive(None), Err(SlotsError::NoneRuns)));
        assert_eq!(slots.inactive(Some(Slot::B)).unwrap(), Slot::B);
        slots.running = Some(running(Slot::A, CommandLine::default()));
        assert_eq!(slots.inactive(None).unwrap(), Slot::B);
        assert_eq!(slots.inactive(Some(Slot::B)).unwrap(), Slot::B);
        let refused = slots.inactive(Some(Slot::A));
        assert!(matches!(refused, Err(SlotsError::RunningNamed { slot: Slot::A })));
    }
}
