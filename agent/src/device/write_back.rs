//! Makes what was written durable while more is written.
//!
//! After a power cut in the middle of an install, what reached the medium is not fetched again. Left
//! alone, a system with much memory begins to write out when it is flushed, and a cut loses it all:
//! here it loses at most two parts of 8 MiB of each partition.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd as _;
use std::thread::{Builder, JoinHandle};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

/// How many bytes are written before they are made durable: 8 MiB.
const PENDING_LEN_MAX: u64 = 8 << 20;
/// Enough for two system calls.
const STACK_LEN: usize = 64 << 10;

/// What was written and may still be in memory only.
#[derive(Debug, Default)]
pub(super) struct WriteBack {
    range: Range<u64>,
    pending: u64,
    /// Makes the part before durable. What it says is said by whoever waits for it: the kernel tells
    /// each error once.
    flushing: Option<JoinHandle<io::Result<()>>>,
}

impl WriteBack {
    /// Notes that `len` bytes of `file` were written at `offset`. When that is much, it waits for the
    /// part before, and begins with this one.
    ///
    /// # Errors
    /// What the medium says about any part.
    pub(super) fn wrote(&mut self, file: &File, offset: u64, len: u64) -> io::Result<()> {
        let Some(range) = self.note(offset, len) else { return Ok(()) };
        self.wait()?;
        let part = file.try_clone()?;
        let thread = Builder::new().name("write-back".to_owned()).stack_size(STACK_LEN);
        match thread.spawn(move || flush(&part, &range)) {
            Ok(flushing) => self.flushing = Some(flushing),
            // Without another thread it takes longer, that is all.
            Err(_) => file.sync_data()?,
        }
        Ok(())
    }

    /// Waits for the part that is being made durable.
    ///
    /// # Errors
    /// What the medium says about it.
    pub(super) fn wait(&mut self) -> io::Result<()> {
        let ended = self.flushing.take().map(JoinHandle::join);
        ended.unwrap_or(Ok(Ok(()))).unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
    }

    /// The range to begin with, once enough was written.
    fn note(&mut self, offset: u64, len: u64) -> Option<Range<u64>> {
        let end = offset.saturating_add(len);
        if self.pending == 0 {
            self.range = offset..end;
        }
        self.range = self.range.start.min(offset)..self.range.end.max(end);
        self.pending = self.pending.saturating_add(len);
        if self.pending < PENDING_LEN_MAX {
            return None;
        }
        self.pending = 0;
        Some(self.range.clone())
    }
}

impl Drop for WriteBack {
    /// A medium that somebody else wants to open must not be held by a thread of ours.
    fn drop(&mut self) {
        // Whoever gave up without a flush asks nothing of the medium any more.
        let _ = self.wait();
    }
}

/// Makes durable what was written, and says that `range` is not needed in memory.
fn flush(file: &File, range: &Range<u64>) -> io::Result<()> {
    file.sync_data()?;
    let len = range.end.saturating_sub(range.start);
    if let (Ok(offset), Ok(len)) = (range.start.try_into(), len.try_into()) {
        // A hint.
        let _ = posix_fadvise(file.as_fd(), offset, len, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_begun_with_covers_all_that_was_written_since() {
        let mut write_back = WriteBack::default();
        const MIB: u64 = 1 << 20;
        let written = [(9, 3), (2, 1), (20, 3), (0, 1), (5, 7), (5, 1), (1, 9)];
        let begun: Vec<_> = written
            .into_iter()
            .filter_map(|(at, len)| write_back.note(at * MIB, len * MIB))
            .map(|range| (range.start / MIB, range.end / MIB))
            .collect();
        assert_eq!(begun, [(0, 23), (5, 12), (1, 10)]);
    }
}
