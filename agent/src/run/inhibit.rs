//! Who does not want the machine to reboot now.
//!
//! Two places are asked. `/run/gybe/inhibit` is a folder of ours: a file in it holds a reboot as long as
//! it is there, and says why. systemd-logind keeps the others' blocks (`systemd-inhibit --mode=block`):
//! it asks them only when a person at a terminal wants a reboot, so we ask before.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::{fs, io};

use serde::Deserialize;
use tracing::warn;

use crate::root::Root;
use crate::signals;

/// Our folder.
pub const FOLDER: &str = "/run/gybe/inhibit";
/// What shows that systemd runs the system; see `sd_booted(3)`.
const SYSTEMD: &str = "/run/systemd/system";
/// How much of a reason is read.
const REASON_LEN_MAX: u64 = 200;
/// How much of logind's answer is read.
const ANSWER_LEN_MAX: u64 = 256 * 1024;

/// `ListInhibitors` of `org.freedesktop.login1(5)`, as `busctl --json=short call` prints it.
#[derive(Deserialize)]
struct Answer {
    data: (Vec<Block>,),
}

/// What, who, why and mode; the user and the process are of no interest.
#[derive(Deserialize)]
#[serde(from = "(String, String, String, String, u32, u32)")]
struct Block {
    what: String,
    who: String,
    why: String,
    mode: String,
}

impl From<(String, String, String, String, u32, u32)> for Block {
    fn from((what, who, why, mode, _, _): (String, String, String, String, u32, u32)) -> Self {
        Self { what, who, why, mode }
    }
}

/// Who holds a reboot, in words; nothing where nobody does. Where logind does not answer, nobody does:
/// a broken bus must not keep a fleet from its updates.
#[must_use]
pub fn held_by(root: &Root) -> Option<String> {
    in_folder(root).or_else(|| {
        if !root.path(SYSTEMD).exists() {
            return None;
        }
        by_logind().unwrap_or_else(|cause| {
            warn!(%cause, "logind does not say who inhibits a reboot");
            None
        })
    })
}

fn in_folder(root: &Root) -> Option<String> {
    let entries = fs::read_dir(root.path(FOLDER)).ok()?;
    let name = entries.filter_map(Result::ok).map(|entry| entry.file_name()).min()?;
    let mut reason = Vec::new();
    let file = fs::File::open(root.path(FOLDER).join(&name));
    // One that cannot be read holds as well.
    let _ = file.and_then(|file| file.take(REASON_LEN_MAX).read_to_end(&mut reason));
    let reason = String::from_utf8_lossy(&reason);
    let reason = reason.lines().next().unwrap_or_default();
    Some(format!("{}: {reason}", name.to_string_lossy()))
}

fn by_logind() -> io::Result<Option<String>> {
    let mut command = Command::new("busctl");
    command.args(["--json=short", "--timeout=10", "call", "org.freedesktop.login1"]);
    command.args(["/org/freedesktop/login1", "org.freedesktop.login1.Manager", "ListInhibitors"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = match signals::spawn(&mut command) {
        Ok(child) => child,
        // A system with systemd and without its tools has nobody who would inhibit through them.
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(cause),
    };
    let mut answer = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(ANSWER_LEN_MAX).read_to_end(&mut answer)?;
    }
    let status = child.wait()?;
    if !status.success() {
        return Err(io::Error::other(format!("busctl: {status}")));
    }
    let Answer { data: (blocks,) } = serde_json::from_slice(&answer)?;
    Ok(blocks.into_iter().find_map(|Block { what, who, why, mode }| {
        let blocks = mode == "block" && what.split(':').any(|what| what == "shutdown");
        blocks.then(|| format!("{who}: {why}"))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_our_folder_holds_and_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::below(folder.path().to_owned());
        assert_eq!(held_by(&root), None);
        fs::create_dir_all(root.path(FOLDER)).unwrap();
        assert_eq!(held_by(&root), None);
        fs::write(root.path(FOLDER).join("till"), "a sale is under way\nsince 9\n").unwrap();
        assert_eq!(held_by(&root).as_deref(), Some("till: a sale is under way"));
        fs::write(root.path(FOLDER).join("0-lift"), "").unwrap();
        assert_eq!(held_by(&root).as_deref(), Some("0-lift: "));
    }

    #[test]
    fn logind_is_understood() {
        // As systemd 252's busctl printed it, with two inhibitors.
        let text = r#"{"type":"a(ssssuu)","data":[[
            ["sleep","UPower","Pause device polling","delay",0,612],
            ["shutdown:idle","backup","Saving the till","block",0,4711]]]}"#;
        let Answer { data: (blocks,) } = serde_json::from_str(text).unwrap();
        assert_eq!(blocks.len(), 2);
        assert_eq!((blocks[1].what.as_str(), blocks[1].mode.as_str()), ("shutdown:idle", "block"));
    }
}
