//! The section `[registry]`: where credentials lie, who gives out tokens, and what a registry may
//! cost.
//!
//! `/etc` may say all of this: what is believed does not depend on it.

use std::path::PathBuf;
use std::time::Duration;

use gybe_oci::Access;

use super::document::{DocumentError, Section};
use crate::root::Root;

/// The shortest time for anything.
pub const SECONDS_MIN: u32 = 1;
/// The longest: a week.
pub const SECONDS_MAX: u32 = 7 * 86_400;
/// How often something is tried at most.
pub const TRIES_MAX: u32 = 100;
/// Most files with credentials, and most hosts that give out tokens.
pub const LIST_MAX: usize = 16;

const KEYS: [&str; 9] = [
    "credentials",
    "token_hosts",
    "max_bytes",
    "connect_s",
    "stall_s",
    "overall_s",
    "rate_min",
    "tries",
    "retry_after_max_s",
];

/// What is said about registries. What is not said is as [`Access`] has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registry {
    /// Files with credentials, before the usual ones.
    pub credentials: Vec<PathBuf>,
    /// Hosts that may give out tokens for other hosts.
    pub token_hosts: Vec<String>,
    /// Most bytes that one command may receive.
    pub max_bytes: Option<u64>,
    /// Seconds to connect.
    pub connect_s: Option<u32>,
    /// Seconds without a byte.
    pub stall_s: Option<u32>,
    /// Seconds for everything that one command asks.
    pub overall_s: Option<u32>,
    /// Fewest bytes in a second, on average over a minute.
    pub rate_min: Option<u64>,
    /// How often something is tried that does not get on.
    pub tries: Option<u32>,
    /// Longest wait that a registry may ask for, in seconds.
    pub retry_after_max_s: Option<u32>,
}

impl Registry {
    pub(super) fn read(section: &Section<'_>) -> Result<Self, DocumentError> {
        section.allow(&KEYS)?;
        let seconds = |key| section.number(key, SECONDS_MIN, SECONDS_MAX);
        let list = |key: &str| {
            let texts = section.texts(key)?.unwrap_or_default();
            if texts.len() > LIST_MAX {
                return Err(section.value_error(key, section.line(), "has more than 16 entries"));
            }
            Ok(texts)
        };
        let mut credentials = Vec::new();
        for text in list("credentials")? {
            if !text.value.starts_with('/') {
                return Err(section.value_error("credentials", text.line, "has no absolute path"));
            }
            credentials.push(PathBuf::from(text.value));
        }
        Ok(Self {
            credentials,
            token_hosts: list("token_hosts")?.into_iter().map(|text| text.value).collect(),
            max_bytes: section.number("max_bytes", 1, u64::MAX)?,
            connect_s: seconds("connect_s")?,
            stall_s: seconds("stall_s")?,
            overall_s: seconds("overall_s")?,
            rate_min: section.number("rate_min", 0, u64::MAX)?,
            tries: section.number("tries", 1, TRIES_MAX)?,
            retry_after_max_s: seconds("retry_after_max_s")?,
        })
    }

    /// This, and what it does not say from `base`. A list replaces the other.
    pub(super) fn over(self, base: Self) -> Self {
        fn list<T>(own: Vec<T>, base: Vec<T>) -> Vec<T> {
            if own.is_empty() { base } else { own }
        }
        Self {
            credentials: list(self.credentials, base.credentials),
            token_hosts: list(self.token_hosts, base.token_hosts),
            max_bytes: self.max_bytes.or(base.max_bytes),
            connect_s: self.connect_s.or(base.connect_s),
            stall_s: self.stall_s.or(base.stall_s),
            overall_s: self.overall_s.or(base.overall_s),
            rate_min: self.rate_min.or(base.rate_min),
            tries: self.tries.or(base.tries),
            retry_after_max_s: self.retry_after_max_s.or(base.retry_after_max_s),
        }
    }

    /// How registries are reached from the device below `root`. A command may allow less than the
    /// configuration does, not more.
    #[must_use]
    pub fn access(&self, root: &Root, max_bytes: Option<u64>) -> Access {
        let mut access = Access::below(&root.path("/"));
        let own: Vec<_> = self.credentials.iter().map(|path| root.path(path)).collect();
        access.credentials.splice(..0, own);
        access.token_hosts.clone_from(&self.token_hosts);
        access.max_bytes = self.max_bytes.into_iter().chain(max_bytes).min();
        let limits = &mut access.limits;
        let set = |limit: &mut Duration, seconds: Option<u32>| {
            *limit = seconds.map_or(*limit, |seconds| Duration::from_secs(seconds.into()));
        };
        set(&mut limits.connect, self.connect_s);
        set(&mut limits.stall, self.stall_s);
        set(&mut limits.overall, self.overall_s);
        set(&mut limits.retry_after_max, self.retry_after_max_s);
        limits.rate_min = self.rate_min.unwrap_or(limits.rate_min);
        limits.tries = self.tries.unwrap_or(limits.tries);
        access
    }
}
