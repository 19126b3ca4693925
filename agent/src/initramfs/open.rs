//! `gybe initramfs open`: dm-verity over the slot's root, as `/dev/mapper/root`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tracing::info;

use super::arguments::Arguments;
use super::candidates::{self, Mismatch};
use super::{AMBIGUOUS, InitramfsError, ROOT, command_line, failure, leave_note};
use crate::cli::Exit;
use crate::device::mapper::{self, Verity};
use crate::device::sysfs::{SysPartition, Sysfs};
use crate::error::Error;
use crate::output;
use crate::root::Root;

/// How long the partition is waited for: disks behind USB take some seconds to appear.
const APPEAR_MAX: Duration = Duration::from_secs(60);
/// How long a partition of the right name with another root is believed to be the wrong disk's.
const OTHERS_MAX: Duration = Duration::from_secs(5);
/// How often it is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Opens the root that the command line names.
///
/// # Errors
/// When it cannot be opened and nothing better is to be done than to say so.
pub fn run(root: &Root) -> Result<Exit, Error> {
    let line = command_line()?;
    let Some(arguments) = Arguments::parse(&line).map_err(InitramfsError::from)? else {
        output::talk("gybe: the command line names no slot, nothing to open");
        return Ok(Exit::Done);
    };
    let sysfs = Sysfs::new("/sys");
    if sysfs.mapped(ROOT).is_some() {
        info!("the root is open already");
        return Ok(Exit::Done);
    }
    match find(&sysfs, &arguments).and_then(|partition| open(&arguments, &partition)) {
        Ok(()) => Ok(Exit::Done),
        Err(cause) => failure::handle(root, &sysfs, &arguments, &line, cause),
    }
}

/// Waits for a partition with the right name and the right root.
fn find(sysfs: &Sysfs, arguments: &Arguments) -> Result<SysPartition, InitramfsError> {
    let begin = Instant::now();
    let mut last: Option<Mismatch> = None;
    loop {
        let named = candidates::named(sysfs, &arguments.partition);
        let mut right = Vec::new();
        for partition in named {
            let Arguments { geometry, root_hash, .. } = arguments;
            match candidates::check(&path(&partition), geometry, root_hash) {
                Ok(()) => right.push(partition),
                Err(mismatch) => last = Some(mismatch),
            }
        }
        if let Some(first) = choose(right) {
            return Ok(first);
        }
        let waited = begin.elapsed();
        if let Some(last) = last.take_if(|_| waited >= OTHERS_MAX) {
            return Err(InitramfsError::Unlike { last });
        }
        if waited >= APPEAR_MAX {
            return Err(InitramfsError::NoPartition {
                name: format!("{:?}", arguments.partition),
                seconds: APPEAR_MAX.as_secs(),
                hint: missing_driver(sysfs),
            });
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn missing_driver(sysfs: &Sysfs) -> &'static str {
    if sysfs.partitions().is_empty() {
        "the kernel sees no partitions at all: is the driver of the disk in the initramfs?"
    } else {
        "the kernel sees others: was the disk partitioned anew?"
    }
}

/// The first one. Where there are several, the content is the same signed one whichever is taken,
/// but what is written would go to one disk only: so the running system is told.
fn choose(right: Vec<SysPartition>) -> Option<SysPartition> {
    if right.len() > 1 {
        let names: Vec<_> = right.iter().map(|it| path(it).display().to_string()).collect();
        let names = names.join(" ");
        output::talk(format_args!("gybe: the root is on several disks, taking the first: {names}"));
        if let Err(cause) = leave_note(AMBIGUOUS, &names) {
            output::talk(format_args!("gybe: cannot write {AMBIGUOUS}: {cause}"));
        }
    }
    right.into_iter().next()
}

fn path(partition: &SysPartition) -> PathBuf {
    Path::new("/dev").join(&partition.name)
}

fn open(arguments: &Arguments, partition: &SysPartition) -> Result<(), InitramfsError> {
    let Arguments { geometry, root_hash, .. } = arguments;
    let verity = Verity { name: ROOT, on: partition.number, root_hash, geometry: *geometry };
    mapper::open(&verity)?;
    info!(partition = partition.name, "the root is open");
    Ok(())
}
