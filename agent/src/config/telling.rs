//! The sections `[report]`, `[metrics]` and `[hooks]`: who is told of what happens.

use std::path::PathBuf;

use super::document::{DocumentError, Section};

/// How long a report may take to be accepted, unless `report.timeout_s` says otherwise.
pub const TIMEOUT_S_DEFAULT: u32 = 30;
/// The longest, well below the patience of systemd's watchdog with the daemon.
pub const TIMEOUT_S_MAX: u32 = 120;
/// How long one hook may run, unless `hooks.deadline_s` says otherwise.
pub const DEADLINE_S_DEFAULT: u32 = 30;
/// The longest.
pub const DEADLINE_S_MAX: u32 = 120;
/// Longest address of an endpoint, in bytes.
const URL_LEN_MAX: usize = 1024;
/// Longest name of a device, in bytes.
const DEVICE_LEN_MAX: usize = 128;

/// Who is told of what happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telling {
    /// Where reports are posted.
    pub url: Option<String>,
    /// How long one may take, in seconds.
    pub timeout_s: u32,
    /// What the device is called in reports, instead of a name made from its machine id.
    pub device: Option<String>,
    /// The file that node-exporter reads.
    pub metrics: Option<PathBuf>,
    /// How long one hook may run, in seconds.
    pub hook_deadline_s: u32,
}

/// What one file says of it.
#[derive(Default)]
pub(super) struct Layer {
    url: Option<String>,
    timeout_s: Option<u32>,
    device: Option<String>,
    metrics: Option<PathBuf>,
    hook_deadline_s: Option<u32>,
}

impl Layer {
    pub(super) fn read(top: &Section<'_>) -> Result<Self, DocumentError> {
        let mut layer = Self::default();
        if let Some(section) = top.section("report")? {
            section.allow(&["url", "timeout_s", "device"])?;
            if let Some(url) = section.text("url")? {
                let bad = |problem| Err(section.value_error("url", url.line, problem));
                if !["http://", "https://"].iter().any(|scheme| url.value.starts_with(scheme)) {
                    return bad("does not begin with https:// or http://");
                }
                if url.value.len() > URL_LEN_MAX {
                    return bad("is longer than 1024 bytes");
                }
                layer.url = Some(url.value);
            }
            layer.timeout_s = section.number("timeout_s", 1, TIMEOUT_S_MAX)?;
            if let Some(device) = section.text("device")? {
                if device.value.len() > DEVICE_LEN_MAX {
                    let problem = "is longer than 128 bytes";
                    return Err(section.value_error("device", device.line, problem));
                }
                layer.device = Some(device.value);
            }
        }
        if let Some(section) = top.section("metrics")? {
            section.allow(&["file"])?;
            layer.metrics = section.absolute_path("file")?;
        }
        if let Some(section) = top.section("hooks")? {
            section.allow(&["deadline_s"])?;
            layer.hook_deadline_s = section.number("deadline_s", 1, DEADLINE_S_MAX)?;
        }
        Ok(layer)
    }

    /// This layer, and what it does not say from `base`.
    pub(super) fn over(self, base: Self) -> Self {
        Self {
            url: self.url.or(base.url),
            timeout_s: self.timeout_s.or(base.timeout_s),
            device: self.device.or(base.device),
            metrics: self.metrics.or(base.metrics),
            hook_deadline_s: self.hook_deadline_s.or(base.hook_deadline_s),
        }
    }

    pub(super) fn finish(self) -> Telling {
        Telling {
            url: self.url,
            timeout_s: self.timeout_s.unwrap_or(TIMEOUT_S_DEFAULT),
            device: self.device,
            metrics: self.metrics,
            hook_deadline_s: self.hook_deadline_s.unwrap_or(DEADLINE_S_DEFAULT),
        }
    }
}
