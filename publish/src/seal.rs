//! `gybe-publish seal`: one image or root file system in, one release out.
//!
//! Image → tree → root target → its root hash → boot target → packs, recipe, configuration,
//! manifest. Each byte of the image is read from its layer once and hashed once more as it is
//! packed; nothing of it stays in memory.

mod document;
mod error;
mod input;
mod microshift;
mod progress;

use std::time::{SystemTime, UNIX_EPOCH};

use gybe_core::digest::Digest;
use gybe_core::install::needed_blocks;
use gybe_core::manifest::{ANNOTATION_LEN_MAX, RELEASE_TYPE};
use gybe_core::recipe::PackId;
use gybe_image::fat::SectorLen;
use gybe_image::image::platform;
use gybe_image::pack::{Done, Packer};
use gybe_image::{boot, erofs};
use gybe_oci::{BlobWriter, Descriptor, LayoutWriter, Transport};
use serde::Serialize;

use crate::cli::Seal;
use crate::output;
use crate::sign::{self, Signed};
use document::Facts;
pub use error::SealError;
use input::Boot;
use progress::Bars;

/// The version of the JSON report.
const REPORT_VERSION: u32 = 1;

/// The number of the only pack of a release that builds on no other.
const FIRST_PACK: PackId = PackId(0);

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

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
    recipe_bytes: u64,
    pack_bytes: u64,
    pack_frames: usize,
    signatures: &'a [Signed],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TargetReport<'a> {
    name: &'a str,
    bytes: u64,
    root_hash: String,
}

/// Runs the verb.
pub fn run(arguments: &Seal) -> Result<(), SealError> {
    // Everything that can be refused is refused before the long part.
    check_name("--compatible", &arguments.compatible)?;
    check_name("--version", &arguments.version)?;
    if arguments.output.transport != Transport::Directory {
        return Err(SealError::Output { name: arguments.output.to_string() });
    }
    let keys = sign::read_keys(&arguments.signing)?;
    let outside = input::outside(arguments)?;

    let bars = Bars::new();
    let mut input = input::open(arguments, &bars)?;
    let kernel = input.boot(outside, arguments)?;
    let (tree, spool, architecture) = (&input.tree, &input.contents, &input.architecture);
    let microshift = microshift::version(tree, spool, architecture)?;

    let writer = LayoutWriter::open(&arguments.output.path)?;
    let mut packer = Packer::new(FIRST_PACK, writer.blob()?, arguments.level);
    let root = erofs::layout(tree)?;
    bars.target("root", root.blocks());
    let root_hash = packer.add(&root, spool, &mut |blocks| bars.packed(blocks))?.root_hash;
    if let Boot::Target(bootable) = &kernel {
        let boot = boot::layout(bootable, &root_hash, SectorLen::B512)?;
        bars.target("boot", boot.blocks());
        packer.add(&boot, spool, &mut |blocks| bars.packed(blocks))?;
    }
    let command_line = boot::command_line(kernel.kargs(), &root_hash)?;
    let done = packer.finish()?;
    bars.finish();

    let facts = Facts {
        compatible: &arguments.compatible,
        version: &arguments.version,
        rollback_index: arguments.rollback_index,
        sequence: sequence(arguments.sequence)?,
        architecture,
        source_digest: input.source_digest,
        command_line: &command_line,
        kernel: kernel.kernel_version(),
        microshift: microshift.as_deref(),
    };
    let sealed = write(&writer, done, &facts, arguments, root_hash)?;
    let signed = if keys.is_empty() {
        Vec::new()
    } else {
        sign::sign(
            &writer,
            sealed.descriptor.clone(),
            &arguments.output,
            &keys,
            &arguments.signing,
        )?
    };
    report(&sealed, &facts, &signed, arguments.json)
}

/// What stands in an annotation that devices read.
fn check_name(option: &'static str, name: &str) -> Result<(), SealError> {
    let fits = (1..=ANNOTATION_LEN_MAX).contains(&name.len());
    if fits && name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(SealError::Name { option, name: name.to_owned() })
}

/// Seconds since 1970, unless a number was given.
fn sequence(given: Option<u64>) -> Result<u64, SealError> {
    match given {
        Some(sequence) => Ok(sequence),
        None => SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map(|since| since.as_secs())
            .map_err(|_| SealError::Clock),
    }
}

/// A release in a layout.
struct Sealed {
    descriptor: Descriptor,
    root_hash: Digest,
    targets: Vec<(String, u64, Digest)>,
    recipe_len: u64,
    pack_len: u64,
    pack_frames: usize,
}

/// Writes what describes the packs, last the manifest, and lists it.
fn write(
    writer: &LayoutWriter,
    done: Done<BlobWriter<'_>>,
    facts: &Facts<'_>,
    arguments: &Seal,
    root_hash: Digest,
) -> Result<Sealed, SealError> {
    let Done { targets, frames, recipe, out } = done;
    let (pack_digest, pack_len) = out.finish()?;
    let (recipe_digest, recipe_len) = writer.write_blob(&recipe.bytes)?;
    let packs = [document::Pack { id: FIRST_PACK, frames: frames.len(), len: pack_len }];
    let config = document::config(facts, &targets, &packs, &recipe)?;
    let (config_digest, config_len) = writer.write_blob(&config)?;
    let layers = [(recipe_digest, recipe_len), (pack_digest, pack_len)];
    let manifest = document::manifest(facts, root_hash, (config_digest, config_len), &layers)?;
    check(&manifest, &config, recipe_len, arguments)?;
    let (digest, len) = writer.write_blob(&manifest)?;
    let mut descriptor = Descriptor::new(MANIFEST_TYPE, digest, len);
    descriptor.artifact_type = Some(RELEASE_TYPE.to_owned());
    descriptor.platform = Some(platform(facts.architecture));
    writer.list(&descriptor, arguments.output.tag.as_deref())?;
    let targets = targets.into_iter().map(|it| (it.name, it.size, it.root_hash)).collect();
    let pack_frames = frames.len();
    Ok(Sealed { descriptor, root_hash, targets, recipe_len, pack_len, pack_frames })
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

fn report(
    sealed: &Sealed,
    facts: &Facts<'_>,
    signed: &[Signed],
    json: bool,
) -> Result<(), SealError> {
    let digest = sealed.descriptor.digest;
    if json {
        let targets = sealed.targets.iter().map(|(name, bytes, root_hash)| TargetReport {
            name,
            bytes: *bytes,
            root_hash: root_hash.hex().to_string(),
        });
        return Ok(output::json(&Report {
            version: REPORT_VERSION,
            digest: digest.to_string(),
            root_hash: sealed.root_hash.hex().to_string(),
            source_digest: facts.source_digest.to_string(),
            sequence: facts.sequence,
            kernel: facts.kernel,
            targets: targets.collect(),
            recipe_bytes: sealed.recipe_len,
            pack_bytes: sealed.pack_len,
            pack_frames: sealed.pack_frames,
            signatures: signed,
        })?);
    }
    output::data(format_args!("release    {digest}"));
    output::data(format_args!("root hash  {}", sealed.root_hash.hex()));
    for (name, bytes, _) in &sealed.targets {
        output::data(format_args!("{name:<10} {bytes} bytes"));
    }
    output::data(format_args!("pack       {} bytes", sealed.pack_len));
    output::data(format_args!("recipe     {} bytes", sealed.recipe_len));
    output::data(format_args!("signatures {}", signed.len()));
    Ok(())
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
