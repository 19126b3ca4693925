//! Parts of one blob, fetched in the order in which they lie.
//!
//! What is wanted is said beforehand, so that parts which lie near each other are asked for as one.

use std::io::{self, Read as _};
use std::ops::Range;

use gybe_oci::{Blob, BlobReader, Reach, Source};

use super::InstallError;
use super::tally::Tally;

/// How much of what was fetched is kept for whoever reads it again, in bytes: a plan walks over a
/// recipe several times and writes it nowhere.
const KEPT_LEN_MAX: usize = 2 << 20;

/// A blob of which parts are fetched.
#[derive(Debug)]
pub(super) struct Fetched {
    blob: Blob,
    reach: Reach,
    reader: BlobReader,
    /// The parts to be asked for that were not yet, the last one first.
    parts: Vec<Range<u64>>,
    /// The part that is being read.
    part: Range<u64>,
    /// How far it was read.
    at: u64,
    /// What is kept, by the place of its beginning.
    kept: Option<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    parts: Vec<(u64, Vec<u8>)>,
    len: usize,
}

impl Fetched {
    /// Parts of `blob` in `source`.
    pub(super) fn new(blob: Blob, source: &Source) -> Self {
        let (reader, reach) = (blob.reader(), source.reach());
        Self { blob, reach, reader, parts: Vec::new(), part: 0..0, at: 0, kept: None }
    }

    /// Keeps what is fetched, up to a limit, if fetching it again would cost more than reading.
    pub(super) fn keeping(mut self) -> Self {
        self.kept = (self.reach != Reach::Any).then(Kept::default);
        self
    }

    pub(super) const fn len(&self) -> u64 {
        self.blob.len()
    }

    /// These parts will be read, in order. What lies between near ones will come along.
    pub(super) fn ask(&mut self, wanted: impl IntoIterator<Item = Range<u64>>) {
        let gap_max = match self.reach {
            Reach::Any => 0,
            Reach::Bridged { gap_max } => gap_max,
            Reach::Whole => u64::MAX,
        };
        let mut parts: Vec<Range<u64>> = Vec::new();
        for next in wanted {
            match parts.last_mut() {
                Some(last) if next.start.saturating_sub(last.end) <= gap_max => last.end = next.end,
                _ => parts.push(next),
            }
        }
        parts.reverse();
        self.parts = parts;
    }

    /// Fills `buffer` with what begins at `at`, and counts in `tally` what came for that.
    pub(super) fn read(
        &mut self,
        at: u64,
        buffer: &mut [u8],
        tally: &mut Tally,
    ) -> Result<(), InstallError> {
        let end = at + buffer.len() as u64;
        if self.at > at || self.part.end < end || self.part.start > at {
            while self.parts.last().is_some_and(|part| part.end < end) {
                self.parts.pop();
            }
            // What was not announced is a part of its own.
            let announced = self.parts.pop_if(|part| part.start <= at);
            self.part = announced.unwrap_or(at..end);
            self.at = self.part.start;
            self.reader.seek(self.part.clone());
            tally.requests += 1;
        }
        let read = self.reader.skip_to(at).and_then(|()| self.reader.read_exact(buffer));
        read.map_err(|cause| self.failed(cause))?;
        tally.fetched(end - self.at);
        tally.wasted_bytes += at - self.at;
        self.at = end;
        if let Some(kept) = &mut self.kept
            && kept.len + buffer.len() <= KEPT_LEN_MAX
        {
            kept.len += buffer.len();
            kept.parts.push((at, buffer.to_vec()));
        }
        Ok(())
    }

    /// Fills `buffer` with what begins at `at`, which was fetched before and is not counted again.
    pub(super) fn read_again(&self, at: u64, buffer: &mut [u8]) -> Result<(), InstallError> {
        let kept = self.kept.as_ref().and_then(|kept| kept.find(at, buffer.len()));
        if let Some(bytes) = kept {
            buffer.copy_from_slice(bytes);
            return Ok(());
        }
        self.blob.read_at(at, buffer).map_err(|cause| self.failed(cause))
    }

    fn failed(&self, cause: io::Error) -> InstallError {
        InstallError::Source { digest: self.blob.digest(), cause }
    }
}

impl Kept {
    fn find(&self, at: u64, len: usize) -> Option<&[u8]> {
        let behind = self.parts.partition_point(|(start, _)| *start <= at);
        let (start, bytes) = self.parts.get(behind.checked_sub(1)?)?;
        let from = usize::try_from(at - start).ok()?;
        bytes.get(from..from.checked_add(len)?)
    }
}
