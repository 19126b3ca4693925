//! What a stick holds: found, and read as a whole, before any slot is touched.
//!
//! A stick earns no trust by being near. What lies on it is a stranger's: its file system is mounted
//! so that nothing on it can be run or written, the search has limits, no link is followed, and what is
//! found is believed only as far as its signatures go.

mod check;
mod error;
mod filesystem;
mod medium;
mod search;

pub use check::check;
pub use error::UsbError;
pub use filesystem::FileSystem;
pub use medium::{Medium, Opened, open};
pub use search::{BUNDLES_MAX, Bundle, search};
