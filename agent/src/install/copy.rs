//! What the slots have already: one thread finds and reads it, this one hashes and writes it.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use gybe_core::block::{Block, BlockIndex, ReadBlocks as _};
use gybe_core::chunk::{self, Checked, TargetIndex};
use gybe_core::install::Install;

use super::likely::Likely;
use super::lookup::Pass;
use super::origin::Origin;
use super::recipe::{Item, Numbered, Recipe, RecipePart};
use super::{Chunks, InstallError, Phase, Progress, Tally, bytes, make_room};
use crate::device::partition::{Partition, RunningPartition};

/// How many chunks may wait to be written: 4 of at most 1 MiB.
const QUEUE: usize = 4;

/// What was found out about a part of a target.
enum Found {
    Zeros {
        target: TargetIndex,
        start: BlockIndex,
        count: u32,
    },
    /// It is right in the inactive slot.
    Right(Numbered),
    /// The running slot seems to have it.
    Copy(Numbered, Vec<Block>),
    Missing(Numbered),
}

/// Skips and copies what is there; gives the chunks that are not.
pub(super) fn run(
    install: &mut Install<'_, Partition>,
    recipe: &mut Recipe<'_, RecipePart>,
    origin: &mut Origin,
    likely: &Likely,
    paths: &[PathBuf],
    tally: &mut Tally,
    progress: &Progress<'_>,
) -> Result<Chunks, InstallError> {
    let mut inactive = Vec::new();
    for path in paths {
        inactive.push(RunningPartition::open(path)?);
    }
    thread::scope(|scope| {
        let (send, receive) = sync_channel(QUEUE);
        // Buffers go back to where they came from: the number of them stays what it is.
        let (spent, free) = channel();
        let finder = scope.spawn(move || {
            let blocks = Buffer { spare: Vec::new(), free };
            let mut finder = Finder { recipe, origin, likely, inactive, send, blocks };
            finder.run()
        });
        let written = write(install, &receive, &spent, tally, progress);
        // Lets the finder end when writing did not go well.
        drop(receive);
        let found = finder.join().unwrap_or(Err(InstallError::ThreadEnded));
        written.and_then(|missing| found.map(|()| missing))
    })
}

fn write(
    install: &mut Install<'_, Partition>,
    receive: &Receiver<Found>,
    spent: &Sender<Vec<Block>>,
    tally: &mut Tally,
    progress: &Progress<'_>,
) -> Result<Chunks, InstallError> {
    let mut missing = Chunks::default();
    let mut done = 0;
    for found in receive {
        let len = match found {
            Found::Zeros { target, start, count } => {
                let written = install.zero(target, start, count)?;
                tally.written_bytes += bytes(u64::from(written));
                tally.zero_bytes += bytes(u64::from(count));
                count
            }
            Found::Right(chunk) => {
                tally.skipped_bytes += bytes(u64::from(chunk.place.count));
                chunk.place.count
            }
            Found::Copy(chunk, blocks) => {
                match Checked::new(chunk.place, &blocks) {
                    Some(checked) => {
                        install.write(&checked)?;
                        let len = bytes(u64::from(chunk.place.count));
                        tally.copied_bytes += len;
                        tally.written_bytes += len;
                    }
                    // The running slot does not hold what its trailer says.
                    None => missing.insert(chunk.number),
                }
                // The finder may be through already: then it needs no buffer any more.
                let _ = spent.send(blocks);
                chunk.place.count
            }
            Found::Missing(chunk) => {
                missing.insert(chunk.number);
                chunk.place.count
            }
        };
        done += bytes(u64::from(len));
        progress(Phase::Copy, done, tally.total_bytes);
    }
    Ok(missing)
}

struct Finder<'f, 't> {
    recipe: &'f mut Recipe<'t, RecipePart>,
    origin: &'f mut Origin,
    likely: &'f Likely,
    inactive: Vec<RunningPartition>,
    send: SyncSender<Found>,
    blocks: Buffer,
}

/// The blocks of one chunk, used again and again.
struct Buffer {
    spare: Vec<Block>,
    free: Receiver<Vec<Block>>,
}

impl Buffer {
    /// Room for `count` blocks.
    fn room(&mut self, count: u32) -> &mut Vec<Block> {
        if self.spare.capacity() == 0 {
            self.spare = self.free.try_recv().unwrap_or_default();
        }
        make_room(&mut self.spare, count);
        &mut self.spare
    }
}

impl Finder<'_, '_> {
    fn run(&mut self) -> Result<(), InstallError> {
        let of = self.origin.passes();
        for number in 0..of {
            let pass = Pass { number, of };
            let lookup = self.origin.lookup(pass)?;
            let Self { recipe, origin, likely, inactive, send, blocks } = self;
            let walked = recipe.walk(|item| {
                let found = match item {
                    Item::Zeros { target, start, count } if number == 0 => {
                        Found::Zeros { target, start, count }
                    }
                    Item::Chunk(chunk) if origin.belongs(pass, &chunk.chunk) => {
                        find(&chunk, origin, &lookup, likely, inactive, blocks)
                    }
                    _ => return Ok(()),
                };
                send.send(found).map_err(|_| Stop::Receiver)
            });
            match walked {
                Ok(()) => {}
                // The writer has an error of its own to tell.
                Err(Stop::Receiver) => return Ok(()),
                Err(Stop::Error(cause)) => return Err(cause),
            }
        }
        Ok(())
    }
}

/// Why the finder stops early.
enum Stop {
    Receiver,
    Error(InstallError),
}

impl From<InstallError> for Stop {
    fn from(cause: InstallError) -> Self {
        Self::Error(cause)
    }
}

fn find(
    chunk: &Numbered,
    origin: &mut Origin,
    lookup: &super::lookup::Lookup,
    likely: &Likely,
    inactive: &mut [RunningPartition],
    buffer: &mut Buffer,
) -> Found {
    let blocks = buffer.room(chunk.place.count);
    if likely.has(chunk) && is_right(chunk, inactive, blocks) {
        return Found::Right(*chunk);
    }
    match origin.find_chunk(lookup, &chunk.chunk) {
        Some(spot) if origin.read(spot, blocks) => Found::Copy(*chunk, std::mem::take(blocks)),
        _ => Found::Missing(*chunk),
    }
}

/// Whether the inactive slot has the chunk at its place.
pub(super) fn is_right(
    chunk: &Numbered,
    inactive: &mut [RunningPartition],
    blocks: &mut [Block],
) -> bool {
    let medium = inactive.get_mut(usize::from(chunk.place.target.0));
    medium.is_some_and(|medium| medium.read(chunk.place.start, blocks).is_ok())
        && chunk::digest(blocks) == chunk.place.digest
}
