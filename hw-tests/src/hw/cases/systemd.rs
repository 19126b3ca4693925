//! The same with a real init: Debian, its own initramfs, our units.

use super::{health, update};
use crate::hw::{
    case::{Case, NONE},
    machine::{Guest, Model, Start},
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
