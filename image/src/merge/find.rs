//! Finding directories by path, with symbolic links followed inside the tree as `chroot` would.

use super::MergeError;
use crate::tree::{Kind, NodeId, Tree};

/// How many links a path may lead through, as Linux has it.
const SYMLINKS_MAX: usize = 40;

/// Where a path led.
#[derive(Debug)]
pub(super) struct Found {
    /// The last directory on the way that is there.
    pub(super) directory: NodeId,
    /// The names on the rest of the way, which are not; none if all are.
    pub(super) missing: Vec<Vec<u8>>,
}

impl Found {
    /// The directory, if the path led all the way.
    pub(super) fn whole(self) -> Option<NodeId> {
        self.missing.is_empty().then_some(self.directory)
    }
}

/// What a name in a directory leads to.
pub(super) type View<'a> = &'a dyn Fn(NodeId, &[u8]) -> Option<NodeId>;

/// A name yet to be followed.
struct Step {
    name: Vec<u8>,
    is_of_link: bool,
}

/// Finds the directory at `path` in the tree as `entry` shows it.
pub(super) fn find_parent(tree: &Tree, entry: View<'_>, path: &[u8]) -> Result<Found, MergeError> {
    let steps = |path: &[u8], is_of_link| -> Vec<Step> {
        let names = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty());
        names.rev().map(|name| Step { name: name.to_vec(), is_of_link }).collect()
    };
    // The last step comes first; the directories on the way are kept for `..`.
    let mut left = steps(path, false);
    let mut way: Vec<NodeId> = Vec::new();
    let mut links = 0_usize;
    while let Some(step) = left.pop() {
        let directory = way.last().copied().unwrap_or(tree.root());
        match step.name.as_slice() {
            b"." => continue,
            b".." => {
                way.pop();
                continue;
            }
            _ => {}
        }
        let Some(next) = entry(directory, &step.name) else {
            if step.is_of_link {
                return Err(MergeError::Dangling { missing: text(&step.name) });
            }
            // No step of a link is left: they are taken before the path goes on.
            left.push(step);
            let missing = left.into_iter().rev().map(|step| step.name).collect();
            return Ok(Found { directory, missing });
        };
        match &tree.node(next).kind {
            Kind::Directory(_) => way.push(next),
            Kind::Symlink(target) => {
                links += 1;
                if links > SYMLINKS_MAX {
                    return Err(MergeError::Symlinks { limit: SYMLINKS_MAX });
                }
                if target.starts_with(b"/") {
                    way.clear();
                }
                left.extend(steps(target, true));
            }
            _ => return Err(MergeError::NotDirectory { parent: text(&step.name) }),
        }
    }
    Ok(Found { directory: way.last().copied().unwrap_or(tree.root()), missing: Vec::new() })
}

fn text(name: &[u8]) -> String {
    name.escape_ascii().to_string()
}
