//! Why no disk is made.

use std::fmt;
use std::io;
use std::path::PathBuf;

use gybe_core::manifest::ManifestError;
use gybe_core::trust::{KeyError, PolicyError};
use gybe_grub::BlockError;
use gybe_image::fat::FatError;
use gybe_oci::{OfferError, Refusal};

use super::customize::CustomizeError;
use super::program::ProgramError;
use super::sealed::RootError;
use super::slot::FillError;
use super::users::UserError;
use crate::epoch::EpochError;

/// A line of a file, as messages name it; 0 is the whole file.
struct Line(usize);

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { Ok(()) } else { write!(f, ":{}", self.0) }
    }
}

/// Why no disk is made. There is nothing under its name then.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The source offers no release.
    #[error(transparent)]
    Offer(#[from] OfferError),
    /// The manifest makes no sense.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The keys make no sense together.
    #[error("--key: {0}")]
    Policy(PolicyError),
    /// The release does not pass with the keys that were given.
    #[error("{source_name} is refused: {cause}")]
    Refused {
        /// The source.
        source_name: String,
        /// Why.
        cause: Refusal,
    },
    /// No loader is known for the machine.
    #[error("the release is for {found}: disks can be made for amd64 and arm64")]
    Architecture {
        /// The machine.
        found: String,
    },
    /// The release lacks a target.
    #[error("the release has no target {name}, which a disk needs")]
    NoTarget {
        /// Which.
        name: &'static str,
    },
    /// The release has a target that no partition is for.
    #[error("the release has a target {name}, for which a disk has no partition")]
    OtherTarget {
        /// Which.
        name: String,
    },
    /// A partition would be too small.
    #[error("{option} is {found} bytes, at least {needed} are needed")]
    TooSmall {
        /// The option.
        option: &'static str,
        /// What was given.
        found: u64,
        /// What is needed.
        needed: u64,
    },
    /// The disk would be too long.
    #[error("the partitions together are longer than a disk can be")]
    TooLong,
    /// The plan lacks a partition: a fault in this program.
    #[error("the disk has no partition {name}")]
    NoPartition {
        /// Which.
        name: &'static str,
    },
    /// A line is missing in a loader's script: a fault in this program.
    #[error("a loader's script has no line {beginning}, or more than one")]
    Script {
        /// How the line begins.
        beginning: &'static str,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// The output cannot be written.
    #[error("cannot write {}: {cause}", path.display())]
    Output {
        /// The output.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// A part of the disk cannot be written.
    #[error("cannot write {what}: {cause}")]
    Write {
        /// Which part.
        what: &'static str,
        /// What the system says.
        cause: io::Error,
    },
    /// A temporary file cannot be made, written or read.
    #[error("temporary file: {0}")]
    Temporary(io::Error),
    /// The slot cannot be written.
    #[error("slot a: {0}")]
    Fill(#[from] FillError),
    /// The slot's root cannot be read.
    #[error("slot a: {0}")]
    Root(#[from] RootError),
    /// A file of the image is no text.
    #[error("{path} is not UTF-8")]
    NotText {
        /// The file.
        path: String,
    },
    /// A file of the image makes no sense.
    #[error("{path}: {cause}")]
    Document {
        /// The file.
        path: String,
        /// Where and why.
        cause: Box<toml::de::Error>,
    },
    /// The image is for something else.
    #[error("/usr/lib/gybe/config.toml: {what} is {found:?}, but the disk is for {expected:?}")]
    Other {
        /// The key.
        what: &'static str,
        /// What the image says.
        found: String,
        /// What it should say.
        expected: String,
    },
    /// A key that the image's trust names is not there.
    #[error("/usr/lib/gybe/trust.toml: {path} does not exist")]
    NoKey {
        /// The key's file.
        path: String,
    },
    /// A key cannot be used.
    #[error("{}: {cause}", path.display())]
    Key {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        cause: KeyError,
    },
    /// The device would not believe its own release.
    #[error("/usr/lib/gybe/trust.toml: the image does not trust its own release: {why}")]
    OwnTrust {
        /// Why.
        why: String,
    },
    /// A program of the build host is missing or failed.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// GRUB's core does not fit its partition.
    #[error("GRUB's core is {found} bytes, its partition {limit}")]
    Core {
        /// Its length.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// `boot.img` or the core is not what it should be.
    #[error("i386-pc: boot.img or the core made by grub-mkimage is not what GRUB 2 has")]
    BootImage,
    /// A file system does not fit its partition.
    #[error("{name} needs {needed} bytes, its partition has {found}")]
    Volume {
        /// The partition.
        name: &'static str,
        /// What is needed.
        needed: u64,
        /// What there is.
        found: u64,
    },
    /// A file system cannot be laid out.
    #[error(transparent)]
    Fat(#[from] FatError),
    /// The state does not fit GRUB's environment: a fault in this program.
    #[error("boot environment: {0}")]
    GrubEnvironment(BlockError),
    /// The state does not fit U-Boot's environment: a fault in this program.
    #[error("boot environment: {0}")]
    UBootEnvironment(String),
    /// U-Boot's environment for another loader.
    #[error("--u-boot-env is for U-Boot, but the disk is for {loader}")]
    NotUBoot {
        /// The loader.
        loader: &'static str,
    },
    /// Not as many places as there are copies.
    #[error("--u-boot-env-at names {found} places, 2 are needed: one for each copy")]
    Places {
        /// How many there are.
        found: usize,
    },
    /// A copy of U-Boot's environment of an absurd length.
    #[error("--u-boot-env-len is {found} bytes: {least} to {limit} are possible")]
    EnvironmentLen {
        /// What was given.
        found: u64,
        /// The least.
        least: u64,
        /// The limit.
        limit: u64,
    },
    /// A variable that cannot be U-Boot's.
    #[error("{}{}: {problem}", path.display(), Line(*line))]
    Variable {
        /// The file.
        path: PathBuf,
        /// The line, from 1; 0 for the whole file.
        line: usize,
        /// What is wrong.
        problem: &'static str,
    },
    /// The customizations are refused.
    #[error(transparent)]
    Customize(#[from] CustomizeError),
    /// A user cannot be made.
    #[error(transparent)]
    User(#[from] UserError),
    /// The path of a device tree.
    #[error("--dtb: {path:?} is no path of a device tree, such as vendor/board.dtb")]
    Dtb {
        /// What was given.
        path: String,
    },
    /// Firmware is empty or too long.
    #[error("firmware {name} is {found} bytes: 1 to {limit} are possible")]
    FirmwareLen {
        /// Its file.
        name: String,
        /// Its length.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// Firmware does not begin at a sector.
    #[error("firmware {name}: {at} is not a multiple of 512")]
    FirmwareAt {
        /// Its file.
        name: String,
        /// Where it would begin.
        at: u64,
    },
    /// Firmware lies where something else is.
    #[error("firmware {name}, bytes {at} to {end} of the disk, overlaps {what}")]
    FirmwareOverlap {
        /// Its file.
        name: String,
        /// Where it would begin.
        at: u64,
        /// Where it would end.
        end: u64,
        /// What is there.
        what: &'static str,
    },
    /// The configuration of the release makes no sense to us, though the core took it.
    #[error("the configuration of the release: {0}")]
    Config(serde_json::Error),
    /// A document cannot be written.
    #[error("cannot write JSON: {0}")]
    Json(serde_json::Error),
    /// The time to write makes no sense.
    #[error(transparent)]
    Epoch(#[from] EpochError),
}
