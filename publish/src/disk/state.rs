//! The state partition: an ext4 made by e2fsprogs, as nobody in particular and without a mount.
//!
//! The same content gives the same bytes: features, identity, hash seed and time are given, and every file
//! is put there one by one, since `mke2fs -d` would take the times of the build host along.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use nix::unistd::{Whence, lseek};

use super::DiskError;
use super::gpt::{Entry, Guid};
use super::program::{self, ProgramError};
use super::raw::Raw;

const PACKAGE: &str = "e2fsprogs";

/// Nothing of the build host's `/etc/mke2fs.conf`. All features are older than Linux 4.18, and GRUB and
/// U-Boot know them. `resize_inode` is what the first boot grows the file system with.
const CONFIG: &str = "[defaults]\n\
    base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr\n\
    default_mntopts = acl,user_xattr\n\
    enable_periodic_fsck = 0\n\
    blocksize = 4096\n\
    inode_size = 256\n\
    inode_ratio = 16384\n\
    reserved_ratio = 1.0\n\
    [fs_types]\n\
    ext4 = {\n\
    features = has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize\n\
    }\n";

/// The journal never grows: the one that e2fsprogs gives to a small file system would be far too short for
/// what becomes of it on the first boot. From a length on that has room for it.
const JOURNAL_MIB: u64 = 64;
const JOURNAL_FROM: u64 = 256 << 20;

/// The time in every inode, in seconds since 1970: 2000-01-01, since e2fsprogs takes 0 for "now".
const TIME_S: &str = "946684800";

const PIECE_LEN: usize = 1 << 20;

/// Something in the file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// Where it lies, without a slash in front; folders on the way come before it.
    pub(super) path: String,
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// The bytes of a file; a folder has none.
    pub(super) content: Option<Vec<u8>>,
}

impl Node {
    /// A folder of root's.
    pub(super) fn folder(path: &str) -> Self {
        Self { path: path.to_owned(), mode: 0o755, uid: 0, gid: 0, content: None }
    }

    /// A file of root's, which everybody may read.
    pub(super) fn file(path: &str, content: Vec<u8>) -> Self {
        Self { mode: 0o644, content: Some(content), ..Self::folder(path) }
    }
}

/// Makes the file system with `nodes` in its partition.
pub(super) fn write(
    disk: &Raw,
    entry: &Entry,
    seed: Guid,
    nodes: &[Node],
) -> Result<(), DiskError> {
    // Beside the disk: it may be longer than what a temporary folder has room for.
    let folder = disk.file.path().parent().unwrap_or(Path::new("."));
    let folder = tempfile::Builder::new().prefix(".gybe-state-").tempdir_in(folder);
    let folder = folder.map_err(DiskError::Temporary)?;
    make(folder.path(), entry, seed, nodes)?;
    let made = File::open(folder.path().join("state")).map_err(DiskError::Temporary)?;
    let copied = copy(&made, entry.len, |at, bytes| disk.partition(entry).put(at, bytes));
    copied.map_err(|cause| DiskError::Write { what: "state", cause })
}

fn make(folder: &Path, entry: &Entry, seed: Guid, nodes: &[Node]) -> Result<(), DiskError> {
    let put = |name: &str, bytes: &[u8]| {
        fs::write(folder.join(name), bytes).map_err(DiskError::Temporary)
    };
    put("mke2fs.conf", CONFIG.as_bytes())?;
    let made = File::create(folder.join("state")).map_err(DiskError::Temporary)?;
    made.set_len(entry.len).map_err(DiskError::Temporary)?;
    let e2fs = |name: &str| {
        let mut command = program::command(name);
        command.current_dir(folder).env("MKE2FS_CONFIG", "mke2fs.conf");
        command.env("E2FSPROGS_FAKE_TIME", TIME_S).env_remove("SOURCE_DATE_EPOCH");
        command
    };
    let extended =
        format!("hash_seed={seed},lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0,nodiscard");
    let mut mke2fs = e2fs("mke2fs");
    mke2fs.args(["-q", "-F", "-t", "ext4", "-L", "state", "-U", &entry.guid.to_string()]);
    if entry.len >= JOURNAL_FROM {
        mke2fs.args(["-J", &format!("size={JOURNAL_MIB}")]);
    }
    program::run(mke2fs.args(["-E", &extended, "state"]), PACKAGE)?;

    put("commands", commands(nodes).as_bytes())?;
    for (number, node) in nodes.iter().enumerate() {
        node.content.as_deref().map_or(Ok(()), |content| put(&format!("f{number}"), content))?;
    }
    let mut debugfs = e2fs("debugfs");
    let (_, said) = program::run(debugfs.args(["-w", "-f", "commands", "state"]), PACKAGE)?;
    // It says which version it is, and ends with success whatever happened.
    match said.lines().find(|line| !line.starts_with("debugfs 1.")) {
        None => Ok(()),
        Some(line) => {
            let (name, said) = ("debugfs".into(), line.to_owned());
            Err(ProgramError::Failed { name, status: "success".to_owned(), said }.into())
        }
    }
}

/// What debugfs is told, a command a line.
fn commands(nodes: &[Node]) -> String {
    let mut text = String::new();
    for (number, Node { path, mode, uid, gid, content }) in nodes.iter().enumerate() {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let (type_bits, make) = match content {
            Some(_) => (0o100_000, format!("write f{number} {name}")),
            None => (0o040_000, format!("mkdir {name}")),
        };
        // Writing to a text cannot fail.
        let _ = writeln!(text, "cd /{folder}\n{make}");
        let _ = writeln!(text, "set_inode_field {name} mode 0{:o}", type_bits | mode);
        let _ = writeln!(text, "set_inode_field {name} uid {uid}");
        let _ = writeln!(text, "set_inode_field {name} gid {gid}");
    }
    text
}

/// Gives all that is no hole to `put`.
fn copy(
    from: &File,
    len: u64,
    mut put: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = vec![0; PIECE_LEN];
    let mut at = 0_u64;
    while at < len {
        let next = match lseek(from, i64::try_from(at).unwrap_or(i64::MAX), Whence::SeekData) {
            Ok(next) => u64::try_from(next).unwrap_or(len),
            // Nothing but a hole is left.
            Err(nix::errno::Errno::ENXIO) => return Ok(()),
            Err(cause) => return Err(cause.into()),
        };
        // Pieces begin at whole blocks, so that a block of zeros is seen as one.
        at = next - next % PIECE_LEN as u64;
        let piece = usize::try_from(len.saturating_sub(at)).unwrap_or(PIECE_LEN).min(PIECE_LEN);
        let (now, _) = buffer.split_at_mut(piece);
        from.read_exact_at(now, at)?;
        put(at, now)?;
        at = at.saturating_add(piece as u64);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_put_in_its_folder_with_its_owner() {
        let nodes = [
            Node::folder("home"),
            Node { mode: 0o600, uid: 1000, gid: 7, ..Node::file("home/x", b"x".to_vec()) },
        ];
        let expected = "cd /\nmkdir home\nset_inode_field home mode 040755\n\
            set_inode_field home uid 0\nset_inode_field home gid 0\n\
            cd /home\nwrite f1 x\nset_inode_field x mode 0100600\n\
            set_inode_field x uid 1000\nset_inode_field x gid 7\n";
        assert_eq!(commands(&nodes), expected);
    }
}
