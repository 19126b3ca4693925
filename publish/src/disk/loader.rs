//! Which loader a disk gets.

use clap::ValueEnum;

use super::DiskError;
use super::uboot::Redundant;

/// A loader that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LoaderName {
    /// GRUB for UEFI, and on x86-64 for BIOS too
    Grub,
    /// A script for the board's own U-Boot
    Uboot,
}

/// A loader for a certain machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loader {
    Grub(Machine),
    UBoot(Machine),
}

/// A machine for which there is a loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Machine {
    Amd64,
    Arm64,
}

/// What a disk says to its loader.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings<'a> {
    /// Arguments for the kernel that are not signed.
    pub(super) local: &'a str,
    /// A device tree in the boot target.
    pub(super) dtb: Option<&'a str>,
    /// The kernel's whole command line, but for what the loader adds.
    pub(super) command_line: &'a str,
    /// U-Boot's own environment, where it has one that can be used.
    pub(super) redundant: Option<&'a Redundant>,
}

impl Loader {
    /// What was asked for, else what is usual on the machine.
    pub(super) fn choose(asked: Option<LoaderName>, architecture: &str) -> Result<Self, DiskError> {
        let (machine, usual) = match architecture {
            "amd64" => (Machine::Amd64, LoaderName::Grub),
            "arm64" => (Machine::Arm64, LoaderName::Uboot),
            other => return Err(DiskError::Architecture { found: other.to_owned() }),
        };
        Ok(match asked.unwrap_or(usual) {
            LoaderName::Grub => Self::Grub(machine),
            LoaderName::Uboot => Self::UBoot(machine),
        })
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Grub(_) => "grub",
            Self::UBoot(_) => "uboot",
        }
    }

    pub(super) const fn has_esp(self) -> bool {
        matches!(self, Self::Grub(_))
    }

    /// Whether it has GRUB's core for a legacy BIOS.
    pub(super) const fn has_bios(self) -> bool {
        matches!(self, Self::Grub(Machine::Amd64))
    }
}
