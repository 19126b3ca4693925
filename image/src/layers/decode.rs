//! One thread's half of reading a layer: digests and decompression.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use flate2::bufread::MultiGzDecoder;
use gybe_core::digest::{Digest, Hasher};
use gybe_oci::{Blob, BlobReader};

use super::LayerProblem;

/// Length of the buffers that are passed on.
const BUFFER_LEN: usize = 64 << 10;
/// How many of them may wait.
const BUFFERS_MAX: usize = 16;
/// How many bytes are read between two reports of progress.
const REPORT_LEN: u64 = 1 << 20;
/// Largest window of a zstd frame, as a power of two: what `zstd --long` makes, and the most that
/// a decoder takes without being asked.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// How a layer is compressed, by its first bytes. Media types are not asked: tools that
/// recompress layers have got them wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    pub(super) fn of(blob: &Blob) -> io::Result<Self> {
        let mut magic = [0; 4];
        if blob.len() >= magic.len() as u64 {
            blob.read_at(0, &mut magic)?;
        }
        Ok(match magic {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // A frame, or one of 16 kinds of frames to skip.
            [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Self::Zstd,
            _ => Self::None,
        })
    }
}

/// What the decoder passes on; the receiving end keeps a copy in `spool`.
pub(super) fn channel(spool: Option<&File>) -> (SyncSender<Vec<u8>>, Received<'_>) {
    let (buffers, from) = sync_channel(BUFFERS_MAX);
    (buffers, Received { from, spool, at: 0, buffer: Vec::new(), used: 0 })
}

/// Reads a whole layer, passes on its uncompressed bytes, and compares both digests, as far as
/// they are known.
///
/// When nobody listens any more it goes on without passing on: if the layer is corrupt, that is
/// the better message than what the corruption looked like.
pub(super) fn decode(
    blob: &Blob,
    compression: Compression,
    diff_id: Option<&Digest>,
    limit: u64,
    buffers: SyncSender<Vec<u8>>,
    advance: &dyn Fn(u64),
) -> Result<(), LayerProblem> {
    let mut stored = Hashed { from: blob.reader(), hasher: Hasher::new(), unreported: 0, advance };
    let mut pass = Pass { hasher: Hasher::new(), len: 0, limit, buffers: Some(buffers) };
    let read = |cause| LayerProblem::Read { cause };
    let passed = match compression {
        Compression::None => pass.all(&mut stored),
        Compression::Gzip => {
            pass.all(&mut MultiGzDecoder::new(BufReader::with_capacity(BUFFER_LEN, &mut stored)))
        }
        Compression::Zstd => {
            let mut decoder = zstd::Decoder::new(&mut stored).map_err(read)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(read)?;
            pass.all(&mut decoder)
        }
    };
    pass.buffers = None;
    // What the decompressor had no use for belongs to the digest too.
    io::copy(&mut stored, &mut io::sink()).map_err(read)?;
    advance(stored.unreported);
    let found = stored.hasher.finish();
    if found != blob.digest() {
        return Err(LayerProblem::Digest { found });
    }
    passed?;
    let found = pass.hasher.finish();
    match diff_id {
        Some(&expected) if found != expected => Err(LayerProblem::DiffId { found, expected }),
        _ => Ok(()),
    }
}

/// The stored bytes, hashed and counted while they are read.
struct Hashed<'a> {
    from: BlobReader,
    hasher: Hasher,
    unreported: u64,
    advance: &'a dyn Fn(u64),
}

impl Read for Hashed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.hasher.update(buffer.get(..count).unwrap_or(&[]));
        self.unreported = self.unreported.saturating_add(count as u64);
        if self.unreported >= REPORT_LEN {
            (self.advance)(std::mem::take(&mut self.unreported));
        }
        Ok(count)
    }
}

/// The uncompressed bytes on their way.
struct Pass {
    hasher: Hasher,
    len: u64,
    limit: u64,
    buffers: Option<SyncSender<Vec<u8>>>,
}

impl Pass {
    fn all(&mut self, mut from: impl Read) -> Result<(), LayerProblem> {
        loop {
            let mut buffer = Vec::with_capacity(BUFFER_LEN);
            let read = from.by_ref().take(BUFFER_LEN as u64).read_to_end(&mut buffer);
            self.hasher.update(&buffer);
            self.len = self.len.saturating_add(buffer.len() as u64);
            if self.len > self.limit {
                return Err(LayerProblem::Len { len: self.len, limit: self.limit });
            }
            let is_end = buffer.is_empty();
            if let Some(buffers) = self.buffers.take_if(|_| !is_end) {
                self.buffers = buffers.send(buffer).is_ok().then_some(buffers);
            }
            read.map_err(|cause| LayerProblem::Read { cause })?;
            if is_end {
                return Ok(());
            }
        }
    }
}

/// The other thread's end: a stream of the uncompressed bytes.
pub(super) struct Received<'a> {
    from: Receiver<Vec<u8>>,
    spool: Option<&'a File>,
    at: u64,
    buffer: Vec<u8>,
    used: usize,
}

impl BufRead for Received<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.used >= self.buffer.len() {
            self.buffer = self.from.recv().unwrap_or_default();
            self.used = 0;
            if let Some(spool) = self.spool {
                spool.write_all_at(&self.buffer, self.at)?;
            }
            self.at = self.at.saturating_add(self.buffer.len() as u64);
        }
        Ok(self.buffer.get(self.used..).unwrap_or(&[]))
    }

    fn consume(&mut self, len: usize) {
        self.used = self.used.saturating_add(len);
    }
}

impl Read for Received<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut part = self.fill_buf()?;
        let count = part.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}
