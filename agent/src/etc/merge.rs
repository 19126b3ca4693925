//! Changes that were made over one image's `/etc`, brought over to another image's.
//!
//! The rule is ostree's: what was changed or added here stays, what was not follows the image, what
//! was removed stays removed. An upper folder of overlayfs says less than that: it holds the whole
//! of a file of which only the mode was changed, and folders that hold nothing but a changed file.
//! So three trees are compared: the changes, the image that they were made over, and the new one.
//!
//! | in the upper folder | what becomes of it |
//! |---|---|
//! | a file, its content changed here, or added | it stays, unless the new image has the same |
//! | a file, only its attributes changed here | the new content, with the attributes that were changed |
//! | a whiteout | it stays |
//! | a folder | it goes away where nothing in it stays; attributes that were not changed are the image's |
//! | an opaque folder | its names of the old image become whiteouts; new names of the image show |
//! | a file where the new image made a folder, or the reverse | the image wins; it is kept aside |

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, SFlag, mknod};

use crate::replica::{self, Attributes, Kind};

const OPAQUE: [&str; 2] = ["trusted.overlay.opaque", "user.overlay.opaque"];
/// How much of two files is compared at once.
const COMPARE_LEN: usize = 64 * 1024;

/// The trees that are compared, and where the outcome goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trees<'a> {
    /// What was changed: an upper folder.
    pub(super) changes: &'a Path,
    /// `/etc` of the image that it was changed over.
    pub(super) old: &'a Path,
    /// `/etc` of the new image.
    pub(super) new: &'a Path,
    /// An empty folder, to become the new upper folder.
    pub(super) to: &'a Path,
    /// Where what gives way to the image is kept.
    pub(super) aside: &'a Path,
}

/// Brings the changes over.
///
/// # Errors
/// What the system says. What is half done lies in `to` and `aside` only.
pub(super) fn merge(trees: &Trees<'_>) -> io::Result<()> {
    Merge { trees, folders: BTreeMap::new() }.run()
}

struct Merge<'a> {
    trees: &'a Trees<'a>,
    /// What each folder shall be like, once something needs it.
    folders: BTreeMap<PathBuf, (Metadata, Attributes)>,
}

/// A name below `/etc` that was changed.
struct Change {
    name: PathBuf,
    /// Whether nothing of the old image shows through here, because of a folder above.
    is_hidden: bool,
    /// The same names in the old and the new image, if the folders above lead there.
    old: Option<PathBuf>,
    new: Option<PathBuf>,
}

/// What lies at a path.
struct Node {
    path: PathBuf,
    metadata: Metadata,
    kind: Kind,
    attributes: Attributes,
}

impl Node {
    fn read(path: &Path) -> io::Result<Option<Self>> {
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(cause),
        };
        let attributes = Attributes::read(path, &metadata)?;
        Ok(Some(Self { path: path.to_owned(), kind: Kind::of(&metadata), metadata, attributes }))
    }

    fn is_folder(&self) -> bool {
        self.kind == Kind::Folder
    }

    fn has_content_of(&self, other: &Self) -> io::Result<bool> {
        if self.kind != other.kind {
            return Ok(false);
        }
        match self.kind {
            Kind::Folder | Kind::Whiteout => Ok(true),
            Kind::File => {
                let same_len = self.metadata.len() == other.metadata.len();
                Ok(same_len && same_bytes(&self.path, &other.path)?)
            }
            Kind::Link => Ok(fs::read_link(&self.path)? == fs::read_link(&other.path)?),
            Kind::Special => {
                let what =
                    |it: &Self| (it.metadata.mode() & SFlag::S_IFMT.bits(), it.metadata.rdev());
                Ok(what(self) == what(other))
            }
        }
    }
}

