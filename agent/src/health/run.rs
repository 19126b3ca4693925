//! Running one script: what it says is passed on and kept, and a deadline ends all of it.

use std::io::{self, PipeReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use super::scripts::{By, Script};
use super::watchdog::Watchdog;
use crate::evidence::{OUTPUT_LEN_MAX, Tail};
use crate::output;
use crate::signals;

/// How long a script that was asked to end may take to do so.
const GRACE: Duration = Duration::from_secs(5);
/// How long is waited for what a script that has ended still says.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How much may wait to be passed on.
const PENDING_MAX: usize = 16;
/// Shells for scripts that end in `.sh`, the better one first.
const SHELLS: [&str; 2] = ["bash", "sh"];

/// How a script ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It says that all is well.
    Passed,
    /// It does not; with how it ended.
    Failed(String),
    /// It did not end in time, and was killed with everything it had started.
    Deadline,
    /// It could not be started.
    Unstarted(String),
}

/// What came of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// How it ended.
    pub ending: Ending,
    /// The end of what it said.
    pub output: String,
    /// How long it took.
    pub took: Duration,
}

enum Event {
    Said(Vec<u8>),
    Ended,
}

/// Runs `script` to its end, or until `deadline`. `path` is its `PATH`; the watchdog is fed meanwhile.
pub fn run(
    script: &Script,
    path: &std::ffi::OsStr,
    deadline: Instant,
    watchdog: Option<&mut Watchdog>,
) -> Ran {
    run_with(script, path, &[], deadline, watchdog)
}

/// Runs `script` as [`run`] does, with `variables` in its environment.
pub fn run_with(
    script: &Script,
    path: &std::ffi::OsStr,
    variables: &[(String, String)],
    deadline: Instant,
    mut watchdog: Option<&mut Watchdog>,
) -> Ran {
    let start = Instant::now();
    let mut tail = Tail::new(OUTPUT_LEN_MAX);
    let ending = match spawn(script, path, variables) {
        Ok((child, pipe)) => watch(&script.name, child, pipe, deadline, &mut tail, &mut watchdog),
        Err(cause) => Ending::Unstarted(cause.to_string()),
    };
    Ran { ending, output: tail.text(), took: start.elapsed() }
}

/// Starts it in a process group of its own, with one pipe for all it says.
fn spawn(
    script: &Script,
    path: &std::ffi::OsStr,
    variables: &[(String, String)],
) -> io::Result<(Child, PipeReader)> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    let programs: &[Option<&str>] = match script.by {
        By::Itself => &[None],
        By::Shell => &SHELLS.map(Some),
    };
    for shell in programs {
        let (reader, writer) = io::pipe()?;
        let mut command = match shell {
            Some(shell) => {
                let mut command = Command::new(shell);
                command.arg(&script.path);
                command
            }
            None => Command::new(&script.path),
        };
        // Nobody but the daemon itself tells systemd how the daemon is.
        command.env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC");
        command.env("PATH", path).envs(variables.iter().map(|(key, value)| (key, value)));
        command.current_dir(Path::new("/")).stdin(Stdio::null());
        command.stdout(writer.try_clone()?).stderr(writer).process_group(0);
        match signals::spawn(&mut command) {
            Ok(child) => return Ok((child, reader)),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => last = cause,
            Err(cause) => return Err(cause),
        }
    }
    Err(last)
}

/// Sees a script to its end.
fn watch(
    name: &str,
    mut child: Child,
    mut pipe: PipeReader,
    deadline: Instant,
    tail: &mut Tail,
    watchdog: &mut Option<&mut Watchdog>,
) -> Ending {
    let (events, incoming) = sync_channel(PENDING_MAX);
    let group = Pid::from_raw(i32::try_from(child.id()).unwrap_or(0));
    let ended = SyncSender::clone(&events);
    // Nobody waits for these two: they end with the script, or with us. A daemon that the script
    // leaves behind keeps the pipe open for as long as it lives.
    let _ = thread::spawn(move || {
        // It is only seen to have ended here, so that its number is not another's when it is killed.
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        let _ = waitid(Id::Pid(group), flags);
        let _ = ended.send(Event::Ended);
    });
    let _ = thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(len @ 1..) = pipe.read(&mut buffer) {
            let said = buffer.get(..len).unwrap_or_default().to_vec();
            if events.send(Event::Said(said)).is_err() {
                break;
            }
        }
    });
    let mut lines = Lines { name, rest: Vec::new() };
    let mut listen = |until: Instant, watchdog: &mut Option<&mut Watchdog>| {
        listen(&incoming, until, watchdog, |said| {
            tail.push(said);
            lines.say(said);
        })
    };
    let in_time = listen(deadline, watchdog);
    if !in_time {
        // The deadline has passed, so the watchdog is not fed any more while the script is killed.
        let _ = killpg(group, Signal::SIGTERM);
        let now = Instant::now();
        if !listen(now.checked_add(GRACE).unwrap_or(now), &mut None) {
            let _ = killpg(group, Signal::SIGKILL);
        }
        // What it had started may have outlived it.
        let _ = killpg(group, Signal::SIGKILL);
    }
    let status = child.wait();
    let now = Instant::now();
    listen(now.checked_add(LAST_WORDS).unwrap_or(now), &mut None);
    lines.end();
    match status {
        _ if !in_time => Ending::Deadline,
        Ok(status) if status.success() => Ending::Passed,
        Ok(status) => Ending::Failed(describe(status)),
        Err(cause) => Ending::Failed(cause.to_string()),
    }
}

