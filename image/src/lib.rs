//! Turns the layers of an OCI image into the targets, chunks and packs of a release.

mod cut;
mod frame;
mod merge;
mod parallel;
mod spool;
mod spooled;
mod tar;

pub mod base;
pub mod boot;
pub mod bootc;
pub mod compressed;
pub mod content;
pub mod erofs;
pub mod fat;
pub mod folder;
pub mod image;
pub mod initramfs;
pub mod layers;
pub mod listing;
pub mod pack;
pub mod pages;
pub mod target;
pub mod tree;

pub use merge::MergeError;
pub use spool::{AddError, Spool};
pub use spooled::Spooled;
pub use tar::{PathError, TarError};
