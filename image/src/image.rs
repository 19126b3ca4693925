//! An image in a layout: its manifest, and what its config says.
//!
//! Source: OCI image specification 1.1, "Image Configuration".

use std::collections::BTreeMap;

use gybe_core::digest::Digest;
use gybe_oci::{CONFIG_LEN_MAX, Layout, LayoutError, Manifest, Platform, Resolved};
use serde::Deserialize;

/// An image that was found, its config checked against its manifest.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its manifest as found, with its digest.
    pub resolved: Resolved,
    /// Its manifest.
    pub manifest: Manifest,
    /// Its config.
    pub config: ImageConfig,
}

/// What is needed of an image's config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageConfig {
    /// What machine it is for.
    pub platform: Platform,
    /// Digests of the uncompressed layers, lowest first.
    pub diff_ids: Vec<Digest>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

impl Image {
    /// Finds the image with `tag`, or the only one, for `arch`, or for the only machine.
    /// `arch` is an architecture in Go's words or the kernel's: `amd64` or `x86_64`.
    ///
    /// # Errors
    /// It is not there, is for another machine, or its config is damaged.
    pub fn open(
        layout: &Layout,
        tag: Option<&str>,
        arch: Option<&str>,
    ) -> Result<Self, ImageError> {
        let platform = arch.map(platform);
        let resolved = layout.resolve(tag, platform.as_ref())?;
        let manifest = layout.manifest(&resolved)?;
        let digest = manifest.config.digest;
        layout.blob_of_len(&digest, manifest.config.size)?;
        let text = layout.read_blob(&digest, CONFIG_LEN_MAX)?;
        let config = ImageConfig::parse(&text)
            .map_err(|cause| ImageError::Config { digest, cause: cause.to_string() })?;
        if let Some(asked) = platform
            && !asked.is(&config.platform)
        {
            let found = config.platform.to_string();
            return Err(ImageError::Platform { found, asked: asked.to_string() });
        }
        Ok(Self { resolved, manifest, config })
    }
}

impl ImageConfig {
    /// Reads a config.
    ///
    /// # Errors
    /// Says where in the text it is wrong.
    pub fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Whole {
            #[serde(flatten)]
            platform: Platform,
            rootfs: RootFs,
            #[serde(default)]
            config: Option<Run>,
        }
        #[derive(Deserialize)]
        struct RootFs {
            diff_ids: Vec<String>,
        }
        #[derive(Deserialize)]
        struct Run {
            #[serde(default, rename = "Labels")]
            labels: Option<BTreeMap<String, String>>,
        }

        let whole: Whole = serde_json::from_slice(text)?;
        let diff_ids = whole.rootfs.diff_ids.iter().map(|text| {
            text.parse().map_err(|cause| {
                serde::de::Error::custom(format_args!("diff_id {text:?}: {cause}"))
            })
        });
        Ok(Self {
            platform: whole.platform,
            diff_ids: diff_ids.collect::<Result<_, serde_json::Error>>()?,
            labels: whole.config.and_then(|run| run.labels).unwrap_or_default(),
        })
    }
}

/// Linux on an architecture that is named as Go or as the kernel does.
#[must_use]
pub fn platform(arch: &str) -> Platform {
    Platform::linux(match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    })
}

/// Why an image cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// It cannot be found or read.
    #[error("{0}")]
    Layout(#[from] LayoutError),
    /// Its config is not one.
    #[error("image config {digest}: {cause}")]
    Config {
        /// The digest of the config.
        digest: Digest,
        /// Where and why.
        cause: String,
    },
    /// It is for another machine.
    #[error("image is for {found}, {asked} was asked for")]
    Platform {
        /// What its config says.
        found: String,
        /// What was asked for.
        asked: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_says_machine_layers_and_labels() {
        let diff = Digest::of(b"x");
        let text = format!(
            r#"{{"architecture":"arm64","os":"linux","variant":"v8","created":"now",
                "rootfs":{{"type":"layers","diff_ids":["{diff}"]}},
                "config":{{"Cmd":["x"],"Labels":{{"containers.bootc":"1"}}}}}}"#
        );
        let config = ImageConfig::parse(text.as_bytes()).unwrap();
        assert!(config.platform.is(&platform("aarch64")));
        assert_eq!(config.diff_ids, [diff]);
        assert_eq!(config.labels.get("containers.bootc").map(String::as_str), Some("1"));
        let bare = text.replace(
            r#""config":{"Cmd":["x"],"Labels":{"containers.bootc":"1"}}"#,
            r#""config":null"#,
        );
        assert_eq!(ImageConfig::parse(bare.as_bytes()).unwrap().labels, BTreeMap::new());
        let error = ImageConfig::parse(text.replace("sha256", "md5").as_bytes()).unwrap_err();
        assert!(error.to_string().contains("does not begin with sha256:"), "{error}");
    }
}
