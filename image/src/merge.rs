//! Lays layers over each other, lowest first.
//!
//! What a layer hides is taken away before anything of it is added, wherever its markers stand,
//! so that a marker only ever reaches what lies below. Links to what was just hidden or replaced
//! still find it: the layer was made while it was there.

mod find;

use std::collections::HashMap;

use crate::layers::{Entry, Item};
use crate::tree::{Meta, Node, NodeId, Tree};
use find::{Found, View, find_parent};

/// A tree that grows layer by layer.
#[derive(Debug)]
pub(crate) struct Merge {
    tree: Tree,
    count: usize,
    count_max: usize,
}

/// What one layer has done so far.
#[derive(Debug, Default)]
struct Applied {
    touched: Names<Touch>,
    /// What the layer took away or replaced.
    hidden: Names<NodeId>,
}

/// Something about names in directories.
#[derive(Debug)]
struct Names<T>(HashMap<NodeId, HashMap<Vec<u8>, T>>);

/// What a layer did with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Touch {
    /// Something in it was touched.
    Passed,
    /// It was said to be a directory.
    Directory,
    /// It was said to be something else.
    Other,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Copy> Names<T> {
    fn get(&self, directory: NodeId, name: &[u8]) -> Option<T> {
        self.0.get(&directory)?.get(name).copied()
    }

    fn set(&mut self, directory: NodeId, name: &[u8], value: T) {
        let names = self.0.entry(directory).or_default();
        match names.get_mut(name) {
            Some(place) => *place = value,
            None => drop(names.insert(name.to_vec(), value)),
        }
    }
}

impl Merge {
    /// An empty root that may get `count_max` nodes.
    pub(crate) fn new(count_max: usize) -> Self {
        Self { tree: Tree::new(Meta::implied()), count: 0, count_max }
    }

    /// Lays a layer over what there is.
    ///
    /// # Errors
    /// The path to blame, and why.
    pub(crate) fn apply(&mut self, layer: Vec<Entry>) -> Result<(), (Vec<u8>, MergeError)> {
        let mut applied = Applied::default();
        for entry in &layer {
            let done = match entry.item {
                Item::Whiteout => self.whiteout(&mut applied, &entry.path),
                Item::Opaque => self.opaque(&mut applied, &entry.path),
                _ => Ok(()),
            };
            done.map_err(|cause| (entry.path.clone(), cause))?;
        }
        for entry in layer {
            let done = match entry.item {
                Item::Node(node) => self.add(&mut applied, &entry.path, node),
                Item::HardLink(target) => self.link(&mut applied, &entry.path, &target),
                Item::Whiteout | Item::Opaque => Ok(()),
            };
            done.map_err(|cause| (entry.path, cause))?;
        }
        Ok(())
    }

    /// The tree, with the directories at `emptied` emptied.
    pub(crate) fn finish(mut self, emptied: &[Vec<u8>]) -> Tree {
        for path in emptied {
            if let Some(directory) = self.tree.find(path) {
                self.tree.clear(directory);
            }
        }
        self.tree
    }

    fn whiteout(&mut self, applied: &mut Applied, path: &[u8]) -> Result<(), MergeError> {
        let (parent, name) = split(path);
        // A marker for what is not there is common, and harmless.
        if let Some(directory) = self.find(parent).ok().and_then(Found::whole)
            && let Some(hidden) = self.tree.remove(directory, name)
        {
            applied.hidden.set(directory, name, hidden);
        }
        Ok(())
    }

    fn opaque(&mut self, applied: &mut Applied, path: &[u8]) -> Result<(), MergeError> {
        let directory = self.find(path).ok().and_then(Found::whole);
        let Some(directory) = directory else { return Ok(()) };
        for (name, &hidden) in self.tree.node(directory).entries().into_iter().flatten() {
            applied.hidden.set(directory, name, hidden);
        }
        self.tree.clear(directory);
        Ok(())
    }

    fn add(&mut self, applied: &mut Applied, path: &[u8], node: Node) -> Result<(), MergeError> {
        if path.is_empty() {
            if !node.is_directory() {
                return Err(MergeError::Root);
            }
            self.tree.node_mut(self.tree.root()).meta = node.meta;
            return Ok(());
        }
        let (parent, name) = split(path);
        let parent = self.make_parent(applied, parent)?;
        match (applied.touched.get(parent, name), node.is_directory()) {
            (None | Some(Touch::Passed | Touch::Directory), true) | (None, false) => {}
            (Some(_), _) => return Err(MergeError::Repeated),
        }
        let touch = if node.is_directory() { Touch::Directory } else { Touch::Other };
        applied.touched.set(parent, name, touch);
        let old = self.tree.entry(parent, name);
        if let Some(old) =
            old.filter(|&old| node.is_directory() && self.tree.node(old).is_directory())
        {
            self.tree.node_mut(old).meta = node.meta;
            return Ok(());
        }
        let node = self.new_node(node)?;
        self.name(applied, parent, name, node);
        Ok(())
    }

