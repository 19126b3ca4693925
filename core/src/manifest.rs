//! The release manifest: the OCI image manifest whose digest is signed.
//!
//! ```text
//! manifest   artifactType  application/vnd.gybe.release.v1
//!   config                 application/vnd.gybe.config.v1+json
//!   layers[0]              application/vnd.gybe.recipe.v1
//!   layers[1..]            application/vnd.gybe.pack.v1
//!   annotations            dev.gybe.*
//! ```
//! Source: OCI image specification 1.1, "Image Manifest"; `docs/formats.md`, "Release".

mod index;

#[cfg(test)]
mod tests;

use core::fmt;

use heapless::Vec;

pub use self::index::{IndexError, lists};
use crate::digest::{Digest, DigestError};
use crate::json::{JsonError, Value};

/// The `artifactType` of a release.
pub const RELEASE_TYPE: &str = "application/vnd.gybe.release.v1";
/// The media type of a release's config.
pub const CONFIG_TYPE: &str = "application/vnd.gybe.config.v1+json";
/// The media type of a recipe.
pub const RECIPE_TYPE: &str = "application/vnd.gybe.recipe.v1";
/// The media type of a pack.
pub const PACK_TYPE: &str = "application/vnd.gybe.pack.v1";
/// The media type of an image manifest.
pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// Annotation: the kind of device that the release is for.
pub const COMPATIBLE: &str = "dev.gybe.compatible";
/// Annotation: the version, for people.
pub const VERSION: &str = "dev.gybe.version";
/// Annotation: the number that must not fall below the device's floor.
pub const ROLLBACK_INDEX: &str = "dev.gybe.rollback-index";
/// Annotation: the number that only goes forward in automatic updates.
pub const SEQUENCE: &str = "dev.gybe.sequence";
/// Annotation: the verity root hash of the target `root`, 64 hexadecimal digits.
pub const ROOT_HASH: &str = "dev.gybe.root-hash";
/// Annotation: the digest of the image that was sealed.
pub const SOURCE_DIGEST: &str = "dev.gybe.source-digest";
/// Annotation: the architecture as OCI spells it, `amd64` or `arm64`.
pub const ARCHITECTURE: &str = "dev.gybe.architecture";

/// How long a manifest may be, in bytes.
pub const MANIFEST_LEN_MAX: usize = 256 * 1024;
/// How many packs a release may have.
pub const PACKS_MAX: usize = 64;
/// How long the text of an annotation that we read may be, in bytes.
pub const ANNOTATION_LEN_MAX: usize = 128;

/// A blob: what it must hash to, and its length in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// SHA-256 of the blob.
    pub digest: Digest,
    /// Length of the blob in bytes.
    pub len: u64,
}

impl Descriptor {
    /// Whether `bytes` are the whole blob.
    #[must_use]
    pub fn matches(&self, bytes: &[u8]) -> bool {
        u64::try_from(bytes.len()) == Ok(self.len) && Digest::of(bytes) == self.digest
    }
}

/// A release manifest. Borrows from the bytes it was read from.
#[derive(Clone, Debug)]
pub struct Manifest<'a> {
    /// The digest of the manifest itself.
    pub digest: Digest,
    /// The config.
    pub config: Descriptor,
    /// The recipe.
    pub recipe: Descriptor,
    /// The packs, in the order in which the recipe numbers them.
    pub packs: Vec<Descriptor, PACKS_MAX>,
    /// The kind of device that the release is for.
    pub compatible: &'a str,
    /// The version, for people.
    pub version: &'a str,
    /// The number that must not fall below the device's floor.
    pub rollback_index: u64,
    /// The number that only goes forward in automatic updates.
    pub sequence: u64,
    /// The verity root hash of the target `root`.
    pub root_hash: Digest,
    /// The digest of the image that was sealed.
    pub source_digest: Digest,
    /// The architecture as OCI spells it, `amd64` or `arm64`.
    pub architecture: &'a str,
}

