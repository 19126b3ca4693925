//! A device whose partitions are files below one folder, as `gybe --root` takes it.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use crate::sample::{DEVICE_FOLDER, Samples};

const ROOT_LEN: u64 = 768 << 20;
const BOOT_LEN: u64 = 160 << 20;

/// Everything of the device lies below one folder.
#[derive(Debug)]
pub struct Device {
    root: PathBuf,
}

impl Device {
    /// A device as it leaves the board factory: empty partitions, no system, and the provisioning
    /// system's configuration, which is the image's own.
    ///
    /// # Errors
    /// The files cannot be made, or are there already.
    pub fn create(root: &Path, samples: &Samples) -> io::Result<Self> {
        let device = Self { root: root.to_owned() };
        fs::create_dir_all(root.join("dev/disk/by-partlabel"))?;
        for slot in ["a", "b"] {
            for (target, len) in [("root", ROOT_LEN), ("boot", BOOT_LEN)] {
                File::create_new(device.partition(target, slot))?.set_len(len)?;
            }
        }
        let folder = root.join(DEVICE_FOLDER);
        fs::create_dir_all(&folder)?;
        for (name, content) in samples.device_files()? {
            fs::write(folder.join(name), content)?;
        }
        for folder in ["boot/env", "proc", "var/lib/gybe", "etc/gybe"] {
            fs::create_dir_all(root.join(folder))?;
        }
        fs::write(device.command_line(), "console=ttyS0 provisioning\n")?;
        Ok(device)
    }

    /// The folder that `gybe --root` takes.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The file that stands for the partition of a slot's target.
    #[must_use]
    pub fn partition(&self, target: &str, slot: &str) -> PathBuf {
        self.root.join(format!("dev/disk/by-partlabel/{target}_{slot}"))
    }

    /// The kernel command line that the loader left.
    #[must_use]
    pub fn command_line(&self) -> PathBuf {
        self.root.join("proc/cmdline")
    }
}
