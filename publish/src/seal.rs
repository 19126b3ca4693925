//! `gybe-publish seal`: one image or root file system in, one release out.
//!
//! Image → tree → root target → its root hash → boot target → packs, recipe, configuration,
//! manifest. Each byte of the image is read from its layer once and hashed once more as it is
//! packed; nothing of it stays in memory. What an earlier release has packed is referred to.

mod base;
mod boot_files;
mod document;
mod error;
mod input;
mod microshift;
mod output;
mod progress;
mod report;

use std::time::{SystemTime, UNIX_EPOCH};

use gybe_core::install::needed_blocks;
use gybe_core::manifest::{ANNOTATION_LEN_MAX, RELEASE_TYPE};
use gybe_image::base::Base;
use gybe_image::fat::SectorLen;
use gybe_image::image::platform;
use gybe_image::pack::{Done, Packer};
use gybe_image::{boot, erofs};
use gybe_oci::{BlobWriter, Descriptor, LayoutReference, LayoutWriter};

use crate::cli::Seal;
use crate::sign;
use boot_files::BootFiles;
use document::{Facts, Pack};
pub use error::SealError;
use input::{Boot, Source};
use output::Output;
use progress::Bars;
use report::{PackReport, Sealed};

/// How hard zstd tries with a whole image: about 30 s of processor time for 730 MB.
const LEVEL: i32 = 12;

/// How hard it tries with what is new: 7 % less for devices to fetch. Months of Debian's updates take
/// 40 s of processor time instead of 9.
const LEVEL_OF_NEW: i32 = 19;

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// Runs the verb.
pub fn run(arguments: &Seal) -> Result<(), SealError> {
    // Everything that can be refused is refused before the long part.
    check_name("--compatible", &arguments.compatible)?;
    check_name("--version", &arguments.version)?;
    let output = Output::open(&arguments.output)?;
    let keys = sign::read_keys(&arguments.signing)?;
    let source = Source::open(arguments)?;
    let base = base::open(arguments, source.architecture())?;
    let base = base.as_ref();

    let bars = Bars::new();
    let mut input = source.read(&bars)?;
    let boot_files = BootFiles::of(&mut input, arguments)?;
    let (tree, spool, architecture) = (&input.tree, &input.contents, &input.architecture);
    let microshift = microshift::version(tree, spool, architecture)?;

    let writer = LayoutWriter::open(&output.folder().path)?;
    let level = arguments.level.unwrap_or(if base.is_some() { LEVEL_OF_NEW } else { LEVEL });
    let mut packer = Packer::new(base, writer.blob()?, level)?;
    let mut root = erofs::layout(tree)?;
    if let Some(BootFiles { files, .. }) = &boot_files {
        files.share_with(&mut root);
    }
    bars.target("root", root.blocks());
    let root_hash = packer.add(&root, spool, &mut |blocks| bars.packed(blocks))?.root_hash;
    let verified = boot::Root { hash: root_hash, blocks: root.blocks() };
    if let (Boot::Target(bootable), Some(BootFiles { files, .. })) = (&input.boot, &boot_files) {
        let boot = boot::layout(bootable, files, &verified, SectorLen::B512)?;
        bars.target("boot", boot.blocks());
        packer.add(&boot, spool, &mut |blocks| bars.packed(blocks))?;
    }
    let command_line = boot::command_line(input.boot.kargs(), &verified)?;
    let done = packer.finish()?;
    bars.finish();

    let facts = Facts {
        compatible: &arguments.compatible,
        version: &arguments.version,
        rollback_index: arguments.rollback_index,
        sequence: sequence(arguments.sequence, base)?,
        architecture,
        source_digest: input.source_digest,
        command_line: &command_line,
        kernel: input.boot.kernel_version(),
        microshift: microshift.as_deref(),
        boot_files: boot_files.as_ref(),
    };
    let sealed = write(&writer, done, &facts, arguments, output.folder())?;
    let signed = if keys.is_empty() {
        Vec::new()
    } else {
        sign::sign(
            &writer,
            sealed.descriptor.clone(),
            &output.repository(),
            &keys,
            &arguments.signing,
        )?
    };
    drop(writer);
    output.finish()?;
    sealed.report(&facts, base, &signed, arguments.json)
}

/// What stands in an annotation that devices read.
fn check_name(option: &'static str, name: &str) -> Result<(), SealError> {
    let fits = (1..=ANNOTATION_LEN_MAX).contains(&name.len());
    if fits && name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(SealError::Name { option, name: name.to_owned() })
}

