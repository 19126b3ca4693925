//! Indexes, manifests and descriptors, as far as they are needed to find blobs.
//!
//! Source: OCI image specification 1.1, "Image Layout", "Image Index", "Image Manifest",
//! "Content Descriptors"; Docker's image manifest v2 schema 2 has the same members.
//! Numbers of members are bounded, so that what is parsed stays near the size of its text.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr as _;

use gybe_core::digest::Digest;
use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest `index.json` and nested index, in bytes. A device reads it before it believes anything,
/// in memory that hostile input must not use up.
pub const INDEX_LEN_MAX: u64 = 1 << 20;
/// Longest manifest of an image, in bytes.
pub const MANIFEST_LEN_MAX: u64 = 4 << 20;
/// Longest config of an image, in bytes.
pub const CONFIG_LEN_MAX: u64 = 8 << 20;
/// Most descriptors in one index, and most layers in one manifest.
pub const DESCRIPTORS_MAX: usize = 1024;
/// Most annotations of one descriptor, index or manifest.
pub const ANNOTATIONS_MAX: usize = 64;
/// The annotation that holds a tag.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Media types that are told apart here.
pub mod media_type {
    /// An OCI image index.
    pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// An OCI image manifest.
    pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// Docker's manifest list.
    pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker's image manifest.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
}

/// Annotations: names and values.
pub type Annotations = BTreeMap<String, String>;

/// What names a blob: type, digest and size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the blob is.
    pub media_type: String,
    /// Its digest.
    #[serde(deserialize_with = "digest", serialize_with = "digest_text")]
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// The type of the artifact that the blob is the manifest of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// What machine it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Its annotations.
    #[serde(
        default,
        deserialize_with = "annotations",
        skip_serializing_if = "Annotations::is_empty"
    )]
    pub annotations: Annotations,
}

impl Descriptor {
    /// A descriptor with nothing but what every one has.
    #[must_use]
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            artifact_type: None,
            platform: None,
            annotations: Annotations::new(),
        }
    }

    /// The tag that an index gives it.
    #[must_use]
    pub fn ref_name(&self) -> Option<&str> {
        self.annotations.get(REF_NAME).map(String::as_str)
    }

    /// Whether it names an index, by its media type.
    #[must_use]
    pub fn is_index(&self) -> bool {
        [media_type::INDEX, media_type::DOCKER_INDEX].contains(&self.media_type.as_str())
    }

    /// Whether it names a manifest, by its media type.
    #[must_use]
    pub fn is_manifest(&self) -> bool {
        [media_type::MANIFEST, media_type::DOCKER_MANIFEST].contains(&self.media_type.as_str())
    }
}

/// What machine an image is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// The processor, in Go's words: `amd64`, `arm64`.
    pub architecture: String,
    /// The operating system: `linux`.
    pub os: String,
    /// The kind of processor: `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// Linux on a processor.
    #[must_use]
    pub fn linux(architecture: &str) -> Self {
        Self { architecture: architecture.to_owned(), os: "linux".to_owned(), variant: None }
    }

    /// Whether both mean the same machine: for arm64 `v8`, and for amd64 `v1`, is what one has
    /// without a variant.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.os == other.os
            && self.architecture == other.architecture
            && self.variant() == other.variant()
    }

    fn variant(&self) -> &str {
        match (self.architecture.as_str(), self.variant.as_deref().unwrap_or("")) {
            ("arm64", "v8") | ("amd64", "v1") => "",
            (_, variant) => variant,
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

/// A list of manifests and other indexes. What it says of itself is passed over: nothing is decided on
/// it, and a hostile one can be long.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Must be 2.
    #[serde(deserialize_with = "schema_version")]
    pub schema_version: u32,
    /// Its own media type, where it says so.
    #[serde(default)]
    pub media_type: Option<String>,
    /// The entries.
    #[serde(deserialize_with = "descriptors")]
    pub manifests: Vec<Descriptor>,
}

/// The parts of one image or artifact.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Must be 2.
    #[serde(deserialize_with = "schema_version")]
    pub schema_version: u32,
    /// Its own media type, where it says so.
    #[serde(default)]
    pub media_type: Option<String>,
    /// What kind of artifact it is.
    #[serde(default)]
    pub artifact_type: Option<String>,
    /// The config.
    pub config: Descriptor,
    /// The layers, lowest first.
    #[serde(deserialize_with = "descriptors")]
    pub layers: Vec<Descriptor>,
    /// What it is about: a signature names here what it signs.
    #[serde(default)]
    pub subject: Option<Descriptor>,
    /// Its annotations.
    #[serde(default, deserialize_with = "annotations")]
    pub annotations: Annotations,
}

