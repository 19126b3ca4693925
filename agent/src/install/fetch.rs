//! What is in no slot: fetched frame by frame. Each is read and authenticated, decoded, and what of
//! it is wanted is hashed and written. Nothing is decoded that was not authenticated, and nothing is
//! decoded to more than the signed recipe says.

use std::io::{self, Read as _};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::thread;

use gybe_core::block::Block;
use gybe_core::chunk::Checked;
use gybe_core::digest::Digest;
use gybe_core::install::Install;
use gybe_core::recipe::{Codec, FrameHeader, PackId, RecipeError, WINDOW_LEN_MAX};
use gybe_oci::{Blob, BlobReader, Reach};
use zstd::bulk::Decompressor;

use super::intake::Intake;
use super::recipe::{Recipe, RecipePart};
use super::wanted::{self, Lies, Wanted};
use super::{Chunks, InstallError, Job, Phase, Progress, Tally, WRITERS_MAX, make_room};
use crate::cores::Cores;
use crate::device::partition::Partition;

/// Finds every pack of the release: one of another length is better known before the slot is
/// cleared. A bundle may lack packs; that none of them is needed here was asked before.
pub(super) fn packs(job: &Job<'_>) -> Result<Vec<Blob>, InstallError> {
    let packs = job.release.manifest().packs.iter();
    let blobs = packs.map(|pack| {
        if job.source.lacks(&pack.digest) {
            return Ok(Blob::absent(pack.digest, pack.len));
        }
        job.source.blob_of_len(&pack.digest, pack.len)
    });
    Ok(blobs.collect::<Result<_, _>>()?)
}

/// What is done with each frame.
type Fetch<'f> = dyn FnMut(Wanted) -> Result<(), InstallError> + 'f;

/// Fetches and writes everything in `missing`.
pub(super) fn run(
    install: &mut Install<'_, Partition>,
    recipe: &mut Recipe<'_, RecipePart>,
    job: &Job<'_>,
    packs: &[Blob],
    missing: &mut Chunks,
    tally: &mut Tally,
    progress: &Progress<'_>,
) -> Result<(), InstallError> {
    if missing.len() == 0 {
        return Ok(());
    }
    let (config, reach) = (job.release.config(), job.source.reach());
    let slot = Slot { install, tally, progress };
    let reader = Reader { packs, open: None };
    // Gives each frame to whoever fetches it.
    let frames = |fetch: &mut Fetch<'_>| wanted::each(recipe, config, missing, reach, fetch);
    match reach {
        Reach::Any => side_by_side(frames, reader, slot),
        Reach::Bridged { .. } | Reach::Whole => one_by_one(frames, reader, slot),
    }
}

/// Reads, decodes and writes one frame after the other, in the memory of one. From a network that
/// takes no longer: what comes meanwhile waits in the kernel.
fn one_by_one(
    frames: impl FnOnce(&mut Fetch<'_>) -> Result<(), InstallError>,
    mut reader: Reader<'_>,
    mut slot: Slot<'_, '_>,
) -> Result<(), InstallError> {
    let mut decoder = Decoder::new()?;
    let (mut bytes, mut blocks) = (Vec::new(), Vec::new());
    frames(&mut |frame| {
        reader.read(&frame, &mut bytes)?;
        decoder.decode(&frame, &bytes, &mut blocks)?;
        slot.take(&frame, &check(&frame, &blocks, reader.packs)?)
    })
}

/// The same with a thread that reads and decodes, and some that write: a disk and all cores are busy
/// then.
fn side_by_side(
    frames: impl FnOnce(&mut Fetch<'_>) -> Result<(), InstallError> + Send,
    mut reader: Reader<'_>,
    slot: Slot<'_, '_>,
) -> Result<(), InstallError> {
    let packs = reader.packs;
    thread::scope(|scope| {
        // No frame waits: each that does takes a MiB.
        let (to_writer, decoded) = sync_channel(0);
        // Buffers go back to where they came from: the number of them stays what it is.
        let (spent, free) = channel::<Vec<Block>>();
        let reader = scope.spawn(move || {
            let mut decoder = Decoder::new()?;
            let mut bytes = Vec::new();
            let ended = frames(&mut |frame| {
                reader.read(&frame, &mut bytes)?;
                let mut blocks = free.try_recv().unwrap_or_default();
                decoder.decode(&frame, &bytes, &mut blocks)?;
                to_writer.send((frame, blocks)).map_err(|_| InstallError::ThreadEnded)
            });
            // Whoever stopped listening has an error of its own to tell.
            if let Err(InstallError::ThreadEnded) = ended { Ok(()) } else { ended }
        });
        let slot = Mutex::new(slot);
        let intake = Intake::new(decoded);
        let writers = Cores::of_this_machine().at_most(WRITERS_MAX);
        let written = writers.all(|| write(&intake, &spent, &slot, packs));
        let read = reader.join().unwrap_or(Err(InstallError::ThreadEnded));
        // The earliest cause in the line of threads comes first.
        read.and(written)
    })
}

/// Reads frames out of packs, each pack from its beginning to its end.
struct Reader<'p> {
    packs: &'p [Blob],
    /// Which pack is being read, and the part that was asked for.
    open: Option<(usize, Range<u64>, BlobReader)>,
}

impl Reader<'_> {
    /// Reads the stored bytes of a frame into `buffer` and compares their digest, unless they are
    /// what is written: then the digests of its chunks say as much, and hashing it twice would say
    /// no more.
    fn read(&mut self, wanted: &Wanted, buffer: &mut Vec<u8>) -> Result<(), InstallError> {
        let record = &wanted.frame.record;
        let Some(pack) = self.packs.get(wanted.pack) else {
            let frame = wanted.frame.index;
            return Err(RecipeError::NoFrame { pack: PackId(u16::MAX), frame }.into());
        };
        let digest = pack.digest();
        let failed = |cause| InstallError::Source { digest, cause };
        if wanted.part.end > pack.len() {
            return Err(failed(io::ErrorKind::UnexpectedEof.into()));
        }
        let reader = match &mut self.open {
            Some((of, part, reader)) if *of == wanted.pack => {
                if *part != wanted.part || wanted.lies == Lies::Again {
                    part.clone_from(&wanted.part);
                    reader.seek(wanted.part.clone());
                }
                reader
            }
            open => {
                let mut reader = pack.reader();
                reader.seek(wanted.part.clone());
                &mut open.insert((wanted.pack, wanted.part.clone(), reader)).2
            }
        };
        reader.skip_to(wanted.frame.offset).map_err(failed)?;
        buffer.resize(usize::try_from(record.stored_len).unwrap_or(0), 0);
        reader.read_exact(buffer).map_err(failed)?;
        let frame = wanted.frame.index.0;
        let right = record.codec == Codec::Stored || Digest::of(buffer) == record.digest;
        right.then_some(()).ok_or(InstallError::Frame { pack: digest, frame })
    }
}

