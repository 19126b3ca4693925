//! Directories of a FAT file system.

use std::collections::{BTreeMap, HashMap};

use gybe_core::block::BLOCK_LEN;

use super::plan::Plan;
use super::{FILE_LEN_MAX, FILES_MAX, FatError, File, PATH_DEPTH_MAX, name};

/// Length of a directory entry.
pub(super) const ENTRY_LEN: usize = 32;

/// Most entries of a directory: 2 MiB of them, less one block.
const ENTRIES_MAX: usize = 65_536 - BLOCK_LEN / ENTRY_LEN;

const ATTRIBUTE_DIRECTORY: u8 = 0x10;
const ATTRIBUTE_ARCHIVE: u8 = 0x20;
const ATTRIBUTE_LABEL: u8 = 0x08;

/// 1 January 1980, the first day that FAT knows.
const DATE: [u8; 2] = (1_u16 << 5 | 1).to_le_bytes();

/// All directories, the root first, each before those in it.
#[derive(Debug)]
pub(super) struct Directories(Vec<Directory>);

#[derive(Debug, Default)]
struct Directory {
    parent: usize,
    /// Sorted by name.
    names: BTreeMap<String, Leads>,
    /// Names as FAT compares them, and how they are written.
    folded: HashMap<String, String>,
    entry_count: usize,
}

/// What a name leads to, by its number.
#[derive(Clone, Copy, Debug)]
enum Leads {
    ToDirectory(usize),
    ToFile(usize),
}

impl Directories {
    /// The directories that the paths of `files` lead through.
    pub(super) fn of(files: &[File]) -> Result<Self, FatError> {
        if files.len() > FILES_MAX {
            return Err(FatError::Files { found: files.len(), limit: FILES_MAX });
        }
        let root = Directory { entry_count: 1, ..Directory::default() };
        let mut directories = Self(vec![root]);
        for (index, file) in files.iter().enumerate() {
            if file.source.len() > FILE_LEN_MAX {
                return Err(FatError::FileLen {
                    path: file.path.clone(),
                    found: file.source.len(),
                    limit: FILE_LEN_MAX,
                });
            }
            directories.insert(&file.path, index)?;
        }
        Ok(directories)
    }

    fn insert(&mut self, path: &str, file: usize) -> Result<(), FatError> {
        let names: Vec<_> = path.split('/').collect();
        if names.len() > PATH_DEPTH_MAX {
            let found = names.len();
            return Err(FatError::Depth { path: path.into(), found, limit: PATH_DEPTH_MAX });
        }
        let mut at = 0;
        for (position, name) in names.iter().enumerate() {
            if !name::is_storable(name) {
                return Err(FatError::Name { path: path.into(), name: (*name).into() });
            }
            let last = position.saturating_add(1) == names.len();
            let next = self.0.len();
            let Some(directory) = self.0.get_mut(at) else { unreachable!("made before") };
            match directory.names.get(*name) {
                Some(Leads::ToDirectory(found)) if !last => {
                    at = *found;
                    continue;
                }
                Some(Leads::ToFile(_)) if !last => {
                    return Err(FatError::NotADirectory {
                        path: path.into(),
                        name: (*name).into(),
                    });
                }
                _ => {}
            }
            if let Some(other) = directory.folded.insert(name.to_lowercase(), (*name).into()) {
                return Err(FatError::Twice { path: path.into(), other });
            }
            directory.entry_count = directory.entry_count.saturating_add(name::entries(name));
            if directory.entry_count > ENTRIES_MAX {
                let found = directory.entry_count;
                return Err(FatError::Entries { path: path.into(), found, limit: ENTRIES_MAX });
            }
            let leads = if last { Leads::ToFile(file) } else { Leads::ToDirectory(next) };
            directory.names.insert((*name).into(), leads);
            if !last {
                // Its own `.` and `..` are two entries.
                self.0.push(Directory { parent: at, entry_count: 2, ..Directory::default() });
                at = next;
            }
        }
        Ok(())
    }

    /// How many blocks each directory takes.
    pub(super) fn block_counts(&self) -> impl Iterator<Item = usize> {
        self.0
            .iter()
            .map(|directory| directory.entry_count.saturating_mul(ENTRY_LEN).div_ceil(BLOCK_LEN))
    }

    /// All directories, each filled up to a whole block.
    pub(super) fn bytes(&self, plan: &Plan, files: &[File]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (index, directory) in self.0.iter().enumerate() {
            let short = |name: &[u8]| {
                let mut short = [b' '; 11];
                short.iter_mut().zip(name).for_each(|(to, from)| *to = *from);
                name::Short { name: short, case: 0 }
            };
            if index == 0 {
                bytes.extend(entry(
                    name::Short { name: plan.volume.label, case: 0 },
                    ATTRIBUTE_LABEL,
                    0,
                    0,
                ));
            } else {
                // The root is known as cluster 0 here, wherever it lies.
                let parent = match directory.parent {
                    0 => 0,
                    parent => plan.directory(parent),
                };
                bytes.extend(entry(short(b"."), ATTRIBUTE_DIRECTORY, plan.directory(index), 0));
                bytes.extend(entry(short(b".."), ATTRIBUTE_DIRECTORY, parent, 0));
            }
            let mut alias_count = 0_usize;
            for (name, leads) in &directory.names {
                let short = name::short(name).unwrap_or_else(|| {
                    alias_count = alias_count.saturating_add(1);
                    let alias = name::alias(name, alias_count);
                    bytes.extend(name::long_entries(name, alias).concat());
                    alias
                });
                bytes.extend(match *leads {
                    Leads::ToDirectory(index) => {
                        entry(short, ATTRIBUTE_DIRECTORY, plan.directory(index), 0)
                    }
                    Leads::ToFile(index) => {
                        let len = files.get(index).map_or(0, |file| file.source.len());
                        let len = u32::try_from(len)
                            .unwrap_or_else(|_| unreachable!("checked when it was inserted"));
                        entry(short, ATTRIBUTE_ARCHIVE, plan.file(index), len)
                    }
                });
            }
            bytes.resize(bytes.len().next_multiple_of(BLOCK_LEN), 0);
        }
        bytes
    }
}

fn entry(name: name::Short, attributes: u8, cluster: u32, len: u32) -> [u8; ENTRY_LEN] {
    let [low_0, low_1, high_0, high_1] = cluster.to_le_bytes();
    let mut bytes = Vec::with_capacity(ENTRY_LEN);
    bytes.extend(name.name);
    bytes.extend([attributes, name.case]);
    bytes.extend([0; 3]); // time of creation
    bytes.extend(DATE);
    bytes.extend(DATE); // of the last access
    bytes.extend([high_0, high_1]);
    bytes.extend([0; 2]); // time of the last modification
    bytes.extend(DATE);
    bytes.extend([low_0, low_1]);
    bytes.extend(len.to_le_bytes());
    bytes.try_into().unwrap_or([0; ENTRY_LEN])
}
