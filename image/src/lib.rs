//! Turns the layers of an OCI image into the targets, chunks and packs of a release.

pub mod content;
pub mod erofs;
pub mod target;
pub mod tree;
