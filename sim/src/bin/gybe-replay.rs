//! Asks after every write that a machine made what would boot if the power had gone off there.
//!
//! `gybe-replay DISK LOG`: DISK is the disk as it was before, LOG what QEMU's `blklogwrites` wrote.

use std::env;
use std::fs::File;
use std::path::Path;
use std::process::ExitCode;

use gybe_sim::replay::{Report, replay};

const USAGE: &str = "usage: gybe-replay DISK LOG

  DISK   the image of the disk before the machine ran; it is only read
  LOG    what the machine wrote, as QEMU's blklogwrites keeps it

Prints a line for each moment at which a power cut would have been the end of the device, and how
many moments were looked at. Exit code 0: there is none; 1: there is; 2: it cannot be told.";

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let [disk, log] = arguments.as_slice() else {
        complain(USAGE);
        return ExitCode::from(2);
    };
    match run(disk.as_ref(), log.as_ref()) {
        Ok(report) => {
            report.violations.iter().for_each(|violation| say(&violation.to_string()));
            let Report { cuts, tears, violations } = report;
            say(&format!("cuts={cuts} tears={tears} violations={}", violations.len()));
            if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            complain(&format!("gybe-replay: {error}"));
            ExitCode::from(2)
        }
    }
}

fn run(disk: &Path, log: &Path) -> Result<Report, String> {
    let open = |path: &Path| {
        File::open(path).map_err(|cause| format!("cannot open {}: {cause}", path.display()))
    };
    replay(open(disk)?, open(log)?).map_err(|error| error.to_string())
}

#[expect(clippy::print_stdout, reason = "what was found is what this program is for")]
fn say(line: &str) {
    println!("{line}");
}

#[expect(clippy::print_stderr, reason = "errors go to the person who runs it")]
fn complain(line: &str) {
    eprintln!("{line}");
}
