//! The section `[pull]`: when the tracked reference is looked at, and when a device may be disturbed.

use super::document::{DocumentError, Section};
use crate::window::{WINDOWS_MAX, Window, Windows};

/// How long is waited between two looks, unless `pull.interval_s` says otherwise: four hours.
pub const INTERVAL_S_DEFAULT: u32 = 4 * 3600;
/// The shortest that does not hammer a registry with a fleet.
pub const INTERVAL_S_MIN: u32 = 60;
/// The longest: 30 days.
pub const INTERVAL_S_MAX: u32 = 30 * 86_400;
/// Over how long the first looks of a fleet are spread, unless `pull.delay_s` says otherwise.
pub const DELAY_S_DEFAULT: u32 = 1800;
/// The longest: a day.
pub const DELAY_S_MAX: u32 = 86_400;
/// How long a byte budget lasts, unless `pull.budget_period_s` says otherwise: 30 days.
pub const BUDGET_PERIOD_S_DEFAULT: u32 = 30 * 86_400;
/// The shortest: an hour.
pub const BUDGET_PERIOD_S_MIN: u32 = 3600;
/// The longest: a year.
pub const BUDGET_PERIOD_S_MAX: u32 = 366 * 86_400;
/// Longest name of a channel, and longest seed, in bytes.
pub const NAME_LEN_MAX: usize = gybe_core::rollout::CHANNEL_LEN_MAX;

const KEYS: [&str; 10] = [
    "interval_s",
    "delay_s",
    "windows",
    "download",
    "reboot",
    "clock",
    "budget_bytes",
    "budget_period_s",
    "channel",
    "seed",
];

/// How releases are taken without anybody asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// Seconds between two looks at the tracked reference.
    pub interval_s: u32,
    /// Over how many seconds a fleet that is switched on at once is spread.
    pub delay_s: u32,
    /// When the device may be disturbed.
    pub windows: Windows,
    /// When releases are fetched.
    pub download: Download,
    /// When the device reboots into a release.
    pub reboot: RebootPolicy,
    /// Which clock is believed about windows.
    pub clock: Clock,
    /// How many bytes may be fetched in each period, where that matters.
    pub budget_bytes: Option<u64>,
    /// How long a period is, in seconds.
    pub budget_period_s: u32,
    /// The channel that the device follows.
    pub channel: Option<String>,
    /// What tells this device from all others, instead of its machine id.
    pub seed: Option<String>,
}

/// When releases are fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Download {
    /// As soon as there is one.
    Any,
    /// In a window.
    Window,
}

/// When the device reboots into a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RebootPolicy {
    /// As soon as it is proven.
    Now,
    /// In a window; until then it is not armed, so that a power cut at noon does not try it.
    Window,
    /// When somebody else reboots the device.
    Told,
}

/// Which clock is believed about windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// One that was synchronised in this boot.
    Synchronised,
    /// The machine's, if it is not before the release that runs was sealed.
    Rtc,
}

/// What one file says of it.
#[derive(Default)]
pub(super) struct Layer {
    interval_s: Option<u32>,
    delay_s: Option<u32>,
    windows: Option<Windows>,
    download: Option<Download>,
    reboot: Option<RebootPolicy>,
    clock: Option<Clock>,
    budget_bytes: Option<u64>,
    budget_period_s: Option<u32>,
    channel: Option<String>,
    seed: Option<String>,
}

impl Layer {
    pub(super) fn read(section: &Section<'_>) -> Result<Self, DocumentError> {
        section.allow(&KEYS)?;
        let windows = match section.texts("windows")? {
            None => None,
            Some(texts) => {
                let mut windows = Vec::new();
                for text in texts {
                    let bad = |problem| section.value_error("windows", text.line, problem);
                    if windows.len() == WINDOWS_MAX {
                        return Err(bad("has more than 16 windows"));
                    }
                    let window: Result<Window, _> = text.value.parse();
                    windows.push(window.map_err(|_| {
                        bad("has something that is not a window such as \"Mon-Fri 22:00-04:30\"")
                    })?);
                }
                Some(Windows::new(windows))
            }
        };
        let download = [("any", Download::Any), ("window", Download::Window)];
        let reboot = [
            ("now", RebootPolicy::Now),
            ("window", RebootPolicy::Window),
            ("told", RebootPolicy::Told),
        ];
        let clock = [("synchronised", Clock::Synchronised), ("rtc", Clock::Rtc)];
        Ok(Self {
            interval_s: section.number("interval_s", INTERVAL_S_MIN, INTERVAL_S_MAX)?,
            delay_s: section.number("delay_s", 0, DELAY_S_MAX)?,
            windows,
            download: section.choice("download", &download, "is not any or window")?,
            reboot: section.choice("reboot", &reboot, "is not now, window or told")?,
            clock: section.choice("clock", &clock, "is not synchronised or rtc")?,
            budget_bytes: section.number("budget_bytes", 1, u64::MAX)?,
            budget_period_s: section.number(
                "budget_period_s",
                BUDGET_PERIOD_S_MIN,
                BUDGET_PERIOD_S_MAX,
            )?,
            channel: name(section, "channel")?,
            seed: name(section, "seed")?,
        })
    }

    /// This layer, and what it does not say from `base`.
    pub(super) fn over(self, base: Self) -> Self {
        Self {
            interval_s: self.interval_s.or(base.interval_s),
            delay_s: self.delay_s.or(base.delay_s),
            windows: self.windows.or(base.windows),
            download: self.download.or(base.download),
            reboot: self.reboot.or(base.reboot),
            clock: self.clock.or(base.clock),
            budget_bytes: self.budget_bytes.or(base.budget_bytes),
            budget_period_s: self.budget_period_s.or(base.budget_period_s),
            channel: self.channel.or(base.channel),
            seed: self.seed.or(base.seed),
        }
    }

    pub(super) fn finish(self) -> Pull {
        Pull {
            interval_s: self.interval_s.unwrap_or(INTERVAL_S_DEFAULT),
            delay_s: self.delay_s.unwrap_or(DELAY_S_DEFAULT),
            windows: self.windows.unwrap_or_default(),
            download: self.download.unwrap_or(Download::Any),
            reboot: self.reboot.unwrap_or(RebootPolicy::Told),
            clock: self.clock.unwrap_or(Clock::Synchronised),
            budget_bytes: self.budget_bytes,
            budget_period_s: self.budget_period_s.unwrap_or(BUDGET_PERIOD_S_DEFAULT),
            channel: self.channel,
            seed: self.seed,
        }
    }
}

fn name(section: &Section<'_>, key: &str) -> Result<Option<String>, DocumentError> {
    match section.text(key)? {
        Some(text) if text.value.len() > NAME_LEN_MAX => {
            Err(section.value_error(key, text.line, "is longer than 64 bytes"))
        }
        text => Ok(text.map(|text| text.value)),
    }
}
