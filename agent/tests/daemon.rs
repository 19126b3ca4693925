//! `gybe run`, as systemd has it.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, reason = "a test may fail by panicking")]

mod boots;
mod fixture;

use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

use fixture::{Device, Recipe};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use serde_json::Value;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// A daemon, and who listens to it.
struct Daemon {
    child: Child,
    lines: BufReader<ChildStdout>,
    systemd: UnixDatagram,
    _folder: tempfile::TempDir,
}

impl Daemon {
    fn start(device: &Device) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let systemd = UnixDatagram::bind(&path).unwrap();
        systemd.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut command = device.command(&["run", "--events", "json"]);
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "2000000");
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines, systemd, _folder: folder }
    }

    /// The next thing it tells systemd that begins like this.
    fn notifies(&self, prefix: &str) -> String {
        loop {
            let mut datagram = [0; 1024];
            let len = self.systemd.recv(&mut datagram).unwrap();
            let text = String::from_utf8(datagram[..len].to_vec()).unwrap();
            if text.starts_with(prefix) {
                return text;
            }
        }
    }

    /// The next event of that name.
    fn event(&mut self, name: &str) -> Value {
        loop {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "it ended before {name}");
            let event: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(event["version"], 1, "{line}");
            if event["event"] == name {
                return event;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    fn ends(mut self) -> i32 {
        self.child.wait().unwrap().code().unwrap()
    }
}

fn follow(device: &Device, source: &str, pull: &str) {
    let config = format!("reference = \"{source}\"\n[pull]\ndelay_s = 0\n{pull}");
    device.write("etc/gybe/config.toml", &config);
}

#[test]
fn it_says_how_it_is_and_looks_when_told_and_ends_when_stopped() {
    let one = Recipe::new("1.0.0", 1).seal();
    let two = Recipe::new("2.0.0", 2).changed(3).seal();
    let device = Device::with(&one);
    follow(&device, &one.source(), "");
    let mut daemon = Daemon::start(&device);
    assert_eq!(daemon.event("started")["event"], "started");
    daemon.notifies("READY=1");
    let look = daemon.event("look");
    assert_eq!(
        (&look["outcome"], &look["why"]),
        (&"nothing".into(), &"no update available: it is running already".into())
    );
    daemon.event("wait");
    assert_eq!(daemon.notifies("STATUS=waits"), "STATUS=waits for: the next look");
    // It lives, as systemd wants to hear every two seconds.
    daemon.notifies("WATCHDOG=1");
    follow(&device, &two.source(), "");
    daemon.signal(Signal::SIGHUP);
    let look = daemon.event("look");
    assert_eq!((&look["outcome"], &look["release"]["version"]), (&"armed".into(), &"2.0.0".into()));
    let armed = daemon.event("transition");
    assert_eq!((&armed["transition"], &armed["to"]["version"]), (&"armed".into(), &"2.0.0".into()));
    daemon.signal(Signal::SIGTERM);
    daemon.notifies("STOPPING=1");
    daemon.event("stopping");
    assert_eq!(daemon.ends(), 0);
}

#[test]
fn it_reboots_into_what_it_armed() {
    let one = Recipe::new("1.0.0", 1).seal();
    let two = Recipe::new("2.0.0", 2).changed(3).seal();
    let device = Device::with(&one);
    follow(&device, &two.source(), "reboot = \"now\"\n");
    let mut daemon = Daemon::start(&device);
    let reboot = daemon.event("reboot");
    assert_eq!(reboot["release"]["version"], "2.0.0");
    assert_eq!(daemon.ends(), 0);
    assert_eq!(device.status()["next_boot"], "b");
}

#[test]
fn it_leaves_what_somebody_armed_by_hand_to_them() {
    let one = Recipe::new("1.0.0", 1).seal();
    let two = Recipe::new("2.0.0", 2).changed(3).seal();
    let device = Device::with(&one);
    follow(&device, &two.source(), "reboot = \"now\"\n");
    device.gybe(&["upgrade"]).done();
    let mut daemon = Daemon::start(&device);
    let look = daemon.event("look");
    assert_eq!(look["outcome"], "nothing");
    daemon.event("wait");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends(), 0);
}

