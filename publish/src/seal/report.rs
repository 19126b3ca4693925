//! What `seal` says when it is done, to people and to programs.

use gybe_core::block::BLOCK_LEN_U64;
use gybe_core::digest::Digest;
use gybe_image::base::Base;
use gybe_image::pack::{Reason, Shares};
use gybe_oci::Descriptor;
use serde::Serialize;

use super::SealError;
use super::boot_files::BootFiles;
use super::document::{Facts, Pack};
use crate::output;
use crate::sign::Signed;

/// The version of the JSON report.
const VERSION: u32 = 2;

/// A release in a layout.
pub(super) struct Sealed {
    pub(super) descriptor: Descriptor,
    pub(super) root_hash: Digest,
    pub(super) targets: Vec<(String, u64, Digest)>,
    pub(super) recipe_len: u64,
    pub(super) packs: Vec<PackReport>,
    pub(super) shares: Shares,
    pub(super) repacked: Vec<Reason>,
}

/// A pack of a release.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PackReport {
    pub(super) id: u16,
    pub(super) digest: String,
    pub(super) bytes: u64,
    pub(super) frames: usize,
    /// Whether this release brings it.
    pub(super) new: bool,
}

impl PackReport {
    pub(super) fn of(pack: &Pack<'_>, new: bool) -> Self {
        let (bytes, frames) = (pack.len, pack.frames);
        Self { id: pack.id.0, digest: pack.digest.to_string(), bytes, frames, new }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    version: u32,
    digest: String,
    root_hash: String,
    source_digest: String,
    sequence: u64,
    kernel: Option<&'a str>,
    targets: Vec<TargetReport<'a>>,
    boot_files: Option<BootFilesReport>,
    recipe_bytes: u64,
    /// All packs together, those of earlier releases too.
    pack_bytes: u64,
    pack_frames: usize,
    packs: &'a [PackReport],
    base: Option<String>,
    /// Bytes of the targets, before compression.
    new_bytes: u64,
    reused_bytes: u64,
    repacked_bytes: u64,
    repacked_because: Vec<String>,
    signatures: &'a [Signed],
    warnings: Vec<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TargetReport<'a> {
    name: &'a str,
    bytes: u64,
    root_hash: String,
}

/// What was done to the files that the boot target takes from the image.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BootFilesReport {
    kernel: String,
    initramfs: String,
}

impl Sealed {
    /// Tells about it, as JSON or as text.
    pub(super) fn report(
        &self,
        facts: &Facts<'_>,
        base: Option<&Base>,
        signed: &[Signed],
        json: bool,
    ) -> Result<(), SealError> {
        warnings(facts).iter().for_each(output::warning);
        if json {
            return Ok(output::json(&self.document(facts, base, signed))?);
        }
        self.print(facts, base, signed);
        Ok(())
    }

    fn document<'a>(
        &'a self,
        facts: &Facts<'a>,
        base: Option<&Base>,
        signed: &'a [Signed],
    ) -> Report<'a> {
        let targets = self.targets.iter().map(|(name, bytes, root_hash)| TargetReport {
            name,
            bytes: *bytes,
            root_hash: root_hash.hex().to_string(),
        });
        Report {
            version: VERSION,
            digest: self.descriptor.digest.to_string(),
            root_hash: self.root_hash.hex().to_string(),
            source_digest: facts.source_digest.to_string(),
            sequence: facts.sequence,
            kernel: facts.kernel,
            targets: targets.collect(),
            boot_files: facts.boot_files.map(|BootFiles { files, .. }| BootFilesReport {
                kernel: files.kernel.form.to_string(),
                initramfs: files.initramfs.form.to_string(),
            }),
            recipe_bytes: self.recipe_len,
            pack_bytes: self.packs.iter().map(|pack| pack.bytes).sum(),
            pack_frames: self.packs.iter().map(|pack| pack.frames).sum(),
            packs: &self.packs,
            base: base.map(|base| base.digest.to_string()),
            new_bytes: bytes(self.shares.new_blocks),
            reused_bytes: bytes(self.shares.reused_blocks),
            repacked_bytes: bytes(self.shares.repacked_blocks),
            repacked_because: self.repacked.iter().map(ToString::to_string).collect(),
            signatures: signed,
            warnings: warnings(facts),
        }
    }

    fn print(&self, facts: &Facts<'_>, base: Option<&Base>, signed: &[Signed]) {
        output::data(format_args!("release    {}", self.descriptor.digest));
        output::data(format_args!("root hash  {}", self.root_hash.hex()));
        for (name, bytes, _) in &self.targets {
            output::data(format_args!("{name:<10} {bytes} bytes"));
        }
        if let Some(BootFiles { files, .. }) = facts.boot_files {
            output::data(format_args!("kernel     {}", files.kernel.form));
            output::data(format_args!("initramfs  {}", files.initramfs.form));
        }
        for pack in &self.packs {
            let word = if pack.new { "" } else { ", of an earlier release" };
            output::data(format_args!("pack {:<5} {} bytes{word}", pack.id, pack.bytes));
        }
        output::data(format_args!("recipe     {} bytes", self.recipe_len));
        if let Some(base) = base {
            let Shares { new_blocks, reused_blocks, repacked_blocks } = self.shares;
            output::data(format_args!("base       {} (version {})", base.digest, base.version));
            output::data(format_args!("new        {} bytes before compression", bytes(new_blocks)));
            output::data(format_args!("reused     {} bytes", bytes(reused_blocks)));
            output::data(format_args!("repacked   {} bytes", bytes(repacked_blocks)));
            for reason in &self.repacked {
                output::data(format_args!("           because {reason}"));
            }
        }
        output::data(format_args!("signatures {}", signed.len()));
    }
}

/// What is not wrong with a release, but hardly meant.
fn warnings(facts: &Facts<'_>) -> Vec<&'static str> {
    let lacks_agent = facts.boot_files.is_some_and(|BootFiles { files, .. }| files.lacks_agent);
    let warning = "the initramfs has no program gybe, which opens the root and mounts /etc and /var; \
         docs/integrate.md, section 1, puts it there";
    lacks_agent.then_some(warning).into_iter().collect()
}

const fn bytes(blocks: u64) -> u64 {
    blocks.saturating_mul(BLOCK_LEN_U64)
}
