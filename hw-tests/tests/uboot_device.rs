//! A device with U-Boot: what the program writes there, U-Boot's own tools read, and the other way
//! round.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test may fail by panicking")]

mod bench;

use std::fs;

use bench::{Bench, Device, FAILED, Small, succeed, tool};
use serde_json::{Value, json};

const COPY_LEN: usize = 0x4000;

struct Board<'b> {
    bench: &'b Bench,
    device: Device<'b>,
    /// What the tools read instead of `/etc/fw_env.config`.
    config: String,
}

impl<'b> Board<'b> {
    fn new(bench: &'b Bench, name: &str) -> Self {
        let device = Device::new(bench, name);
        let config = fs::read_to_string(device.path("usr/lib/gybe/config.toml")).unwrap();
        let config = config.replace("kind = \"grub\"", "kind = \"uboot\"");
        let config = config
            .replace("environment = \"/boot/env/grubenv\"", "fw_env = \"/etc/fw_env.config\"");
        device.write("usr/lib/gybe/config.toml", &config);
        let areas = |path: &str| format!("# two copies\n{path} 0x0 0x4000\n{path} 0x4000 0x4000\n");
        device.write("etc/fw_env.config", &areas("/dev/env"));
        // As `saveenv` leaves it: both copies, with variables of the board's own.
        let (text, copy) = (bench.path("variables"), bench.path("copy"));
        fs::write(&text, "bootcmd=run distro_bootcmd\nethaddr=02:00:00:00:00:01\n").unwrap();
        let mut make = tool("mkenvimage");
        succeed(make.args(["-r", "-s", "0x4000", "-o"]).arg(&copy).arg(&text));
        fs::write(device.partition("env"), fs::read(copy).unwrap().repeat(2)).unwrap();
        let config = bench.path(&format!("{name}.config"));
        fs::write(&config, areas(&device.partition("env").display().to_string())).unwrap();
        Self { bench, device, config: config.display().to_string() }
    }

    fn print(&self) -> String {
        let mut lines: Vec<_> = succeed(tool("fw_printenv").args(["--config", &self.config]))
            .lines()
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect();
        lines.sort();
        lines.join(" ")
    }

    /// What the boot script does, done by U-Boot's own tool.
    fn set(&self, script: &str) {
        let path = self.bench.path("script");
        fs::write(&path, script).unwrap();
        let mut set = tool("fw_setenv");
        // It locks a file that every user of the machine shares.
        succeed(set.args(["--config", &self.config, "--script"]).arg(path));
    }

    /// What the loader tells the kernel.
    fn boots(&self, slot: &str, report: &Value, more: &str) {
        let hash = report["targets"][0]["rootHash"].as_str().unwrap();
        let line = format!("roothash={hash} gybe.slot={slot} gybe.loader=1{more}");
        self.device.write("proc/cmdline", &line);
    }

    fn damage(&self, copy: usize) {
        self.device.damage("env", |bytes| bytes[copy * COPY_LEN + 9] ^= 1);
    }
}

#[test]
fn a_board_with_u_boot_is_provisioned_updated_and_falls_back() {
    let bench = Bench::new("uboot-device");
    let [one, two] = [("one", 1), ("two", 2)].map(|(name, number)| {
        let small = Small { files: 8, changed: 4, ..Small::new(number) };
        bench.seal(&small.make(&bench, &format!("image-{name}")), name, number)
    });
    let board = Board::new(&bench, "board");
    let device = &board.device;
    let own = "bootcmd=run distro_bootcmd ethaddr=02:00:00:00:00:01";
    device.gybe(&["install", &bench.source("one"), "--slot", "a"]).done();
    // Which slot is preferred while neither is good says nothing.
    let printed = board.print().replace("gybe_order=b", "gybe_order=a");
    let armed = "gybe_a=bad gybe_b=bad gybe_end=1 gybe_order=a gybe_tries=3 gybe_try=a";
    assert_eq!(printed, format!("{own} {armed}"));
    board.boots("a", &one, " gybe.trial=1");
    device.gybe(&["commit"]).done();
    assert_eq!(board.print(), format!("{own} gybe_a=good gybe_b=bad gybe_end=1 gybe_order=a"));

    device.gybe(&["install", &bench.source("two")]).done();
    let armed =
        format!("{own} gybe_a=good gybe_b=bad gybe_end=1 gybe_order=a gybe_tries=3 gybe_try=b");
    assert_eq!(board.print(), armed);
    // The loader counts; a system that never commits spends all tries.
    for left in [2, 1, 0] {
        board.set(&format!("gybe_tries={left}\n"));
        assert_eq!(device.status()["b"]["tries_left"], left);
    }
    board.set("gybe_tries=\ngybe_try=\ngybe_failed=b:tries\n");
    board.boots("a", &one, "");
    let status = device.status();
    assert_eq!(
        (&status["b"]["state"], &status["b"]["reason"]),
        (&json!("failed"), &json!("tries"))
    );

    // One copy may be damaged, whichever it is; the next store makes it whole.
    for copy in [0, 1] {
        board.damage(copy);
        let status = device.status();
        assert_eq!(status["environment"]["whole"], false, "copy {copy}");
        assert_eq!(status["a"]["state"], "good", "copy {copy}");
        device.gybe(&["install", &bench.source("two")]).done();
        assert_eq!(device.status()["environment"]["whole"], true, "copy {copy}");
        device.gybe(&["rollback"]).done();
    }
    device.gybe(&["install", &bench.source("two")]).done();
    board.boots("b", &two, " gybe.trial=1");
    device.gybe(&["commit"]).done();
    assert_eq!(board.print(), format!("{own} gybe_a=good gybe_b=good gybe_end=1 gybe_order=b"));

    // With both damaged nothing is written: it would lose what the board boots with.
    board.damage(0);
    board.damage(1);
    let before = fs::read(device.partition("env")).unwrap();
    let slots = device.snapshot();
    device.gybe(&["install", &bench.source("one")]).ended(FAILED, &["boot environment"]);
    assert_eq!(device.status()["environment"]["whole"], false);
    assert_eq!(fs::read(device.partition("env")).unwrap(), before);
    assert_eq!(device.snapshot(), slots);
}
