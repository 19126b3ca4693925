//! Begins early with what a flush would wait for.

use std::fs::File;
use std::ops::Range;
use std::os::fd::AsFd as _;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

/// How many bytes are written before the medium is set to work: 8 MiB.
const PENDING_LEN_MAX: u64 = 8 << 20;

/// What was written and may still be in memory only. Left alone, a system with much memory begins
/// to write it out when it is flushed, and until then the medium has nothing to do.
#[derive(Debug, Default)]
pub(super) struct WriteBack {
    range: Range<u64>,
    pending: u64,
}

impl WriteBack {
    /// Notes that `len` bytes of `file` were written at `offset`, and begins with what is pending
    /// when that is much.
    pub(super) fn wrote(&mut self, file: &File, offset: u64, len: u64) {
        if let Some(range) = self.note(offset, len) {
            begin(file, &range);
        }
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

/// Says that these bytes are not needed in memory: Linux then starts to write them out and does
/// not wait. It is a hint; durable is what was flushed.
fn begin(file: &File, range: &Range<u64>) {
    let len = range.end.saturating_sub(range.start);
    if let (Ok(offset), Ok(len)) = (range.start.try_into(), len.try_into()) {
        let _ = posix_fadvise(file.as_fd(), offset, len, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    }
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
