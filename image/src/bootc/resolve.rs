//! Finds files in a tree as the kernel would: through symbolic links, which stay inside.

use std::collections::VecDeque;

use crate::content::Content;
use crate::tree::{Kind, Tree};

/// Most links that a path may lead through, as in Linux.
const LINKS_MAX: usize = 40;

/// The regular file at `path`.
pub(super) fn file<'tree>(tree: &'tree Tree, path: &[u8]) -> Result<&'tree Content, ResolveError> {
    let mut ahead: VecDeque<Vec<u8>> = names(path).collect();
    let mut behind = vec![tree.root()];
    let mut link_count = 0_usize;
    while let Some(name) = ahead.pop_front() {
        if name == b".." {
            if behind.len() > 1 {
                behind.pop();
            }
            continue;
        }
        let Some(at) = behind.last().copied() else { return Err(ResolveError::Missing) };
        let id = tree.entry(at, &name).ok_or(ResolveError::Missing)?;
        let Kind::Symlink(target) = &tree.node(id).kind else {
            behind.push(id);
            continue;
        };
        link_count = link_count.saturating_add(1);
        if link_count > LINKS_MAX {
            return Err(ResolveError::Links { limit: LINKS_MAX });
        }
        if target.starts_with(b"/") {
            behind.truncate(1);
        }
        names(target).rev().for_each(|name| ahead.push_front(name));
    }
    match behind.last().map(|id| &tree.node(*id).kind) {
        Some(Kind::File(content)) => Ok(content),
        _ => Err(ResolveError::NotAFile),
    }
}

fn names(path: &[u8]) -> impl DoubleEndedIterator<Item = Vec<u8>> {
    let is_name = |name: &&[u8]| !name.is_empty() && *name != b".";
    path.split(|byte| *byte == b'/').filter(is_name).map(<[u8]>::to_vec)
}

/// Why a path does not lead to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// It, or the link there, leads nowhere.
    #[error("is missing, or a link to what is not in the image")]
    Missing,
    /// It leads to something else.
    #[error("is not a regular file")]
    NotAFile,
    /// It leads through too many links.
    #[error("leads through more than {limit} symbolic links")]
    Links {
        /// The limit.
        limit: usize,
    },
}
