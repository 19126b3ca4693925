//! A root file system in memory: everything but the bytes of its files.

use std::collections::{BTreeMap, btree_map};

use crate::content::Content;

/// A file system tree. Nodes are numbered; a node with several names is a hard link.
///
/// A node that no directory names is not part of the file system: [`Tree::walk`] never meets it.
#[derive(Clone, Debug)]
pub struct Tree {
    /// Number 0, apart from the others so that there always is one.
    root: Node,
    /// Number 1 and up.
    others: Vec<Node>,
}

/// Number of a node in its [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(usize);

/// How many names each node of a tree has. Made by [`Tree::links`].
#[derive(Clone, Debug)]
pub struct Links(Vec<u32>);

/// A directory, file, link or device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Owner, mode, time and extended attributes.
    pub meta: Meta,
    /// What it is, and what only its kind has.
    pub kind: Kind,
}

/// What every node has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Permission bits, with set-user-id, set-group-id and sticky: `0o7777` at most.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of last modification, seconds since 1970.
    pub mtime_s: i64,
    /// Nanoseconds beyond `mtime_s`, below 1,000,000,000.
    pub mtime_ns: u32,
    /// Extended attributes by full name (`user.comment`, `security.capability`).
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Names, sorted bytewise, and the nodes they lead to.
    Directory(BTreeMap<Vec<u8>, NodeId>),
    /// A regular file.
    File(Content),
    /// A symbolic link and its target.
    Symlink(Vec<u8>),
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// A device number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

impl Meta {
    /// What a directory gets that no layer describes: 0755, owned by root, in 1970.
    #[must_use]
    pub const fn implied() -> Self {
        Self { mode: 0o755, uid: 0, gid: 0, mtime_s: 0, mtime_ns: 0, xattrs: BTreeMap::new() }
    }
}

impl Node {
    /// An empty directory.
    #[must_use]
    pub const fn directory(meta: Meta) -> Self {
        Self { meta, kind: Kind::Directory(BTreeMap::new()) }
    }

    /// Whether it is a directory.
    #[must_use]
    pub const fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory(_))
    }

    /// The names in it and the nodes they lead to; `None` when it is not a directory.
    #[must_use]
    pub const fn entries(&self) -> Option<&BTreeMap<Vec<u8>, NodeId>> {
        match &self.kind {
            Kind::Directory(entries) => Some(entries),
            _ => None,
        }
    }
}

impl Tree {
    /// A tree with nothing but its root directory.
    #[must_use]
    pub const fn new(root: Meta) -> Self {
        Self { root: Node::directory(root), others: Vec::new() }
    }

    /// The root directory's number.
    #[must_use]
    pub const fn root(&self) -> NodeId {
        NodeId(0)
    }

    /// Adds a node, which is part of the file system once [`Tree::insert`] gives it a name.
    pub fn add(&mut self, node: Node) -> NodeId {
        self.others.push(node);
        NodeId(self.others.len())
    }

