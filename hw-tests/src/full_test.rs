//! `cargo full-test`: installs what it needs, then runs everything that must hold.

mod packages;
mod steps;
mod tally;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use crate::{run, say};
pub(crate) use packages::{Purpose, install};
pub(crate) use tally::Tally;

const USAGE: &str = "usage: cargo full-test [--list] [--step NAME]...

Runs every check of the repository: what `.ci/run` runs. Missing Debian packages are installed
when we may (root, or sudo without a password); else the line to run is printed.

  --list        print the names of the steps
  --step NAME   run only this step (may be repeated)";

/// One check: what it is called and what it does.
pub(crate) struct Step {
    name: &'static str,
    run: fn() -> Result<Tally, String>,
}

struct Done {
    name: &'static str,
    tally: Tally,
    took: Duration,
    /// What the disk has left then, as `df` says it: a full one looks like a fault of ours.
    disk_left: String,
}

/// Runs the steps that the arguments name, prints the table and the sum.
pub fn main(arguments: impl Iterator<Item = String>) -> ExitCode {
    let mut wanted = Vec::new();
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        match (argument.as_str(), arguments.peek()) {
            ("--list", _) => {
                steps::ALL.iter().for_each(|step| say::line(step.name));
                return ExitCode::SUCCESS;
            }
            ("--help" | "-h", _) => {
                say::line(USAGE);
                return ExitCode::SUCCESS;
            }
            ("--step", Some(name)) if steps::ALL.iter().any(|step| step.name == name) => {
                wanted.extend(arguments.next());
            }
            _ => {
                say::trouble(&format!("cannot use `{argument}`\n{USAGE}"));
                return ExitCode::from(2);
            }
        }
    }
    if let Err(packages::Missing { line }) = install(Purpose::Judges) {
        say::trouble(&format!(
            "Debian packages are missing. Run this, then again:\n\n    {line}\n"
        ));
        return ExitCode::from(2);
    }
    let chosen = |step: &&Step| wanted.is_empty() || wanted.iter().any(|name| name == step.name);
    let done: Vec<Done> = steps::ALL.iter().filter(chosen).map(carry_out).collect();
    report(&done)
}

fn carry_out(step: &Step) -> Done {
    say::heading(step.name);
    let start = Instant::now();
    let result = (step.run)();
    let took = start.elapsed();
    let tally = result.unwrap_or_else(|trouble| {
        say::trouble(&format!("{}: {trouble}", step.name));
        Tally::failure(trouble)
    });
    let left = run::answer(run::command("df").args(["--output=avail", "--human-readable", "."]));
    let disk_left = left.as_deref().and_then(|text| text.lines().last()).unwrap_or("?").trim();
    Done { name: step.name, tally, took, disk_left: disk_left.to_owned() }
}

/// The table, then what failed, since nobody should have to look for that in the thousands of lines
/// before it; the sum last.
fn report(done: &[Done]) -> ExitCode {
    say::heading("summary");
    let mut sum = Tally::default();
    let mut took = Duration::ZERO;
    for step in done {
        let Tally { passed, failed, .. } = step.tally;
        let word = if failed == 0 { "ok" } else { "FAILED" };
        let seconds = step.took.as_secs_f64();
        say::line(&format!(
            "{:<12} {word:<6} {seconds:>7.1} s  {passed} passed, {failed} failed; {} of disk left",
            step.name, step.disk_left
        ));
        sum += step.tally.clone();
        took += step.took;
    }
    for step in done.iter().filter(|step| step.tally.failed > 0) {
        say::line(&format!("{} failed:", step.name));
        step.tally.failures.iter().for_each(|line| say::line(&format!("    {line}")));
    }
    if !run::is_root() {
        say::line("not root: checks that mount or attach loop devices said so and passed over");
    }
    say::line(&format!("took {:.0} s", took.as_secs_f64()));
    say::line(&format!("{} passed, {} failed", sum.passed, sum.failed));
    if sum.failed == 0 && sum.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