impl<'a> Manifest<'a> {
    /// Reads a release manifest.
    ///
    /// # Errors
    /// [`ManifestError`] names the field that is not as it must be.
    // Called and not spread out, so that nobody keeps on the stack what only this needs.
    #[inline(never)]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MANIFEST_LEN_MAX {
            return Err(ManifestError::TooLong { len: bytes.len() });
        }
        let root = Value::parse(bytes)?;
        let mut schema_version = None;
        let mut artifact_type = None;
        let mut config = None;
        let mut recipe = None;
        let mut packs = Vec::new();
        let mut annotations = None;
        for member in root.object()? {
            let (key, value) = member?;
            match key {
                "schemaVersion" => schema_version = Some(value.u64()?),
                "mediaType" => expect_type("mediaType", MANIFEST_TYPE, value)?,
                "artifactType" => artifact_type = Some(value),
                "config" => config = Some(descriptor(value, "config.mediaType", CONFIG_TYPE)?),
                "layers" => recipe = Some(read_layers(value, &mut packs)?),
                "annotations" => annotations = Some(Annotations::read(value)?),
                // A document that is a manifest to one reader and an index to another.
                "manifests" => return Err(ManifestError::Ambiguous),
                _ => {}
            }
        }
        let found = schema_version.ok_or(root.missing("schemaVersion"))?;
        if found != 2 {
            return Err(ManifestError::SchemaVersion { found });
        }
        let artifact_type = artifact_type.ok_or(root.missing("artifactType"))?;
        expect_type("artifactType", RELEASE_TYPE, artifact_type)?;
        let recipe = recipe.ok_or(root.missing("layers"))?;
        let annotations = annotations.ok_or(root.missing("annotations"))?;
        Ok(Self {
            digest: Digest::of(bytes),
            config: config.ok_or(root.missing("config"))?,
            recipe,
            packs,
            compatible: annotations.compatible.text(COMPATIBLE)?,
            version: annotations.version.text(VERSION)?,
            rollback_index: annotations.rollback_index.number(ROLLBACK_INDEX)?,
            sequence: annotations.sequence.number(SEQUENCE)?,
            root_hash: annotations.root_hash.hex(ROOT_HASH)?,
            source_digest: annotations.source_digest.digest(SOURCE_DIGEST)?,
            architecture: annotations.architecture.text(ARCHITECTURE)?,
        })
    }
}

/// The annotations that we know, unread.
#[derive(Default)]
struct Annotations<'a> {
    compatible: Annotation<'a>,
    version: Annotation<'a>,
    rollback_index: Annotation<'a>,
    sequence: Annotation<'a>,
    root_hash: Annotation<'a>,
    source_digest: Annotation<'a>,
    architecture: Annotation<'a>,
}

#[derive(Default)]
struct Annotation<'a>(Option<Value<'a>>);

impl<'a> Annotations<'a> {
    fn read(value: Value<'a>) -> Result<Self, JsonError> {
        let mut annotations = Self::default();
        for member in value.object()? {
            let (key, value) = member?;
            let annotation = match key {
                COMPATIBLE => &mut annotations.compatible,
                VERSION => &mut annotations.version,
                ROLLBACK_INDEX => &mut annotations.rollback_index,
                SEQUENCE => &mut annotations.sequence,
                ROOT_HASH => &mut annotations.root_hash,
                SOURCE_DIGEST => &mut annotations.source_digest,
                ARCHITECTURE => &mut annotations.architecture,
                _ => continue,
            };
            annotation.0 = Some(value);
        }
        Ok(annotations)
    }
}

impl<'a> Annotation<'a> {
    /// Visible ASCII only: these texts are compared, and shown on terminals.
    fn text(&self, name: &'static str) -> Result<&'a str, ManifestError> {
        let text = self.0.ok_or(ManifestError::Missing { name })?.str()?;
        if text.len() > ANNOTATION_LEN_MAX {
            return Err(ManifestError::AnnotationTooLong { name, len: text.len() });
        }
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ManifestError::NotGraphic { name });
        }
        Ok(text)
    }

    fn number(&self, name: &'static str) -> Result<u64, ManifestError> {
        let text = self.text(name)?;
        let canonical = text.bytes().all(|byte| byte.is_ascii_digit())
            && (text == "0" || !text.starts_with('0'));
        let number = if canonical { text.parse().ok() } else { None };
        number.ok_or(ManifestError::NotU64 { name })
    }

    fn digest(&self, name: &'static str) -> Result<Digest, ManifestError> {
        let digest = self.text(name)?.parse();
        digest.map_err(|cause| ManifestError::Digest { name, cause })
    }

    fn hex(&self, name: &'static str) -> Result<Digest, ManifestError> {
        let digest = Digest::from_hex(self.text(name)?);
        digest.map_err(|cause| ManifestError::Digest { name, cause })
    }
}

