//! Everything that the cases need is made once, then they run, several machines at a time.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    Wanted,
    board::Board,
    case::Case,
    guest,
    machine::{Arch, Firmware, Machine, Start},
    phases::Medians,
    qemu::{Disks, Qemu},
    report,
    rig::Rig,
    trouble::Trouble,
};
use crate::{programs, say, tree};

/// How often a case is begun again because the guest crashed by itself.
const CRASHES_MAX: u32 = 1;

/// How a case ended.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// On which architecture.
    pub(crate) arch: Arch,
    /// Which case.
    pub(crate) name: &'static str,
    /// What it has to say, or what went wrong.
    pub(crate) verdict: Result<String, Trouble>,
    /// How long it took.
    pub(crate) took: Duration,
    /// How long its boots took.
    pub(crate) medians: Medians,
}

/// Where machines keep their disks and logs.
fn folder() -> PathBuf {
    tree::target().join("hw")
}

/// Runs what was asked for, and prints a line a case.
///
/// # Errors
/// When nothing can run at all.
pub(super) fn run(wanted: &Wanted) -> Result<Vec<Outcome>, Trouble> {
    let outcomes = match &wanted.board {
        Some(file) => {
            let board = Board::read(file)?;
            let arch = board.arch();
            let machine = |_: Firmware, _: &Path| Ok(Box::new(board.clone()) as Box<dyn Machine>);
            run_all(&work(&wanted.cases, &[arch]), 1, &|_, firmware, folder| {
                machine(firmware, folder)
            })
        }
        None => run_emulated(wanted)?,
    };
    report::summary(&outcomes);
    if wanted.readme {
        report::into_readme(&outcomes)?;
    }
    Ok(outcomes)
}

fn run_emulated(wanted: &Wanted) -> Result<Vec<Outcome>, Trouble> {
    let programs = programs::build()?;
    let folder = folder();
    say::heading("machines and guests");
    // Which disks there are must be known before the first case begins.
    let disks: Mutex<Vec<(Arch, Result<Disks, Trouble>)>> = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for &arch in &wanted.archs {
            let (disks, programs, folder) = (&disks, &programs, &folder);
            scope.spawn(move || {
                let made = prepare(arch, programs, &folder.join(arch.name()), &wanted.cases);
                if let Ok(mut disks) = disks.lock() {
                    disks.push((arch, made));
                }
            });
        }
    });
    let mut of_arch = Vec::new();
    for (arch, made) in disks.into_inner().unwrap_or_default() {
        of_arch.push((arch, made?));
    }
    say::heading("cases");
    let machine = |arch: Arch, firmware: Firmware, at: &Path| {
        let disks = of_arch.iter().find(|(of, _)| *of == arch).map(|(_, disks)| disks);
        let disks = disks.ok_or_else(|| Trouble::harness("no disks were made"))?;
        let machine = Qemu::new(arch, firmware, disks, at)?;
        Ok(Box::new(machine) as Box<dyn Machine>)
    };
    Ok(run_all(&work(&wanted.cases, &wanted.archs), wanted.jobs, &machine))
}

/// What is to be done: every case on every machine of these architectures that it is for.
fn work(cases: &[Case], archs: &[Arch]) -> Vec<Work> {
    let mut work = Vec::new();
    for case in cases {
        let on = case.on.iter().filter(|(arch, _)| archs.contains(arch));
        work.extend(on.map(|&(arch, firmware)| Work { arch, firmware, case: *case }));
    }
    work
}

/// One case on one machine.
#[derive(Clone, Copy)]
struct Work {
    arch: Arch,
    firmware: Firmware,
    case: Case,
}

/// What starts the disks of `arch`, unless a case is about something else.
const fn firmware(arch: Arch) -> Firmware {
    match arch {
        Arch::X86_64 => Firmware::Bios,
        Arch::Aarch64 => Firmware::UBoot,
    }
}

/// Makes the guest's releases and the disks that the cases begin with.
fn prepare(arch: Arch, programs: &Path, folder: &Path, cases: &[Case]) -> Result<Disks, Trouble> {
    let start = Instant::now();
    let mut disks = guest::make(arch, programs, &folder.join("guest"))?;
    for (wanted, step) in [
        (Start::Written, Rig::write_release_2 as fn(&mut Rig) -> Result<(), Trouble>),
        (Start::BothGood, Rig::commit_release_2),
    ] {
        let needed = cases.iter().any(|case| {
            case.start == wanted || wanted == Start::Written && case.start == Start::BothGood
        });
        if !needed {
            continue;
        }
        let name = if wanted == Start::Written { "written" } else { "both-good" };
        let machine = Qemu::new(arch, firmware(arch), &disks, &folder.join(name))?;
        let disk = machine.disk();
        let mut rig = Rig::new(Box::new(machine));
        rig.load(if wanted == Start::Written { Start::Factory } else { Start::Written })?;
        step(&mut rig).map_err(|trouble| in_words(&format!("{} {name}", arch.name()), &trouble))?;
        drop(rig);
        if wanted == Start::Written {
            disks.written = Some(disk);
        } else {
            disks.both_good = Some(disk);
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    say::line(&format!("{}: releases, stick and disks made in {seconds:.0} s", arch.name()));
    Ok(disks)
}

fn in_words(what: &str, trouble: &Trouble) -> Trouble {
    Trouble::harness(format!("{what}: {trouble}"))
}

/// Makes a machine that keeps its things in a folder.
type MakeMachine<'a> =
    &'a (dyn Fn(Arch, Firmware, &Path) -> Result<Box<dyn Machine>, Trouble> + Sync);

fn run_all(work: &[Work], jobs: usize, machine: MakeMachine<'_>) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while let Some(work) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = run_one(work, machine);
                    report::line(&outcome);
                    if let Ok(mut outcomes) = outcomes.lock() {
                        outcomes.push(outcome);
                    }
                }
            });
        }
    });
    outcomes.into_inner().unwrap_or_default()
}

fn run_one(work: &Work, machine: MakeMachine<'_>) -> Outcome {
    let Work { arch, case, .. } = *work;
    let start = Instant::now();
    let at = folder().join(arch.name()).join("cases").join(case.name);
    let mut crashes = 0;
    loop {
        let (verdict, medians) = attempt(work, machine, &at);
        if let Err(Trouble::GuestCrash(line)) = &verdict
            && crashes < CRASHES_MAX
        {
            crashes += 1;
            say::line(&format!(
                "     {} {}: guest crashed by itself, again: {line}",
                arch.name(),
                case.name
            ));
            continue;
        }
        return Outcome { arch, name: case.name, verdict, took: start.elapsed(), medians };
    }
}

fn attempt(work: &Work, machine: MakeMachine<'_>, at: &Path) -> (Result<String, Trouble>, Medians) {
    let begun = (|| {
        if at.exists() {
            fs::remove_dir_all(at)?;
        }
        fs::create_dir_all(at)?;
        let mut rig = Rig::new(machine(work.arch, work.firmware, at)?);
        rig.load(work.case.start)?;
        Ok(rig)
    })();
    match begun {
        Ok(mut rig) => {
            let verdict = (work.case.run)(&mut rig, work.arch);
            (verdict, rig.phases.medians())
        }
        Err(trouble) => (Err(trouble), super::phases::Phases::default().medians()),
    }
}
