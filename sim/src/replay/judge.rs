//! What a loader would do with a disk, and whether it would be right.
//!
//! Everything is looked at again only where something was written since, so that thousands of moments
//! cost little: block hashes are kept, and a slot that is not started is not hashed.

use std::io;

use gybe_core::boot::{BootEnv as _, BootState, EnvFile, Load};
use gybe_core::slot::{PerSlot, Slot};

use super::disk::{Disk, Part};
use super::table::{Place, TABLE_END, Table, TableError};
use super::{Fault, ReplayError};
use crate::fat::{Fat, ReadAt as _};

mod slot;

use slot::Look;
pub use slot::Unproven;

/// The longest copy of an environment.
const COPY_LEN_MAX: u64 = gybe_uboot::LEN_MAX as u64;

/// Where a loader keeps its state, by the short names of its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Grub,
    Files,
    Redundant,
}

impl Form {
    const ALL: [Self; 3] = [Self::Grub, Self::Files, Self::Redundant];

    const fn names(self) -> [&'static [u8; 11]; 2] {
        match self {
            Self::Grub => [b"GRUBENV    ", b"GRUBEN~1SAF"],
            Self::Files => [b"GYBE    ENV", b"GYBE2   ENV"],
            Self::Redundant => [b"UBOOT   ENV", b"UBOOT-~1ENV"],
        }
    }
}

/// A copy of an environment as it lies on the disk, or why it cannot be read.
struct Copy(Option<Vec<u8>>);

impl EnvFile for Copy {
    type Error = io::Error;

    fn read(&mut self, content: &mut [u8]) -> io::Result<usize> {
        let bytes = self.0.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let len = bytes.len().min(content.len());
        for (place, byte) in content.iter_mut().zip(bytes) {
            *place = *byte;
        }
        Ok(len)
    }

    fn write(&mut self, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}

/// The judge of one disk.
pub(super) struct Judge {
    table: Table,
    /// Whether the table is still as it was; `None` when it was written since.
    table_kept: Option<bool>,
    form: Form,
    /// What the environment says; `None` when it was written since.
    state: Option<BootState>,
    slots: PerSlot<Look>,
    /// The last verdict, while nothing that matters was written since.
    last: Option<Option<Fault>>,
}

impl Judge {
    pub(super) fn new(disk: &Disk, table: Table) -> Result<Self, ReplayError> {
        let part = table.environment.on(disk);
        let fat = Fat::open(&part)?.ok_or(ReplayError::Environment)?;
        for form in Form::ALL {
            let [name, _] = form.names();
            if fat.find(name)?.is_some() {
                let look = |slot| Look::new(*table.boot.of(slot), *table.root.of(slot));
                let slots = PerSlot { a: look(Slot::A), b: look(Slot::B) };
                return Ok(Self { table, table_kept: None, form, state: None, slots, last: None });
            }
        }
        Err(ReplayError::Environment)
    }

    /// Notes that bytes were written.
    pub(super) fn written(&mut self, at: u64, len: u64) {
        let end = at.saturating_add(len);
        let touches = |place: Place| at < place.at.saturating_add(place.len) && place.at < end;
        if touches(Place { at: 0, len: TABLE_END }) {
            self.table_kept = None;
            self.last = None;
        }
        if touches(self.table.environment) {
            self.state = None;
            self.last = None;
        }
        for slot in Slot::ALL {
            if self.slots.of_mut(slot).written(at, end) {
                self.last = None;
            }
        }
    }

    /// What would be wrong if the power went off now.
    pub(super) fn look(&mut self, disk: &Disk) -> io::Result<Option<Fault>> {
        if let Some(fault) = self.last {
            return Ok(fault);
        }
        // The first table, by which GRUB goes whatever the second one says. It may say that the last
        // partition is longer now, and not that ours are elsewhere.
        let kept = match self.table_kept {
            Some(kept) => kept,
            None => match Table::read(disk) {
                Err(TableError::Read(cause)) => return Err(cause),
                read => read.is_ok_and(|table| table == self.table),
            },
        };
        self.table_kept = Some(kept);
        if !kept {
            self.last = Some(Some(Fault::Table));
            return Ok(Some(Fault::Table));
        }
        let mut state = match self.state {
            Some(state) => state,
            // A loader boots whatever happens: what it cannot read is for it as from the factory.
            None => read(self.table.environment.on(disk), self.form)?
                .unwrap_or_else(|| BootState::factory(None)),
        };
        self.state = Some(state);
        let mut fault = None;
        // What the next start does, the one after it, and so on until nothing is written any more.
        while fault.is_none() {
            let boot = state.boot();
            fault = self.starts(disk, boot.stored)?;
            let Some(next) = boot.store else { break };
            if fault.is_none() {
                fault = self.starts(disk, boot.unstored)?;
            }
            state = next;
        }
        self.last = Some(fault);
        Ok(fault)
    }

    fn starts(&mut self, disk: &Disk, load: Load) -> io::Result<Option<Fault>> {
        if load.trial {
            let look = self.slots.of_mut(load.slot);
            let whole = if look.is_loadable(disk)? {
                look.is_whole(disk)?
            } else {
                Err(Unproven::NotLoadable)
            };
            return Ok(whole.err().map(|why| Fault::Armed(load.slot, why)));
        }
        for slot in [Some(load.slot), load.otherwise].into_iter().flatten() {
            let look = self.slots.of_mut(slot);
            if look.is_loadable(disk)? {
                return Ok(look.is_whole(disk)?.err().map(|why| Fault::Starts(slot, why)));
            }
        }
        Ok(Some(Fault::Nothing))
    }
}

/// What the loader reads from the environment, if it can.
fn read(part: Part<'_>, form: Form) -> io::Result<Option<BootState>> {
    let Some(fat) = Fat::open(&part)? else { return Ok(None) };
    let copy = |name: &[u8; 11]| {
        let Some(place) = fat.find(name)?.filter(|place| place.len <= COPY_LEN_MAX) else {
            return Ok::<_, io::Error>(Copy(None));
        };
        let mut bytes = vec![0; usize::try_from(place.len).unwrap_or(0)];
        let len = part.read_at(&mut bytes, place.at)?;
        bytes.truncate(len);
        Ok(Copy(Some(bytes)))
    };
    let [first, second] = form.names();
    let copies = [copy(first)?, copy(second)?];
    let lens = copies.each_ref().map(|copy| copy.0.as_ref().map_or(0, Vec::len));
    let buffer = vec![0; lens.into_iter().max().unwrap_or(0)];
    let loaded = match form {
        Form::Grub => {
            let [live, safe] = copies;
            gybe_grub::Environment::new(live, safe).load().ok()
        }
        Form::Files => {
            let buffers = [vec![0; gybe_uboot::FILE_LEN], vec![0; gybe_uboot::FILE_LEN]];
            gybe_uboot::Environment::files(copies, buffers).load().ok()
        }
        Form::Redundant => {
            let buffers = [buffer.clone(), buffer];
            gybe_uboot::Environment::redundant(copies, buffers).load().ok()
        }
    };
    Ok(loaded.and_then(|loaded| loaded.state))
}
