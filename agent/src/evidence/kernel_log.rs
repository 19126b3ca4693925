//! The end of what the kernel said since it started.
//!
//! Source: `Documentation/ABI/testing/dev-kmsg` of Linux, read 2026-11: each read gives one record,
//! `priority,sequence,microseconds,flags;text\n`, then lines that begin with a space.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;

use nix::fcntl::OFlag;

use super::{KERNEL_LEN_MAX, Tail};
use crate::root::Root;

const FILE: &str = "/dev/kmsg";
/// Longer than any record.
const RECORD_LEN_MAX: usize = 8 * 1024;
/// More records than any kernel keeps: reading ends where the kernel talks faster than we read.
const RECORDS_MAX: usize = 1 << 20;

/// The last messages of the kernel below `root`; `None` where they cannot be read.
#[must_use]
pub fn kernel_log(root: &Root) -> Option<String> {
    let mut options = OpenOptions::new();
    // Without this the read at the end waits for the next message.
    options.read(true).custom_flags(OFlag::O_NONBLOCK.bits());
    let mut file = options.open(root.path(FILE)).ok()?;
    let mut tail = Tail::new(KERNEL_LEN_MAX);
    let mut record = vec![0; RECORD_LEN_MAX];
    for _ in 0..RECORDS_MAX {
        match file.read(&mut record) {
            Ok(0) => break,
            Ok(len) => record.get(..len).map_or((), |record| push(&mut tail, record)),
            // EPIPE: the record was overwritten before it was read; the next one is there.
            Err(cause)
                if matches!(cause.kind(), ErrorKind::BrokenPipe | ErrorKind::Interrupted) => {}
            Err(_) => break,
        }
    }
    Some(tail.text()).filter(|text| !text.is_empty())
}

fn push(tail: &mut Tail, record: &[u8]) {
    for line in record.split_inclusive(|&byte| byte == b'\n') {
        if line.starts_with(b" ") {
            continue;
        }
        let header = line.iter().position(|&byte| byte == b';');
        let (header, text) = match header {
            Some(end) => (line.get(..end), line.get(end.saturating_add(1)..)),
            None => (None, Some(line)),
        };
        let seconds = header.and_then(|header| {
            let micros = std::str::from_utf8(header).ok()?.split(',').nth(2)?;
            let micros: u64 = micros.parse().ok()?;
            Some(format!("[{:5}.{:06}] ", micros / 1_000_000, micros % 1_000_000))
        });
        tail.push(seconds.unwrap_or_default().as_bytes());
        tail.push(text.unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn records_become_lines_as_dmesg_shows_them() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::below(folder.path().to_owned());
        assert_eq!(kernel_log(&root), None);
        fs::create_dir(folder.path().join("dev")).unwrap();
        let records = "6,339,5140900,-;NET: Registered PF_INET6\n SUBSYSTEM=net\n\
                       3,340,65140901,-;device-mapper: verity: data block 7 is corrupted\n";
        fs::write(folder.path().join("dev/kmsg"), records).unwrap();
        let expected = "[    5.140900] NET: Registered PF_INET6\n\
                        [   65.140901] device-mapper: verity: data block 7 is corrupted";
        assert_eq!(kernel_log(&root).as_deref(), Some(expected));
    }
}
