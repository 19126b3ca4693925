//! A release taken apart, to be damaged, or put together again as its signer never did.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// SHA-256 in hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn named(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(bytes))
}

/// The documents of a release in a layout of its own.
pub(crate) struct Parts {
    layout: PathBuf,
    pub(crate) index: Value,
    pub(crate) manifest: Value,
    pub(crate) config: Value,
    pub(crate) recipe: Vec<u8>,
    pub(crate) pack: Vec<u8>,
}

impl Parts {
    pub(crate) fn read(layout: &Path) -> Self {
        let json = |path: PathBuf| serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let blob = |descriptor: &Value| path_of(layout, &descriptor["digest"]);
        let index: Value = json(layout.join("index.json"));
        let manifest: Value = json(blob(entry(&index, "release")));
        let config: Value = json(blob(&manifest["config"]));
        let bytes = |at: usize| fs::read(blob(&manifest["layers"][at])).unwrap();
        let (recipe, pack) = (bytes(0), bytes(1));
        Self { layout: layout.to_owned(), index, manifest, config, recipe, pack }
    }

    /// The manifest's digest.
    pub(crate) fn digest(&self) -> &str {
        entry(&self.index, "release")["digest"].as_str().unwrap()
    }

    /// The file of a document: `manifest`, `config`, `recipe`, `pack`, or a tag in the index.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        let descriptor = match name {
            "manifest" => entry(&self.index, "release"),
            "config" => &self.manifest["config"],
            "recipe" => &self.manifest["layers"][0],
            "pack" => &self.manifest["layers"][1],
            tag => entry(&self.index, tag),
        };
        path_of(&self.layout, &descriptor["digest"])
    }

    /// Changes the bytes of a document; nothing that names it learns of that.
    pub(crate) fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let path = self.file(name);
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        fs::write(path, bytes).unwrap();
    }

    /// The manifests that may carry signatures, in the order of the index.
    pub(crate) fn signatures(&self) -> Vec<Value> {
        let entries = self.index["manifests"].as_array().unwrap().iter();
        entries.filter(|entry| tag(entry) != Some("release")).cloned().collect()
    }

    /// The files of the layers of everything that may be a signature, each once.
    pub(crate) fn signature_files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for entry in self.signatures() {
            let path = path_of(&self.layout, &entry["digest"]);
            let manifest: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
            for layer in manifest["layers"].as_array().unwrap() {
                files.push(path_of(&self.layout, &layer["digest"]));
            }
        }
        files.sort();
        files.dedup();
        files
    }

    /// Writes the index as it is here.
    pub(crate) fn write_index(&self) {
        fs::write(self.layout.join("index.json"), self.index.to_string()).unwrap();
    }

    /// Puts everything together again with right digests and sizes, and drops the signatures.
    pub(crate) fn rewrite(&mut self) {
        let (recipe, pack) = (self.recipe.clone(), self.pack.clone());
        self.manifest["layers"][0] = self.named_blob(&recipe, &self.manifest["layers"][0]);
        self.manifest["layers"][1] = self.named_blob(&pack, &self.manifest["layers"][1]);
        self.rewrite_config();
    }

    /// As [`Parts::rewrite`], but keeps what the manifest says of recipe and pack.
    pub(crate) fn rewrite_config(&mut self) {
        let config = self.config.to_string();
        self.manifest["config"] = self.named_blob(config.as_bytes(), &self.manifest["config"]);
        self.rewrite_manifest();
    }

    /// As [`Parts::rewrite`], but keeps all that the manifest says.
    pub(crate) fn rewrite_manifest(&mut self) {
        // Devices find signatures that no index names, too.
        for file in self.signature_files() {
            fs::remove_file(file).unwrap();
        }
        let manifest = self.manifest.to_string();
        let descriptor = self.named_blob(manifest.as_bytes(), entry(&self.index, "release"));
        self.index["manifests"] = json!([descriptor]);
        self.write_index();
    }

    /// Writes a blob; gives `descriptor` with its digest and size.
    pub(crate) fn named_blob(&self, bytes: &[u8], descriptor: &Value) -> Value {
        let mut descriptor = descriptor.clone();
        descriptor["digest"] = named(bytes).into();
        descriptor["size"] = bytes.len().into();
        fs::write(path_of(&self.layout, &descriptor["digest"]), bytes).unwrap();
        descriptor
    }

    /// Replaces the stored bytes of the pack's last frame, and whatever has a digest over them.
    pub(crate) fn replace_last_frame(&mut self, stored: &[u8]) {
        let pages = u32_at(&self.recipe, 12);
        let last = 16 + (pages - 1) * 64;
        assert_eq!(self.recipe[last + 32], 2, "the last page is one of frames");
        let frame = self.recipe.len() - 40;
        let old = u32_at(&self.recipe, frame);
        self.pack.truncate(self.pack.len() - old);
        self.pack.extend_from_slice(stored);
        let len = u32::try_from(stored.len()).unwrap();
        self.recipe[frame..frame + 4].copy_from_slice(&len.to_le_bytes());
        self.recipe[frame + 6] = 1;
        self.recipe[frame + 8..frame + 40].copy_from_slice(&Sha256::digest(stored));
        self.rehash_pages();
        self.rewrite();
    }

    /// Gives each page of the recipe its digest where there is one, and so on upwards.
    pub(crate) fn rehash_pages(&mut self) {
        let pages = u32_at(&self.recipe, 12);
        let table = 16 + pages * 64;
        let mut start = table;
        for entry in (16..table.min(self.recipe.len())).step_by(64) {
            let len = [self.recipe[entry + 36], self.recipe[entry + 37]];
            let end = start + usize::from(u16::from_le_bytes(len));
            let Some(page) = self.recipe.get(start..end) else { break };
            let digest = Sha256::digest(page);
            self.recipe[entry..entry + 32].copy_from_slice(&digest);
            start = end;
        }
        let table = table.min(self.recipe.len());
        self.config["recipe"]["tableDigest"] = named(&self.recipe[..table]).into();
    }

    /// How many bytes the pack's last frame decodes to.
    pub(crate) fn last_frame_len(&self) -> usize {
        let at = self.recipe.len() - 40 + 4;
        usize::from(u16::from_le_bytes([self.recipe[at], self.recipe[at + 1]])) * 4096
    }
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    usize::try_from(u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())).unwrap()
}

fn path_of(layout: &Path, digest: &Value) -> PathBuf {
    layout.join("blobs/sha256").join(digest.as_str().unwrap().strip_prefix("sha256:").unwrap())
}

fn tag(entry: &Value) -> Option<&str> {
    entry["annotations"][REF_NAME].as_str()
}

fn entry<'a>(index: &'a Value, name: &str) -> &'a Value {
    let entries = index["manifests"].as_array().unwrap();
    entries.iter().find(|entry| tag(entry) == Some(name)).unwrap()
}
