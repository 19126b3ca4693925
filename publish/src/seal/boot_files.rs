//! Kernel and initramfs of a release: unpacked or kept, and once or twice in it.

use gybe_image::boot::Files;
use serde::Serialize;

use super::SealError;
use super::input::{Boot, Input};
use crate::cli::Seal;

/// What the boot target takes from the image, and what that does to the root.
pub(super) struct BootFiles {
    pub(super) files: Files,
    pub(super) rule: Rule,
    /// The file that the root lacks because the boot target has it.
    pub(super) left_out: Option<String>,
}

/// What is done with kernel and initramfs, as the configuration says it.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Rule {
    Kept,
    Unpacked,
}

impl BootFiles {
    /// Makes them, unless something else boots the root.
    pub(super) fn of(input: &mut Input, arguments: &Seal) -> Result<Option<Self>, SealError> {
        let Boot::Target(bootable) = &input.boot else { return Ok(None) };
        let (files, rule) = if arguments.keep_boot_files {
            (Files::kept(bootable), Rule::Kept)
        } else {
            let files = Files::unpacked(bootable, &input.architecture, &input.contents)?;
            (files, Rule::Unpacked)
        };
        // As long as both are the same bytes, the second costs nothing to fetch.
        let both = arguments.initramfs_in_root || !files.is_initramfs_unpacked();
        let left_out = if both { None } else { bootable.leave_out_initramfs(&mut input.tree) };
        Ok(Some(Self { files, rule, left_out }))
    }
}
