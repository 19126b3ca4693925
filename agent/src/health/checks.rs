//! One round of greenboot's scripts.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::report::{Checked, Result};
use super::run::{self, Ending, Ran};
use super::scripts::{self, Kind, Script};
use super::watchdog::Watchdog;
use super::{Context, Failure, compat, conf};
use crate::config::health::{Health, NoChecks};
use crate::evidence::Fault;

/// How long all green scripts, or all red ones, may take.
const COLOUR_LIMIT: Duration = Duration::from_secs(600);

/// A round of checks, and what came of it so far.
#[derive(Debug)]
pub(super) struct Checks<'a> {
    context: &'a Context,
    conf: conf::Conf,
    no_checks: NoChecks,
    /// What scripts see as `PATH`.
    path: OsString,
    deadline: Instant,
    deadline_s: u64,
    /// Every script that was looked at.
    pub(super) done: Vec<Checked>,
}

impl<'a> Checks<'a> {
    /// A round that begins now. `counter` is what scripts see as `boot_counter`, `attempt` says how many
    /// times the deadline counts.
    pub(super) fn new(
        context: &'a Context,
        health: &Health,
        counter: Option<u8>,
        attempt: u8,
    ) -> Self {
        let deadline_s = u64::from(health.deadline_s).saturating_mul(attempt.into());
        Self {
            context,
            conf: conf::Conf::read(&context.root),
            no_checks: health.no_checks,
            path: compat::path(&context.root, counter),
            deadline: after(Duration::from_secs(deadline_s)),
            deadline_s,
            done: Vec::new(),
        }
    }

    /// Runs the checks: the required ones until one fails, then the wanted ones, which are only warned
    /// about. `begins` is told the name of each required one before it runs.
    pub(super) fn run(
        &mut self,
        mut watchdog: Option<&mut Watchdog>,
        begins: &mut dyn FnMut(&str),
    ) -> Option<Failure> {
        let required = scripts::find(&self.context.root, Kind::Required, &self.conf);
        if !required.has_folder && self.no_checks == NoChecks::Unhealthy {
            return Some(no_folder());
        }
        let mut failure = None;
        for script in &required.scripts {
            if failure.is_some() && !script.is_disabled {
                self.skip(Kind::Required, script, Result::Skipped);
                continue;
            }
            if !script.is_disabled {
                begins(&script.name);
            }
            let ran = self.one(Kind::Required, script, self.deadline, watchdog.as_deref_mut());
            failure = ran.and_then(|ran| self.failure(script, ran)).or(failure);
        }
        let wanted = scripts::find(&self.context.root, Kind::Wanted, &self.conf);
        for script in &wanted.scripts {
            if failure.is_some() && !script.is_disabled {
                self.skip(Kind::Wanted, script, Result::Skipped);
                continue;
            }
            let ran = self.one(Kind::Wanted, script, self.deadline, watchdog.as_deref_mut());
            // One that hangs has used up the time of everything behind it.
            failure = ran
                .filter(|ran| ran.ending == Ending::Deadline)
                .and_then(|ran| self.failure(script, ran));
        }
        failure
    }

    /// Runs the green scripts, or the red ones. What comes of them changes nothing.
    pub(super) fn colour(&mut self, is_healthy: bool, mut watchdog: Option<&mut Watchdog>) {
        let kind = if is_healthy { Kind::Green } else { Kind::Red };
        let limit = after(COLOUR_LIMIT);
        for script in &scripts::find(&self.context.root, kind, &self.conf).scripts {
            self.one(kind, script, limit, watchdog.as_deref_mut());
        }
    }

    fn one(
        &mut self,
        kind: Kind,
        script: &Script,
        deadline: Instant,
        watchdog: Option<&mut Watchdog>,
    ) -> Option<Ran> {
        if script.is_disabled {
            self.skip(kind, script, Result::Disabled);
            return None;
        }
        let ran = run::run(script, &self.path, deadline, watchdog);
        let (result, why) = match &ran.ending {
            Ending::Passed => (Result::Passed, None),
            Ending::Failed(how) => (Result::Failed, Some(how.clone())),
            Ending::Deadline => (Result::Deadline, Some("not done in time".to_owned())),
            Ending::Unstarted(why) => (Result::Unstarted, Some(why.clone())),
        };
        let (name, folder) = (&script.name, kind.folder());
        match &why {
            None => info!(check = %name, folder, "passed"),
            Some(why) => warn!(check = %name, folder, %why, "did not pass"),
        }
        self.note(kind, script, result, why, ran.took);
        Some(ran)
    }

    fn skip(&mut self, kind: Kind, script: &Script, result: Result) {
        info!(check = %script.name, folder = kind.folder(), ?result, "not run");
        self.note(kind, script, result, None, Duration::ZERO);
    }

    fn note(
        &mut self,
        kind: Kind,
        script: &Script,
        result: Result,
        why: Option<String>,
        took: Duration,
    ) {
        let (name, folder) = (script.name.clone(), kind.folder().to_owned());
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.done.push(Checked { name, folder, result, why, took_ms });
    }

    fn failure(&self, script: &Script, ran: Ran) -> Option<Failure> {
        let (fault, why) = match ran.ending {
            Ending::Passed => return None,
            Ending::Failed(how) => (Fault::Health, how),
            Ending::Deadline => (Fault::Deadline, format!("not done within {} s", self.deadline_s)),
            Ending::Unstarted(why) => (Fault::Health, format!("cannot be run: {why}")),
        };
        let check = script.name.clone();
        Some(Failure { check, fault: Some(fault), why, output: ran.output })
    }
}

fn no_folder() -> Failure {
    Failure {
        check: Kind::Required.folder().to_owned(),
        fault: Some(Fault::Health),
        why: "no such folder in /usr/lib/greenboot or /etc/greenboot".to_owned(),
        output: "hint: put checks there, or set health.no_checks = \"healthy\"".to_owned(),
    }
}

fn after(time: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(time).unwrap_or(now)
}