/// Makes of the stored bytes of a frame its blocks.
struct Decoder(Decompressor<'static>);

impl Decoder {
    fn new() -> Result<Self, InstallError> {
        Decompressor::new().map(Self).map_err(|cause| InstallError::Decoder { cause })
    }

    fn decode(
        &mut self,
        wanted: &Wanted,
        bytes: &[u8],
        blocks: &mut Vec<Block>,
    ) -> Result<(), InstallError> {
        make_room(blocks, wanted.frame.record.blocks);
        let raw = blocks.as_flattened_mut();
        let frame = wanted.frame.index.0;
        match wanted.frame.record.codec {
            Codec::Stored => raw.copy_from_slice(bytes),
            Codec::Zstd => {
                check_header(frame, bytes, raw.len())?;
                let len = self.0.decompress_to_buffer(bytes, raw);
                let len = len.map_err(|cause| InstallError::Decode { frame, cause })?;
                let (found, expected) = (len as u64, raw.len() as u64);
                if found != expected {
                    return Err(InstallError::DecodedLength { frame, found, expected });
                }
            }
        }
        Ok(())
    }
}

/// Refuses what would need more memory than any frame may, or decode to another length.
fn check_header(frame: u32, stored: &[u8], len: usize) -> Result<(), InstallError> {
    let header = FrameHeader::parse(stored).ok_or(InstallError::FrameHeader { frame })?;
    let (found, expected) = (header.content_len, len as u64);
    if found != expected {
        return Err(InstallError::DecodedLength { frame, found, expected });
    }
    if header.window_len > WINDOW_LEN_MAX {
        let (found, limit) = (header.window_len, WINDOW_LEN_MAX);
        return Err(InstallError::Window { frame, found, limit });
    }
    Ok(())
}

/// What is written to, by one thread at a time.
struct Slot<'s, 'm> {
    install: &'s mut Install<'m, Partition>,
    tally: &'s mut Tally,
    progress: &'s Progress<'s>,
}

/// Hashes decoded frames, at the same time as others do, and writes them when they do not.
fn write(
    intake: &Intake<(Wanted, Vec<Block>)>,
    spent: &Sender<Vec<Block>>,
    slot: &Mutex<Slot<'_, '_>>,
    packs: &[Blob],
) -> Result<(), InstallError> {
    while let Some((wanted, blocks)) = intake.next() {
        let written = check(&wanted, &blocks, packs).and_then(|chunks| {
            let mut slot = slot.lock().map_err(|_| InstallError::ThreadEnded)?;
            slot.take(&wanted, &chunks)
        });
        if written.is_err() {
            // Lets the others end, and whoever decodes for them.
            intake.close();
            return written;
        }
        let _ = spent.send(blocks);
    }
    Ok(())
}

/// What of a decoded frame is to be written, hashed.
fn check<'b>(
    wanted: &Wanted,
    blocks: &'b [Block],
    packs: &[Blob],
) -> Result<Vec<Checked<'b>>, InstallError> {
    let frame = wanted.frame.index.0;
    let wrong = |start| match (wanted.frame.record.codec, packs.get(wanted.pack)) {
        (Codec::Stored, Some(pack)) => InstallError::Frame { pack: pack.digest(), frame },
        _ => InstallError::Chunk { start, frame },
    };
    let chunks = wanted.places.iter().map(|(place, block)| {
        let count = usize::try_from(place.count).unwrap_or(usize::MAX);
        let chunk = blocks.get(*block..).and_then(|blocks| blocks.get(..count));
        let checked = chunk.and_then(|blocks| Checked::new(*place, blocks));
        checked.ok_or_else(|| wrong(place.start))
    });
    chunks.collect()
}

impl Slot<'_, '_> {
    fn take(&mut self, wanted: &Wanted, chunks: &[Checked<'_>]) -> Result<(), InstallError> {
        for chunk in chunks {
            self.install.write(chunk)?;
        }
        let tally = &mut *self.tally;
        tally.count(wanted);
        let before = tally.copied_bytes + tally.skipped_bytes + tally.zero_bytes;
        (self.progress)(Phase::Fetch, before + tally.unpacked_bytes, tally.total_bytes);
        Ok(())
    }
}
