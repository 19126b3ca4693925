//! Why nothing comes from a stick.

use std::io;
use std::path::PathBuf;

/// Why nothing comes from a stick. No slot was touched.
#[derive(Debug, thiserror::Error)]
pub enum UsbError {
    /// The device cannot be looked at.
    #[error("{}: {cause}", device.display())]
    Look {
        /// The device.
        device: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// It is no device that could be a stick.
    #[error("{} is not a block device", device.display())]
    NotADevice {
        /// What was named.
        device: PathBuf,
    },
    /// It cannot be mounted.
    #[error("{}: cannot mount it as {kind}: {cause}", device.display())]
    Mount {
        /// The device.
        device: PathBuf,
        /// As what.
        kind: &'static str,
        /// What the system says.
        cause: io::Error,
    },
    /// Its top folder cannot be read.
    #[error("{name}: cannot read its folder: {cause}")]
    Folder {
        /// The stick.
        name: String,
        /// What the system says.
        cause: io::Error,
    },
    /// Everything on it is refused.
    #[error("{name}: nothing on it is for this device: {}", reasons.join("; "))]
    Refused {
        /// The stick.
        name: String,
        /// Why, for each bundle and release.
        reasons: Vec<String>,
    },
    /// The release on it is not an update.
    #[error("{name}: {version} is not installed: {why}")]
    NotAnUpdate {
        /// The bundle.
        name: String,
        /// The version of its release.
        version: String,
        /// Why.
        why: String,
    },
}
