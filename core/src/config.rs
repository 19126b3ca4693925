//! The signed configuration of a release: its targets, packs and recipe, and what a device must
//! know to install it. JSON, `application/vnd.gybe.config.v1+json`; see `docs/formats.md`.
//!
//! Keys that we do not know are passed over: they are compatible additions. What must not be
//! passed over is named in `features.incompatible`, and an unknown name there refuses the release.

use heapless::Vec;

use crate::block::BLOCK_LEN_U64;
use crate::chunk::{CHUNK_BLOCKS_MAX, TargetIndex};
use crate::digest::Digest;
use crate::json::Value;
use crate::recipe::{FRAME_LEN_MAX, PackId, Part, TABLE_LEN_MAX};
use crate::verity::DATA_BLOCKS_MAX;
use crate::version::Version;

mod error;
mod limits;

use error::name;
pub use error::{ConfigError, Name};
pub use limits::{CONFIG_LEN_MAX, PACKS_MAX, TARGETS_MAX};

/// The format version we read and write.
pub const FORMAT: u64 = 1;

/// Incompatible features that this version understands: none has been needed yet.
const FEATURES: [&str; 0] = [];

/// The configuration of a release. Borrows the bytes it was read from.
#[derive(Clone, Debug)]
pub struct Config<'a> {
    /// The architecture, as OCI names it: `amd64`, `arm64`.
    pub architecture: &'a str,
    /// The loader contract that the boot target needs.
    pub loader_min: u64,
    /// How many blocks the longest chunk has, at most [`CHUNK_BLOCKS_MAX`]: what a device that holds
    /// less must know before it begins. Not believed: every chunk's length is looked at.
    pub chunk_blocks_max: u32,
    /// The targets, in the order in which the recipe describes them.
    pub targets: Vec<Target<'a>, TARGETS_MAX>,
    /// The packs, in the order of the manifest's layers behind the recipe.
    pub packs: Vec<Pack, PACKS_MAX>,
    /// The recipe.
    pub recipe: RecipeRef,
}

/// A target as the configuration describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// `root`, `boot`, or a name of the board's.
    pub name: &'a str,
    /// True length in bytes; the last block is filled up with zeros.
    pub size: u64,
    /// Length in blocks, `1..=DATA_BLOCKS_MAX`.
    pub blocks: u64,
    /// The root hash of its hash tree.
    pub root_hash: Digest,
    /// Whether the hash tree is stored behind the blocks.
    pub tree: bool,
}

/// A pack as the configuration describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pack {
    /// Its number.
    pub id: PackId,
    /// How many frames it has.
    pub frames: u64,
}

/// Where the recipe's own check begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecipeRef {
    /// Length of the table in bytes, `1..=TABLE_LEN_MAX`.
    pub table_size: usize,
    /// The digest of the table.
    pub table_digest: Digest,
}

impl<'a> Config<'a> {
    /// Reads a configuration whose digest was found right.
    ///
    /// # Errors
    /// [`ConfigError`] says what is wrong, and which version of gybe is needed where one is.
    pub fn parse(bytes: &'a [u8], ours: Version) -> Result<Self, ConfigError> {
        let document = Value::parse(bytes)?;
        let mut members = Members::default();
        for member in document.object()? {
            let (key, value) = member?;
            members.put(key, value);
        }
        let need = |value: Option<Value<'a>>, name| value.ok_or(document.missing(name));
        let agent = need(members.agent, "agentMin")?.str()?;
        let found = need(members.format, "format")?.u64()?;
        if found != FORMAT {
            return Err(ConfigError::Format { found, agent: name(agent) });
        }
        if let Some(features) = members.features {
            check_features(features, agent)?;
        }
        let needed = agent.parse().map_err(|_| ConfigError::Text {
            field: "agentMin",
            found: name(agent),
            expected: "three numbers with dots",
        })?;
        if needed > ours {
            return Err(ConfigError::Agent { needed, ours });
        }
        expect_text("hash", need(members.hash, "hash")?, "sha256")?;
        let expect = |field, value, expected| {
            let found = need(value, field)?.u64()?;
            let right = found == expected;
            right.then_some(()).ok_or(ConfigError::Value { field, found, expected })
        };
        expect("blockSize", members.block_size, BLOCK_LEN_U64)?;
        expect("pageSize", members.page_size, 4096)?;
        let at_most = |field, value, expected| {
            let found = need(value, field)?.u64()?;
            let right = found <= expected;
            right.then_some(found).ok_or(ConfigError::Value { field, found, expected })
        };
        let frame_max = u64::try_from(FRAME_LEN_MAX).unwrap_or(u64::MAX);
        let chunk_max = u64::from(CHUNK_BLOCKS_MAX).saturating_mul(BLOCK_LEN_U64);
        let chunk_max = at_most("chunkSizeMax", members.chunk_max, chunk_max)?;
        let chunk_blocks = chunk_max.div_ceil(BLOCK_LEN_U64);
        at_most("frameSizeMax", members.frame_max, frame_max)?;
        at_most("windowSizeMax", members.window_max, frame_max)?;
        let config = Self {
            architecture: need(members.architecture, "architecture")?.str()?,
            loader_min: need(members.loader, "loaderMin")?.u64()?,
            chunk_blocks_max: u32::try_from(chunk_blocks).unwrap_or(CHUNK_BLOCKS_MAX),
            targets: targets(need(members.targets, "targets")?)?,
            packs: packs(need(members.packs, "packs")?)?,
            recipe: recipe(need(members.recipe, "recipe")?)?,
        };
        config.check()?;
        Ok(config)
    }

