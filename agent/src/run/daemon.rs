//! The daemon: waits, lets a process look, reboots, and says how it is.

use std::env;
use std::io;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tracing::{info, warn};

use super::events::Event;
use super::kept::{self, Kept, Outcome};
use super::machine::{Action, Arm, MOMENT_S, Rhythm};
use super::notify::{self, Notify};
use super::powered::Now;
use super::reboot_unless_held;
use super::situation::Situation;
use super::trouble::Class;
use crate::cli::{Exit, Run};
use crate::config::{Config, Telling};
use crate::device::this_boot::ThisBoot;
use crate::error::Error;
use crate::metrics;
use crate::report;
use crate::root::Root;
use crate::signals;
use crate::transitions;

/// After so long a report that was not accepted is posted again, then twice as long.
const POST_S: u64 = 60;
/// The longest pause between two.
const POST_S_MAX: u64 = 3600;
/// How long a hook's no to a reboot lasts.
const HELD_S: u64 = 900;
/// How long a process that was asked to end may take.
const GRACE: Duration = Duration::from_secs(20);

/// What wakes the daemon.
enum Wake {
    Signal(Signal),
    Ended(io::Result<ExitStatus>),
}

/// The daemon.
struct Daemon {
    root: Root,
    notify: Notify,
    wakes: Receiver<Wake>,
    wake: Sender<Wake>,
    /// Whether lines of JSON are printed.
    prints: bool,
    /// The number of the last transition that was printed.
    printed: u64,
    /// What is remembered where it cannot be stored.
    unstored: Option<Kept>,
    /// Until when a hook holds the reboot.
    held_until: Option<Instant>,
    /// When reports are posted next, and how often that went wrong.
    post_at: Instant,
    posts_failed: u32,
    /// What systemd was told last.
    status: String,
}

/// Runs until it is stopped, or the machine is rebooted.
///
/// # Errors
/// When the configuration cannot be read at the start, or a reboot cannot be asked for.
pub fn run(root: &Root, asked: &Run) -> Result<Exit, Error> {
    // A mistake in the configuration is the operator's to see, at once.
    let config = Config::load(root)?;
    let (wake, wakes) = channel();
    signals::listen(wake.clone(), Wake::Signal).map_err(|cause| Error::Signals { cause })?;
    let prints = asked.events.is_some();
    let mut daemon = Daemon {
        root: root.clone(),
        notify: Notify::from_environment(),
        wakes,
        wake,
        prints,
        printed: printed_before(root),
        unstored: None,
        held_until: None,
        post_at: Instant::now(),
        posts_failed: 0,
        status: String::new(),
    };
    daemon.print(&Event::Started);
    daemon.notify.ready();
    metrics::write(root, &config.telling);
    let exit = daemon.run();
    daemon.print(&Event::Stopping);
    daemon.notify.stopping();
    Ok(exit)
}

/// Transitions of earlier boots were printed then.
fn printed_before(root: &Root) -> u64 {
    let boot = ThisBoot::read(root).id;
    let ring = transitions::read_if_possible(root).ring;
    let earlier = ring.iter().filter(|transition| transition.boot != boot);
    earlier.map(|transition| transition.sequence).max().unwrap_or(0)
}

impl Daemon {
    fn run(&mut self) -> Exit {
        let mut rhythm = Rhythm::Interval;
        loop {
            let wait_s = match self.step(rhythm) {
                Step::Ends(exit) => return exit,
                Step::Again => 0,
                Step::Waits(wait_s) => wait_s,
            };
            rhythm = match self.sleep(Duration::from_secs(wait_s)) {
                Some(Signal::SIGHUP) => Rhythm::Told,
                Some(_) => return Exit::Done,
                None => Rhythm::Interval,
            };
        }
    }

    /// Decides once, and does it.
    fn step(&mut self, rhythm: Rhythm) -> Step {
        if let Err(cause) = transitions::notice_below(&self.root) {
            warn!(%cause, "what happened is told later");
        }
        let kept = self.kept();
        let situation = match Situation::see(&self.root, &kept) {
            Ok(situation) => situation,
            Err(cause) => {
                self.say(&format!("waits: {cause}"));
                return Step::Waits(MOMENT_S);
            }
        };
        self.tell(&situation.telling);
        let (action, inhibitor) = situation.decide(&self.root, rhythm, &kept);
        match action {
            Action::Wait { for_s, why } => {
                let words = situation.words(why, inhibitor);
                if self.say(&format!("waits for: {words}")) {
                    self.print(&Event::Wait { for_s, why: &words });
                }
                Step::Waits(for_s)
            }
            Action::Look { arm } => {
                self.say("looks at the tracked reference");
                let ended = self.look(arm, &kept);
                self.tell(&situation.telling);
                metrics::write(&self.root, &situation.telling);
                if ended { Step::Again } else { Step::Ends(Exit::Done) }
            }
            Action::Reboot => self.reboot(&situation),
        }
    }

    fn reboot(&mut self, situation: &Situation) -> Step {
        let now = Instant::now();
        if let Some(until) = self.held_until.filter(|&until| until > now) {
            return Step::Waits(until.duration_since(now).as_secs().saturating_add(1));
        }
        let release = situation.armed.as_ref();
        if !reboot_unless_held(&self.root, &situation.telling, release) {
            self.say("waits: the reboot is held");
            self.held_until = now.checked_add(Duration::from_secs(HELD_S));
            return Step::Waits(HELD_S);
        }
        self.say("reboots");
        self.print(&Event::Reboot { release });
        if !self.root.is_host() {
            return Step::Ends(Exit::RebootNeeded);
        }
        // Whoever reboots the machine stops us; if nobody does, it is asked for again.
        Step::Waits(MOMENT_S)
    }

