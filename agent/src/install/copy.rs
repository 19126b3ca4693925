//! What the slots have already: one thread finds and reads it, others hash it and write it.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use gybe_core::block::{Block, BlockIndex, ReadBlocks as _};
use gybe_core::chunk::{self, Checked, TargetIndex};
use gybe_core::install::Install;

use super::intake::Intake;
use super::likely::Likely;
use super::lookup::Pass;
use super::origin::Origin;
use super::recipe::{Item, Numbered, Recipe, RecipePart};
use super::{Chunks, InstallError, Phase, Progress, Tally, WRITERS_MAX, bytes, make_room};
use crate::cores::Cores;
use crate::device::partition::{Partition, RunningPartition};

/// How many chunks may wait to be hashed: of at most 1 MiB each.
const QUEUE: usize = 1;

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
        let slot =
            Mutex::new(Slot { install, tally, progress, missing: Chunks::default(), done: 0 });
        let intake = Intake::new(receive);
        let writers = Cores::of_this_machine().at_most(WRITERS_MAX);
        let written = writers.all(|| write(&intake, &spent, &slot));
        let found = finder.join().unwrap_or(Err(InstallError::ThreadEnded));
        let slot = slot.into_inner().map_err(|_| InstallError::ThreadEnded)?;
        written.and(found).map(|()| slot.missing)
    })
}

/// What is written to, by one thread at a time.
struct Slot<'s, 'm> {
    install: &'s mut Install<'m, Partition>,
    tally: &'s mut Tally,
    progress: &'s Progress<'s>,
    missing: Chunks,
    done: u64,
}

/// Hashes what was found, at the same time as others do, and writes it when they do not.
fn write(
    intake: &Intake<Found>,
    spent: &Sender<Vec<Block>>,
    slot: &Mutex<Slot<'_, '_>>,
) -> Result<(), InstallError> {
    while let Some(found) = intake.next() {
        let checked = match &found {
            Found::Copy(chunk, blocks) => Checked::new(chunk.place, blocks),
            Found::Zeros { .. } | Found::Right(_) | Found::Missing(_) => None,
        };
        let mut slot = slot.lock().map_err(|_| InstallError::ThreadEnded)?;
        if let Err(cause) = slot.take(&found, checked.as_ref()) {
            drop(slot);
            // Lets the others end, and the finder.
            intake.close();
            return Err(cause);
        }
        drop(slot);
        if let Found::Copy(_, blocks) = found {
            // The finder may be through already: then it needs no buffer any more.
            let _ = spent.send(blocks);
        }
    }
    Ok(())
}

impl Slot<'_, '_> {
    /// Writes what was found, or notes that it was not.
    fn take(&mut self, found: &Found, checked: Option<&Checked<'_>>) -> Result<(), InstallError> {
        let count = match found {
            Found::Zeros { target, start, count } => {
                let written = self.install.zero(*target, *start, *count)?;
                self.tally.written_bytes += bytes(u64::from(written));
                self.tally.zero_bytes += bytes(u64::from(*count));
                *count
            }
            Found::Right(chunk) => {
                self.tally.skipped_bytes += bytes(u64::from(chunk.place.count));
                chunk.place.count
            }
            Found::Copy(chunk, _) => {
                if let Some(checked) = checked {
                    self.install.write(checked)?;
                    let len = bytes(u64::from(chunk.place.count));
                    self.tally.copied_bytes += len;
                    self.tally.written_bytes += len;
                } else {
                    // The running slot does not hold what its trailer says.
                    self.missing.insert(chunk.number);
                }
                chunk.place.count
            }
            Found::Missing(chunk) => {
                self.missing.insert(chunk.number);
                chunk.place.count
            }
        };
        self.done += bytes(u64::from(count));
        (self.progress)(Phase::Copy, self.done, self.tally.total_bytes);
        Ok(())
    }
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
