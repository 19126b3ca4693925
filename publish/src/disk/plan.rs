//! Where everything lies on a factory disk.
//!
//! ```text
//! │ table │ esp │ bios │ gybe_env │ boot_a │ root_a │ boot_b │ root_b │ state │ table │
//!   1 MiB   GRUB  x86_64                                                 last
//!
//! │ table │ boot_script │ gybe_env │ boot_a │ root_a │ boot_b │ root_b │ state │ table │
//!           U-Boot, its number is the last
//! ```
//!
//! `docs/formats/factory-disk.md` specifies it.

use gybe_core::block::BLOCK_LEN_U64;
use gybe_core::install::needed_blocks;
use gybe_core::release::Release;
use gybe_core::trailer::PARTS;

use super::DiskError;
use super::firmware::Loaded;
use super::gpt::{BACK_LEN, Entry, FRONT_LEN, Guid};
use super::loader::Loader;

const MIB: u64 = 1 << 20;

/// What an EFI system partition has room for: GRUB, and what firmware vendors put beside it.
const ESP_LEN: u64 = 64 * MIB;
/// GRUB's core, about 200 KiB.
const BIOS_LEN: u64 = 2 * MIB;
const ENVIRONMENT_LEN: u64 = 16 * MIB;
/// A copy of U-Boot's script.
pub(super) const SCRIPT: &str = "boot_script";
const SCRIPT_LEN: u64 = MIB;
/// Boot targets grow with every kernel, and partitions never.
const BOOT_LEN_MIN: u64 = 256 * MIB;
const STATE_LEN: u64 = 256 * MIB;

/// Least lengths of partitions: a FAT of which programs know the kind, and an ext4 with a journal.
const ENVIRONMENT_LEN_MIN: u64 = MIB;
const STATE_LEN_MIN: u64 = 16 * MIB;

/// Lengths that were asked for, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lens {
    pub(super) environment: Option<u64>,
    pub(super) boot: Option<u64>,
    pub(super) root: Option<u64>,
    pub(super) state: Option<u64>,
}

/// Everything that lies on the disk.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) disk_len: u64,
    pub(super) guid: Guid,
    pub(super) entries: Vec<Entry>,
}

impl Plan {
    /// Plans a disk for `release`, whose trailer has parts of these lengths.
    pub(super) fn new(
        release: &Release<'_>,
        parts: [u64; PARTS],
        loader: Loader,
        lens: Lens,
        firmware: &[Loaded],
    ) -> Result<Self, DiskError> {
        let needed = |name: &'static str| {
            let targets = &release.config().targets;
            let at = targets.iter().position(|target| target.name == name);
            let at = at.ok_or(DiskError::NoTarget { name })?;
            let blocks = targets.get(at).map_or(0, |target| needed_blocks(at, target, parts));
            Ok::<_, DiskError>(blocks.saturating_mul(BLOCK_LEN_U64))
        };
        if let Some(other) =
            release.config().targets.iter().find(|target| !["root", "boot"].contains(&target.name))
        {
            return Err(DiskError::OtherTarget { name: other.name.to_owned() });
        }
        let (root_needed_len, boot_needed_len) = (needed("root")?, needed("boot")?);
        let room = root_needed_len.saturating_add(root_needed_len / 2);
        let root = length("--root-size", lens.root, room, root_needed_len)?;
        let room = boot_needed_len.saturating_mul(2).max(BOOT_LEN_MIN);
        let boot = length("--boot-size", lens.boot, room, boot_needed_len)?;
        let environment =
            length("--env-size", lens.environment, ENVIRONMENT_LEN, ENVIRONMENT_LEN_MIN)?;
        let state = length("--state-size", lens.state, STATE_LEN, STATE_LEN_MIN)?;

        let digest = release.manifest().digest;
        let mut entries: Vec<Entry> = Vec::new();
        let firmware_end = firmware.iter().map(Loaded::end).max().unwrap_or(0);
        let mut start = firmware_end.max(FRONT_LEN).next_multiple_of(MIB);
        let is_u_boot = matches!(loader, Loader::UBoot(_));
        let script_at = start;
        if is_u_boot {
            start = start.saturating_add(SCRIPT_LEN);
        }
        let mut add = |name: &'static str, kind: Guid, len: u64| {
            let (guid, bootable) = (Guid::derived(&digest, name), is_u_boot && name == "gybe_env");
            entries.push(Entry { name, kind, guid, start, len, bootable });
            start = start.saturating_add(len);
        };
        if loader.has_esp() {
            add("esp", Guid::ESP, ESP_LEN);
        }
        if loader.has_bios() {
            add("bios", Guid::BIOS_BOOT, BIOS_LEN);
        }
        add("gybe_env", Guid::LINUX, environment);
        for (boot_name, root_name) in [("boot_a", "root_a"), ("boot_b", "root_b")] {
            add(boot_name, Guid::LINUX, boot);
            add(root_name, Guid::LINUX, root);
        }
        add("state", Guid::LINUX, state);
        // Numbers of what lies in front come last, so that those of the others are the same on every disk.
        if is_u_boot {
            let (name, kind, guid) = (SCRIPT, Guid::LINUX, Guid::derived(&digest, SCRIPT));
            let (start, len, bootable) = (script_at, SCRIPT_LEN, true);
            entries.push(Entry { name, kind, guid, start, len, bootable });
        }
        for (number, loaded) in firmware.iter().enumerate() {
            let guid = Guid::derived(&digest, &format!("{} {number}", loaded.name));
            let (start, len) = (loaded.at, loaded.bytes.len() as u64);
            let (name, kind) = (loaded.name, Guid::RESERVED);
            entries.push(Entry { name, kind, guid, start, len, bootable: false });
        }
        let disk_len = start.checked_add(BACK_LEN).filter(|len| *len < i64::MAX as u64);
        let disk_len = disk_len.ok_or(DiskError::TooLong)?;
        Ok(Self { disk_len, guid: Guid::derived(&digest, "disk"), entries })
    }

    /// The partition with this name.
    pub(super) fn entry(&self, name: &'static str) -> Result<&Entry, DiskError> {
        let found = self.entries.iter().find(|entry| entry.name == name);
        found.ok_or(DiskError::NoPartition { name })
    }

    /// Its number.
    pub(super) fn number(&self, name: &'static str) -> Result<usize, DiskError> {
        let found = (1..).zip(&self.entries).find(|(_, entry)| entry.name == name);
        found.map(|(number, _)| number).ok_or(DiskError::NoPartition { name })
    }
}

/// What was asked for, else what is usual, in whole mebibytes; not less than `least`.
fn length(
    option: &'static str,
    asked: Option<u64>,
    usual: u64,
    least: u64,
) -> Result<u64, DiskError> {
    let len = asked.unwrap_or(usual);
    if len < least {
        return Err(DiskError::TooSmall { option, found: len, needed: least });
    }
    len.checked_next_multiple_of(MIB).ok_or(DiskError::TooLong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_in_whole_mebibytes_and_not_too_small() {
        let length = |asked, usual, least| length("--root-size", asked, usual, least);
        assert_eq!(length(None, 5 * MIB + 1, MIB).unwrap(), 6 * MIB);
        assert_eq!(length(Some(2 * MIB), 5 * MIB, MIB).unwrap(), 2 * MIB);
        let refused = length(Some(MIB), 5 * MIB, MIB + 1).unwrap_err().to_string();
        assert_eq!(refused, "--root-size is 1048576 bytes, at least 1048577 are needed");
        assert!(length(Some(u64::MAX), 0, 0).is_err());
    }
}
