//! The kernel's log, which pstore may keep over a reboot.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Write as _;

/// Puts one line into it. Where there is none, stderr has said it already.
pub(super) fn say(text: impl Display) {
    // 3 is the level of an error: it is shown on a console that is quiet, too.
    let line = format!("<3>gybe: {}\n", text.to_string().replace('\n', " "));
    let opened = OpenOptions::new().write(true).open("/dev/kmsg");
    let _ = opened.and_then(|mut log| log.write_all(line.as_bytes()));
}
