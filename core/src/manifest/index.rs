//! An index that lists a manifest, for signatures made over the index.

use crate::digest::Digest;
use crate::json::{JsonError, Value};

/// The media type of an image index.
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
/// The same, as Docker calls it.
const DOCKER_LIST_TYPE: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// Whether the index in `bytes` lists the manifest with this digest.
///
/// # Errors
/// [`IndexError`] if `bytes` are no index that we accept.
pub fn lists(bytes: &[u8], manifest: Digest) -> Result<bool, IndexError> {
    let root = Value::parse(bytes)?;
    let mut version = None;
    let mut manifests = None;
    for member in root.object()? {
        let (key, value) = member?;
        match key {
            "schemaVersion" => version = Some(value.u64()?),
            "mediaType" => {
                let found = value.text()?;
                if found != INDEX_TYPE && found != DOCKER_LIST_TYPE {
                    return Err(IndexError::Type);
                }
            }
            "manifests" => manifests = Some(value),
            // A document that is an index to one reader and a manifest to another.
            "layers" | "config" => return Err(IndexError::Type),
            _ => {}
        }
    }
    if version != Some(2) {
        return Err(IndexError::Type);
    }
    let mut found = false;
    for entry in manifests.ok_or(root.missing("manifests"))?.array()? {
        for member in entry?.object()? {
            let (key, value) = member?;
            found |= key == "digest" && value.str()?.parse() == Ok(manifest);
        }
    }
    Ok(found)
}

/// Why bytes are not an index that we accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// It is not JSON that we accept.
    #[error("index: {0}")]
    Json(#[from] JsonError),
    /// It is another kind of document.
    #[error("index: not an OCI image index with schemaVersion 2")]
    Type,
}
