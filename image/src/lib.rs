//! Turns the layers of an OCI image into the targets, chunks and packs of a release.

mod cut;
mod frame;
mod parallel;

pub mod boot;
pub mod bootc;
pub mod content;
pub mod erofs;
pub mod fat;
pub mod pack;
pub mod pages;
pub mod target;
pub mod tree;
