//! Telling systemd's journal what happened, with fields that programs can ask for.
//!
//! `journalctl GYBE_EVENT=updated` finds what a text would have to be searched for. It is the journal's
//! native protocol: one datagram of fields, each `KEY=value`, or where the value has several lines the
//! key, a line feed, its length and the bytes. Where no journal listens nothing is lost: the log says
//! the same in words.
//!
//! Source: <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>, read 2026-11.

use std::os::unix::net::UnixDatagram;

use tracing::debug;

use crate::root::Root;

/// Where the journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";
/// What finds all that we say, and nothing else.
pub const MESSAGE_ID: &str = "6f5c2be11d8a4e5f9c07d1b2a3e4f506";
const IDENTIFIER: &str = "gybe";

/// How much it matters, as `syslog(3)` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Someone should know.
    Warning,
    /// It happened.
    Notice,
}

/// Says `message` with `fields`, whose keys are upper case.
pub fn say(root: &Root, priority: Priority, message: &str, fields: &[(String, String)]) {
    let priority = match priority {
        Priority::Warning => "4",
        Priority::Notice => "5",
    };
    let mut datagram = Vec::new();
    field(&mut datagram, "MESSAGE", message);
    field(&mut datagram, "MESSAGE_ID", MESSAGE_ID);
    field(&mut datagram, "PRIORITY", priority);
    field(&mut datagram, "SYSLOG_IDENTIFIER", IDENTIFIER);
    for (key, value) in fields {
        field(&mut datagram, key, value);
    }
    let sent =
        UnixDatagram::unbound().and_then(|socket| socket.send_to(&datagram, root.path(SOCKET)));
    if let Err(cause) = sent {
        debug!(%cause, "no journal listens");
    }
}

fn field(datagram: &mut Vec<u8>, key: &str, value: &str) {
    datagram.extend_from_slice(key.as_bytes());
    if value.contains('\n') {
        datagram.push(b'\n');
        let len = u64::try_from(value.len()).unwrap_or(u64::MAX);
        datagram.extend_from_slice(&len.to_le_bytes());
    } else {
        datagram.push(b'=');
    }
    datagram.extend_from_slice(value.as_bytes());
    datagram.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_written_as_the_protocol_asks() {
        let mut datagram = Vec::new();
        field(&mut datagram, "A", "one line");
        field(&mut datagram, "B", "two\nlines");
        assert_eq!(datagram, b"A=one line\nB\n\x09\0\0\0\0\0\0\0two\nlines\n");
    }
}
