//! A reader of releases as `docs/formats.md` describes them, which shares no code with ours.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

pub(crate) type Digest = [u8; 32];

/// A chunk, and where it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) target: usize,
    /// In bytes of the target.
    pub(crate) start: usize,
    pub(crate) len: usize,
    pub(crate) pack: u16,
    pub(crate) frame: u32,
}

/// A page of a recipe.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Page {
    /// The pack whose frames it describes; none for one of a target.
    pub(crate) pack: Option<u64>,
    pub(crate) bytes: Vec<u8>,
}

/// What a release says of itself.
pub(crate) struct Release {
    config: Value,
    manifest: Value,
    /// The chunks by their digest; each once.
    pub(crate) chunks: BTreeMap<Digest, Chunk>,
    /// The pages of the recipe, in order.
    pub(crate) pages: Vec<Page>,
}

impl Release {
    pub(crate) fn read(layout: &Path, tag: &str) -> Self {
        let json =
            |path: &Path| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
        let index = json(&layout.join("index.json"));
        let entries = index["manifests"].as_array().unwrap();
        let name =
            |entry: &Value| entry["annotations"]["org.opencontainers.image.ref.name"].clone();
        let entry = entries.iter().find(|entry| name(entry) == tag).unwrap();
        let manifest = json(&blob(layout, entry));
        let config = json(&blob(layout, &manifest["config"]));
        let recipe = fs::read(blob(layout, &manifest["layers"][0])).unwrap();
        let (chunks, pages) = read(&recipe);
        Self { config, manifest, chunks, pages }
    }

    /// Its packs: the number of each, and its digest.
    pub(crate) fn packs(&self) -> BTreeMap<u64, String> {
        let packs = self.config["packs"].as_array().unwrap().iter();
        let layers = self.manifest["layers"].as_array().unwrap().iter().skip(1);
        let pairs = packs.zip(layers).map(|(pack, layer)| {
            (pack["id"].as_u64().unwrap(), layer["digest"].as_str().unwrap().to_owned())
        });
        pairs.collect()
    }

    /// The pages that describe the frames of a pack.
    pub(crate) fn pages_of(&self, pack: u64) -> Vec<&Page> {
        self.pages.iter().filter(|page| page.pack == Some(pack)).collect()
    }
}

/// Where a blob lies.
pub(crate) fn blob(layout: &Path, descriptor: &Value) -> PathBuf {
    let digest = descriptor["digest"].as_str().unwrap();
    layout.join("blobs/sha256").join(digest.strip_prefix("sha256:").unwrap())
}

fn read(recipe: &[u8]) -> (BTreeMap<Digest, Chunk>, Vec<Page>) {
    assert_eq!(&recipe[..8], b"GYBERCP\0");
    let count = usize::try_from(number(&recipe[12..16])).unwrap();
    let mut at = 16 + count * 64;
    let (mut chunks, mut pages) = (BTreeMap::new(), Vec::new());
    for entry in recipe[16..at].chunks(64) {
        let len = usize::try_from(number(&entry[36..38])).unwrap();
        let page = &recipe[at..at + len];
        at += len;
        let (part, is_pack) = (number(&entry[34..36]), entry[32] == 2);
        pages.push(Page { pack: is_pack.then_some(part), bytes: page.to_vec() });
        if !is_pack {
            let target = usize::try_from(part).unwrap();
            records(target, number(&entry[40..48]), page, &mut chunks);
        }
    }
    assert_eq!(at, recipe.len());
    (chunks, pages)
}

fn records(target: usize, first: u64, page: &[u8], chunks: &mut BTreeMap<Digest, Chunk>) {
    let (mut rest, mut block) = (page, usize::try_from(first).unwrap());
    while !rest.is_empty() {
        let (len, blocks) = if rest[0] == 1 {
            let chunk = Chunk {
                target,
                start: block * 4096,
                len: (usize::from(rest[1]) + 1) * 4096,
                pack: u16::try_from(number(&rest[4..6])).unwrap(),
                frame: u32::try_from(number(&rest[6..10])).unwrap(),
            };
            chunks.entry(rest[14..46].try_into().unwrap()).or_insert(chunk);
            (46, chunk.len / 4096)
        } else {
            (8, usize::try_from(number(&rest[4..8])).unwrap())
        };
        rest = &rest[len..];
        block += blocks;
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}
