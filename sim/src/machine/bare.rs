//! A slot without a boot target, as a loader sees it that brings a kernel of its own: the first
//! block of `root` says that there is a file system, and the trailer behind it what the kernel is
//! to be told. See `docs/formats/boot-target.md`, "Releases without it".

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use gybe_core::block::{BLOCK_LEN, BLOCK_LEN_U64, Block, BlockIndex, ReadBlocks};
use gybe_core::config::CONFIG_LEN_MAX;
use gybe_core::json::{JsonError, Value};
use gybe_core::trailer::{PartName, Progress, Trailer, TrailerError};

/// The member of the signed configuration that the kernel is told.
const COMMAND_LINE: &str = "commandLine";

/// Why a trailer does not say what the kernel is to be told.
#[derive(Debug, thiserror::Error)]
pub enum UnusableTrailer {
    /// The partition cannot be opened.
    #[error(transparent)]
    Open(#[from] io::Error),
    /// It is not there, or damaged.
    #[error(transparent)]
    Trailer(#[from] TrailerError<io::Error>),
    /// The slot was never read back.
    #[error("trailer says that the install did not end")]
    Draft,
    /// The configuration in it is none.
    #[error("configuration in the trailer: {0}")]
    Json(#[from] JsonError),
}

/// The signed command line in the trailer of a partition.
pub(super) fn command_line(root: &Path) -> Result<String, UnusableTrailer> {
    let mut medium = Partition(File::open(root)?);
    let trailer = Trailer::read(&mut medium)?;
    if trailer.progress != Progress::Complete {
        return Err(UnusableTrailer::Draft);
    }
    let mut room = vec![[0; BLOCK_LEN]; CONFIG_LEN_MAX.div_ceil(BLOCK_LEN)];
    let config = Value::parse(trailer.read_part(&mut medium, PartName::Config, &mut room)?)?;
    for member in config.object()? {
        if let (COMMAND_LINE, line) = member? {
            return Ok(line.str()?.to_owned());
        }
    }
    Err(config.missing(COMMAND_LINE).into())
}

/// A file that stands for a partition.
struct Partition(File);

impl ReadBlocks for Partition {
    type Error = io::Error;

    fn block_count(&self) -> u64 {
        self.0.metadata().map_or(0, |stat| stat.len() / BLOCK_LEN_U64)
    }

    fn read(&mut self, index: BlockIndex, blocks: &mut [Block]) -> io::Result<()> {
        let at = index.0.saturating_mul(BLOCK_LEN_U64);
        self.0.read_exact_at(blocks.as_flattened_mut(), at)
    }
}