impl Index {
    /// Reads an index.
    ///
    /// # Errors
    /// Says where in the text it is wrong.
    pub fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        let index: Self = serde_json::from_slice(text)?;
        let known = [media_type::INDEX, media_type::DOCKER_INDEX];
        check_kind(text, index.media_type.as_deref(), &known)?;
        Ok(index)
    }
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// Says where in the text it is wrong.
    pub fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        let manifest: Self = serde_json::from_slice(text)?;
        let known = [media_type::MANIFEST, media_type::DOCKER_MANIFEST];
        check_kind(text, manifest.media_type.as_deref(), &known)?;
        Ok(manifest)
    }
}

/// Refuses what says it is something else, or could be read as an index by one and as a manifest
/// by another (CVE-2021-41190).
fn check_kind(text: &[u8], found: Option<&str>, known: &[&str]) -> Result<(), serde_json::Error> {
    #[derive(Deserialize)]
    struct Members {
        layers: Option<IgnoredAny>,
        manifests: Option<IgnoredAny>,
    }

    let members: Members = serde_json::from_slice(text)?;
    if members.layers.is_some() && members.manifests.is_some() {
        return Err(serde_json::Error::custom("has both layers and manifests"));
    }
    match found {
        Some(found) if !known.contains(&found) => {
            Err(serde_json::Error::custom(format_args!("media type is {found}")))
        }
        _ => Ok(()),
    }
}

fn digest<'de, D: Deserializer<'de>>(from: D) -> Result<Digest, D::Error> {
    let text = String::deserialize(from)?;
    Digest::from_str(&text).map_err(|cause| D::Error::custom(format_args!("{cause}: {text:?}")))
}

fn digest_text<S: Serializer>(digest: &Digest, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(digest)
}

fn schema_version<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    match u32::deserialize(from)? {
        2 => Ok(2),
        found => Err(D::Error::custom(format_args!("schemaVersion is {found}, not 2"))),
    }
}

fn descriptors<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Descriptor>, D::Error> {
    from.deserialize_seq(Bounded(PhantomData::<Vec<Descriptor>>))
}

fn annotations<'de, D: Deserializer<'de>>(from: D) -> Result<Annotations, D::Error> {
    from.deserialize_option(Bounded(PhantomData::<Annotations>))
}

/// Collects members up to their limit.
struct Bounded<T>(PhantomData<T>);

impl<'de> Visitor<'de> for Bounded<Vec<Descriptor>> {
    type Value = Vec<Descriptor>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("descriptors")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(descriptor) = from.next_element()? {
            if all.len() >= DESCRIPTORS_MAX {
                return Err(A::Error::custom(format_args!(
                    "more than {DESCRIPTORS_MAX} descriptors"
                )));
            }
            all.push(descriptor);
        }
        Ok(all)
    }
}

impl<'de> Visitor<'de> for Bounded<Annotations> {
    type Value = Annotations;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("annotations")
    }

    // Some writers put `null` where they have none.
    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(Annotations::new())
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Annotations::new())
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
        let mut all = Annotations::new();
        while let Some((name, value)) = from.next_entry()? {
            if all.len() >= ANNOTATIONS_MAX {
                return Err(A::Error::custom(format_args!(
                    "more than {ANNOTATIONS_MAX} annotations"
                )));
            }
            all.insert(name, value);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests;