#[test]
fn it_lives_while_it_looks_and_can_be_stopped_then() {
    let one = Recipe::new("1.0.0", 1).seal();
    let two = Recipe::new("2.0.0", 2).changed(3).seal();
    let device = Device::with(&one);
    follow(&device, &two.source(), "");
    // A look that takes long, because a hook does.
    let pipe = device.path("pipe");
    mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    let hook = format!("#!/bin/sh\necho $GYBE_EVENT >{}\nexec sleep 25\n", pipe.display());
    boots::script(&device, "etc/gybe/hooks.d/10-slow", &hook);
    let daemon = Daemon::start(&device);
    assert_eq!(std::fs::read_to_string(&pipe).unwrap(), "pre-install\n");
    daemon.systemd.set_nonblocking(true).unwrap();
    while daemon.systemd.recv(&mut [0; 1024]).is_ok() {}
    daemon.systemd.set_nonblocking(false).unwrap();
    daemon.notifies("WATCHDOG=1");
    daemon.signal(Signal::SIGTERM);
    daemon.notifies("STOPPING=1");
    assert_eq!(daemon.ends(), 0);
    assert_eq!(device.status()["b"]["problem"], "no trailer", "nothing was begun");
}

#[test]
fn a_trial_is_waited_for() {
    let one = Recipe::new("1.0.0", 1).seal();
    let two = Recipe::new("2.0.0", 2).changed(3).seal();
    let three = Recipe::new("3.0.0", 3).changed(4).seal();
    let device = Device::with(&one);
    device.gybe(&["install", &two.source()]).done();
    device.boots("b", &two, true);
    follow(&device, &three.source(), "");
    let mut daemon = Daemon::start(&device);
    assert_eq!(daemon.event("wait")["why"], "the end of the trial that runs");
    // Not even when told.
    daemon.signal(Signal::SIGHUP);
    device.gybe(&["commit"]).done();
    daemon.signal(Signal::SIGHUP);
    assert_eq!(daemon.event("look")["release"]["version"], "3.0.0");
    let told = daemon.event("transition");
    assert_eq!(told["transition"], "armed", "{told}");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends(), 0);
}

#[test]
fn a_state_that_cannot_be_kept_makes_it_wait_and_not_hammer() {
    let one = Recipe::new("1.0.0", 1).seal();
    let device = Device::with(&one);
    follow(&device, &one.source(), "");
    // A folder where the file should be: nothing of a look can be remembered.
    device.write("var/lib/gybe/pull/x", "");
    let mut daemon = Daemon::start(&device);
    daemon.event("look");
    let wait = daemon.event("wait");
    assert!(wait["for_s"].as_u64().unwrap() >= 300, "{wait}");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.ends(), 0);
}

#[test]
fn a_mistake_in_the_configuration_ends_it_at_once() {
    let one = Recipe::new("1.0.0", 1).seal();
    let device = Device::with(&one);
    for (pull, part) in [
        (
            "windows = [\"22-04\"]\n",
            "config.toml:4: pull.windows has something that is not a window",
        ),
        ("reboot = \"soon\"\n", "config.toml:4: pull.reboot is not now, window or told"),
        ("interval_s = 1\n", "config.toml:4: pull.interval_s is 1, not 60 to 2592000"),
        ("intervals = 1\n", "did you mean interval_s?"),
        ("[report]\nurl = \"ftp://x\"\n", "report.url does not begin with https:// or http://"),
        ("[metrics]\nfile = \"x\"\n", "metrics.file is not an absolute path"),
    ] {
        follow(&device, &one.source(), pull);
        device.gybe(&["run"]).ended(1, part);
    }
}
