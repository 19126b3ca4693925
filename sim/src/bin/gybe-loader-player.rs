//! Plays the boot loader of a device whose partitions are files, for the demo.
//!
//! `gybe-loader-player --root DIR [--power-cut-env]` makes the loader's step on the boot environment
//! below DIR, and leaves in `DIR/proc/cmdline` what the kernel would be told.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use gybe_sim::machine::{EnvPower, Machine};

const USAGE: &str = "usage: gybe-loader-player --root DIR [--power-cut-env]";

fn main() -> ExitCode {
    let Some((root, power)) = arguments(env::args_os().skip(1)) else {
        complain(USAGE);
        return ExitCode::from(2);
    };
    match Machine::open(&root).and_then(|machine| machine.boot(power, say)) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("gybe-loader-player: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn arguments(mut arguments: impl Iterator<Item = OsString>) -> Option<(PathBuf, EnvPower)> {
    let (mut root, mut power) = (None, EnvPower::Stays);
    while let Some(argument) = arguments.next() {
        match argument.to_str()? {
            "--root" => root = Some(PathBuf::from(arguments.next()?)),
            "--power-cut-env" => power = EnvPower::CutOnce,
            _ => return None,
        }
    }
    Some((root?, power))
}

#[expect(clippy::print_stdout, reason = "what the loader did is what this program is for")]
fn say(line: &str) {
    println!("{line}");
}

#[expect(clippy::print_stderr, reason = "errors go to the person who runs it")]
fn complain(line: &str) {
    eprintln!("{line}");
}
