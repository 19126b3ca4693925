//! Why the configuration cannot be used.

use std::path::PathBuf;

use super::{DocumentError, IMAGE_FOLDER, LOCAL_FILE};

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// One file is wrong by itself.
    #[error("configuration: {0}")]
    Document(#[from] DocumentError),
    /// The image has no configuration.
    #[error("configuration: {} does not exist", file.display())]
    NoImageFile {
        /// The file that should be there.
        file: PathBuf,
    },
    /// `/etc` tries to say what only the image may.
    #[error(
        "configuration: {}:{line}: {key} may only be set in the verified image, in {IMAGE_FOLDER}",
        file.display()
    )]
    ImageOnly {
        /// The file below `/etc`.
        file: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The key.
        key: &'static str,
    },
    /// `/etc` tries to say which keys are trusted.
    #[error(
        "configuration: {}: trust may only be set in the verified image, in {IMAGE_FOLDER}",
        file.display()
    )]
    LocalTrust {
        /// The file below `/etc`.
        file: PathBuf,
    },
    /// A key without a default is missing.
    #[error("configuration: {key} is not set in {} or {LOCAL_FILE}", file.display())]
    Unset {
        /// The image's file.
        file: PathBuf,
        /// The key, with its section.
        key: &'static str,
    },
    /// GRUB needs exactly one place.
    #[error("configuration: bootloader.kind grub needs bootloader.environment, and only that")]
    GrubPlace,
    /// U-Boot needs exactly one place.
    #[error(
        "configuration: bootloader.kind uboot needs either bootloader.fw_env or bootloader.file"
    )]
    UbootPlace,
    /// Two targets would overwrite each other.
    #[error("configuration: {} is named for two targets", path.display())]
    SamePartition {
        /// The path.
        path: PathBuf,
    },
}
