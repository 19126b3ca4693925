//! A board's own firmware, which many boards load from a fixed place on the disk.
//!
//! Each gets a partition, so that no program takes its place for free, and all other partitions begin
//! behind it.

use std::fs;
use std::path::PathBuf;
use std::str::FromStr;

use super::DiskError;
use super::gpt::{ENTRIES_LEN, SECTOR_LEN, TABLE_LEN};
use crate::cli::size;

/// Longest of them.
const LEN_MAX: u64 = 64 << 20;

/// `FILE@OFFSET`: a file, and the byte of the disk it begins at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firmware {
    path: PathBuf,
    at: u64,
}

/// What lies at a place of the disk that is fixed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Loaded {
    pub(super) name: &'static str,
    pub(super) at: u64,
    pub(super) bytes: Vec<u8>,
}

impl Loaded {
    pub(super) const fn end(&self) -> u64 {
        self.at.saturating_add(self.bytes.len() as u64)
    }
}

impl FromStr for Firmware {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, at) = text.rsplit_once('@').ok_or("give FILE@OFFSET, as u-boot.bin@32K")?;
        Ok(Self { path: path.into(), at: size(at)? })
    }
}

/// Reads all of them; they are in the order in which they lie.
pub(super) fn read(all: &[Firmware]) -> Result<Vec<Loaded>, DiskError> {
    let mut loaded: Vec<Loaded> = Vec::new();
    for Firmware { path, at } in all {
        let failed = |cause| DiskError::Read { path: path.clone(), cause };
        let len = fs::metadata(path).map_err(failed)?.len();
        let name = path.display().to_string();
        if len == 0 || len > LEN_MAX {
            return Err(DiskError::FirmwareLen { name, found: len, limit: LEN_MAX });
        }
        let bytes = fs::read(path).map_err(failed)?;
        let found = Loaded { name: "firmware", at: *at, bytes };
        place(&mut loaded, found, &name)?;
    }
    Ok(loaded)
}

/// Adds something, if there is room for it; what it is called in messages is `name`.
pub(super) fn place(loaded: &mut Vec<Loaded>, more: Loaded, name: &str) -> Result<(), DiskError> {
    let (at, end, name) = (more.at, more.end(), name.to_owned());
    if !at.is_multiple_of(SECTOR_LEN) {
        return Err(DiskError::FirmwareAt { name, at });
    }
    if at < TABLE_LEN {
        return Err(DiskError::FirmwareOverlap { name, at, end, what: "the partition table" });
    }
    if let Some(other) = loaded.iter().find(|other| other.at < end && other.end() > at) {
        return Err(DiskError::FirmwareOverlap { name, at, end, what: other.name });
    }
    loaded.push(more);
    loaded.sort_by_key(|loaded| loaded.at);
    Ok(())
}

/// What is to be known of firmware right behind the table: the state partition grows by a new table, for
/// which there must be room in front of all partitions.
pub(super) fn warning(loaded: &[Loaded]) -> Option<String> {
    let first = loaded.iter().map(|it| it.at).min()?;
    let needed = TABLE_LEN.saturating_add(ENTRIES_LEN);
    (first < needed).then(|| {
        format!(
            "firmware begins at byte {first}: below {needed} there is no room for another partition \
             table, and the state partition will not grow on the first boot"
        )
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn firmware_lies_behind_the_table_and_beside_other_firmware() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&[1; 1024]).unwrap();
        let firmware =
            |at: &str| Firmware::from_str(&format!("{}@{at}", file.path().display())).unwrap();
        let found = read(&[firmware("1M"), firmware("32K")]).unwrap();
        let places: Vec<_> = found.iter().map(|it| (it.at, it.end())).collect();
        assert_eq!(places, [(32 << 10, 33 << 10), (1 << 20, (1 << 20) + 1024)]);
        assert!(warning(&found).is_some_and(|it| it.contains("begins at byte 32768: below 33792")));
        assert_eq!(warning(&found[1..]), None);
        for (places, expected) in [
            (&["8K"][..], "overlaps the partition table"),
            (&["32K", "33K"], ""),
            (&["32K", "33280"], "overlaps firmware"),
            (&["33000"], "33000 is not a multiple of 512"),
        ] {
            let all: Vec<_> = places.iter().map(|at| firmware(at)).collect();
            let refused = read(&all).map_or_else(|refused| refused.to_string(), |_| String::new());
            assert!(
                refused.contains(expected) && refused.is_empty() == expected.is_empty(),
                "{refused}"
            );
        }
        assert!(Firmware::from_str("file").is_err() && Firmware::from_str("file@x").is_err());
    }
}