/// Puts the packs into `packs`, and gives the recipe.
fn read_layers(
    value: Value<'_>,
    packs: &mut Vec<Descriptor, PACKS_MAX>,
) -> Result<Descriptor, ManifestError> {
    let mut layers = value.array()?;
    let recipe = layers.next().ok_or(ManifestError::Missing { name: "layers[0]" })??;
    let recipe = descriptor(recipe, "layers[0].mediaType", RECIPE_TYPE)?;
    for layer in layers {
        let pack = descriptor(layer?, "layers[].mediaType", PACK_TYPE)?;
        packs.push(pack).map_err(|_| ManifestError::Packs)?;
    }
    Ok(recipe)
}

fn descriptor(
    value: Value<'_>,
    name: &'static str,
    media_type: &'static str,
) -> Result<Descriptor, ManifestError> {
    let (mut found, mut digest, mut len) = (None, None, None);
    for member in value.object()? {
        let (key, value) = member?;
        match key {
            "mediaType" => found = Some(value),
            "digest" => digest = Some(value.str()?),
            "size" => len = Some(value.u64()?),
            _ => {}
        }
    }
    expect_type(name, media_type, found.ok_or(value.missing("mediaType"))?)?;
    let digest = digest.ok_or(value.missing("digest"))?.parse();
    let digest = digest.map_err(|cause| ManifestError::Digest { name: "digest", cause })?;
    Ok(Descriptor { digest, len: len.ok_or(value.missing("size"))? })
}

fn expect_type(
    name: &'static str,
    expected: &'static str,
    value: Value<'_>,
) -> Result<(), ManifestError> {
    if value.text()? == *expected { Ok(()) } else { Err(ManifestError::Type { name, expected }) }
}

/// Why bytes are not a release manifest that we accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It is longer than [`MANIFEST_LEN_MAX`].
    #[error("manifest is {len} bytes, limit {MANIFEST_LEN_MAX}")]
    TooLong {
        /// Its length.
        len: usize,
    },
    /// It is not JSON that we accept, or a field is missing or of the wrong type.
    #[error("manifest: {0}")]
    Json(#[from] JsonError),
    /// It has both the fields of a manifest and those of an index.
    #[error("manifest: has the field manifests, which belongs to an index")]
    Ambiguous,
    /// `schemaVersion` is another.
    #[error("manifest: schemaVersion is {found}, not 2")]
    SchemaVersion {
        /// What it is.
        found: u64,
    },
    /// A type is another than the one that belongs here.
    #[error("manifest: {name} is not {expected}")]
    Type {
        /// The field.
        name: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// A field or annotation is not there.
    #[error("manifest: {name} is missing")]
    Missing {
        /// The field or annotation.
        name: &'static str,
    },
    /// There are too many packs.
    #[error("manifest: more than {PACKS_MAX} packs")]
    Packs,
    /// A digest is none.
    #[error("manifest: {name}: {cause}")]
    Digest {
        /// The field or annotation.
        name: &'static str,
        /// What is wrong with it.
        cause: DigestError,
    },
    /// An annotation is longer than [`ANNOTATION_LEN_MAX`].
    #[error("manifest: {name} is {len} bytes, limit {ANNOTATION_LEN_MAX}")]
    AnnotationTooLong {
        /// The annotation.
        name: &'static str,
        /// Its length.
        len: usize,
    },
    /// An annotation is empty or has a character outside visible ASCII.
    #[error("manifest: {name} is empty or has a character other than visible ASCII")]
    NotGraphic {
        /// The annotation.
        name: &'static str,
    },
    /// An annotation is not a decimal number without leading zeros.
    #[error("manifest: {name} is not an integer from 0 to 18446744073709551615")]
    NotU64 {
        /// The annotation.
        name: &'static str,
    },
}

impl fmt::Display for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.digest, self.len)
    }
}
