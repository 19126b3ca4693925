//! Kernel and initramfs of a release: unpacked or kept, and once or twice in it.

use gybe_image::boot::Files;
use serde::Serialize;

use super::SealError;
use super::input::{Boot, Input};
use crate::cli::Seal;
use crate::output;

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
        let mut left_out = None;
        if arguments.root_without_initramfs {
            left_out = bootable.leave_out_initramfs(&mut input.tree);
            if left_out.is_none() {
                output::talk("nothing is left out: the root has no such initramfs.img");
            }
        }
        Ok(Some(Self { files, rule, left_out }))
    }
}