    /// The node with this number. A number of another tree leads to any node of this one.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node {
        let found = id.0.checked_sub(1).and_then(|index| self.others.get(index));
        debug_assert!(found.is_some() || id.0 == 0, "a number of another tree");
        found.unwrap_or(&self.root)
    }

    /// As [`Tree::node`], to change it.
    pub fn node_mut(&mut self, id: NodeId) -> &mut Node {
        debug_assert!(id.0 <= self.others.len(), "a number of another tree");
        match id.0.checked_sub(1).and_then(|index| self.others.get_mut(index)) {
            Some(node) => node,
            None => &mut self.root,
        }
    }

    /// What `name` leads to in `directory`; `None` also when that is not a directory.
    #[must_use]
    pub fn entry(&self, directory: NodeId, name: &[u8]) -> Option<NodeId> {
        self.node(directory).entries()?.get(name).copied()
    }

    /// The node at `path`: names separated by `/`, no link followed, empty names ignored.
    #[must_use]
    pub fn find(&self, path: &[u8]) -> Option<NodeId> {
        path.split(|&byte| byte == b'/')
            .filter(|name| !name.is_empty())
            .try_fold(self.root(), |directory, name| self.entry(directory, name))
    }

    /// Names `node` in `directory` and returns what had the name before.
    /// Does nothing when `directory` is not one.
    pub fn insert(&mut self, directory: NodeId, name: &[u8], node: NodeId) -> Option<NodeId> {
        match &mut self.node_mut(directory).kind {
            Kind::Directory(entries) => entries.insert(name.to_vec(), node),
            _ => None,
        }
    }

    /// Takes a name out of `directory`, and with it everything that only it led to.
    pub fn remove(&mut self, directory: NodeId, name: &[u8]) -> Option<NodeId> {
        match &mut self.node_mut(directory).kind {
            Kind::Directory(entries) => entries.remove(name),
            _ => None,
        }
    }

    /// Takes all names out of `directory`.
    pub fn clear(&mut self, directory: NodeId) {
        if let Kind::Directory(entries) = &mut self.node_mut(directory).kind {
            entries.clear();
        }
    }

    /// Every path and its node, a directory before what is in it, names in bytewise order.
    /// The root's path is empty; the others begin without `/`. A hard link is met under each name.
    #[must_use]
    pub fn walk(&self) -> Walk<'_> {
        Walk { tree: self, first: true, path: Vec::new(), open: Vec::new() }
    }

    /// Counts the names of all nodes.
    #[must_use]
    pub fn links(&self) -> Links {
        let mut counts = vec![0_u32; self.others.len().saturating_add(1)];
        let mut count = |id: NodeId| {
            if let Some(count) = counts.get_mut(id.0) {
                *count = count.saturating_add(1);
            }
        };
        for (_, id) in self.walk() {
            count(id);
            let Some(entries) = self.node(id).entries() else { continue };
            // Its own `.`, and the `..` of every directory in it.
            count(id);
            entries
                .values()
                .filter(|child| self.node(**child).is_directory())
                .for_each(|_| count(id));
        }
        Links(counts)
    }
}

impl Links {
    /// The link count of a node as `stat` shows it: names, or for a directory 2 and one for each
    /// directory in it; 0 when the node is not part of the file system.
    #[must_use]
    pub fn of(&self, id: NodeId) -> u32 {
        self.0.get(id.0).copied().unwrap_or(0)
    }
}

/// Meets every path of a tree. Made by [`Tree::walk`].
#[derive(Debug)]
pub struct Walk<'tree> {
    tree: &'tree Tree,
    first: bool,
    path: Vec<u8>,
    /// The directories that the path leads through: the rest of their names, and how long the
    /// path was before them.
    open: Vec<(btree_map::Iter<'tree, Vec<u8>, NodeId>, usize)>,
}

impl Iterator for Walk<'_> {
    type Item = (Vec<u8>, NodeId);

    fn next(&mut self) -> Option<Self::Item> {
        if self.first {
            self.first = false;
            self.open.extend(self.tree.root.entries().map(|entries| (entries.iter(), 0)));
            return Some((Vec::new(), self.tree.root()));
        }
        loop {
            let (names, len) = self.open.last_mut()?;
            self.path.truncate(*len);
            let Some((name, &id)) = names.next() else {
                self.open.pop();
                continue;
            };
            if !self.path.is_empty() {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(name);
            if let Some(entries) = self.tree.node(id).entries() {
                self.open.push((entries.iter(), self.path.len()));
            }
            return Some((self.path.clone(), id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        let mut tree = Tree::new(Meta::implied());
        let root = tree.root();
        let usr = tree.add(Node::directory(Meta::implied()));
        let bin = tree.add(Node::directory(Meta::implied()));
        let fifo = tree.add(Node { meta: Meta::implied(), kind: Kind::Fifo });
        tree.insert(root, b"usr", usr);
        tree.insert(usr, b"bin", bin);
        tree.insert(bin, b"b", fifo);
        tree.insert(usr, b"bin.d", fifo);
        tree
    }

    #[test]
    fn a_walk_meets_every_name_in_order_and_parents_first() {
        let paths: Vec<_> =
            tree().walk().map(|(path, _)| String::from_utf8(path).unwrap()).collect();
        assert_eq!(paths, ["", "usr", "usr/bin", "usr/bin/b", "usr/bin.d"]);
    }

    #[test]
    fn links_are_counted_as_stat_does() {
        let mut tree = tree();
        let usr = tree.find(b"usr").unwrap();
        let fifo = tree.find(b"/usr/bin/b").unwrap();
        let counts = |tree: &Tree| [tree.root(), usr, fifo].map(|id| tree.links().of(id));
        assert_eq!(counts(&tree), [3, 3, 2]);
        tree.remove(usr, b"bin.d");
        assert_eq!(counts(&tree), [3, 3, 1]);
        tree.clear(usr);
        assert_eq!(counts(&tree), [3, 2, 0]);
    }
}
