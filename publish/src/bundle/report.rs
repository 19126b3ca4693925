//! What `bundle` says when it is done, to people and to programs.

use serde::Serialize;

use super::BundleError;
use super::contents::{Bundled, Contents};
use super::write::Written;
use crate::cli::Bundle;
use crate::output;

/// The version of the JSON report.
const VERSION: u32 = 1;
/// One byte less than FAT32 would need to be able to hold.
const FAT32_FILE_MAX: u64 = (1 << 32) - 1;

#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    output: String,
    releases: Vec<ReleaseReport<'a>>,
    /// Bytes of blobs that were copied, and of those that were there already.
    copied_bytes: u64,
    there_bytes: u64,
    /// Bytes of packs that the devices do not need.
    left_out_bytes: u64,
}

#[derive(Serialize)]
struct ReleaseReport<'a> {
    digest: String,
    version: &'a str,
    compatible: &'a str,
    architecture: &'a str,
    tag: Option<&'a str>,
    signatures: usize,
    packs: Vec<PackReport>,
}

#[derive(Serialize)]
struct PackReport {
    digest: String,
    bytes: u64,
    /// Whether it is there.
    included: bool,
}

/// Tells about a bundle, as JSON or as text.
pub(super) fn report(
    contents: &Contents<'_>,
    written: &Written,
    arguments: &Bundle,
) -> Result<(), BundleError> {
    let packs = contents.releases.iter().flat_map(|release| &release.packs);
    let left_out = packs.filter(|(_, _, is_there)| !is_there).map(|(_, len, _)| len).sum();
    let output = arguments.output.to_string();
    if arguments.json {
        return Ok(output::json(&Report {
            version: VERSION,
            output,
            releases: contents.releases.iter().map(ReleaseReport::of).collect(),
            copied_bytes: written.bytes,
            there_bytes: written.there_bytes,
            left_out_bytes: left_out,
        })?);
    }
    for release in &contents.releases {
        let Bundled { digest, version, compatible, architecture, signatures, .. } = release;
        output::data(format_args!("release    {digest}"));
        output::data(format_args!("           {compatible} {version} for {architecture}"));
        output::data(format_args!("signatures {signatures}"));
        for (digest, len, is_there) in &release.packs {
            let word = if *is_there { "" } else { ", left out" };
            output::data(format_args!("pack       {digest} {len} bytes{word}"));
        }
    }
    output::data(format_args!("written    {} bytes to {output}", written.bytes));
    if written.there_bytes > 0 {
        output::data(format_args!("there      {} bytes before", written.there_bytes));
    }
    if written.longest > FAT32_FILE_MAX {
        output::talk(format_args!(
            "note: the longest file has {} bytes; sticks with FAT32 hold files of at most \
             {FAT32_FILE_MAX}, those with exFAT and ext4 longer ones",
            written.longest
        ));
    }
    Ok(())
}

impl<'a> ReleaseReport<'a> {
    fn of(release: &'a Bundled) -> Self {
        let packs = release.packs.iter().map(|(digest, bytes, included)| PackReport {
            digest: digest.to_string(),
            bytes: *bytes,
            included: *included,
        });
        Self {
            digest: release.digest.to_string(),
            version: &release.version,
            compatible: &release.compatible,
            architecture: &release.architecture,
            tag: release.tag.as_deref(),
            signatures: release.signatures,
            packs: packs.collect(),
        }
    }
}