    /// What the recipe's pages must describe, in this order: each target's blocks, then each
    /// pack's frames.
    pub fn parts(&self) -> impl Iterator<Item = (Part, u64)> {
        let targets = (0u16..)
            .zip(&self.targets)
            .map(|(index, target)| (Part::Target(TargetIndex(index)), target.blocks));
        // A pack without a frame has no page.
        let packs = self.packs.iter().filter(|pack| pack.frames > 0);
        targets.chain(packs.map(|pack| (Part::Pack(pack.id), pack.frames)))
    }

    /// The target `root`, which every release has.
    #[must_use]
    pub fn root(&self) -> Option<&Target<'a>> {
        self.targets.iter().find(|target| target.name == "root")
    }

    fn check(&self) -> Result<(), ConfigError> {
        let names = self.targets.iter().map(|target| target.name);
        let ids = self.packs.iter().map(|pack| pack.id);
        if repeats(names) {
            Err(ConfigError::Targets { what: "two targets have one name" })
        } else if repeats(ids) {
            Err(ConfigError::Targets { what: "two packs have one number" })
        } else if self.targets.first().is_none_or(|first| first.name != "root" || !first.tree) {
            Err(ConfigError::Targets { what: "the first target is not a root with its tree" })
        } else {
            Ok(())
        }
    }
}

/// The members of the configuration that we read.
#[derive(Default)]
struct Members<'a> {
    format: Option<Value<'a>>,
    agent: Option<Value<'a>>,
    loader: Option<Value<'a>>,
    features: Option<Value<'a>>,
    architecture: Option<Value<'a>>,
    hash: Option<Value<'a>>,
    block_size: Option<Value<'a>>,
    page_size: Option<Value<'a>>,
    chunk_max: Option<Value<'a>>,
    frame_max: Option<Value<'a>>,
    window_max: Option<Value<'a>>,
    targets: Option<Value<'a>>,
    packs: Option<Value<'a>>,
    recipe: Option<Value<'a>>,
}

impl<'a> Members<'a> {
    fn put(&mut self, key: &str, value: Value<'a>) {
        let member = match key {
            "format" => &mut self.format,
            "agentMin" => &mut self.agent,
            "loaderMin" => &mut self.loader,
            "features" => &mut self.features,
            "architecture" => &mut self.architecture,
            "hash" => &mut self.hash,
            "blockSize" => &mut self.block_size,
            "pageSize" => &mut self.page_size,
            "chunkSizeMax" => &mut self.chunk_max,
            "frameSizeMax" => &mut self.frame_max,
            "windowSizeMax" => &mut self.window_max,
            "targets" => &mut self.targets,
            "packs" => &mut self.packs,
            "recipe" => &mut self.recipe,
            _ => return,
        };
        *member = Some(value);
    }
}

