//! What the kernel knows about block devices: which stands on which, and on which disk.
//!
//! Source: `Documentation/ABI/stable/sysfs-block` and `testing/sysfs-block` of Linux, read 2026-11.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::identity::DeviceNumber;

/// How many devices may stand on each other, as verity on encryption on a partition.
const DEPTH_MAX: usize = 8;
/// The most devices that are looked at.
const DEVICES_MAX: usize = 1024;
/// Longest attribute that is read.
const ATTRIBUTE_LEN_MAX: u64 = 64 * 1024;

/// The kernel's view of block devices.
#[derive(Debug)]
pub struct Sysfs {
    folder: PathBuf,
}

/// A partition of a disk.
#[derive(Debug, PartialEq, Eq)]
pub struct Labelled {
    /// Its name below `/dev`.
    pub name: String,
    /// Its number.
    pub number: DeviceNumber,
    /// The disk it is on.
    pub disk: DeviceNumber,
}

/// A partition as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SysPartition {
    /// Its name below `/dev`.
    pub name: String,
    /// Its number.
    pub number: DeviceNumber,
    /// The disk it is on.
    pub disk: DeviceNumber,
    /// Which partition of that disk it is, counted from 1.
    pub index: u32,
    /// Its label, where it has one.
    pub label: Option<String>,
}

impl Sysfs {
    /// The view below `folder`, which is `/sys` but in tests.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The devices on which `number` finally stands; itself, if it stands on none.
    #[must_use]
    pub fn foundations(&self, number: DeviceNumber) -> BTreeSet<DeviceNumber> {
        let mut level = BTreeSet::from([number]);
        for _ in 0..DEPTH_MAX {
            let below: BTreeSet<_> = level
                .iter()
                .flat_map(|&number| {
                    let slaves = self.slaves(number);
                    if slaves.is_empty() { vec![number] } else { slaves }
                })
                .take(DEVICES_MAX)
                .collect();
            if below == level {
                break;
            }
            level = below;
        }
        level
    }

    /// The disk that `number` is a partition of; itself, if it is a disk.
    #[must_use]
    pub fn disk_of(&self, number: DeviceNumber) -> DeviceNumber {
        let folder = self.device(number);
        if !folder.join("partition").exists() {
            return number;
        }
        // The folder is a link to …/sda/sda1; a link's parent must be taken after following it.
        let disk = fs::canonicalize(folder)
            .ok()
            .and_then(|folder| DeviceNumber::parse(&attribute(&folder.parent()?.join("dev"))?));
        disk.unwrap_or(number)
    }

    /// The partitions with this label, on all disks.
    #[must_use]
    pub fn labelled(&self, label: &str) -> Vec<Labelled> {
        let labelled =
            self.partitions().into_iter().filter(|it| it.label.as_deref() == Some(label));
        labelled.map(|it| Labelled { name: it.name, number: it.number, disk: it.disk }).collect()
    }

    /// All partitions, in the order of their numbers.
    #[must_use]
    pub fn partitions(&self) -> Vec<SysPartition> {
        let devices = entries(&self.folder.join("dev/block"));
        let mut found: Vec<_> = devices.iter().filter_map(|it| self.partition(it)).collect();
        found.sort_by_key(|partition| partition.number);
        found
    }

    fn partition(&self, folder: &Path) -> Option<SysPartition> {
        let index = attribute(&folder.join("partition"))?.trim().parse().ok()?;
        let uevent = attribute(&folder.join("uevent"))?;
        let number = DeviceNumber::parse(&attribute(&folder.join("dev"))?)?;
        let name = value(&uevent, "DEVNAME")?.to_owned();
        let label = value(&uevent, "PARTNAME").map(ToOwned::to_owned);
        Some(SysPartition { name, number, disk: self.disk_of(number), index, label })
    }

    /// The name below `/dev` of a device, and the length of its logical sectors.
    #[must_use]
    pub fn disk(&self, number: DeviceNumber) -> Option<(String, u64)> {
        let folder = self.device(number);
        let name = value(&attribute(&folder.join("uevent"))?, "DEVNAME")?.to_owned();
        let sector_len = attribute(&folder.join("queue/logical_block_size"))?;
        Some((name, sector_len.trim().parse().ok()?))
    }