    /// What is remembered.
    fn kept(&self) -> Kept {
        let stored = kept::read_if_possible(&self.root);
        match &self.unstored {
            Some(unstored) if unstored.looks > stored.looks => unstored.clone(),
            _ => stored,
        }
    }

    /// Lets a process look; says whether the daemon goes on. What the process could not remember is
    /// remembered here, so that a full disk does not make it look again and again.
    fn look(&mut self, arm: Arm, before: &Kept) -> bool {
        let ended = match self.start(arm) {
            Ok(child) => self.watch(child),
            Err(cause) => Some(Err(cause)),
        };
        let Some(ended) = ended else { return false };
        let after = self.kept();
        if after.looks > before.looks {
            return true;
        }
        let why = match ended {
            Ok(status) if status.success() => "it left nothing behind".to_owned(),
            Ok(status) => status.to_string(),
            Err(cause) => cause.to_string(),
        };
        // Another command at work is waited for in the same way.
        warn!(why, "a look came to nothing");
        let outcome = Outcome::Trouble(Class::Device, why);
        let now = Now::read(&self.root, &before.powered);
        let (unstored, is_new) = before.clone().after(&outcome, &now);
        if is_new {
            self.print(&Event::look(&outcome));
        }
        self.unstored = Some(unstored);
        true
    }

    fn start(&self, arm: Arm) -> io::Result<Child> {
        let mut command = Command::new(env::current_exe()?);
        if let Some(folder) = self.root.folder() {
            command.arg("--root").arg(folder);
        }
        command.args(["upgrade", "--automatic", "--look"]);
        command.arg(match arm {
            Arm::Now => "arm",
            Arm::InWindow => "prove",
        });
        if self.prints {
            command.args(["--events", "json"]);
        }
        command.env_remove(notify::SOCKET).stdin(Stdio::null());
        signals::spawn(&mut command)
    }

    /// Waits for `child`. `None` when the daemon was stopped meanwhile, and the child with it.
    fn watch(&mut self, mut child: Child) -> Option<io::Result<ExitStatus>> {
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
        let wake = self.wake.clone();
        // It ends with the child.
        let _ = thread::spawn(move || wake.send(Wake::Ended(child.wait())));
        let mut stops_by: Option<Instant> = None;
        loop {
            let every = self.notify.every().unwrap_or(Duration::from_secs(MOMENT_S));
            match self.wakes.recv_timeout(every.min(GRACE)) {
                Ok(Wake::Ended(status)) if stops_by.is_none() => return Some(status),
                Ok(Wake::Ended(_)) => return None,
                // It looks already.
                Ok(Wake::Signal(Signal::SIGHUP)) => {}
                Ok(Wake::Signal(_)) => {
                    // It may be killed anywhere, and goes on the next time.
                    let _ = kill(pid, Signal::SIGTERM);
                    stops_by = Instant::now().checked_add(GRACE);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
            if stops_by.is_some_and(|by| by <= Instant::now()) {
                let _ = kill(pid, Signal::SIGKILL);
            }
            self.notify.alive();
        }
    }

    /// Sleeps; gives the signal that ended it.
    fn sleep(&mut self, time: Duration) -> Option<Signal> {
        let start = Instant::now();
        loop {
            self.notify.alive();
            let left = time.saturating_sub(start.elapsed());
            if left.is_zero() {
                return None;
            }
            let until_post = self.post_at.saturating_duration_since(Instant::now());
            let has_reports = self.posts_failed > 0;
            let mut wait = left.min(self.notify.every().unwrap_or(left));
            if has_reports {
                wait = wait.min(until_post.max(Duration::from_secs(1)));
            }
            match self.wakes.recv_timeout(wait) {
                Ok(Wake::Signal(signal)) => return Some(signal),
                Ok(Wake::Ended(_)) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Some(Signal::SIGTERM),
            }
            if has_reports && self.post_at <= Instant::now() {
                return None;
            }
        }
    }

    /// Prints and posts what happened.
    fn tell(&mut self, telling: &Telling) {
        let kept = transitions::read_if_possible(&self.root);
        for transition in kept.ring.iter().filter(|it| it.sequence > self.printed) {
            self.print(&Event::Transition(transition));
        }
        self.printed = self.printed.max(kept.count);
        if telling.url.is_none() || kept.next_to_post().is_none() {
            self.posts_failed = 0;
        } else if self.post_at <= Instant::now() {
            let pause_s = if report::post(&self.root, telling) {
                self.posts_failed = 0;
                0
            } else {
                self.posts_failed = self.posts_failed.saturating_add(1);
                POST_S.saturating_mul(1 << self.posts_failed.saturating_sub(1).min(6))
            };
            let pause = Duration::from_secs(pause_s.min(POST_S_MAX));
            self.post_at = Instant::now().checked_add(pause).unwrap_or(self.post_at);
        }
    }

    fn print(&self, event: &Event<'_>) {
        if self.prints {
            event.print();
        }
    }

    /// Says what the daemon is about, if that is new.
    fn say(&mut self, status: &str) -> bool {
        let is_new = self.status != status;
        if is_new {
            info!("{status}");
            self.notify.status(status);
            status.clone_into(&mut self.status);
        }
        is_new
    }
}

/// What comes of one decision.
enum Step {
    /// The next one is made at once.
    Again,
    /// After so many seconds.
    Waits(u64),
    /// The daemon ends.
    Ends(Exit),
}