fn check_features(features: Value<'_>, agent: &str) -> Result<(), ConfigError> {
    for member in features.object()? {
        let (key, value) = member?;
        if key != "incompatible" {
            continue;
        }
        for feature in value.array()? {
            let feature = feature?.str()?;
            if !FEATURES.contains(&feature) {
                return Err(ConfigError::Feature { name: name(feature), agent: name(agent) });
            }
        }
    }
    Ok(())
}

fn targets(value: Value<'_>) -> Result<Vec<Target<'_>, TARGETS_MAX>, ConfigError> {
    let mut targets = Vec::new();
    for item in value.array()? {
        let item = item?;
        let (mut name, mut size, mut root_hash, mut tree) = (None, None, None, None);
        for member in item.object()? {
            match member? {
                ("name", value) => name = Some(value.str()?),
                ("size", value) => size = Some(value.u64()?),
                ("rootHash", value) => {
                    let cause = |cause| ConfigError::Digest { field: "rootHash", cause };
                    root_hash = Some(Digest::from_hex(value.str()?).map_err(cause)?);
                }
                ("tree", value) => tree = Some(value.bool()?),
                _ => {}
            }
        }
        let size = size.ok_or(item.missing("size"))?;
        let blocks = size.div_ceil(BLOCK_LEN_U64);
        if blocks == 0 || blocks > DATA_BLOCKS_MAX {
            let expected = DATA_BLOCKS_MAX.saturating_mul(BLOCK_LEN_U64);
            return Err(ConfigError::Value { field: "size of a target", found: size, expected });
        }
        let target = Target {
            name: name.ok_or(item.missing("name"))?,
            size,
            blocks,
            root_hash: root_hash.ok_or(item.missing("rootHash"))?,
            tree: tree.ok_or(item.missing("tree"))?,
        };
        let full = ConfigError::TooMany { what: "targets", limit: TARGETS_MAX };
        targets.push(target).map_err(|_| full)?;
    }
    Ok(targets)
}

fn packs(value: Value<'_>) -> Result<Vec<Pack, PACKS_MAX>, ConfigError> {
    let mut packs = Vec::new();
    for item in value.array()? {
        let item = item?;
        let (mut id, mut frames) = (None, None);
        for member in item.object()? {
            match member? {
                ("id", value) => {
                    let found = value.u64()?;
                    let expected = u64::from(u16::MAX);
                    let beyond = ConfigError::Value { field: "id of a pack", found, expected };
                    id = Some(PackId(u16::try_from(found).map_err(|_| beyond)?));
                }
                ("frames", value) => frames = Some(value.u64()?),
                _ => {}
            }
        }
        let pack = Pack {
            id: id.ok_or(item.missing("id"))?,
            frames: frames.ok_or(item.missing("frames"))?,
        };
        let full = ConfigError::TooMany { what: "packs", limit: PACKS_MAX };
        packs.push(pack).map_err(|_| full)?;
    }
    Ok(packs)
}

fn recipe(value: Value<'_>) -> Result<RecipeRef, ConfigError> {
    let (mut size, mut digest) = (None, None);
    for member in value.object()? {
        match member? {
            ("tableSize", value) => size = Some(value.u64()?),
            ("tableDigest", value) => {
                let cause = |cause| ConfigError::Digest { field: "tableDigest", cause };
                digest = Some(value.str()?.parse().map_err(cause)?);
            }
            _ => {}
        }
    }
    let found = size.ok_or(value.missing("tableSize"))?;
    let expected = u64::try_from(TABLE_LEN_MAX).unwrap_or(u64::MAX);
    match usize::try_from(found) {
        Ok(table_size) if table_size <= TABLE_LEN_MAX => {
            Ok(RecipeRef { table_size, table_digest: digest.ok_or(value.missing("tableDigest"))? })
        }
        _ => Err(ConfigError::Value { field: "tableSize", found, expected }),
    }
}

fn expect_text(
    field: &'static str,
    value: Value<'_>,
    expected: &'static str,
) -> Result<(), ConfigError> {
    let found = value.str()?;
    let right = found == expected;
    right.then_some(()).ok_or(ConfigError::Text { field, found: name(found), expected })
}

fn repeats<T: PartialEq>(items: impl Iterator<Item = T> + Clone) -> bool {
    let mut rest = items;
    while let Some(item) = rest.next() {
        if rest.clone().any(|other| other == item) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests;
