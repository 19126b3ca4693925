//! What is in no slot: fetched frame by frame. One thread reads and authenticates frames, one
//! decodes them, this one hashes their chunks and writes them. Nothing is decoded that was not
//! authenticated, and nothing is decoded to more than the signed recipe says.

use std::collections::HashMap;
use std::io;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use gybe_core::block::Block;
use gybe_core::chunk::{Checked, Place, TargetIndex};
use gybe_core::config::Config;
use gybe_core::digest::Digest;
use gybe_core::install::Install;
use gybe_core::recipe::{
    Codec, Frame, FrameHeader, FrameIndex, PackId, RecipeError, WINDOW_LEN_MAX,
};
use gybe_oci::Blob;
use zstd::bulk::Decompressor;

use super::recipe::{Item, ReadRecipe, Recipe, RecipePart};
use super::{Chunks, InstallError, Job, Phase, Progress, Tally, bytes, make_room};
use crate::device::partition::Partition;

/// How many frames may wait between two threads: at most 1 MiB each.
const QUEUE: usize = 1;

/// How many chunks outside the first target are remembered, so that one that both have is fetched
/// once. Others are fetched twice.
const TWINS_MAX: usize = 4096;

/// A frame to be fetched, and what of it belongs where.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Number of the pack in the configuration.
    pub(super) pack: usize,
    /// The frame.
    pub(super) frame: Frame,
    /// The places, and where in the decoded frame their blocks begin.
    pub(super) places: Vec<(Place, usize)>,
}

/// Finds every pack of the release: one that is missing or of another length is better known
/// before the slot is cleared.
pub(super) fn packs(job: &Job<'_>) -> Result<Vec<Blob>, InstallError> {
    let packs = job.release.manifest().packs.iter();
    let blobs = packs.map(|pack| job.layout.blob_of_len(&pack.digest, pack.len));
    Ok(blobs.collect::<Result<_, _>>()?)
}

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
    let config = job.release.config();
    thread::scope(|scope| {
        let (to_decoder, authenticated) = sync_channel(QUEUE);
        let (to_writer, decoded) = sync_channel(QUEUE);
        // Buffers go back to where they came from: the number of them stays what it is.
        let (spent_bytes, free_bytes) = channel();
        let (spent_blocks, free_blocks) = channel();
        let reader = scope.spawn(move || {
            let ended = wanted(recipe, config, missing, |frame| {
                let buffer = free_bytes.try_recv().unwrap_or_default();
                let bytes = read(packs.get(frame.pack), &frame, buffer)?;
                to_decoder.send((frame, bytes)).map_err(|_| InstallError::ThreadEnded)
            });
            // Whoever stopped listening has an error of its own to tell.
            if let Err(InstallError::ThreadEnded) = ended { Ok(()) } else { ended }
        });
        let decoder =
            scope.spawn(move || decode(&authenticated, &to_writer, &spent_bytes, &free_blocks));
        let written = write(install, &decoded, &spent_blocks, tally, progress);
        drop(decoded);
        let decoder = decoder.join().unwrap_or(Err(InstallError::ThreadEnded));
        let reader = reader.join().unwrap_or(Err(InstallError::ThreadEnded));
        // The earliest cause in the line of threads comes first.
        reader.and(decoder).and(written)
    })
}

/// Gives each frame that has something in `missing`, pack by pack in the order of the targets.
pub(super) fn wanted<S: ReadRecipe>(
    recipe: &mut Recipe<'_, S>,
    config: &Config<'_>,
    missing: &mut Chunks,
    mut give: impl FnMut(Wanted) -> Result<(), InstallError>,
) -> Result<(), InstallError> {
    let mut twins = twins(recipe, config, missing)?;
    for (pack, id) in config.packs.iter().map(|pack| pack.id).enumerate() {
        let mut open: Option<(FrameIndex, Vec<(Place, usize)>)> = None;
        let mut close = |recipe: &mut Recipe<'_, S>, open: Option<(FrameIndex, Vec<_>)>| {
            let Some((frame, places)) = open else { return Ok(()) };
            let frame = recipe.frame(id, frame)?;
            for (place, block) in &places {
                fits(place, *block, &frame)?;
            }
            give(Wanted { pack, frame, places })
        };
        let mut cursor = super::recipe::Cursor::default();
        while let Some(item) = recipe.next(&mut cursor)? {
            let Item::Chunk(found) = item else { continue };
            let stored = found.chunk.stored;
            if stored.pack != id || !missing.remove(found.number) {
                continue;
            }
            if open.as_ref().is_some_and(|(frame, _)| *frame != stored.frame) {
                close(recipe, open.take())?;
            }
            let (_, places) = open.get_or_insert((stored.frame, Vec::new()));
            places.push((found.place, usize::from(stored.block)));
            if found.place.target == TargetIndex(0)
                && let Some((number, twin)) = twins.remove(&found.place.digest)
                && missing.remove(number)
            {
                places.push((twin, usize::from(stored.block)));
            }
        }
        close(recipe, open)?;
    }
    if missing.len() > 0 {
        // Chunks in packs that the configuration does not list.
        let frame = FrameIndex(0);
        return Err(RecipeError::NoFrame { pack: PackId(u16::MAX), frame }.into());
    }
    Ok(())
}

