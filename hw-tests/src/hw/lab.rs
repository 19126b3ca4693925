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
    machine::{Arch, Guest, Machine, Model, Start},
    phases::{Medians, Phases},
    qemu::{Disks, Qemu},
    report,
    rig::Rig,
    trouble::Trouble,
};
use crate::{programs, say, tree};

/// How often a case is begun again because the guest crashed by itself, or its emulator did.
const CRASHES_MAX: u32 = 1;

/// One case on one machine.
#[derive(Clone, Copy)]
struct Work {
    model: Model,
    case: Case,
}

/// How a case ended.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// On which machine.
    pub(crate) model: Model,
    /// Which case.
    pub(crate) name: &'static str,
    /// What it has to say, or what went wrong.
    pub(crate) verdict: Result<String, Trouble>,
    /// How long it took.
    pub(crate) took: Duration,
    /// How long its boots took.
    pub(crate) medians: Medians,
}

/// Makes a machine that keeps its things in a folder.
type MakeMachine<'a> = &'a (dyn Fn(Model, &Path) -> Result<Box<dyn Machine>, Trouble> + Sync);

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
            let mut work = work(wanted, &[board.arch()]);
            // A board has one loader and one system: each case once.
            work.dedup_by_key(|work| work.case.name);
            run_all(&work, 1, &|_, _| Ok(Box::new(board.clone())))
        }
        None => run_emulated(wanted)?,
    };
    report::summary(&outcomes);
    if wanted.readme {
        report::into_readme(&outcomes)?;
    }
    Ok(outcomes)
}

/// What is to be done: every case on the machines of these architectures that it is for.
fn work(wanted: &Wanted, archs: &[Arch]) -> Vec<Work> {
    let mut work = Vec::new();
    for case in &wanted.cases {
        let on = if wanted.all { case.on } else { case.every };
        let on = on.iter().filter(|model| archs.contains(&model.arch));
        work.extend(on.map(|&model| Work { model, case: *case }));
    }
    work
}

fn run_emulated(wanted: &Wanted) -> Result<Vec<Outcome>, Trouble> {
    let programs = programs::build()?;
    let work = work(wanted, &wanted.archs);
    say::heading("machines and guests");
    let mut kinds: Vec<(Arch, Guest)> = Vec::new();
    for work in &work {
        if !kinds.contains(&work.model.disks()) {
            kinds.push(work.model.disks());
        }
    }
    // All disks are made before the first case begins: cases then measure only themselves.
    let made = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..wanted.jobs.max(1) {
            scope.spawn(|| {
                while let Some(&kind) = kinds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let disks = prepare(kind, &programs, &work);
                    if let Ok(mut made) = made.lock() {
                        made.push((kind, disks));
                    }
                }
            });
        }
    });
    let mut disks = Vec::new();
    for (kind, made) in made.into_inner().unwrap_or_default() {
        disks.push((kind, made?));
    }
    say::heading("cases");
    let machine = |model: Model, at: &Path| {
        let found = disks.iter().find(|(kind, _)| *kind == model.disks());
        let (_, disks) = found.ok_or_else(|| Trouble::harness("no disks were made"))?;
        Ok(Box::new(Qemu::new(model, disks, at)?) as Box<dyn Machine>)
    };
    Ok(run_all(&work, wanted.jobs, &machine))
}

/// Makes the guest's releases and the disks that the cases begin with.
fn prepare(kind: (Arch, Guest), programs: &Path, work: &[Work]) -> Result<Disks, Trouble> {
    let begun = Instant::now();
    let (arch, guest) = kind;
    let folder = folder().join(format!("{}-{}", arch.name(), guest.name()));
    let told = |what: &str, trouble: &Trouble| {
        Trouble::harness(format!("{} {}, {what}: {trouble}", arch.name(), guest.name()))
    };
    let mut disks = guest::make(arch, guest, programs, &folder)
        .map_err(|trouble| told("making the guest", &trouble))?;
    let model = match (arch, guest) {
        (Arch::X86_64, _) => Model::BIOS.with(guest),
        (Arch::Aarch64, Guest::Redundant) => Model::U_BOOT_REDUNDANT,
        (Arch::Aarch64, _) => Model::U_BOOT.with(guest),
    };
    let starts = |start| {
        let mut of_kind = work.iter().filter(|work| work.model.disks() == kind);
        of_kind.any(|work| work.case.start == start)
    };
    if starts(Start::Written) || starts(Start::BothGood) {
        let disk = on_a_machine(model, &disks, &folder.join("written"), |rig| {
            rig.load(Start::Factory)?;
            rig.write_release_2()
        });
        disks.written = Some(disk.map_err(|trouble| told("writing release 2", &trouble))?);
    }
    if starts(Start::BothGood) {
        let disk = on_a_machine(model, &disks, &folder.join("both-good"), |rig| {
            rig.load(Start::Written)?;
            rig.commit_release_2()
        });
        disks.both_good = Some(disk.map_err(|trouble| told("committing release 2", &trouble))?);
    }
    let seconds = begun.elapsed().as_secs_f64();
    say::line(&format!("{} {}: made in {seconds:.0} s", arch.name(), guest.name()));
    Ok(disks)
}

/// Does `work` on a machine, and returns its disk.
fn on_a_machine(
    model: Model,
    disks: &Disks,
    at: &Path,
    work: impl FnOnce(&mut Rig) -> Result<(), Trouble>,
) -> Result<PathBuf, Trouble> {
    let machine = Qemu::new(model, disks, at)?;
    let disk = machine.disk();
    work(&mut Rig::new(Box::new(machine)))?;
    Ok(disk)
}

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
    let Work { model, case } = *work;
    let start = Instant::now();
    let of_model = format!("{}-{}", model.arch.name(), model.guest.name());
    let at = folder().join(of_model).join("cases").join(case.name);
    let mut crashes = 0;
    loop {
        let (verdict, medians) = attempt(work, machine, &at);
        if let Err(trouble @ Trouble::GuestCrash(_)) = &verdict
            && crashes < CRASHES_MAX
        {
            crashes += 1;
            let arch = model.arch.name();
            say::line(&format!("     {} {arch}: once more, since {trouble}", case.name));
            continue;
        }
        return Outcome { model, name: case.name, verdict, took: start.elapsed(), medians };
    }
}

fn attempt(work: &Work, machine: MakeMachine<'_>, at: &Path) -> (Result<String, Trouble>, Medians) {
    let begun = (|| {
        if at.exists() {
            fs::remove_dir_all(at)?;
        }
        fs::create_dir_all(at)?;
        let mut rig = Rig::new(machine(work.model, at)?);
        rig.load(work.case.start)?;
        Ok(rig)
    })();
    match begun {
        Ok(mut rig) => {
            let verdict = (work.case.run)(&mut rig, work.model);
            let verdict = verdict.map_err(|trouble| rig.cause_of(trouble));
            (verdict, rig.phases.medians())
        }
        Err(trouble) => (Err(trouble), Phases::default().medians()),
    }
}
