//! U-Boot's own redundant environment: what the board's U-Boot has built in, with our state, in two copies.
//!
//! U-Boot takes what it saved in place of what is built in, all of it, so the board's variables belong there
//! too: `bootcmd` above all.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use gybe_core::boot::BootState;
use gybe_uboot::{Image, LEN_MAX, Stamp};

use super::super::DiskError;
use super::super::firmware::Loaded;
use crate::cli::{Disk, size};

/// Where a checksum ends and a flags byte follows.
const CRC_LEN: usize = 4;
const LEN_MIN: u64 = 512;

/// Where a copy lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a file of the partition `gybe_env`.
    File(String),
    /// At a byte of the disk, outside all partitions.
    Offset(u64),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            return size(text).map(Self::Offset);
        }
        let plain = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_' | b'.');
        if text.is_empty() || text.starts_with('.') || !text.bytes().all(plain) {
            return Err(format!("{text:?} is neither a byte of the disk nor a file's name"));
        }
        Ok(Self::File(text.to_owned()))
    }
}

/// Both copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Redundant {
    copies: [(Place, Vec<u8>); 2],
}

impl Redundant {
    /// Makes what was asked for, if it was: copies that say `state`, the first in force.
    pub(in super::super) fn make(
        arguments: &Disk,
        state: &BootState,
    ) -> Result<Option<Self>, DiskError> {
        let (Some(path), Some(len)) = (&arguments.u_boot_env, arguments.u_boot_env_len) else {
            return Ok(None);
        };
        let [first, second] = arguments.u_boot_env_at.as_slice() else {
            return Err(DiskError::Places { found: arguments.u_boot_env_at.len() });
        };
        let limit = u64::try_from(LEN_MAX).unwrap_or(u64::MAX);
        let Some(room) = usize::try_from(len).ok().filter(|_| (LEN_MIN..=limit).contains(&len))
        else {
            return Err(DiskError::EnvironmentLen { found: len, least: LEN_MIN, limit });
        };
        let text = fs::read_to_string(path);
        let text = text.map_err(|cause| DiskError::Read { path: path.clone(), cause })?;
        let built_in = built_in(path, &text)?;
        let copy = |flags| {
            let image = Image::parse_redundant(&built_in);
            let written = image.and_then(|image| {
                let mut bytes = vec![0; room];
                image.write(Some(state), Stamp::Flags(flags), &mut bytes)?;
                Ok(bytes)
            });
            written.map_err(|cause| DiskError::UBootEnvironment(cause.to_string()))
        };
        let copies = [(first.clone(), copy(1)?), (second.clone(), copy(0)?)];
        Ok(Some(Self { copies }))
    }

    /// Copies that are files.
    pub(in super::super) fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.copies.iter().filter_map(|(place, bytes)| match place {
            Place::File(name) => Some((name.as_str(), bytes.as_slice())),
            Place::Offset(_) => None,
        })
    }

    /// Copies that lie outside all partitions.
    pub(in super::super) fn outside(&self) -> impl Iterator<Item = Loaded> {
        self.copies.iter().filter_map(|(place, bytes)| match place {
            Place::Offset(at) => Some(Loaded { name: "u-boot_env", at: *at, bytes: bytes.clone() }),
            Place::File(_) => None,
        })
    }
}

/// An image of the variables that a U-Boot has built in, one a line, as its build puts them into
/// `u-boot-initial-env` and `printenv` shows them.
fn built_in(path: &Path, text: &str) -> Result<Vec<u8>, DiskError> {
    let refuse = |line: usize, problem: &'static str| DiskError::Variable {
        path: PathBuf::from(path),
        line,
        problem,
    };
    let mut bytes = vec![0; CRC_LEN + 1];
    let mut names: Vec<&str> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, _)) = line.split_once('=') else {
            return Err(refuse(number, "is not NAME=VALUE"));
        };
        if name.is_empty() || name.starts_with("gybe_") || line.contains('\0') {
            return Err(refuse(number, "has a name that is empty or gybe's own"));
        }
        if names.contains(&name) {
            return Err(refuse(number, "names a variable again"));
        }
        names.push(name);
        bytes.extend(line.bytes());
        bytes.push(0);
    }
    if !names.contains(&"bootcmd") {
        return Err(refuse(0, "has no bootcmd, so that U-Boot would start nothing"));
    }
    bytes.push(0);
    let (head, content) = bytes.split_at_mut(CRC_LEN + 1);
    let checksum = crc32fast::hash(content).to_le_bytes();
    head.iter_mut().zip(checksum).for_each(|(to, from)| *to = from);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_byte_or_a_file() {
        assert_eq!("4M".parse(), Ok(Place::Offset(4 << 20)));
        assert_eq!("uboot.env".parse(), Ok(Place::File("uboot.env".to_owned())));
        for text in ["", "a/b", ".env", "4x", "a b"] {
            assert!(Place::from_str(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn variables_that_would_not_start_a_board_are_refused() {
        let built_in = |text| built_in(Path::new("env"), text);
        let good = built_in("# U-Boot\nbootcmd=run a\n\na=echo x=y\n").unwrap();
        let image = Image::parse_redundant(&good).unwrap();
        assert_eq!((image.value("bootcmd"), image.value("a")), (Some("run a"), Some("echo x=y")));
        for (text, expected) in [
            ("bootcmd=a\nb\n", "env:2: is not NAME=VALUE"),
            ("bootcmd=a\ngybe_a=good\n", "env:2: has a name that is empty or gybe's own"),
            ("bootcmd=a\nbootcmd=b\n", "env:2: names a variable again"),
            ("a=b\n", "env: has no bootcmd"),
        ] {
            let refused = built_in(text).unwrap_err().to_string();
            assert!(refused.starts_with(expected), "{refused}");
        }
    }
}
