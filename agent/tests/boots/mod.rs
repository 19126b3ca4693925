//! A device that is switched on and off: the loader's step, and the checks of its releases.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use gybe_agent::config::Bootloader;
use gybe_agent::device::environment::AnyEnvironment;
use gybe_agent::root::Root;
use gybe_core::boot::BootEnv as _;
use gybe_core::slot::Slot;
use serde_json::Value;

use crate::fixture::{Device, Ended, Recipe, Release};

pub(crate) const ENVIRONMENT: &str = "boot/env/grubenv";
pub(crate) const REQUIRED: &str = "etc/greenboot/check/required.d";

/// A device with a release that is good and one that is armed, both with checks.
pub(crate) struct Booted {
    pub(crate) device: Device,
    pub(crate) one: Release,
    pub(crate) two: Release,
    boots: u32,
}

impl Booted {
    /// Release 1 runs from slot A, and release 2 is armed in slot B.
    pub(crate) fn new() -> Self {
        let one = Recipe::new("1.0.0", 1).seal();
        let two = Recipe::new("2.0.0", 2).changed(3).seal();
        let device = Device::with(&one);
        device.write("etc/gybe/config.toml", &format!("reference = \"{}\"\n", two.source()));
        device.gybe(&["upgrade"]).done();
        Self { device, one, two, boots: 0 }
    }

    /// Switches it on: what the loader does with the environment, and what the kernel then says.
    pub(crate) fn boot(&mut self) -> (Slot, bool) {
        self.boots += 1;
        let root = Root::below(self.device.root().to_owned());
        let environment = format!("/{ENVIRONMENT}").into();
        let mut environment =
            AnyEnvironment::open(&root, &Bootloader::Grub { environment }).unwrap();
        let boot = environment.load().unwrap().state.unwrap().boot();
        if let Some(state) = boot.store {
            environment.store(&state).unwrap();
        }
        let slot = boot.stored.slot;
        let (name, release) = match slot {
            Slot::A => ("a", &self.one),
            Slot::B => ("b", &self.two),
        };
        self.device.boots(name, release, boot.stored.trial);
        let id = format!("{:08x}-0000-4000-8000-000000000000\n", self.boots);
        self.device.write("proc/sys/kernel/random/boot_id", &id);
        // What lies in /run does not outlive a boot.
        drop(fs::remove_dir_all(self.device.path("run")));
        (slot, boot.stored.trial)
    }

    pub(crate) fn health(&self) -> Ended {
        self.device.gybe(&["health", "--json"])
    }

    /// Puts a script into a folder of greenboot.
    pub(crate) fn script(&self, path: &str, text: &str) {
        script(&self.device, path, text);
    }

    pub(crate) fn environment(&self) -> Vec<u8> {
        fs::read(self.device.path(ENVIRONMENT)).unwrap()
    }

    /// The attempts of the newest trial, as their faults.
    pub(crate) fn attempts(&self) -> Vec<Value> {
        self.device.status()["trials"][0]["attempts"].as_array().unwrap().clone()
    }
}

/// Puts an executable script below the device. Another program writes it: a file that this one has open
/// for writing while another test starts a program could not be run for that moment.
pub(crate) fn script(device: &Device, path: &str, text: &str) {
    let path = device.path(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut write = Command::new("sh");
    write.args(["-c", "printf %s \"$1\" > \"$0\""]).arg(&path).arg(text);
    assert!(write.status().unwrap().success());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}
