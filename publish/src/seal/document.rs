//! The configuration and the manifest of a release, as JSON. See `docs/formats.md`.

use std::collections::BTreeMap;

use gybe_core::block::BLOCK_LEN;
use gybe_core::boot::LOADER_CONTRACT;
use gybe_core::config::FORMAT;
use gybe_core::digest::Digest;
use gybe_core::manifest::{
    ARCHITECTURE, COMPATIBLE, CONFIG_TYPE, MANIFEST_TYPE, PACK_TYPE, RECIPE_TYPE, RELEASE_TYPE,
    ROLLBACK_INDEX, ROOT_HASH, SEQUENCE, SOURCE_DIGEST, VERSION,
};
use gybe_core::recipe::{FRAME_LEN_MAX, PAGE_LEN_MAX, PackId};
use gybe_image::base::Group;
use gybe_image::pack::Packed;
use gybe_image::pages::Recipe;
use serde_json::{Value, json};

use super::boot_files::BootFiles;

/// The oldest agent that can install what this version seals.
const AGENT_MIN: &str = "0.1.0";

/// The longest chunk we cut, in bytes.
const CHUNK_LEN_MAX: usize = 64 * BLOCK_LEN;

/// How the root target is laid out, and the version of the converter that did it: the same image
/// gives the same bytes as long as both are the same.
const ROOT_LAYOUT: &str = "erofs-v1";
const BOOT_LAYOUT: &str = "fat-v1";
const CONVERTER: u32 = 3;

/// What is known of a release besides its data.
pub(super) struct Facts<'a> {
    pub(super) compatible: &'a str,
    pub(super) version: &'a str,
    pub(super) rollback_index: u64,
    pub(super) sequence: u64,
    pub(super) architecture: &'a str,
    pub(super) source_digest: Digest,
    pub(super) command_line: &'a str,
    pub(super) kernel: Option<&'a str>,
    pub(super) microshift: Option<&'a str>,
    pub(super) boot_files: Option<&'a BootFiles>,
}

/// A pack that the release uses.
pub(super) struct Pack<'a> {
    pub(super) id: PackId,
    pub(super) digest: Digest,
    pub(super) len: u64,
    pub(super) frames: usize,
    pub(super) groups: &'a [Group],
}

impl Pack<'_> {
    /// As it stands in the configuration. Groups are for sealers only, and left out where all
    /// frames are the pack's own.
    fn json(&self) -> Value {
        let mut pack = json!({ "id": self.id.0, "frames": self.frames, "size": self.len });
        let is_own = self.groups.iter().all(|group| group.first == self.id);
        if !is_own && let Some(members) = pack.as_object_mut() {
            let groups =
                self.groups.iter().map(|it| json!({ "pack": it.first.0, "frames": it.frames }));
            members.insert("groups".to_owned(), groups.collect());
        }
        pack
    }
}

/// The configuration's bytes.
pub(super) fn config(
    facts: &Facts<'_>,
    targets: &[Packed],
    packs: &[Pack<'_>],
    next_pack: u32,
    recipe: &Recipe,
) -> Result<Vec<u8>, serde_json::Error> {
    let targets = targets.iter().map(|target| {
        let root = target.name == "root";
        let mut description = json!({
            "name": target.name,
            "layout": if root { ROOT_LAYOUT } else { BOOT_LAYOUT },
            "size": target.size,
            "rootHash": target.root_hash.hex().to_string(),
            "tree": root,
        });
        if let Some(members) = description.as_object_mut() {
            let files = facts.boot_files;
            if root {
                let left_out = files.and_then(|files| files.left_out.as_ref());
                members.extend(left_out.map(|path| ("leftOut".to_owned(), json!([path]))));
            } else {
                members.insert("sectorSize".to_owned(), json!(512));
                members.extend(files.map(|files| ("files".to_owned(), json!(files.rule))));
            }
        }
        description
    });
    let known = [("kernel", facts.kernel), ("microshift", facts.microshift)];
    let image: BTreeMap<_, _> =
        known.into_iter().filter_map(|(name, version)| Some((name, version?))).collect();
    serde_json::to_vec_pretty(&json!({
        "format": FORMAT,
        "agentMin": AGENT_MIN,
        "loaderMin": LOADER_CONTRACT,
        "features": { "incompatible": [], "compatible": [] },
        "architecture": facts.architecture,
        "converter": CONVERTER,
        "hash": "sha256",
        "blockSize": BLOCK_LEN,
        "pageSize": PAGE_LEN_MAX,
        "chunkSizeMax": CHUNK_LEN_MAX,
        "frameSizeMax": FRAME_LEN_MAX,
        "windowSizeMax": FRAME_LEN_MAX,
        "commandLine": facts.command_line,
        "image": image,
        "targets": targets.collect::<Vec<Value>>(),
        "packs": packs.iter().map(Pack::json).collect::<Vec<Value>>(),
        "nextPack": next_pack,
        "recipe": {
            "size": recipe.bytes.len(),
            "tableSize": recipe.table_len,
            "tableDigest": recipe.table_digest.to_string(),
        },
    }))
}

/// The manifest's bytes. `layers` are the recipe, then the packs, each by digest and length.
pub(super) fn manifest(
    facts: &Facts<'_>,
    root_hash: Digest,
    config: (Digest, u64),
    layers: &[(Digest, u64)],
) -> Result<Vec<u8>, serde_json::Error> {
    let descriptor = |media_type: &str, (digest, size): (Digest, u64)| json!({ "mediaType": media_type, "digest": digest.to_string(), "size": size });
    let types = std::iter::once(RECIPE_TYPE).chain(std::iter::repeat(PACK_TYPE));
    let layers: Vec<Value> =
        types.zip(layers).map(|(media_type, blob)| descriptor(media_type, *blob)).collect();
    serde_json::to_vec_pretty(&json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": RELEASE_TYPE,
        "config": descriptor(CONFIG_TYPE, config),
        "layers": layers,
        "annotations": {
            COMPATIBLE: facts.compatible,
            VERSION: facts.version,
            ROLLBACK_INDEX: facts.rollback_index.to_string(),
            SEQUENCE: facts.sequence.to_string(),
            ROOT_HASH: root_hash.hex().to_string(),
            SOURCE_DIGEST: facts.source_digest.to_string(),
            ARCHITECTURE: facts.architecture,
        },
    }))
}
