//! Looks into an OCI layout from outside: manifests by tag, blobs by digest, frames by recipe.

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{recipe::Recipe, toc};

/// The layer's annotation that says where its table of contents lies.
const TABLE_POSITION: &str = "io.github.containers.zstd-chunked.manifest-position";
/// The longest table that is unpacked.
const TABLE_LEN_MAX: u64 = 256 << 20;

/// A layout in a folder.
#[derive(Clone, Debug)]
pub(super) struct Layout(pub(super) PathBuf);

/// A manifest in a layout, and its digest.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) digest: String,
    pub(super) json: Value,
}

impl Layout {
    /// How this tag is spelt for skopeo and for us.
    pub(super) fn source(&self, tag: &str) -> String {
        format!("oci:{}:{tag}", self.0.display())
    }

    /// The folder of the blobs.
    pub(super) fn blobs(&self) -> PathBuf {
        self.0.join("blobs")
    }

    /// The file of a blob.
    pub(super) fn blob(&self, digest: &str) -> PathBuf {
        self.blobs().join(digest.replacen(':', "/", 1))
    }

    /// The manifest that a tag names.
    pub(super) fn manifest(&self, tag: &str) -> Result<Manifest, String> {
        let index = read_json(&self.0.join("index.json"))?;
        let entries = index.pointer("/manifests").and_then(Value::as_array).into_iter().flatten();
        let name = "/annotations/org.opencontainers.image.ref.name";
        let found = entries
            .filter(|entry| entry.pointer(name).and_then(Value::as_str) == Some(tag))
            .find_map(|entry| entry.get("digest")?.as_str());
        let digest = found.ok_or_else(|| format!("{}: no tag {tag}", self.0.display()))?;
        Ok(Manifest { digest: digest.to_owned(), json: read_json(&self.blob(digest))? })
    }

    /// The configuration of a release.
    pub(super) fn config(&self, manifest: &Manifest) -> Result<Value, String> {
        read_json(&self.blob(text(&manifest.json, "/config/digest")?))
    }

    /// The recipe of a release, and the files of its packs in the order of their frames.
    pub(super) fn recipe(&self, tag: &str) -> Result<(Recipe, Vec<PathBuf>), String> {
        let manifest = self.manifest(tag)?;
        let mut blobs = Vec::new();
        for layer in layers(&manifest) {
            blobs.push(self.blob(text(layer, "/digest")?));
        }
        let mut blobs = blobs.into_iter();
        let recipe = blobs.next().ok_or("a release without a recipe")?;
        let bytes = fs::read(&recipe).map_err(|cause| format!("{}: {cause}", recipe.display()))?;
        let config = self.config(&manifest)?;
        let packs = config.pointer("/packs").and_then(Value::as_array);
        let ids = packs.into_iter().flatten().filter_map(|pack| pack.get("id")?.as_u64());
        Ok((Recipe::parse(&bytes, &ids.collect::<Vec<_>>())?, blobs.collect()))
    }

    /// The tables of contents of an image with zstd:chunked layers.
    pub(super) fn tables(&self, tag: &str) -> Result<Vec<toc::Layer>, String> {
        layers(&self.manifest(tag)?).map(|layer| self.table(layer)).collect()
    }

    fn table(&self, layer: &Value) -> Result<toc::Layer, String> {
        let digest = text(layer, "/digest")?;
        let annotations = layer.get("annotations").ok_or("a layer that is not zstd:chunked")?;
        let position = annotations.get(TABLE_POSITION).and_then(Value::as_str).unwrap_or_default();
        let numbers: Vec<u64> = position.split(':').filter_map(|word| word.parse().ok()).collect();
        let [at, len, raw_len, 1] = *numbers else {
            return Err(format!("layer {digest}: cannot use the position {position:?}"));
        };
        let failed = |cause: std::io::Error| format!("layer {digest}: {cause}");
        let mut stored = vec![0; usize::try_from(len.min(TABLE_LEN_MAX)).unwrap_or(0)];
        let file = File::open(self.blob(digest)).map_err(failed)?;
        file.read_exact_at(&mut stored, at).map_err(failed)?;
        let mut json = Vec::new();
        let decoder = zstd::Decoder::new(&*stored).map_err(failed)?;
        decoder.take(raw_len.min(TABLE_LEN_MAX)).read_to_end(&mut json).map_err(failed)?;
        toc::Layer::parse(digest, len, &json)
    }
}

/// The layers of a manifest.
pub(super) fn layers(manifest: &Manifest) -> impl Iterator<Item = &Value> {
    manifest.json.pointer("/layers").and_then(Value::as_array).into_iter().flatten()
}

/// The text at a place of a document.
pub(super) fn text<'a>(json: &'a Value, at: &str) -> Result<&'a str, String> {
    json.pointer(at).and_then(Value::as_str).ok_or_else(|| format!("no text at {at} in {json}"))
}

/// The number at a place of a document.
pub(super) fn number(json: &Value, at: &str) -> Result<u64, String> {
    json.pointer(at).and_then(Value::as_u64).ok_or_else(|| format!("no number at {at} in {json}"))
}

fn read_json(path: &Path) -> Result<Value, String> {
    let failed = |cause: String| format!("{}: {cause}", path.display());
    let bytes = fs::read(path).map_err(|cause| failed(cause.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|cause| failed(cause.to_string()))
}
