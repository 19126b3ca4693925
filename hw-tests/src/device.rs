//! A device whose partitions are files below one folder, as `gybe --root` takes it.

use std::{
    fs::{self, File},
    io::{self, Write as _},
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
        Self::with(root, (ROOT_LEN, BOOT_LEN), &samples.device_files()?)
    }

    /// The same, with partitions of these lengths (of `root`, and of `boot`) and this configuration.
    pub(crate) fn with(
        root: &Path,
        (root_len, boot_len): (u64, u64),
        configuration: &[(&str, String)],
    ) -> io::Result<Self> {
        let device = Self { root: root.to_owned() };
        fs::create_dir_all(root.join("dev/disk/by-partlabel"))?;
        for slot in ["a", "b"] {
            for (target, len) in [("root", root_len), ("boot", boot_len)] {
                File::create_new(device.partition(target, slot))?.set_len(len)?;
            }
        }
        let folder = root.join(DEVICE_FOLDER);
        fs::create_dir_all(&folder)?;
        for (name, content) in configuration {
            fs::write(folder.join(name), content)?;
        }
        for folder in ["boot/env", "proc", "var/lib/gybe", "etc/gybe"] {
            fs::create_dir_all(root.join(folder))?;
        }
        fs::write(device.command_line(), "console=ttyS0 provisioning\n")?;
        Ok(device)
    }

    /// Empties the partitions of a slot.
    pub(crate) fn renew(&self, slot: &str) -> io::Result<()> {
        for target in ["root", "boot"] {
            let file = fs::OpenOptions::new().write(true).open(self.partition(target, slot))?;
            let len = file.metadata()?.len();
            file.set_len(0)?;
            file.set_len(len)?;
        }
        Ok(())
    }

    /// Overwrites a slot with zeros and waits for the medium: as a partition that was never used, but
    /// with all its blocks there, so that writing them again asks the file system for nothing.
    pub(crate) fn wipe(&self, slot: &str) -> io::Result<()> {
        let zeros = vec![0; 1 << 20];
        for target in ["root", "boot"] {
            let mut file = fs::OpenOptions::new().write(true).open(self.partition(target, slot))?;
            let mut left = file.metadata()?.len();
            while left > 0 {
                let len = usize::try_from(left).unwrap_or(usize::MAX).min(zeros.len());
                file.write_all(zeros.get(..len).unwrap_or_default())?;
                left -= len as u64;
            }
            file.sync_all()?;
        }
        Ok(())
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
