//! The checklist of an integrator, which checks itself: what a device needs to update itself and to
//! fall back, whether it is there, and what to do where it is not. Nothing is changed.

mod kernel;
mod looks;
mod system;

use std::fmt;

use gybe_core::block::{BLOCK_LEN_U64, ReadBlocks as _};
use gybe_core::boot::{Health, LOADER_CONTRACT, Loaded};
use gybe_core::slot::Slot;
use gybe_core::trust::Device;
use serde::Serialize;

use crate::config::Config;
use crate::device::environment::AnyEnvironment;
use crate::device::partition::RunningPartition;
use crate::device::slots::Slots;
use crate::release::architecture;
use crate::root::Root;
use crate::session;
use crate::trust::Trust;

/// The smallest boot partition that leaves room for the kernels to come.
const BOOT_BYTES_MIN: u64 = 64 << 20;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// Version of this form.
    pub version: u8,
    /// Whether nothing is missing that an update or a fallback needs.
    pub fit: bool,
    /// Everything that was looked at.
    pub findings: Vec<Finding>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How it is.
    pub level: Level,
    /// What it is about.
    pub what: &'static str,
    /// What was found.
    pub found: String,
    /// What to do, if it is not as it should be.
    pub todo: Option<&'static str>,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// A promise is weaker than it could be.
    Warn,
    /// Something cannot work.
    Fail,
}

/// The findings so far.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn ok(&mut self, what: &'static str, found: impl Into<String>) {
        self.0.push(Finding { level: Level::Ok, what, found: found.into(), todo: None });
    }

    fn warn(&mut self, what: &'static str, found: impl Into<String>, todo: &'static str) {
        let todo = Some(todo);
        self.0.push(Finding { level: Level::Warn, what, found: found.into(), todo });
    }

    fn fail(&mut self, what: &'static str, found: impl Into<String>, todo: &'static str) {
        let todo = Some(todo);
        self.0.push(Finding { level: Level::Fail, what, found: found.into(), todo });
    }
}

impl Diagnosis {
    /// Looks at the device below `root`.
    #[must_use]
    pub fn make(root: &Root) -> Self {
        let mut findings = Findings::default();
        match Config::load(root) {
            Ok(config) => {
                findings.ok("configuration", format!("compatible {}", config.compatible));
                look(root, &config, &mut findings);
            }
            Err(cause) => findings.fail(
                "configuration",
                cause.to_string(),
                "put config.toml into /usr/lib/gybe of the image",
            ),
        }
        kernel::look(root, &mut findings);
        let Findings(findings) = findings;
        let fit = findings.iter().all(|finding| finding.level != Level::Fail);
        Self { version: 1, fit, findings }
    }
}

/// Whether anything could come in.
fn who_counts(config: &Config, trust: &Trust, findings: &mut Findings) {
    let todo = "compare config.toml below /etc/gybe with trust.toml in the image";
    let device = Device { compatible: &config.compatible, architecture: architecture(), floor: 0 };
    if let Some(channel) =
        config.pull.channel.as_ref().filter(|channel| !trust.allows_channel(channel))
    {
        findings.fail("trust", format!("the image has no channel {channel} to follow"), todo);
    } else if let Err(cause) = trust.restricted(&config.restrict).policy(device) {
        findings.fail("trust", format!("nothing can come in: {cause}"), todo);
    } else {
        findings.ok("trust", "keys and threshold make sense");
    }
}

/// What needs the configuration.
fn look(root: &Root, config: &Config, findings: &mut Findings) {
    match Trust::load(root) {
        Ok(trust) => who_counts(config, &trust, findings),
        Err(cause) => {
            findings.fail(
                "trust",
                cause.to_string(),
                "put trust.toml and its keys beside config.toml",
            );
        }
    }
    match Slots::find(root, config) {
        Ok(slots) => {
            running(&slots, findings);
            partitions(&slots, findings);
            environment(root, config, &slots, findings);
        }
        Err(cause) => findings.fail(
            "slots",
            cause.to_string(),
            "compare slot.* in config.toml with the partitions of this disk",
        ),
    }
    system::look(root, config, findings);
    looks::look(root, config, findings);
}

