//! A disk as the factory lays it out, put together from files.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::super::bench::{Device, succeed, tool};

pub(crate) const ROOT_LEN: u64 = 32 << 20;
pub(crate) const BOOT_LEN: u64 = 1 << 20;
const ENVIRONMENT_LEN: u64 = 1 << 20;
const STATE_LEN: u64 = 16 << 20;
const FIRST: u64 = 1 << 20;
const SECTOR_LEN: u64 = 512;

/// The partitions in their order.
const PARTITIONS: [(&str, u64); 6] = [
    ("gybe_env", ENVIRONMENT_LEN),
    ("boot_a", BOOT_LEN),
    ("root_a", ROOT_LEN),
    ("boot_b", BOOT_LEN),
    ("root_b", ROOT_LEN),
    ("state", STATE_LEN),
];

/// A disk image.
pub(crate) struct Disk(PathBuf);

impl Disk {
    /// Makes one from the partitions of `device`, with both slots good and a fresh state.
    pub(crate) fn new(device: &Device<'_>, path: PathBuf) -> Self {
        let mut script = String::from("label: gpt\n");
        for (name, len) in PARTITIONS {
            let start = start(name) / SECTOR_LEN;
            let (len, uuid) = (len / SECTOR_LEN, uuid(name));
            script.push_str(&format!("start={start}, size={len}, name={name}, uuid={uuid}\n"));
        }
        let end = start("state") + STATE_LEN;
        File::create(&path).unwrap().set_len(end + (1 << 20)).unwrap();
        fs::write(path.with_extension("sfdisk"), script).unwrap();
        let mut partition = tool("sh");
        partition.arg("-c").arg("sfdisk --quiet \"$1\" < \"$2\"").arg("sh").arg(&path);
        succeed(partition.arg(path.with_extension("sfdisk")));
        let disk = Self(path);
        for name in ["boot_a", "root_a", "boot_b", "root_b"] {
            disk.put(name, &device.partition(name));
        }
        let state = disk.0.with_extension("state");
        File::create(&state).unwrap().set_len(STATE_LEN).unwrap();
        succeed(tool("mke2fs").args(["-q", "-t", "ext4", "-L", "state"]).arg(&state));
        disk.put("state", &state);
        disk.make_environment();
        disk
    }

    fn make_environment(&self) {
        let fat = self.0.with_extension("env");
        File::create(&fat).unwrap().set_len(ENVIRONMENT_LEN).unwrap();
        succeed(tool("mkfs.vfat").arg(&fat));
        for name in ["grubenv", "grubenv.safe"] {
            let file = self.0.with_extension(name);
            succeed(tool("grub-editenv").arg(&file).arg("create"));
            let mut set = tool("grub-editenv");
            set.arg(&file).args(["set", "gybe_order=a", "gybe_a=good", "gybe_b=good"]);
            set.args(["gybe_try=", "gybe_tries=", "gybe_failed=", "gybe_end=1"]);
            succeed(&mut set);
            let mut copy = tool("mcopy");
            succeed(copy.arg("-i").arg(&fat).arg(&file).arg(format!("::/{name}")));
        }
        self.put("gybe_env", &fat);
    }

    /// Another disk with the same bytes.
    pub(crate) fn copy(&self, name: &str) -> Self {
        let path = self.0.with_file_name(name);
        succeed(tool("cp").arg("--sparse=always").arg(&self.0).arg(&path));
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    fn put(&self, name: &str, file: &Path) {
        let disk = File::options().write(true).open(&self.0).unwrap();
        disk.write_all_at(&fs::read(file).unwrap(), start(name)).unwrap();
    }

    /// Writes zeros over the first bytes of a partition.
    pub(crate) fn wipe(&self, name: &str) {
        let disk = File::options().write(true).open(&self.0).unwrap();
        disk.write_all_at(&vec![0; 1 << 16], start(name)).unwrap();
    }

    /// Flips a bit of the first place in a partition where `bytes` stand.
    pub(crate) fn flip(&self, name: &str, bytes: &[u8]) {
        let disk = File::options().read(true).write(true).open(&self.0).unwrap();
        let mut content = vec![0; usize::try_from(ROOT_LEN).unwrap()];
        disk.read_exact_at(&mut content, start(name)).unwrap();
        let at = content.windows(bytes.len()).position(|window| window == bytes).unwrap();
        disk.write_all_at(&[bytes[0] ^ 1], start(name) + at as u64).unwrap();
    }

    /// Makes the disk longer, as a disk is to which a factory's image is written.
    pub(crate) fn lengthen(&self, by: u64) {
        let disk = File::options().write(true).open(&self.0).unwrap();
        disk.set_len(disk.metadata().unwrap().len() + by).unwrap();
    }

    /// The GUID of a partition.
    pub(crate) fn uuid(&self, name: &str) -> String {
        let mut ask = tool("sfdisk");
        ask.arg("--part-uuid").arg(&self.0).arg(number(name).to_string());
        succeed(&mut ask).trim().to_ascii_lowercase()
    }

    /// What the loader appends for a slot of this disk.
    pub(crate) fn appended(&self, slot: &str, trial: bool) -> String {
        let uuid = self.uuid(&format!("root_{slot}"));
        let trial = if trial { " gybe.trial=1" } else { "" };
        format!(
            " gybe.slot={slot}{trial} gybe.loader=1 systemd.verity_root_data=PARTUUID={uuid} \
             systemd.verity_root_hash=PARTUUID={uuid} console=ttyS0 quiet"
        )
    }

    /// A file of the state, as it was made durable.
    pub(crate) fn kept(&self, path: &str) -> String {
        let state = format!("{}?offset={}", self.0.display(), start("state"));
        succeed(tool("debugfs").args(["-R", &format!("cat {path}"), &state]))
    }

    /// Sets variables of the boot environment, as a loader or an agent would.
    pub(crate) fn set(&self, assignments: &[&str]) {
        let image = format!("{}@@{}", self.0.display(), start("gybe_env"));
        for name in ["grubenv", "grubenv.safe"] {
            let (file, inside) = (self.0.with_extension(name), format!("::/{name}"));
            let copy = || tool("mcopy");
            succeed(copy().args(["-n", "-i", &image]).arg(&inside).arg(&file));
            succeed(tool("grub-editenv").arg(&file).arg("set").args(assignments));
            succeed(copy().args(["-o", "-i", &image]).arg(&file).arg(&inside));
        }
    }

    /// The variables of the live boot environment.
    pub(crate) fn environment(&self) -> String {
        let mut read = tool("mtype");
        let image = format!("{}@@{}", self.0.display(), start("gybe_env"));
        succeed(read.args(["-i", &image]).arg("::/grubenv"))
    }
}

/// Where a partition begins.
fn start(name: &str) -> u64 {
    let before = PARTITIONS.iter().take_while(|(found, _)| *found != name);
    FIRST + before.map(|(_, len)| len).sum::<u64>()
}

/// The GUID that every disk here gives to a partition: they are flashed with one image.
fn uuid(name: &str) -> String {
    format!("67796265-0000-4000-8000-{:012}", number(name))
}

/// The number of a partition.
fn number(name: &str) -> usize {
    PARTITIONS.iter().position(|(found, _)| *found == name).unwrap() + 1
}
