//! The same with a real init: Debian, its own initramfs, our units.

use super::{
    health,
    update::{self, expect_state},
};
use crate::hw::{
    case::{Case, NONE},
    machine::{Guest, Model, Plugged, Start},
    rig::Rig,
    trouble::Trouble,
};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "systemd-update-and-commit",
        claim: "Debian 12 and 13 update themselves, and `gybe-health.service` keeps the release",
        every: NONE,
        on: &[Model::BIOS.with(Guest::InitramfsTools), Model::UEFI.with(Guest::Dracut)],
        start: Start::Factory,
        run: update::update_and_commit,
    },
    Case {
        name: "systemd-stick-is-plugged-in",
        claim: "a USB stick with a bundle is found by udev and installed by `gybe-usb@.service`",
        every: NONE,
        on: &[Model::BIOS.with(Guest::InitramfsTools)],
        start: Start::Factory,
        run: stick_is_plugged_in,
    },
    Case {
        name: "systemd-daemon-pulls",
        claim: "`gybe.service` pulls the next release, reboots into it, and nobody was asked",
        every: NONE,
        on: &[Model::BIOS.with(Guest::InitramfsTools)],
        start: Start::Factory,
        run: daemon_pulls,
    },
    Case {
        name: "systemd-health-fails",
        claim: "a release whose check fails under systemd falls back and says why",
        every: NONE,
        on: &[Model::BIOS.with(Guest::InitramfsTools)],
        start: Start::Written,
        run: health::health_fails_three_times,
    },
    Case {
        name: "systemd-hangs",
        claim: "a release that hangs under systemd is reset by the watchdog and falls back",
        every: NONE,
        on: &[Model::BIOS.with(Guest::InitramfsTools)],
        start: Start::Written,
        run: health::hang_after_userspace,
    },
];

fn stick_is_plugged_in(rig: &mut Rig, _: Model) -> Result<String, Trouble> {
    rig.plugged = Plugged { bundle: true, ..Plugged::default() };
    rig.start("1", "a")?;
    rig.must("until gybe status --json | grep -q '\"next_boot\":\"b\"'; do sleep 1; done")?;
    let told = rig.must("journalctl --no-pager --output=cat --unit 'gybe-usb@*'")?;
    rig.reboot()?;
    rig.expect_up("2", "b", true)?;
    rig.health_done()?;
    expect_state(rig, "b", "good")?;
    Ok(told.lines().last().unwrap_or_default().trim().to_owned())
}

fn daemon_pulls(rig: &mut Rig, _: Model) -> Result<String, Trouble> {
    rig.plugged = Plugged { network: true, ..Plugged::default() };
    rig.start("1", "a")?;
    let repository = rig.connect()?;
    let config = format!(
        "reference = \"{repository}:v2\"\n[pull]\ndelay_s = 0\nreboot = \"now\"\nclock = \"rtc\"\n"
    );
    rig.write_text("/etc/gybe/config.toml", &config)?;
    // It returns when the daemon says that it is ready.
    rig.must("systemctl enable --now gybe.service")?;
    rig.expect_up("2", "b", true)?;
    rig.health_done()?;
    expect_state(rig, "b", "good")?;
    // The next release has it too: what was enabled went along.
    rig.must("systemctl is-active gybe.service")?;
    Ok(String::new())
}
