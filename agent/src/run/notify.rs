//! Telling systemd how the daemon is: `sd_notify(3)`, a datagram of `KEY=value` lines.
//!
//! Without `NOTIFY_SOCKET` nobody listens, and nothing is said. What cannot be said is missed: systemd's
//! own timeouts then do what they are for.

use std::env;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use tracing::debug;

/// The socket that systemd listens on.
pub const SOCKET: &str = "NOTIFY_SOCKET";
/// How long systemd waits for a sign of life, in microseconds.
const WATCHDOG_USEC: &str = "WATCHDOG_USEC";
/// Whose sign of life it waits for.
const WATCHDOG_PID: &str = "WATCHDOG_PID";

/// Whoever started us, if it listens.
#[derive(Debug, Default)]
pub struct Notify {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notify {
    /// As the environment says.
    #[must_use]
    pub fn from_environment() -> Self {
        let socket = env::var_os(SOCKET).and_then(|name| {
            let address = match name.as_encoded_bytes().strip_prefix(b"@") {
                Some(name) => SocketAddr::from_abstract_name(name),
                None => SocketAddr::from_pathname(&name),
            };
            let address =
                address.inspect_err(|cause| debug!(%cause, "{SOCKET} is no socket")).ok()?;
            Some((UnixDatagram::unbound().ok()?, address))
        });
        let number = |key| env::var(key).ok()?.parse::<u64>().ok();
        let is_ours = number(WATCHDOG_PID).is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number(WATCHDOG_USEC).filter(|_| is_ours).map(Duration::from_micros);
        Self { socket, watchdog }
    }

    /// How often [`alive`](Self::alive) must be said: twice as often as systemd expects it.
    #[must_use]
    pub fn every(&self) -> Option<Duration> {
        self.watchdog.map(|watchdog| watchdog / 2)
    }

    /// The daemon is up.
    pub fn ready(&self) {
        self.say("READY=1");
    }

    /// The daemon goes on.
    pub fn alive(&self) {
        if self.watchdog.is_some() {
            self.say("WATCHDOG=1");
        }
    }

    /// What the daemon is about, in one line.
    pub fn status(&self, text: &str) {
        self.say(&format!("STATUS={}", text.replace('\n', " ")));
    }

    /// The daemon ends.
    pub fn stopping(&self) {
        self.say("STOPPING=1");
    }

    fn say(&self, text: &str) {
        if let Some((socket, address)) = &self.socket
            && let Err(cause) = socket.send_to_addr(text.as_bytes(), address)
        {
            debug!(%cause, "systemd does not listen");
        }
    }
}
