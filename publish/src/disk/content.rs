//! What the state partition holds when a device leaves the factory.

use std::collections::BTreeSet;

use gybe_core::release::Release;
use serde_json::json;

use super::DiskError;
use super::customize::Customizations;
use super::sealed::{self, Root};
use super::state::Node;
use super::users::{Accounts, Home, SHELLS, UserError};
use crate::epoch;

/// The changes to slot A's `/etc`.
const UPPER: &str = "lib/gybe/etc/a/upper";

/// Everything, folders before what lies in them.
pub(super) fn nodes(
    root: &mut Root<'_>,
    release: &Release<'_>,
    kernel: Option<&str>,
    reference: Option<&str>,
    customizations: &Customizations,
) -> Result<Vec<Node>, DiskError> {
    let mut nodes = vec![
        Node::folder("lib"),
        Node::folder("lib/gybe"),
        Node::file("lib/gybe/install.json", provenance(release, kernel, reference)?),
    ];
    if customizations.users.is_empty() {
        return Ok(nodes);
    }
    nodes.extend(["lib/gybe/etc", "lib/gybe/etc/a", UPPER].map(Node::folder));
    let mut accounts = Accounts::default();
    let mut files = Vec::new();
    let Accounts { passwd, group, shadow, gshadow } = &mut accounts;
    for (path, text) in [
        ("/etc/passwd", passwd),
        ("/etc/group", group),
        ("/etc/shadow", shadow),
        ("/etc/gshadow", gshadow),
    ] {
        let usr = format!("/usr{path}");
        let found = match sealed::text(root, path)? {
            Some(found) => Some(found),
            None => sealed::text(root, &usr)?,
        };
        match found {
            Some((found, content)) => {
                *text = content;
                files.push((path, Some(found)));
            }
            // An image without group passwords is one.
            None if path == "/etc/gshadow" => files.push((path, None)),
            None => return Err(UserError::NoFile { path }.into()),
        }
    }
    let mut shell = "/bin/sh";
    for candidate in SHELLS.into_iter().rev() {
        if root.find(candidate)?.is_some_and(|found| found.is_file()) {
            shell = candidate;
        }
    }
    let mut homes = Vec::new();
    for user in &customizations.users {
        homes.extend(accounts.add(user, shell)?);
    }
    let texts = [accounts.passwd, accounts.group, accounts.shadow, accounts.gshadow];
    for ((path, found), text) in files.into_iter().zip(texts) {
        let Some(found) = found else { continue };
        let name = path.rsplit('/').next().unwrap_or(path);
        nodes.push(Node {
            path: format!("{UPPER}/{name}"),
            mode: found.mode & 0o7777,
            uid: found.uid,
            gid: found.gid,
            content: Some(text.into_bytes()),
        });
    }
    nodes.extend(home_nodes(&homes));
    Ok(nodes)
}

/// Homes, with the folders on the way to them.
fn home_nodes(homes: &[Home]) -> Vec<Node> {
    let mut nodes = Vec::new();
    let mut made = BTreeSet::new();
    for Home { path, uid, gid, keys } in homes {
        let above = path.match_indices('/').map(|(at, _)| path.get(..at).unwrap_or_default());
        for folder in above.filter(|folder| made.insert((*folder).to_owned())) {
            nodes.push(Node::folder(folder));
        }
        let own = |path: String, mode: u16, content: Option<Vec<u8>>| Node {
            path,
            mode,
            uid: *uid,
            gid: *gid,
            content,
        };
        nodes.push(own(path.clone(), 0o700, None));
        if let Some(keys) = keys {
            nodes.push(own(format!("{path}/.ssh"), 0o700, None));
            let keys = format!("{}\n", keys.trim_end()).into_bytes();
            nodes.push(own(format!("{path}/.ssh/authorized_keys"), 0o600, Some(keys)));
        }
    }
    nodes
}

/// `install.json`: where the device comes from, with the names that bootc gives these things in its
/// `.bootc-aleph.json`.
fn provenance(
    release: &Release<'_>,
    kernel: Option<&str>,
    reference: Option<&str>,
) -> Result<Vec<u8>, DiskError> {
    let manifest = release.manifest();
    let document = json!({
        "image": manifest.source_digest.to_string(),
        "digest": manifest.digest.to_string(),
        "target-image": reference,
        "labels": {
            gybe_core::manifest::COMPATIBLE: manifest.compatible,
            gybe_core::manifest::SEQUENCE: manifest.sequence.to_string(),
            gybe_core::manifest::ROLLBACK_INDEX: manifest.rollback_index.to_string(),
            gybe_core::manifest::ROOT_HASH: manifest.root_hash.hex().to_string(),
        },
        "version": manifest.version,
        "timestamp": epoch::created()?,
        "kernel": kernel,
        "selinux": "disabled",
    });
    let mut text = serde_json::to_vec_pretty(&document).map_err(DiskError::Json)?;
    text.push(b'\n');
    Ok(text)
}
