//! `cargo hw`: the cases, on emulated machines with real loaders and kernels, or on a board.

mod accelerator;
mod board;
mod case;
mod cases;
mod console;
mod guest;
mod lab;
mod machine;
mod phases;
mod qemu;
mod report;
mod rig;
mod trouble;

use std::{path::PathBuf, process::ExitCode};

use case::Case;
use machine::Arch;

use crate::{full_test, say};

const USAGE: &str = "usage: cargo hw [--list] [--arch ARCH]... [--case NAME]... [--all]
                [--board FILE] [--jobs N] [--readme]

Boots, fails and falls back in real loaders and kernels. Prints a line a case: PASS|FAIL NAME SECONDS

  --list        print the cases, with a * before those of every commit
  --arch ARCH   x86_64 or aarch64 (default: both)
  --case NAME   run only this case (may be repeated)
  --all         run every case, not only those of every commit
  --board FILE  run them on a board, as docs/integrate.md describes it
  --jobs N      how many machines at once (default 2)
  --readme      write the table of results into README.md";

/// What was asked for.
struct Wanted {
    archs: Vec<Arch>,
    cases: Vec<Case>,
    /// Every machine that a case is for, not only those of every commit.
    all: bool,
    board: Option<PathBuf>,
    jobs: usize,
    readme: bool,
}

/// Runs the cases: exit code 0 when all passed, 1 when one failed, 2 when they cannot run.
pub fn main(arguments: impl Iterator<Item = String>) -> ExitCode {
    let wanted = match parse(arguments) {
        Ok(Some(wanted)) => wanted,
        Ok(None) => return ExitCode::SUCCESS,
        Err(what) => {
            say::trouble(&format!("{what}\n{USAGE}"));
            return ExitCode::from(2);
        }
    };
    if let Err(missing) = full_test::install(full_test::Purpose::Judges) {
        say::trouble(&format!("Debian packages are missing. Run: {}", missing.line));
        return ExitCode::from(2);
    }
    match lab::run(&wanted) {
        Ok(results) if results.iter().all(|result| result.verdict.is_ok()) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(trouble) => {
            say::trouble(&format!("cargo hw: {trouble}"));
            ExitCode::from(2)
        }
    }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Wanted>, String> {
    let every = cases::all();
    let mut wanted = Wanted {
        archs: Vec::new(),
        cases: Vec::new(),
        all: false,
        board: None,
        jobs: 2,
        readme: false,
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("`{argument}` needs a value"));
        match argument.as_str() {
            "--list" => {
                for case in &every {
                    let mark = if case.every.is_empty() { ' ' } else { '*' };
                    say::line(&format!("{mark} {:<34} {}", case.name, case.claim));
                }
                return Ok(None);
            }
            "--help" | "-h" => {
                say::line(USAGE);
                return Ok(None);
            }
            "--arch" => {
                let name = value()?;
                let arch = Arch::ALL.into_iter().find(|arch| arch.name() == name);
                wanted.archs.push(arch.ok_or(format!("no architecture `{name}`"))?);
            }
            "--case" => {
                let name = value()?;
                let case = every.iter().find(|case| case.name == name);
                wanted.cases.push(*case.ok_or(format!("no case `{name}`: see --list"))?);
            }
            "--all" => wanted.all = true,
            "--board" => wanted.board = Some(value()?.into()),
            "--jobs" => {
                let jobs = value()?;
                wanted.jobs = jobs.parse().map_err(|_| format!("`{jobs}` is no number"))?;
            }
            "--readme" => wanted.readme = true,
            _ => return Err(format!("cannot use `{argument}`")),
        }
    }
    if wanted.cases.is_empty() {
        wanted.cases = every;
    } else {
        // Whoever names a case wants to see it everywhere.
        wanted.all = true;
    }
    if wanted.archs.is_empty() {
        wanted.archs = Arch::ALL.to_vec();
    }
    Ok(Some(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(line: &str) -> Result<Option<Wanted>, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn without_options_the_cases_of_every_commit_run_on_both_architectures() {
        let Ok(Some(plain)) = wanted("") else { panic!("not taken") };
        assert_eq!(plain.archs, Arch::ALL);
        assert!(!plain.all);
        let Ok(Some(all)) = wanted("--all --arch aarch64") else { panic!("not taken") };
        assert!(all.all);
        assert_eq!(all.archs, [Arch::Aarch64]);
    }

    #[test]
    fn what_is_not_known_is_named() {
        for line in ["--case no-such", "--arch riscv", "--jobs x", "--case", "--bogus"] {
            let what = wanted(line).err().unwrap_or_default();
            assert!(!what.is_empty(), "{line}");
        }
    }
}
