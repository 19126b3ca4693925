//! What `gybe run` and `gybe upgrade --automatic` remember from one look to the next.
//!
//! A cache, as the state is: losing it costs a look too early, and a pause that begins anew. It is
//! written once a look, in a file of its own, so that the state is not worn by it.

use gybe_core::rollout::Statement;
use serde::{Deserialize, Serialize};
use tracing::warn;

pub use super::powered::Moment;
use super::powered::{Now, Powered};
use super::trouble::Class;
use crate::root::Root;
use crate::state::{DigestText, ReleaseName};
use crate::two_areas::{self, Content};

/// Where it lies.
pub const FILE: &str = "/var/lib/gybe/pull";
/// Length of one area, the most it can take.
pub const AREA_LEN: usize = 16 * 1024;
/// Of how many releases it is remembered what was said about their rollout.
pub const STATEMENTS_MAX: usize = 4;
/// The most that is kept of why something was not done, in bytes.
pub const WHY_LEN_MAX: usize = 512;

/// How often in a row a source must be out of reach before that is told.
pub const OFFLINE_COUNT_TOLD: u32 = 3;

/// What is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    /// For how long there was power.
    pub powered: Powered,
    /// When the reference was last looked at.
    pub last_look: Option<Moment>,
    /// When that last went well, also if there was nothing new.
    pub last_success: Option<Moment>,
    /// What is wrong, since the last look that went well.
    pub trouble: Option<Trouble>,
    /// What was fetched in this period.
    pub spent: Spent,
    /// What was last said about the rollout of releases, newest first.
    pub statements: Vec<Said>,
    /// A release that is there and was not taken, or waits to be armed.
    pub waiting: Option<Waiting>,
    /// The release that the last look armed, in which boot.
    pub armed: Option<ArmedHere>,
    /// How many looks there were.
    pub looks: u64,
    /// How many bytes all of them fetched.
    pub fetched_bytes: u64,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// Of which class.
    pub class: Class,
    /// How often in a row.
    pub count: u32,
    /// What was said the last time.
    pub why: String,
    /// The classes that were told since the last look that went well.
    pub told: Vec<Class>,
}

/// The bytes of a period.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spent {
    /// When the period began.
    pub since: Moment,
    /// How many were fetched, or were about to be.
    pub bytes: u64,
}

/// What was said about the rollout of a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Which release.
    pub release: DigestText,
    /// The number of the statement.
    pub issued: u64,
    /// How much of the fleet takes it.
    pub percent: u8,
    /// From when on.
    pub start: Option<u64>,
    /// Whether it is paused.
    pub paused: bool,
    /// For which channel it is.
    pub channel: Option<String>,
}

impl Said {
    /// What `statement` says about `release`.
    #[must_use]
    pub fn new(release: DigestText, statement: &Statement<'_>) -> Self {
        let Statement { issued, percent, start, paused, channel } = *statement;
        Self { release, issued, percent, start, paused, channel: channel.map(str::to_owned) }
    }

    /// The statement.
    #[must_use]
    pub fn statement(&self) -> Statement<'_> {
        Statement {
            issued: self.issued,
            percent: self.percent,
            start: self.start,
            paused: self.paused,
            channel: self.channel.as_deref(),
        }
    }
}

/// A release that was not taken, or not armed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Which one.
    pub release: ReleaseName,
    /// What for.
    pub reason: WaitingFor,
    /// In words.
    pub why: String,
}

/// What a release waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WaitingFor {
    /// Its rollout reaches this device.
    Rollout,
    /// A maintenance window; it is proven already.
    Window,
}

/// A release that a look armed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArmedHere {
    /// Which one.
    pub release: DigestText,
    /// In which boot. After another one it was tried, and is not rebooted into once more.
    pub boot: Option<String>,
}

impl Content for Kept {
    const FILE: &'static str = FILE;
    const NAME: &'static str = "gybe-pull 1";
    const WHAT: &'static str = "what is remembered of looks";
    const AREA_LEN: usize = AREA_LEN;
    const MODE: u32 = 0o644;
}

/// What came of a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is nothing new.
    Nothing(String),
    /// There is something new, and it is not taken or not armed yet.
    Waits(Waiting),
    /// It is armed.
    Armed(ReleaseName),
    /// It did not go well.
    Trouble(Class, String),
}

impl Kept {
    /// How many bytes may still be fetched of `budget` in each `period_s`.
    #[must_use]
    pub fn left(&self, budget: u64, period_s: u32, now: Moment) -> u64 {
        let is_over = self.spent.since.until(now) >= u64::from(period_s);
        if is_over { budget } else { budget.saturating_sub(self.spent.bytes) }
    }

    /// In how many seconds the next period begins.
    #[must_use]
    pub fn period_left_s(&self, period_s: u32, now: Moment) -> u64 {
        u64::from(period_s).saturating_sub(self.spent.since.until(now))
    }

    /// Counts bytes as spent before they are fetched: a power cut must not make them free.
    pub fn spend(&mut self, bytes: u64, period_s: u32, now: Moment) {
        if self.spent.since.until(now) >= u64::from(period_s) || self.spent.bytes == 0 {
            self.spent = Spent { since: now, bytes: 0 };
        }
        self.spent.bytes = self.spent.bytes.saturating_add(bytes);
    }

