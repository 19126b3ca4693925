//! `cargo measure`: every number of docs/benchmarks.md, from images that it makes itself.

mod bare;
mod boot_files;
mod cost;
mod fetched;
mod goals;
mod hostile;
mod inputs;
mod lab;
mod layout;
mod machine;
mod made;
mod memory;
mod page;
mod peers;
mod recipe;
mod registry;
mod sealing;
mod sizes;
mod speed;
mod toc;
mod trace;

use std::{fs, path::PathBuf, process::ExitCode, time::Instant};

use crate::{full_test, run, sample, say, tree};
pub use bare::main as bare_loop;
use inputs::{Inputs, Size};
use lab::Lab;

const USAGE: &str = "usage: cargo measure [--small] [--only SECTION]...

Rewrites docs/benchmarks.md: makes images of Debian (once, kept in target/measure), seals and
installs them, and runs other tools on the same bytes. Takes about 40 minutes on two cores, and 15 GB
of disk.

  --small          some megabytes instead, one run of each: does the command work?
  --only SECTION   only fetched, registry, speed, memory, sealing or sizes (may be repeated)

With either option the page goes to target/measure/benchmarks.md.";

const SECTIONS: [&str; 6] = ["fetched", "registry", "speed", "memory", "sealing", "sizes"];

/// What the sections found; those that did not run are not there.
#[derive(Debug, Default)]
struct Findings {
    fetched: Option<fetched::Fetched>,
    registry: Option<registry::Registries>,
    hostile: Option<hostile::Hostile>,
    speed: Option<speed::Speed>,
    memory: Option<memory::Memory>,
    sealing: Option<sealing::Sealing>,
    sizes: Option<sizes::Sizes>,
}

/// What was asked for.
struct Asked {
    size: Size,
    sections: Vec<String>,
}

/// Measures what the arguments ask for and writes the page.
pub fn main(arguments: impl Iterator<Item = String>) -> ExitCode {
    let mut asked = Asked { size: Size::Debian, sections: Vec::new() };
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        match (argument.as_str(), arguments.peek()) {
            ("--help" | "-h", _) => {
                say::line(USAGE);
                return ExitCode::SUCCESS;
            }
            ("--small", _) => asked.size = Size::Small,
            ("--only", Some(name)) if SECTIONS.contains(&name.as_str()) => {
                asked.sections.extend(arguments.next());
            }
            _ => {
                say::trouble(&format!("cannot use `{argument}`\n{USAGE}"));
                return ExitCode::from(2);
            }
        }
    }
    if let Err(missing) = full_test::install(full_test::Purpose::Measure) {
        let line = missing.line;
        say::trouble(&format!(
            "Debian packages are missing. Run this, then again:\n\n    {line}\n"
        ));
        return ExitCode::from(2);
    }
    match measure(&asked) {
        Ok(page) => {
            say::line(&format!("\nthe page is {}", page.display()));
            ExitCode::SUCCESS
        }
        Err(cause) => {
            say::trouble(&format!("\nmeasure: {cause}"));
            ExitCode::FAILURE
        }
    }
}

/// Measures, and gives the file of the page.
fn measure(asked: &Asked) -> Result<PathBuf, String> {
    let start = Instant::now();
    say::heading("programs, tools and images (not counted)");
    // Before anything is built: what changes in the tree from here on was not measured.
    let machine = machine::machine();
    let programs = sizes::build()?;
    let script = tree::root().join("hw-tests/tools/newer-tools.sh");
    sample::succeed(run::command("bash").arg(script).arg(tree::tools()).arg("measure"))?;
    let inputs = Inputs::ready(asked.size)?;
    let (run_count, image_mib) = match asked.size {
        Size::Debian => (5, [256, 2048]),
        Size::Small => (1, [8, 64]),
    };
    let lab = Lab::new(programs, inputs, run_count)?;
    let is_asked =
        |name: &str| asked.sections.is_empty() || asked.sections.iter().any(|asked| asked == name);
    let mut findings = Findings::default();
    // What is timed runs alone, and before the machine is warm from the peers.
    if is_asked("sealing") {
        findings.sealing = Some(sealing::run(&lab)?);
    }
    if is_asked("speed") {
        findings.speed = Some(speed::run(&lab)?);
    }
    if is_asked("memory") {
        findings.memory = Some(memory::run(&lab, image_mib)?);
    }
    if is_asked("fetched") {
        findings.fetched = Some(fetched::run(&lab)?);
    }
    if is_asked("registry") {
        findings.registry = Some(registry::run(&lab)?);
        findings.hostile = Some(hostile::run(&lab)?);
    }
    if is_asked("sizes") {
        findings.sizes = Some(sizes::run(&lab)?);
    }
    let page = page::page(&findings, &machine::today(), &machine, &machine::tools());
    let whole = asked.sections.is_empty() && asked.size == Size::Debian;
    let path = if whole {
        tree::root().join("docs/benchmarks.md")
    } else {
        tree::target().join("measure/benchmarks.md")
    };
    fs::write(&path, page).map_err(sample::words)?;
    say::line(&format!("took {:.0} s", start.elapsed().as_secs_f64()));
    Ok(path)
}
