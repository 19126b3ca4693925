//! Replays what a machine wrote to its disk, and asks after every write, and every 512 bytes of one,
//! what the boot loader would do if the power had gone off there.
//!
//! The log is QEMU's `blklogwrites`, so that loader, kernel and agent are in it alike. The disk is one
//! as `gybe-publish disk` makes it (docs/formats/factory-disk.md). Writes are taken in the order in
//! which they came: what a medium loses or reorders of what was not flushed, [`crate::FakeDisk`] does.

mod disk;
mod judge;
mod log;
mod table;

use std::fmt;
use std::fs::File;
use std::io;

use gybe_core::slot::Slot;

pub use judge::Unproven;
pub use log::LogError;
pub use table::TableError;

use disk::Disk;
use judge::Judge;
use log::{Kind, Log};
use table::Table;

/// Length of a sector, which reaches the medium whole or not at all.
const SECTOR_LEN: usize = 512;
/// After so many violations there is nothing new to learn.
const VIOLATIONS_MAX: usize = 32;

/// What came of a replay.
#[derive(Debug, Default)]
pub struct Report {
    /// How many moments between two writes were looked at.
    pub cuts: u64,
    /// How many moments within a write.
    pub tears: u64,
    /// What was wrong, in order; the replay ends after 32.
    pub violations: Vec<Violation>,
}

/// A moment after which the device would not have started a whole, verified slot.
#[derive(Debug, PartialEq, Eq)]
pub struct Violation {
    /// How many entries of the log had happened.
    pub entries: u64,
    /// How many sectors of the next write had reached the medium.
    pub sectors: u64,
    /// What was wrong.
    pub fault: Fault,
}

/// What is wrong with a disk at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A slot is on trial that is not whole.
    Armed(Slot, Unproven),
    /// A slot would be started that is not whole.
    Starts(Slot, Unproven),
    /// No slot would be started.
    Nothing,
    /// The partition table is damaged, or says that the partitions are elsewhere.
    Table,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { entries, sectors, fault } = self;
        write!(f, "after {entries} entries and {sectors} sectors of the next: ")?;
        match fault {
            Fault::Armed(slot, why) => write!(f, "slot {slot} is on trial, and {why}"),
            Fault::Starts(slot, why) => write!(f, "slot {slot} would be started, and {why}"),
            Fault::Nothing => f.write_str("no slot would be started"),
            Fault::Table => f.write_str("the partition table is not whole"),
        }
    }
}

/// Why a replay cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The disk cannot be read.
    #[error("disk: {0}")]
    Disk(#[from] io::Error),
    /// It has no partitions as a factory disk has them.
    #[error("disk: {0}")]
    Table(#[from] TableError),
    /// There are no files of an environment.
    #[error("disk: gybe_env has neither grubenv nor gybe.env nor uboot.env")]
    Environment,
    /// The log makes no sense.
    #[error("log: {0}")]
    Log(#[from] LogError),
}

/// Replays `log` over the disk as it was before.
///
/// # Errors
/// The disk is not one of ours, or the log cannot be read.
pub fn replay(base: File, log: File) -> Result<Report, ReplayError> {
    let mut log = Log::open(log)?;
    let mut disk = Disk::new(base);
    let mut judge = Judge::new(&disk, Table::read(&disk)?)?;
    let mut report = Report::default();
    let mut entries = 0;
    report.cuts += 1;
    note(&mut report, judge.look(&disk)?, entries, 0);
    while let Some(entry) = log.next()? {
        if report.violations.len() >= VIOLATIONS_MAX {
            break;
        }
        if entry.kind == Kind::Write {
            // The last sector makes it the next cut.
            let whole = entry.len / SECTOR_LEN as u64;
            let mut sector = [0; SECTOR_LEN];
            for done in 0..whole {
                let offset = done * SECTOR_LEN as u64;
                log.read(&entry, offset, &mut sector)?;
                let at = entry.at + offset;
                disk.write(at, &sector)?;
                judge.written(at, SECTOR_LEN as u64);
                if done + 1 < whole {
                    report.tears += 1;
                    note(&mut report, judge.look(&disk)?, entries, done + 1);
                }
            }
        } else if entry.kind == Kind::Discard {
            disk.zero(entry.at, entry.len)?;
            judge.written(entry.at, entry.len);
        }
        entries += 1;
        report.cuts += 1;
        note(&mut report, judge.look(&disk)?, entries, 0);
    }
    Ok(report)
}

fn note(report: &mut Report, fault: Option<Fault>, entries: u64, sectors: u64) {
    if let Some(fault) = fault
        && report.violations.len() < VIOLATIONS_MAX
    {
        report.violations.push(Violation { entries, sectors, fault });
    }
}