    fn link(&mut self, applied: &mut Applied, path: &[u8], to: &[u8]) -> Result<(), MergeError> {
        if path.is_empty() {
            return Err(MergeError::Root);
        }
        let text = || to.escape_ascii().to_string();
        let node = self.target(applied, to).ok_or_else(|| MergeError::NoTarget { to: text() })?;
        if self.tree.node(node).is_directory() {
            return Err(MergeError::TargetDirectory { to: text() });
        }
        let (parent, name) = split(path);
        let parent = self.make_parent(applied, parent)?;
        if applied.touched.get(parent, name).is_some() {
            return Err(MergeError::Repeated);
        }
        applied.touched.set(parent, name, Touch::Other);
        self.name(applied, parent, name, node);
        Ok(())
    }

    /// What a link leads to: what is there now, or else what the layer took away.
    fn target(&self, applied: &Applied, path: &[u8]) -> Option<NodeId> {
        if path.is_empty() {
            return Some(self.tree.root());
        }
        let (parent, name) = split(path);
        let before = |directory: NodeId, name: &[u8]| {
            applied.hidden.get(directory, name).or_else(|| self.tree.entry(directory, name))
        };
        let now = |directory: NodeId, name: &[u8]| self.tree.entry(directory, name);
        let views: [View<'_>; 2] = [&now, &before];
        views.iter().find_map(|view| {
            let parent = find_parent(&self.tree, view, parent).ok()?.whole()?;
            view(parent, name)
        })
    }

    /// The directory at `path`, made if it is not there.
    fn make_parent(&mut self, applied: &mut Applied, path: &[u8]) -> Result<NodeId, MergeError> {
        let found = self.find(path)?;
        let mut last = found.directory;
        for name in found.missing {
            let made = self.new_node(Node::directory(Meta::implied()))?;
            self.tree.insert(last, &name, made);
            last = made;
        }
        // From now on nothing but a directory can have these names in this layer.
        let mut directory = self.tree.root();
        for name in path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            if applied.touched.get(directory, name).is_none() {
                applied.touched.set(directory, name, Touch::Passed);
            }
            match self.tree.entry(directory, name) {
                Some(next) if self.tree.node(next).is_directory() => directory = next,
                _ => break,
            }
        }
        Ok(last)
    }

    fn find(&self, path: &[u8]) -> Result<Found, MergeError> {
        find_parent(&self.tree, &|directory, name| self.tree.entry(directory, name), path)
    }

    fn new_node(&mut self, node: Node) -> Result<NodeId, MergeError> {
        if self.count >= self.count_max {
            return Err(MergeError::Count { limit: self.count_max });
        }
        self.count += 1;
        Ok(self.tree.add(node))
    }

    fn name(&mut self, applied: &mut Applied, directory: NodeId, name: &[u8], node: NodeId) {
        if let Some(old) = self.tree.insert(directory, name, node) {
            applied.hidden.set(directory, name, old);
        }
    }
}

/// The path of the directory, and the name in it.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(at) => path
            .split_at_checked(at)
            .map_or((b"", path), |(parent, name)| (parent, name.get(1..).unwrap_or(b""))),
        None => (b"", path),
    }
}

/// Why a layer cannot be laid over those below.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// The root is not a directory.
    #[error("the root is not a directory")]
    Root,
    /// The layer says twice what is at the path.
    #[error("path is in the layer twice")]
    Repeated,
    /// A parent is a file.
    #[error("parent {parent} is not a directory")]
    NotDirectory {
        /// The name of the parent.
        parent: String,
    },
    /// A parent is a link that leads nowhere.
    #[error("parent leads to {missing}, which is not there")]
    Dangling {
        /// The name that is missing.
        missing: String,
    },
    /// A parent is a link to a link to a link …
    #[error("parent leads through more than {limit} symlinks")]
    Symlinks {
        /// The limit.
        limit: usize,
    },
    /// A link leads to nothing.
    #[error("hardlink to {to}, which is not there")]
    NoTarget {
        /// Where it leads.
        to: String,
    },
    /// A link leads to a directory.
    #[error("hardlink to {to}, which is a directory")]
    TargetDirectory {
        /// Where it leads.
        to: String,
    },
    /// There are too many nodes.
    #[error("more than {limit} files and directories in all layers")]
    Count {
        /// The limit.
        limit: usize,
    },
}

#[cfg(test)]
mod tests;