/// Takes what is said until the script has ended, or the pipe has, or the time has come; says whether
/// one of the first two was so.
fn listen(
    incoming: &Receiver<Event>,
    until: Instant,
    watchdog: &mut Option<&mut Watchdog>,
    mut said: impl FnMut(&[u8]),
) -> bool {
    loop {
        if let Some(watchdog) = watchdog {
            watchdog.feed();
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let wait = watchdog.as_ref().map_or(left, |watchdog| left.min(watchdog.every()));
        match incoming.recv_timeout(wait) {
            Ok(Event::Said(bytes)) => said(&bytes),
            Ok(Event::Ended) | Err(RecvTimeoutError::Disconnected) => return true,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// Passes on what a script says, line by line, with its name.
struct Lines<'a> {
    name: &'a str,
    rest: Vec<u8>,
}

impl Lines<'_> {
    fn say(&mut self, said: &[u8]) {
        for part in said.split_inclusive(|&byte| byte == b'\n') {
            self.rest.extend_from_slice(part);
            if part.ends_with(b"\n") || self.rest.len() > OUTPUT_LEN_MAX {
                self.end();
            }
        }
    }

    fn end(&mut self) {
        let mut line = Tail::new(self.rest.len());
        line.push(&self.rest);
        self.rest.clear();
        let line = line.text();
        if !line.is_empty() {
            output::talk(format_args!("{}: {line}", self.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn ran(text: &str, by: By, deadline: Duration) -> Ran {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("10_x.sh");
        // By another program: a file that we have open for writing while another test starts a program
        // would be busy in that one, too, and could not be run.
        let mut write = Command::new("sh");
        write.args(["-c", "printf %s \"$1\" > \"$0\""]).arg(&path).arg(text);
        assert!(write.status().unwrap().success());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let script = Script { name: "10_x.sh".to_owned(), path, by, is_disabled: false };
        let search = std::env::var_os("PATH").unwrap();
        run(&script, &search, Instant::now() + deadline, None)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_script_ends_as_it_says() {
        for (text, ending, output) in [
            ("echo one; echo two >&2", Ending::Passed, "one\ntwo"),
            ("echo no; exit 7", Ending::Failed("exit code 7".to_owned()), "no"),
            ("kill -9 $$", Ending::Failed("signal 9".to_owned()), ""),
        ] {
            let ran = ran(text, By::Shell, LONG);
            assert_eq!((&ran.ending, ran.output.as_str()), (&ending, output), "{text}");
        }
        let itself = ran("#!/bin/sh\necho $PATH >/dev/null\nexit 0\n", By::Itself, LONG);
        assert_eq!(itself.ending, Ending::Passed);
        let no_program = ran("#!/no/such/program\n", By::Itself, LONG);
        assert!(matches!(no_program.ending, Ending::Unstarted(_)), "{no_program:?}");
    }

    #[test]
    fn a_script_that_hangs_is_killed_with_what_it_started() {
        let text = "sleep 1000 & echo $!; trap '' TERM; sleep 1000";
        let ran = ran(text, By::Shell, Duration::from_millis(300));
        assert_eq!(ran.ending, Ending::Deadline);
        let child = ran.output.trim();
        assert!(!child.is_empty());
        let status = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        // Gone, or dead and not yet fetched by its new parent.
        assert!(status.is_empty() || status.contains(") Z"), "{status}");
    }

    #[test]
    fn a_daemon_that_is_left_behind_holds_nobody_up() {
        let start = Instant::now();
        let ran = ran("sleep 20 & echo started", By::Shell, LONG);
        assert_eq!((ran.ending, ran.output.as_str()), (Ending::Passed, "started"));
        assert!(start.elapsed() < Duration::from_secs(15));
    }

    #[test]
    fn of_much_that_is_said_the_end_is_kept() {
        let ran = ran("for i in $(seq 20000); do echo line $i; done", By::Shell, LONG);
        assert_eq!(ran.ending, Ending::Passed);
        assert!(ran.output.ends_with("line 20000") && ran.output.len() <= OUTPUT_LEN_MAX);
    }
}
