//! `gybe grow-state`: the state partition takes what is left of the disk.
//!
//! A factory image is as long as it must be, and the disks it is written to are longer. On every boot
//! this looks whether there is room behind the state partition, which is the last one, and on the
//! first it gives disk and partitions GUIDs of their own: all that were flashed with one image have
//! the same. A device that has grown is not written to.
//!
//! The steps, and what a power cut in each leaves:
//!
//! 1. the table is replaced ([`plan`]): the old table or the new one, both whole;
//! 2. the kernel is told: nothing of it is on the disk;
//! 3. the file system is grown by the kernel, in its journal: the next boot goes on with it.
//!
//! The table comes first, so that the file system is never longer than its partition.

mod kernel;
pub mod plan;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use tracing::info;

use crate::cli::Exit;
use crate::device::gpt::{Guid, ReadDisk};
use crate::device::identity::DeviceNumber;
use crate::device::slots::running_device;
use crate::device::sysfs::{SysPartition, Sysfs};
use crate::error::Error;
use crate::initramfs::{AMBIGUOUS, STATE_LABEL, STATE_LOST};
use crate::output;
use crate::root::Root;
use plan::{Fresh, Plan, PlanError, Step};

/// Where the state is mounted.
const STATE: &str = "/var";
/// Names the disk's own GUID, once it has one that no other has.
const OWN_GUID: &str = "/var/lib/gybe/disk";
/// Longest such file that is read.
const OWN_GUID_LEN_MAX: u64 = 256;

/// Grows the state of this machine.
///
/// # Errors
/// [`GrowError`]; nothing is lost by it, and it can be tried again.
pub fn run(root: &Root) -> Result<Exit, Error> {
    if !root.is_host() {
        output::talk("gybe: below a folder nothing grows");
        return Ok(Exit::Done);
    }
    for note in [AMBIGUOUS, STATE_LOST] {
        if Path::new(note).exists() {
            return Err(GrowError::InDoubt { note }.into());
        }
    }
    let sysfs = Sysfs::new("/sys");
    let state = state_partition(&sysfs)?;
    let mut disk = Disk::open(&sysfs, state.disk)?;
    let own = read_own_guid().map_err(|cause| GrowError::io("read", OWN_GUID, cause))?;
    let random = || -> io::Result<[u8; 16]> {
        let mut bytes = [0; 16];
        File::open("/dev/urandom")?.read_exact(&mut bytes).map(|()| bytes)
    };
    let fresh = Fresh { known: own, random: &random };
    let plan = plan::make(&disk, STATE_LABEL, &fresh).map_err(GrowError::Plan)?;
    if !plan.steps.is_empty() {
        disk.carry_out(&plan)?;
        info!(disk = %disk.path.display(), guid = %plan.disk, "partition table replaced");
    }
    if own != Some(plan.disk) {
        let text = format!("{}\n", plan.disk);
        let written = fs::create_dir_all("/var/lib/gybe").and_then(|()| fs::write(OWN_GUID, text));
        written.map_err(|cause| GrowError::io("write", OWN_GUID, cause))?;
    }
    kernel::resize_partition(&disk.file, &plan, disk.sector_len)
        .map_err(|cause| GrowError::io("tell the kernel of", &disk.path, cause))?;
    let grown = kernel::resize_file_system(Path::new(STATE), plan.state_len(disk.sector_len));
    if let Some(bytes) = grown.map_err(|cause| GrowError::io("grow", STATE, cause))? {
        info!(bytes, "the state file system has grown");
    }
    Ok(Exit::Done)
}

/// The partition that is mounted as `/var`: it must be the one of this label, on the disk that runs.
fn state_partition(sysfs: &Sysfs) -> Result<SysPartition, GrowError> {
    let mounted = fs::metadata(STATE).map_err(|cause| GrowError::io("look at", STATE, cause))?;
    let number = DeviceNumber::from_stat(mounted.dev());
    let disks: Vec<_> = running_device(sysfs).iter().map(|it| sysfs.disk_of(*it)).collect();
    let mut partitions = sysfs.partitions().into_iter();
    let found = partitions.find(|it| it.number == number && disks.contains(&it.disk));
    found.filter(|it| it.label.as_deref() == Some(STATE_LABEL)).ok_or(GrowError::NotMounted)
}

/// The GUID that was given to the disk here; nothing that makes no sense.
fn read_own_guid() -> io::Result<Option<Guid>> {
    let mut text = String::new();
    match File::open(OWN_GUID) {
        Ok(file) => file.take(OWN_GUID_LEN_MAX).read_to_string(&mut text)?,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(cause),
    };
    Ok(Guid::parse(text.trim()))
}

/// The disk that runs, open for its partition table.
struct Disk {
    file: File,
    path: PathBuf,
    sector_len: u64,
    len: u64,
}

impl Disk {
    fn open(sysfs: &Sysfs, number: DeviceNumber) -> Result<Self, GrowError> {
        let (name, sector_len) = sysfs.disk(number).ok_or(GrowError::NotMounted)?;
        let path = Path::new("/dev").join(name);
        let opened = OpenOptions::new().read(true).write(true).open(&path);
        let mut file = opened.map_err(|cause| GrowError::io("open", &path, cause))?;
        let len = file.seek(SeekFrom::End(0));
        let len = len.map_err(|cause| GrowError::io("measure", &path, cause))?;
        Ok(Self { file, path, sector_len, len })
    }

    fn carry_out(&mut self, plan: &Plan) -> Result<(), GrowError> {
        for step in &plan.steps {
            let done = match step {
                Step::Write { offset, bytes } => self.file.write_all_at(bytes, *offset),
                Step::Flush => self.file.sync_all(),
            };
            done.map_err(|cause| GrowError::io("write the table of", &self.path, cause))?;
        }
        Ok(())
    }
}

impl ReadDisk for Disk {
    fn sector_len(&self) -> u64 {
        self.sector_len
    }

    fn sectors(&self) -> u64 {
        self.len.checked_div(self.sector_len).unwrap_or(0)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(bytes, offset)
    }
}

/// Why the state does not grow.
#[derive(Debug, thiserror::Error)]
pub enum GrowError {
    /// It is not certain which disk is meant, or the state is not on it.
    #[error("the state is not grown as long as there is {note}")]
    InDoubt {
        /// The note that the initramfs left.
        note: &'static str,
    },
    /// `/var` is not the state partition.
    #[error("{STATE} is not the partition with the label {STATE_LABEL} of the disk that runs")]
    NotMounted,
    /// The table cannot be replaced.
    #[error(transparent)]
    Plan(PlanError),
    /// Something cannot be done.
    #[error("cannot {doing} {}: {cause}", path.display())]
    Io {
        /// What.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
}

impl GrowError {
    fn io(doing: &'static str, path: impl AsRef<Path>, cause: io::Error) -> Self {
        Self::Io { doing, path: path.as_ref().to_owned(), cause }
    }
}