/// The missing chunks of all targets but the first, by digest.
fn twins<S: ReadRecipe>(
    recipe: &mut Recipe<'_, S>,
    config: &Config<'_>,
    missing: &Chunks,
) -> Result<HashMap<Digest, (usize, Place)>, InstallError> {
    let mut twins = HashMap::new();
    if config.targets.len() < 2 {
        return Ok(twins);
    }
    recipe.walk(|item| {
        if let Item::Chunk(found) = item
            && found.place.target != TargetIndex(0)
            && missing.contains(found.number)
            && twins.len() < TWINS_MAX
        {
            twins.insert(found.place.digest, (found.number, found.place));
        }
        Ok::<(), InstallError>(())
    })?;
    Ok(twins)
}

fn fits(place: &Place, block: usize, frame: &Frame) -> Result<(), InstallError> {
    let end = u32::try_from(block).unwrap_or(u32::MAX).saturating_add(place.count);
    let blocks = frame.record.blocks;
    if end > blocks { Err(RecipeError::BeyondFrame { end, blocks }.into()) } else { Ok(()) }
}

/// Reads the stored bytes of a frame into `buffer` and compares their digest.
fn read(
    pack: Option<&Blob>,
    wanted: &Wanted,
    mut buffer: Vec<u8>,
) -> Result<Vec<u8>, InstallError> {
    let record = &wanted.frame.record;
    let Some(pack) = pack else {
        let frame = wanted.frame.index;
        return Err(RecipeError::NoFrame { pack: PackId(u16::MAX), frame }.into());
    };
    let digest = pack.digest();
    let end = wanted.frame.offset.saturating_add(u64::from(record.stored_len));
    if end > pack.len() {
        return Err(InstallError::Source { digest, cause: io::ErrorKind::UnexpectedEof.into() });
    }
    buffer.resize(usize::try_from(record.stored_len).unwrap_or(0), 0);
    let read = pack.read_at(wanted.frame.offset, &mut buffer);
    read.map_err(|cause| InstallError::Source { digest, cause })?;
    let frame = wanted.frame.index.0;
    let right = Digest::of(&buffer) == record.digest;
    right.then_some(buffer).ok_or(InstallError::Frame { pack: digest, frame })
}

type Decoded = (Wanted, Vec<Block>);

fn decode(
    authenticated: &Receiver<(Wanted, Vec<u8>)>,
    to_writer: &SyncSender<Decoded>,
    spent: &Sender<Vec<u8>>,
    free: &Receiver<Vec<Block>>,
) -> Result<(), InstallError> {
    let mut decompressor = Decompressor::new().map_err(|cause| InstallError::Decoder { cause })?;
    for (wanted, bytes) in authenticated {
        let mut blocks = free.try_recv().unwrap_or_default();
        make_room(&mut blocks, wanted.frame.record.blocks);
        let raw = blocks.as_flattened_mut();
        let frame = wanted.frame.index.0;
        match wanted.frame.record.codec {
            Codec::Stored => raw.copy_from_slice(&bytes),
            Codec::Zstd => {
                check_header(frame, &bytes, raw.len())?;
                let len = decompressor.decompress_to_buffer(&bytes, raw);
                let len = len.map_err(|cause| InstallError::Decode { frame, cause })?;
                let (found, expected) = (len as u64, raw.len() as u64);
                if found != expected {
                    return Err(InstallError::DecodedLength { frame, found, expected });
                }
            }
        }
        // Nobody listens at the end: then the buffer is not needed any more.
        let _ = spent.send(bytes);
        if to_writer.send((wanted, blocks)).is_err() {
            return Ok(());
        }
    }
    Ok(())
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

fn write(
    install: &mut Install<'_, Partition>,
    decoded: &Receiver<Decoded>,
    spent: &Sender<Vec<Block>>,
    tally: &mut Tally,
    progress: &Progress<'_>,
) -> Result<(), InstallError> {
    for (wanted, blocks) in decoded {
        for (place, block) in &wanted.places {
            let count = usize::try_from(place.count).unwrap_or(usize::MAX);
            let chunk = blocks.get(*block..).and_then(|blocks| blocks.get(..count));
            let checked = chunk.and_then(|blocks| Checked::new(*place, blocks));
            let frame = wanted.frame.index.0;
            let checked = checked.ok_or(InstallError::Chunk { start: place.start, frame })?;
            install.write(&checked)?;
            let len = bytes(u64::from(place.count));
            tally.unpacked_bytes += len;
            tally.written_bytes += len;
        }
        let _ = spent.send(blocks);
        tally.fetched_frames += 1;
        tally.requests += 1;
        tally.fetched(u64::from(wanted.frame.record.stored_len));
        let before = tally.copied_bytes + tally.skipped_bytes + tally.zero_bytes;
        progress(Phase::Fetch, before + tally.unpacked_bytes, tally.total_bytes);
    }
    Ok(())
}
