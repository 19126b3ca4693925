//! Which MicroShift is in an image: a device compares it with the data it has.
//!
//! Source: MicroShift's `/usr/share/microshift/release/release-<arch>.json`, member
//! `release.base`, read 2026-11.

use gybe_image::content::ReadContent;
use gybe_image::tree::{Kind, Tree};

use super::SealError;

/// The longest file that is read.
const FILE_LEN_MAX: u64 = 1 << 20;

/// The version of MicroShift in `tree`, if it is there.
pub(super) fn version(
    tree: &Tree,
    contents: &dyn ReadContent,
    architecture: &str,
) -> Result<Option<String>, SealError> {
    let kernel_name = match architecture {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        other => other,
    };
    let path = format!("usr/share/microshift/release/release-{kernel_name}.json");
    let Some(id) = tree.find(path.as_bytes()) else { return Ok(None) };
    let Kind::File(content) = &tree.node(id).kind else { return Ok(None) };
    let len = content.len;
    if len > FILE_LEN_MAX {
        return Err(SealError::MicroShift {
            path,
            why: format!("{len} bytes, limit {FILE_LEN_MAX}"),
        });
    }
    let mut text = vec![0; usize::try_from(len).unwrap_or(0)];
    contents
        .read_at(content, 0, &mut text)
        .map_err(|cause| SealError::MicroShift { path: path.clone(), why: cause.to_string() })?;
    let json: serde_json::Value = serde_json::from_slice(&text)
        .map_err(|cause| SealError::MicroShift { path: path.clone(), why: cause.to_string() })?;
    match json.pointer("/release/base").and_then(serde_json::Value::as_str) {
        Some(version) => Ok(Some(version.to_owned())),
        None => Err(SealError::MicroShift { path, why: "has no release.base".to_owned() }),
    }
}
