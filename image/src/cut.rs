//! Cuts targets into chunks: reads each extent once, hashes each block once.

use std::io;

use gybe_core::block::{BLOCK_LEN, BLOCK_LEN_U64, Block};
use gybe_core::chunk::{Anchor, ChunkHasher};
use gybe_core::digest::Digest;
use gybe_core::verity::leaf;

use crate::content::ReadContent;
use crate::parallel;
use crate::target::{Extent, Source, Tail, Target};

/// How many bytes are read and hashed in one go over all cores.
const BATCH_LEN: u64 = 16 << 20;

/// Shorter runs of zeros stay inside their chunk: a record costs more than they do in a frame.
const ZEROS_MIN: usize = 4;

/// Some blocks of a target that were read and hashed.
pub(crate) struct Cut {
    /// What they are.
    pub(crate) what: What,
    /// The leaf hashes of the blocks.
    pub(crate) leaves: Vec<Digest>,
}

/// What blocks are.
pub(crate) enum What {
    /// A run of zeros.
    Zeros,
    /// A chunk.
    Chunk {
        /// Its digest.
        digest: Digest,
        /// Its anchor.
        anchor: Anchor,
        /// Its bytes, in whole blocks.
        bytes: Vec<u8>,
    },
}

/// A part of an extent that is read at once: at most one chunk long.
struct Window<'t> {
    source: &'t Source,
    at: u64,
    len: u64,
}

/// Reads `target` and gives every part of it, in order, to `take`.
pub(crate) fn cut<E: From<io::Error>>(
    target: &Target,
    content: &dyn ReadContent,
    mut take: impl FnMut(Cut) -> Result<(), E>,
) -> Result<(), E> {
    let mut windows = target.extents.iter().flat_map(windows).peekable();
    while windows.peek().is_some() {
        let mut batch = Vec::new();
        let mut len = 0;
        while len < BATCH_LEN
            && let Some(window) = windows.next()
        {
            // A file of a few bytes still costs a system call, a hash and a record.
            len += window.len + BLOCK_LEN_U64;
            batch.push(window);
        }
        for cuts in parallel::map(&batch, |window| read(window, content)) {
            cuts?.into_iter().try_for_each(&mut take)?;
        }
    }
    Ok(())
}

fn windows(extent: &Extent) -> impl Iterator<Item = Window<'_>> {
    let len = extent.source.len();
    let step = u64::from(extent.chunk_blocks_max.max(1)) * BLOCK_LEN_U64;
    let tail_len = match extent.tail {
        Tail::Joined => 0,
        Tail::Apart => len % BLOCK_LEN_U64,
    };
    let body_len = len - tail_len;
    let body = (0..body_len.div_ceil(step)).map(move |number| {
        let at = number * step;
        Window { source: &extent.source, at, len: step.min(body_len - at) }
    });
    let tail = Window { source: &extent.source, at: body_len, len: tail_len };
    body.chain((tail_len > 0).then_some(tail))
}

fn read(window: &Window<'_>, content: &dyn ReadContent) -> io::Result<Vec<Cut>> {
    let too_long = |_| io::Error::other("a chunk does not fit into memory");
    let len = usize::try_from(window.len).map_err(too_long)?;
    let mut bytes = vec![0; len.next_multiple_of(BLOCK_LEN)];
    let (filled, _) = bytes.split_at_mut(len);
    match window.source {
        Source::Content(source) => content.read_at(source, window.at, filled)?,
        Source::Bytes(source) => {
            let at = usize::try_from(window.at).map_err(too_long)?;
            let beyond = || io::Error::from(io::ErrorKind::UnexpectedEof);
            filled.copy_from_slice(source.get(at..at + len).ok_or_else(beyond)?);
        }
        Source::Spooled(source) => source.read_at(window.at, filled)?,
    }
    let (blocks, _) = bytes.as_chunks::<BLOCK_LEN>();
    Ok(runs(blocks).into_iter().map(|(zeros, blocks)| part(zeros, blocks)).collect())
}

/// Splits blocks into runs that are zeros and runs that are not.
fn runs(blocks: &[Block]) -> Vec<(bool, &[Block])> {
    let mut runs: Vec<(bool, &[Block])> = Vec::new();
    let mut rest = blocks;
    while !rest.is_empty() {
        let zeros = rest.iter().take_while(|block| is_zero(block)).count();
        let (zero_run, after) = rest.split_at(zeros);
        // A chunk goes on until a run of zeros that is worth a record, or the end.
        let mut len = 0;
        while len < after.len() {
            let gap = after.iter().skip(len).take_while(|block| is_zero(block)).count();
            if gap >= ZEROS_MIN || (gap > 0 && len + gap == after.len()) {
                break;
            }
            len += gap.max(1);
        }
        let (data, later) = after.split_at(len);
        for (zeros, run) in [(true, zero_run), (false, data)] {
            if !run.is_empty() {
                runs.push((zeros, run));
            }
        }
        rest = later;
    }
    runs
}

fn is_zero(block: &Block) -> bool {
    *block == [0; BLOCK_LEN]
}

fn part(zeros: bool, blocks: &[Block]) -> Cut {
    let leaves: Vec<Digest> = blocks.iter().map(leaf).collect();
    let what = match leaves.first() {
        Some(first) if !zeros => {
            let mut hasher = ChunkHasher::new(u32::try_from(blocks.len()).unwrap_or(u32::MAX));
            leaves.iter().for_each(|leaf| hasher.push(leaf));
            let bytes = blocks.as_flattened().to_vec();
            What::Chunk { digest: hasher.finish(), anchor: Anchor::of(first), bytes }
        }
        _ => What::Zeros,
    };
    Cut { what, leaves }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_tail_that_is_apart_leaves_the_full_blocks_as_they_are_elsewhere() {
        let lens = |len: usize, tail| {
            let source = Source::Bytes(Arc::from(vec![1; len]));
            let extent = Extent { source, chunk_blocks_max: 2, tail };
            windows(&extent).map(|window| (window.at, window.len)).collect::<Vec<_>>()
        };
        assert_eq!(lens(13_000, Tail::Joined), [(0, 8192), (8192, 4808)]);
        assert_eq!(lens(13_000, Tail::Apart), [(0, 8192), (8192, 4096), (12_288, 712)]);
        assert_eq!(lens(12_288, Tail::Apart), lens(12_288, Tail::Joined));
        assert_eq!(lens(100, Tail::Apart), lens(100, Tail::Joined));
        assert_eq!(lens(0, Tail::Apart), []);
    }

    #[test]
    fn runs_of_zeros_are_split_off_where_that_is_worth_a_record() {
        let shape = |text: &str| {
            let blocks: Vec<Block> =
                text.bytes().map(|kind| [u8::from(kind == b'x'); BLOCK_LEN]).collect();
            runs(&blocks)
                .iter()
                .map(|(zeros, run)| format!("{}{}", if *zeros { 'z' } else { 'd' }, run.len()))
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(shape(""), "");
        assert_eq!(shape("xxx"), "d3");
        assert_eq!(shape("...."), "z4");
        assert_eq!(shape(".x."), "z1 d1 z1");
        assert_eq!(shape("x...x"), "d5");
        assert_eq!(shape("x....x"), "d1 z4 d1");
        assert_eq!(shape("x...x...."), "d5 z4");
    }
}