    /// The device that the device mapper calls `name`.
    #[must_use]
    pub fn mapped(&self, name: &str) -> Option<DeviceNumber> {
        let devices = entries(&self.folder.join("dev/block"));
        let mut mapped = devices.iter().filter(|folder| {
            attribute(&folder.join("dm/name")).is_some_and(|found| found.trim() == name)
        });
        DeviceNumber::parse(&attribute(&mapped.next()?.join("dev"))?)
    }

    fn slaves(&self, number: DeviceNumber) -> Vec<DeviceNumber> {
        let slaves = entries(&self.device(number).join("slaves"));
        let numbers = slaves.iter().filter_map(|slave| attribute(&slave.join("dev")));
        numbers.filter_map(|number| DeviceNumber::parse(&number)).collect()
    }

    fn device(&self, number: DeviceNumber) -> PathBuf {
        self.folder.join("dev/block").join(number.to_string())
    }
}

/// What is in a folder; a missing one has nothing in it.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.take(DEVICES_MAX).filter_map(|entry| Some(entry.ok()?.path())).collect()
}

/// The value of a line `NAME=value`.
fn value<'t>(uevent: &'t str, name: &str) -> Option<&'t str> {
    let mut lines = uevent.lines().filter_map(|line| line.split_once('='));
    lines.find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn attribute(file: &Path) -> Option<String> {
    use std::io::Read as _;
    let mut text = String::new();
    fs::File::open(file).ok()?.take(ATTRIBUTE_LEN_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A machine with a disk and a stick flashed with the same image, and verity on the disk's
    /// `root_a`, which is device 254:0.
    pub(crate) fn machine() -> (tempfile::TempDir, Sysfs) {
        let folder = tempfile::tempdir().unwrap();
        let numbers = folder.path().join("dev/block");
        fs::create_dir_all(&numbers).unwrap();
        let add = |path: &str, number: &str, uevent: &str| {
            let device = folder.path().join("devices").join(path);
            fs::create_dir_all(device.join("slaves")).unwrap();
            fs::write(device.join("dev"), format!("{number}\n")).unwrap();
            fs::write(device.join("uevent"), uevent).unwrap();
            if uevent.contains("PARTNAME") {
                fs::write(device.join("partition"), "1\n").unwrap();
            }
            symlink(&device, numbers.join(number)).unwrap();
            device
        };
        for (disk, major) in [("mmcblk0", 179), ("sda", 8)] {
            add(disk, &format!("{major}:0"), &format!("DEVNAME={disk}\n"));
            for (index, label) in ["boot_a", "root_a", "boot_b", "root_b"].iter().enumerate() {
                let name = format!("{disk}p{}", index + 1);
                let uevent = format!("DEVNAME={name}\nPARTNAME={label}\n");
                add(&format!("{disk}/{name}"), &format!("{major}:{}", index + 1), &uevent);
            }
        }
        let verity = add("dm-0", "254:0", "DEVNAME=dm-0\n");
        symlink(numbers.join("179:2"), verity.join("slaves/mmcblk0p2")).unwrap();
        let sysfs = Sysfs::new(folder.path());
        (folder, sysfs)
    }

    const fn number(major: u64, minor: u64) -> DeviceNumber {
        DeviceNumber { major, minor }
    }

    #[test]
    fn verity_stands_on_its_partition() {
        let (_folder, sysfs) = machine();
        assert_eq!(sysfs.foundations(number(254, 0)), BTreeSet::from([number(179, 2)]));
        assert_eq!(sysfs.foundations(number(8, 1)), BTreeSet::from([number(8, 1)]));
    }

    #[test]
    fn a_partition_leads_to_its_disk() {
        let (_folder, sysfs) = machine();
        assert_eq!(sysfs.disk_of(number(179, 2)), number(179, 0));
        assert_eq!(sysfs.disk_of(number(179, 0)), number(179, 0));
        assert_eq!(sysfs.disk_of(number(1, 1)), number(1, 1));
    }

    #[test]
    fn a_label_may_be_on_several_disks() {
        let (_folder, sysfs) = machine();
        let mut found = sysfs.labelled("root_b");
        found.sort_by_key(|partition| partition.number);
        let expected = [("sdap4", 8), ("mmcblk0p4", 179)].map(|(name, major)| Labelled {
            name: name.to_owned(),
            number: number(major, 4),
            disk: number(major, 0),
        });
        assert_eq!(found, expected);
        assert_eq!(sysfs.labelled("root_c"), []);
    }
}