/// Seconds since 1970, unless a number was given, and above the base's.
fn sequence(given: Option<u64>, base: Option<&Base>) -> Result<u64, SealError> {
    if let Some(sequence) = given {
        return Ok(sequence);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| SealError::Clock)?;
    Ok(now.as_secs().max(base.map_or(0, |base| base.sequence.saturating_add(1))))
}

/// Writes what describes the packs, last the manifest, and lists it.
fn write(
    writer: &LayoutWriter,
    done: Done<'_, BlobWriter<'_>>,
    facts: &Facts<'_>,
    arguments: &Seal,
    output: &LayoutReference,
) -> Result<Sealed, SealError> {
    let Done { targets, kept, new, recipe, repacked, shares, out } = done;
    let mut packs = Vec::new();
    for pack in kept {
        let (id, digest, len) = (pack.id, pack.digest(), pack.len());
        base::keep(writer, pack)?;
        packs.push(Pack { id, digest, len, frames: pack.frames.len(), groups: &pack.groups });
    }
    let earlier_packs = packs.len();
    let mut next_pack = u32::from(new.id.0);
    if !new.frames.is_empty() {
        let (digest, len) = out.finish()?;
        let (frames, groups) = (new.frames.len(), &new.groups[..]);
        packs.push(Pack { id: new.id, digest, len, frames, groups });
        next_pack = next_pack.saturating_add(1);
    }
    let recipe_blob = writer.write_blob(&recipe.bytes)?;
    let config = document::config(facts, &targets, &packs, next_pack, &recipe)?;
    let config_blob = writer.write_blob(&config)?;
    let root_hash = targets.first().map(|root| root.root_hash).ok_or(SealError::NoTarget)?;
    let layers: Vec<_> =
        std::iter::once(recipe_blob).chain(packs.iter().map(|it| (it.digest, it.len))).collect();
    let manifest = document::manifest(facts, root_hash, config_blob, &layers)?;
    let (_, recipe_len) = recipe_blob;
    check(&manifest, &config, recipe_len, arguments)?;
    let (digest, len) = writer.write_blob(&manifest)?;
    let mut descriptor = Descriptor::new(MANIFEST_TYPE, digest, len);
    descriptor.artifact_type = Some(RELEASE_TYPE.to_owned());
    descriptor.platform = Some(platform(facts.architecture));
    writer.list(&descriptor, output.tag.as_deref())?;
    let targets = targets.into_iter().map(|it| (it.name, it.size, it.root_hash)).collect();
    let packs = packs.iter().enumerate().map(|(at, it)| PackReport::of(it, at >= earlier_packs));
    let packs = packs.collect();
    Ok(Sealed { descriptor, root_hash, targets, recipe_len, packs, shares, repacked })
}

/// Reads back what was written as a device will, so that nothing is published that none accepts,
/// and checks that it fits the slots it is meant for.
fn check(
    manifest: &[u8],
    config: &[u8],
    recipe_len: u64,
    arguments: &Seal,
) -> Result<(), SealError> {
    gybe_core::manifest::Manifest::parse(manifest)
        .map_err(|cause| SealError::OwnManifest { why: cause.to_string() })?;
    let parsed = gybe_core::config::Config::parse(config, gybe_core::version::Version::ours())
        .map_err(|cause| SealError::OwnConfig { why: cause.to_string() })?;
    let Some(limit) = arguments.max_slot else { return Ok(()) };
    let signatures = gybe_core::trailer::SIGNATURES_LEN_MAX as u64;
    let parts = [manifest.len() as u64, config.len() as u64, signatures, recipe_len];
    match parsed.targets.first().map(|root| needed_blocks(0, root, parts)) {
        Some(blocks) if blocks.saturating_mul(gybe_core::block::BLOCK_LEN_U64) > limit => {
            let needed = blocks.saturating_mul(gybe_core::block::BLOCK_LEN_U64);
            Err(SealError::SlotTooSmall { needed, limit })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_devices_would_refuse_are_refused_before_the_long_part() {
        for name in ["acme-gateway", "2026.11+1~rc", &"x".repeat(128)] {
            assert!(check_name("--version", name).is_ok(), "{name}");
        }
        for name in ["", "two words", "gerät", "tab\t", &"x".repeat(129)] {
            let refused = check_name("--version", name).unwrap_err().to_string();
            assert!(refused.starts_with("--version is \""), "{refused}");
        }
    }
}