fn running(slots: &Slots, findings: &mut Findings) {
    let Some(running) = slots.running else {
        let todo = "boot through the loader's script, which says gybe.slot=";
        findings.fail("running slot", "none", todo);
        return;
    };
    findings.ok("running slot", running.slot.to_string());
    match running.loader {
        Some(LOADER_CONTRACT) => {
            findings.ok("loader", format!("contract version {LOADER_CONTRACT}"));
        }
        found => {
            let version = found.map_or_else(|| "unknown".to_owned(), |found| found.to_string());
            findings.fail(
                "loader",
                format!("contract version {version}, not {LOADER_CONTRACT}"),
                "install the loader script that belongs to this version of gybe",
            );
        }
    }
    if running.root_hash.is_some() {
        findings.ok("root hash", "the kernel was told one");
    } else {
        let todo = "boot with the command line of the boot target, which is signed";
        findings.fail("root hash", "the kernel was told none, so no trial can be committed", todo);
    }
}

fn partitions(slots: &Slots, findings: &mut Findings) {
    let mut lens = Vec::new();
    for slot in Slot::ALL {
        for (target, path) in slots.paths.of(slot).all() {
            match RunningPartition::open(path) {
                Ok(medium) => {
                    let bytes = medium.block_count().saturating_mul(BLOCK_LEN_U64);
                    lens.push((target, slot, bytes));
                }
                Err(cause) => {
                    let todo = "make it, or correct slot.* in config.toml";
                    findings.fail("partitions", cause.to_string(), todo);
                }
            }
        }
    }
    let len = |target: &str, slot| {
        let same = |found: &&(&str, Slot, u64)| found.0 == target && found.1 == slot;
        lens.iter().find(same).map(|(_, _, bytes)| *bytes)
    };
    for target in ["root", "boot"] {
        let (Some(a), Some(b)) = (len(target, Slot::A), len(target, Slot::B)) else { continue };
        if a != b {
            findings.warn(
                "partitions",
                format!("{target} has {a} bytes in slot a and {b} in slot b"),
                "make them equal: a release that fits into one slot should fit into the other",
            );
        } else if target == "boot" && a < BOOT_BYTES_MIN {
            findings.warn(
                "partitions",
                format!("boot has {a} bytes, less than {BOOT_BYTES_MIN}"),
                "make boot partitions 256 MiB: the initramfs lies there unpacked",
            );
        } else {
            findings.ok("partitions", format!("{target} has {a} bytes in both slots"));
        }
    }
}

fn environment(root: &Root, config: &Config, slots: &Slots, findings: &mut Findings) {
    let opened = AnyEnvironment::open(root, &config.bootloader);
    let loaded = opened.and_then(|mut environment| {
        let loaded = session::load(&mut environment, slots.running_slot())?;
        Ok((environment, loaded))
    });
    let (environment, Loaded { state, health }) = match loaded {
        Ok(loaded) => loaded,
        Err(cause) => {
            let todo = "make it as from the factory; see docs/formats/boot-environment.md";
            findings.fail("environment", cause.to_string(), todo);
            return;
        }
    };
    match health {
        Health::Whole => findings.ok("environment", health.to_string()),
        Health::CopyDamaged | Health::Safe => {
            let todo = "the next install or commit repairs it; look for why it was damaged";
            findings.warn("environment", health.to_string(), todo);
        }
    }
    match environment.check_writable() {
        Ok(()) => findings.ok("environment", "writable when it must be"),
        Err(cause) => {
            let todo = "mount its partition; it may be read-only, but must be able to be writable";
            findings.fail("environment", cause.to_string(), todo);
        }
    }
    let Some(state) = state else { return };
    match slots.running_slot().filter(|&running| !state.is_good(!running)) {
        Some(running) => findings.warn(
            "fallback",
            format!("slot {} is not good, so there is nothing to fall back to", !running),
            "it will be after the next update that is committed",
        ),
        None => findings.ok("fallback", "the other slot is good"),
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.findings.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            let Finding { level, what, found, todo } = finding;
            let level = match level {
                Level::Ok => "ok",
                Level::Warn => "warn",
                Level::Fail => "FAIL",
            };
            write!(f, "{level:<4}  {what}: {found}")?;
            if let Some(todo) = todo {
                write!(f, ": {todo}")?;
            }
        }
        Ok(())
    }
}