impl Merge<'_> {
    fn run(&mut self) -> io::Result<()> {
        let Trees { old, new, to, .. } = *self.trees;
        let top = Change {
            name: PathBuf::new(),
            is_hidden: false,
            old: Some(old.to_owned()),
            new: Some(new.to_owned()),
        };
        let mut left = vec![top];
        while let Some(change) = left.pop() {
            self.visit(&change, &mut left)?;
        }
        // The upper folder itself is what `/etc` looks like.
        if let Some((_, attributes)) = self.folders.get(Path::new("")) {
            attributes.apply(to, Kind::Folder)?;
        }
        Ok(())
    }

    fn visit(&mut self, change: &Change, left: &mut Vec<Change>) -> io::Result<()> {
        let Some(local) = Node::read(&self.trees.changes.join(&change.name))? else {
            return Ok(());
        };
        let read = |path: &Option<PathBuf>| path.as_deref().map_or(Ok(None), Node::read);
        let (old, new) = (read(&change.old)?, read(&change.new)?);
        if local.kind == Kind::Whiteout {
            return self.hide(&change.name);
        }
        let is_folder = |node: &Option<Node>| node.as_ref().map(Node::is_folder);
        let image_changed = is_folder(&old) != is_folder(&new);
        if image_changed && is_folder(&new).is_some_and(|folder| folder != local.is_folder()) {
            return self.set_aside(&change.name, &local);
        }
        if local.is_folder() {
            self.visit_folder(change, &local, old, new, left)
        } else {
            self.visit_file(&change.name, &local, old, new)
        }
    }

    fn visit_folder(
        &mut self,
        change: &Change,
        local: &Node,
        old: Option<Node>,
        new: Option<Node>,
        left: &mut Vec<Change>,
    ) -> io::Result<()> {
        let [old, new] = [old, new].map(|node| node.filter(Node::is_folder));
        let attributes = combine(&local.attributes, old.as_ref(), new.as_ref());
        let is_needed = match (&old, &new) {
            (_, Some(new)) => attributes != new.attributes,
            (Some(old), None) => attributes != old.attributes,
            (None, None) => true,
        };
        self.folders.insert(change.name.clone(), (local.metadata.clone(), attributes));
        if is_needed {
            self.make_folder(&change.name)?;
        }
        let is_hidden = change.is_hidden || is_opaque(&local.path)?;
        let below = |node: &Option<Node>, name: &Path| node.as_ref().map(|it| it.path.join(name));
        if let (true, Some(old)) = (is_hidden, &old) {
            for path in replica::entries(&old.path)? {
                let name = path.file_name().unwrap_or_default();
                if fs::symlink_metadata(local.path.join(name)).is_err() {
                    self.hide(&change.name.join(name))?;
                }
            }
        }
        for path in replica::entries(&local.path)? {
            let name = Path::new(path.file_name().unwrap_or_default());
            let (old, new) = (below(&old, name), below(&new, name));
            left.push(Change { name: change.name.join(name), is_hidden, old, new });
        }
        Ok(())
    }

    fn visit_file(
        &mut self,
        name: &Path,
        local: &Node,
        old: Option<Node>,
        new: Option<Node>,
    ) -> io::Result<()> {
        let old = match old {
            Some(old) if local.has_content_of(&old)? => old,
            _ => {
                let is_same = match &new {
                    Some(new) => local.attributes == new.attributes && local.has_content_of(new)?,
                    None => false,
                };
                return if is_same { Ok(()) } else { self.put(name, local, &local.attributes) };
            }
        };
        // Only its attributes were changed, or not even they.
        let attributes = combine(&local.attributes, Some(&old), new.as_ref());
        match new {
            Some(new) if new.kind != local.kind || attributes == new.attributes => Ok(()),
            Some(new) => self.put(name, &new, &attributes),
            None if attributes == old.attributes => Ok(()),
            None => self.put(name, local, &attributes),
        }
    }

    fn put(&mut self, name: &Path, node: &Node, attributes: &Attributes) -> io::Result<()> {
        self.make_folder(name.parent().unwrap_or(Path::new("")))?;
        replica::copy_with(&node.path, &node.metadata, &self.trees.to.join(name), attributes)
    }

    fn hide(&mut self, name: &Path) -> io::Result<()> {
        self.make_folder(name.parent().unwrap_or(Path::new("")))?;
        Ok(mknod(&self.trees.to.join(name), SFlag::S_IFCHR, Mode::empty(), 0)?)
    }

    /// Makes a folder, and those above it, as they shall be.
    fn make_folder(&self, name: &Path) -> io::Result<()> {
        let mut above: Vec<_> = name.ancestors().collect();
        above.reverse();
        for name in above {
            let path = self.trees.to.join(name);
            let (false, Some((metadata, attributes))) = (path.exists(), self.folders.get(name))
            else {
                continue;
            };
            let from = self.trees.changes.join(name);
            replica::copy_with(&from, metadata, &path, attributes)?;
        }
        Ok(())
    }

    fn set_aside(&self, name: &Path, local: &Node) -> io::Result<()> {
        let place = self.trees.aside.join(name);
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder)?;
        }
        replica::copy_tree(&local.path, &place, &|_| true)
    }
}

/// What was changed here stays, everything else is the new image's.
fn combine(local: &Attributes, old: Option<&Node>, new: Option<&Node>) -> Attributes {
    let (Some(old), Some(new)) = (old, new) else { return local.clone() };
    let (old, new) = (&old.attributes, &new.attributes);
    let pick = |local: u32, old: u32, new: u32| if local == old { new } else { local };
    let mut xattrs = new.xattrs.clone();
    for name in local.xattrs.keys().chain(old.xattrs.keys()) {
        if local.xattrs.get(name) == old.xattrs.get(name) {
            continue;
        }
        match local.xattrs.get(name) {
            Some(value) => xattrs.insert(name.clone(), value.clone()),
            None => xattrs.remove(name),
        };
    }
    Attributes {
        mode: pick(local.mode, old.mode, new.mode),
        owner: pick(local.owner, old.owner, new.owner),
        group: pick(local.group, old.group, new.group),
        xattrs,
    }
}

fn is_opaque(path: &Path) -> io::Result<bool> {
    for name in OPAQUE {
        match xattr::get(path, name) {
            Ok(value) if value.as_deref() == Some(b"y") => return Ok(true),
            Err(cause) if cause.kind() != io::ErrorKind::Unsupported => return Err(cause),
            _ => {}
        }
    }
    Ok(false)
}

fn same_bytes(one: &Path, other: &Path) -> io::Result<bool> {
    let mut files = [File::open(one)?, File::open(other)?];
    let mut parts = [vec![0; COMPARE_LEN], vec![0; COMPARE_LEN]];
    loop {
        let mut lens = [0, 0];
        for ((file, part), len) in files.iter_mut().zip(&mut parts).zip(&mut lens) {
            part.clear();
            *len = file.take(COMPARE_LEN as u64).read_to_end(part)?;
        }
        let [one, other] = &parts;
        if one != other {
            return Ok(false);
        }
        if lens == [0, 0] {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests;
