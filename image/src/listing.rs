//! A digest of a tree as such, for what has no digest of its own: a folder.
//!
//! `docs/formats/release.md` specifies it.

use std::collections::HashMap;

use gybe_core::digest::{Digest, Hasher};

use crate::tree::{Device, Kind, Meta, NodeId, Tree};

/// What the bytes begin with that are hashed.
const DOMAIN: &[u8] = b"gybe-tree-v1\0";

/// The digest of everything that a tree shows, contents by their digests: equal trees have equal
/// ones, wherever their bytes lie.
#[must_use]
pub fn digest(tree: &Tree) -> Digest {
    let mut listing = Listing { hasher: Hasher::new() };
    listing.hasher.update(DOMAIN);
    let mut firsts: HashMap<NodeId, Vec<u8>> = HashMap::new();
    for (path, id) in tree.walk() {
        listing.bytes(&path);
        if let Some(first) = firsts.get(&id) {
            listing.hasher.update(b"h");
            listing.bytes(first);
            continue;
        }
        let node = tree.node(id);
        match &node.kind {
            Kind::Directory(_) => listing.hasher.update(b"d"),
            Kind::File(content) => {
                listing.hasher.update(b"f");
                listing.number(content.len);
                listing.hasher.update(content.digest.as_bytes());
            }
            Kind::Symlink(target) => {
                listing.hasher.update(b"l");
                listing.bytes(target);
            }
            Kind::CharDevice(device) => listing.device(b"c", *device),
            Kind::BlockDevice(device) => listing.device(b"b", *device),
            Kind::Fifo => listing.hasher.update(b"p"),
            Kind::Socket => listing.hasher.update(b"s"),
        }
        listing.meta(&node.meta);
        firsts.insert(id, path);
    }
    listing.hasher.finish()
}

struct Listing {
    hasher: Hasher,
}

impl Listing {
    fn number(&mut self, number: u64) {
        self.hasher.update(&number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.hasher.update(bytes);
    }

    fn device(&mut self, kind: &[u8], device: Device) {
        self.hasher.update(kind);
        self.number(device.major.into());
        self.number(device.minor.into());
    }

    fn meta(&mut self, meta: &Meta) {
        for number in [u64::from(meta.mode), meta.uid.into(), meta.gid.into()] {
            self.number(number);
        }
        self.number(meta.mtime_s.cast_unsigned());
        self.number(meta.mtime_ns.into());
        self.number(meta.xattrs.len() as u64);
        for (name, value) in &meta.xattrs {
            self.bytes(name);
            self.bytes(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::{Content, Piece};
    use crate::tree::Node;

    fn tree(change: impl FnOnce(&mut Tree, NodeId)) -> Digest {
        let mut tree = Tree::new(Meta::implied());
        let pieces = vec![Piece { at: 0, from: 0, len: 1 }];
        let content = Content { layer: 0, len: 1, digest: Digest::of(b"x"), pieces };
        let file = tree.add(Node { meta: Meta::implied(), kind: Kind::File(content) });
        tree.insert(tree.root(), b"a", file);
        change(&mut tree, file);
        digest(&tree)
    }

    #[test]
    fn the_digest_is_that_of_the_specification() {
        let number = |number: u64| number.to_le_bytes().to_vec();
        let meta = [0o755, 0, 0, 0, 0, 0].map(number).concat();
        let file = [number(1), Digest::of(b"x").as_bytes().to_vec()].concat();
        let bytes = [
            b"gybe-tree-v1\0".to_vec(),
            [number(0), b"d".to_vec(), meta.clone()].concat(),
            [number(1), b"af".to_vec(), file, meta].concat(),
        ];
        assert_eq!(tree(|_, _| ()), Digest::of(&bytes.concat()));
    }

    #[test]
    fn it_changes_with_everything_but_where_bytes_lie() {
        let before = tree(|_, _| ());
        let moved = |tree: &mut Tree, file| {
            if let Kind::File(content) = &mut tree.node_mut(file).kind {
                content.layer = 7;
                content.pieces[0].from = 9;
            }
        };
        assert_eq!(tree(moved), before);
        type Change = fn(&mut Tree, NodeId);
        let changes: [Change; 8] = [
            |tree, file| tree.node_mut(file).meta.mode = 0o644,
            |tree, file| tree.node_mut(file).meta.uid = 1,
            |tree, file| tree.node_mut(file).meta.gid = 1,
            |tree, file| tree.node_mut(file).meta.mtime_s = -1,
            |tree, file| tree.node_mut(file).meta.mtime_ns = 1,
            |tree, file| {
                tree.node_mut(file).meta.xattrs.insert(b"user.a".into(), b"".into());
            },
            |tree, file| {
                tree.insert(tree.root(), b"b", file);
            },
            |tree, file| tree.node_mut(file).kind = Kind::Fifo,
        ];
        let mut digests: Vec<_> = changes.into_iter().map(tree).collect();
        digests.push(before);
        digests.sort();
        digests.dedup();
        assert_eq!(digests.len(), changes.len() + 1);
    }
}