    /// What was last said about the rollout of `release`.
    #[must_use]
    pub fn said_of(&self, release: DigestText) -> Option<&Said> {
        self.statements.iter().find(|said| said.release == release)
    }

    /// Remembers what is in force for a release.
    pub fn remember(&mut self, said: Said) {
        self.statements.retain(|known| known.release != said.release);
        self.statements.insert(0, said);
        self.statements.truncate(STATEMENTS_MAX);
    }

    /// What is remembered after a look that ended `now`, and whether its trouble is to be told.
    #[must_use]
    pub fn after(mut self, outcome: &Outcome, now: &Now) -> (Self, bool) {
        self.powered = now.powered.clone();
        self.last_look = Some(now.moment);
        self.looks = self.looks.saturating_add(1);
        if let Outcome::Trouble(class, why) = outcome {
            let before = self.trouble.take();
            let is_again = before.as_ref().is_some_and(|before| before.class == *class);
            let count = before.as_ref().filter(|_| is_again).map_or(0, |before| before.count);
            let mut told = before.map(|before| before.told).unwrap_or_default();
            let count = count.saturating_add(1);
            // Links come and go, and nobody can be told while there is none.
            let is_certain = *class != Class::Offline || count >= OFFLINE_COUNT_TOLD;
            let is_new = is_certain && !told.contains(class);
            if is_new {
                told.push(*class);
            }
            let why = shortened(why);
            self.trouble = Some(Trouble { class: *class, count, why, told });
            return (self, is_new);
        }
        self.trouble = None;
        self.last_success = Some(now.moment);
        self.waiting = None;
        match outcome {
            Outcome::Waits(waiting) => self.waiting = Some(waiting.clone()),
            Outcome::Armed(release) => {
                let boot = now.boot.id.clone();
                self.armed = Some(ArmedHere { release: release.digest, boot });
            }
            Outcome::Nothing(_) | Outcome::Trouble(..) => {}
        }
        (self, false)
    }
}

/// Reads what is remembered. What cannot be read is nothing: it looks too early.
#[must_use]
pub fn read_if_possible(root: &Root) -> Kept {
    two_areas::read(root).unwrap_or_else(|cause| {
        warn!(%cause, "what is remembered of looks is not known");
        Kept::default()
    })
}

/// As much of `text` as is kept.
#[must_use]
pub fn shortened(text: &str) -> String {
    let mut end = text.len().min(WHY_LEN_MAX);
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    text.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(powered_s: u64) -> Now {
        Now { moment: Moment { powered_s, time: None }, ..Now::default() }
    }

    #[test]
    fn each_class_is_told_once_until_a_look_goes_well() {
        let trouble = |class| Outcome::Trouble(class, "why".to_owned());
        let mut kept = Kept::default();
        let mut told = Vec::new();
        for outcome in [
            trouble(Class::NotFound),
            trouble(Class::NotFound),
            trouble(Class::Unsigned),
            trouble(Class::NotFound),
            Outcome::Nothing(String::new()),
            trouble(Class::NotFound),
            trouble(Class::Offline),
            trouble(Class::Offline),
            trouble(Class::Offline),
            trouble(Class::Offline),
        ] {
            let (after, is_told) = kept.after(&outcome, &now(0));
            kept = after;
            told.push((is_told, kept.trouble.as_ref().map_or(0, |trouble| trouble.count)));
        }
        let expected = [
            (true, 1),
            (false, 2),
            (true, 1),
            (false, 1),
            (false, 0),
            (true, 1),
            (false, 1),
            (false, 2),
            (true, 3),
            (false, 4),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_budget_is_spent_before_and_comes_back_with_the_period() {
        let (budget, period_s) = (1000, 3600);
        let mut kept = Kept::default();
        kept.spend(700, period_s, now(100).moment);
        assert_eq!(kept.left(budget, period_s, now(200).moment), 300);
        kept.spend(700, period_s, now(200).moment);
        assert_eq!(kept.left(budget, period_s, now(3699).moment), 0);
        assert_eq!(kept.period_left_s(period_s, now(3699).moment), 1);
        assert_eq!(kept.left(budget, period_s, now(3700).moment), budget);
        kept.spend(10, period_s, now(3700).moment);
        assert_eq!(kept.left(budget, period_s, now(3700).moment), 990);
    }

    #[test]
    fn the_longest_that_can_be_kept_has_room() {
        let long = |len| "\u{1}".repeat(len);
        let release = ReleaseName {
            digest: DigestText(gybe_core::digest::Digest::of(b"")),
            version: long(128),
        };
        let said = Said {
            release: release.digest,
            issued: u64::MAX,
            percent: 100,
            start: Some(u64::MAX),
            paused: true,
            channel: Some(long(64)),
        };
        let kept = Kept {
            trouble: Some(Trouble {
                class: Class::Unauthorised,
                count: u32::MAX,
                why: shortened(&long(10_000)),
                told: vec![Class::Unauthorised; 9],
            }),
            statements: vec![said; STATEMENTS_MAX],
            waiting: Some(Waiting { release, reason: WaitingFor::Rollout, why: long(512) }),
            ..Kept::default()
        };
        let len = serde_json::to_vec(&kept).unwrap().len();
        assert!(len + 256 < AREA_LEN, "{len} bytes");
    }
}
