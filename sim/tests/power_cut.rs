//! Power is cut at every operation of an install, from several starting states, with several
//! ideas of what the medium kept, and with a second failure. Whatever boots is a whole release.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test may fail by panicking, on a 64-bit host"
)]

mod fixture;

use fixture::{Sample, Targets, World, install};
use gybe_core::block::{BLOCK_LEN, Block, BlockIndex, ReadBlocks, WriteBlocks};
use gybe_core::boot::{BootEnv, BootState, Loaded, Reason};
use gybe_core::slot::Slot;
use gybe_sim::player::play;
use gybe_sim::{FakeDisk, FakeEnv, Random};

/// What the slot that is installed to was before.
#[derive(Clone, Copy, Debug)]
enum Start {
    /// Zeros, in a factory environment.
    Empty,
    /// Another whole release, Good.
    Good,
    /// Another whole release, that failed.
    Failed,
}

/// What else goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Second {
    Nothing,
    /// What the loader reads of the running slot cannot be read at the next boot.
    RunningUnreadable,
    /// The boot environment is lost.
    EnvironmentLost,
}

struct Releases {
    old: Sample,
    older: Sample,
    new: Sample,
}

impl Releases {
    fn new(targets: Targets) -> Self {
        let [old, older, new] = [1, 2, 3].map(|seed| Sample::new(seed, targets));
        Self { old, older, new }
    }

    fn world(&self, start: Start, target: Slot) -> World {
        let mut world = World::new(!target, &self.old);
        let factory = BootState::factory(Some(!target));
        let both = BootState {
            good: factory.arm(target, 1).unwrap().commit(target).unwrap().good,
            ..factory
        };
        let state = match start {
            Start::Empty => return world,
            Start::Good => both,
            Start::Failed => both.fail(target, Reason::Health).unwrap(),
        };
        world.flash(target, &self.older);
        world.environment().store(&state).unwrap();
        world
    }
}

/// Steps left out on purpose: a simulator that does not find them does not look.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Bug {
    None,
    /// Flushes do nothing.
    Flush,
    /// First blocks are not zeroed, and the slot is not made Unbootable.
    Clear,
    /// What is written last of all, the first block that the loader reads, is written when it comes.
    Order,
}

struct Disk<'a> {
    inner: &'a mut FakeDisk,
    bug: Bug,
    /// The first block, written ahead of time by [`Bug::Order`].
    early: Option<Block>,
}

impl ReadBlocks for Disk<'_> {
    type Error = <FakeDisk as ReadBlocks>::Error;

    fn block_count(&self) -> u64 {
        self.inner.block_count()
    }

    fn read(&mut self, index: BlockIndex, blocks: &mut [Block]) -> Result<(), Self::Error> {
        self.inner.read(index, blocks)
    }
}

impl WriteBlocks for Disk<'_> {
    fn write(&mut self, index: BlockIndex, blocks: &[Block]) -> Result<(), Self::Error> {
        let zeroing = index == BlockIndex(0) && blocks == [[0; BLOCK_LEN]];
        match (self.bug, self.early) {
            (Bug::Clear, _) if zeroing => return Ok(()),
            (Bug::Order, Some(early)) if zeroing => {
                return self.inner.write(index, &[early]);
            }
            _ => {}
        }
        self.inner.write(index, blocks)
    }

    fn flush(&mut self) -> Result<(), Self::Error> {
        if self.bug == Bug::Flush { Ok(()) } else { self.inner.flush() }
    }

    fn drop_caches(&mut self) -> Result<(), Self::Error> {
        self.inner.drop_caches()
    }
}

struct Env {
    inner: FakeEnv,
    bug: Bug,
    stores: u32,
    target: Slot,
}

impl BootEnv for Env {
    type Error = <FakeEnv as BootEnv>::Error;

    fn load(&mut self) -> Result<Loaded, Self::Error> {
        let mut loaded = self.inner.load()?;
        // What the skipped store would have left, so that arming goes on.
        if let (Bug::Clear, Some(state), 1..) = (self.bug, &mut loaded.state, self.stores) {
            *state.good.of_mut(self.target) = false;
        }
        Ok(loaded)
    }

    fn store(&mut self, state: &BootState) -> Result<(), Self::Error> {
        self.stores += 1;
        if self.bug == Bug::Clear && self.stores == 1 { Ok(()) } else { self.inner.store(state) }
    }
}

fn attempt(world: &mut World, sample: &Sample, target: Slot, bug: Bug) -> Result<(), String> {
    let mut environment = Env { inner: world.environment(), bug, stores: 0, target };
    let [root, boot] = world.media(target);
    let targets = [(root, &sample.root), (boot, &sample.boot)].into_iter();
    let disks = targets
        .filter_map(|(inner, blocks)| Some(Disk { inner, bug, early: Some(*blocks.first()?) }));
    let disks = disks.collect();
    install(sample, target, disks, &mut environment)
}

/// What a sweep saw.
#[derive(Default)]
struct Seen {
    runs: u32,
    booted_new: u32,
    violations: Vec<String>,
}

/// Cuts the power at every operation of an install.
fn sweep(releases: &Releases, bug: Bug, seeds: u64) -> Seen {
    let mut seen = Seen::default();
    let starts = [Start::Empty, Start::Good, Start::Failed];
    for (start, target) in starts.iter().flat_map(|start| Slot::ALL.map(|slot| (*start, slot))) {
        let prepared = releases.world(start, target);
        let mut whole = fork(&prepared);
        attempt(&mut whole, &releases.new, target, bug).unwrap();
        // A fork counts from 0.
        let last = whole.power.op_count();
        assert!(last > 30, "an install has only {last} operations");
        for cut in 0..=last {
            for second in [Second::Nothing, Second::RunningUnreadable, Second::EnvironmentLost] {
                for seed in 0..seeds {
                    let what =
                        format!("{target} from {start:?}, cut at {cut}, {second:?}, seed {seed}");
                    seen.runs += 1;
                    run(releases, &prepared, (target, cut, second, seed, bug), &what, &mut seen);
                }
            }
        }
    }
    seen
}

/// A world of its own with the same content: clones share their power and their environment.
fn fork(world: &World) -> World {
    let power = gybe_sim::Power::new();
    let disks =
        world.disks.clone().map(|disk| FakeDisk::from_blocks(&power, disk.blocks().to_vec()));
    let file = gybe_sim::FakeFile::new(&power, world.file.bytes());
    World { targets: world.targets, power, disks, file }
}

fn run(
    releases: &Releases,
    prepared: &World,
    (target, cut, second, seed, bug): (Slot, u64, Second, u64, Bug),
    what: &str,
    seen: &mut Seen,
) {
    let mut world = fork(prepared);
    world.power.cut_at(cut);
    let _ = attempt(&mut world, &releases.new, target, bug);
    let mut random = Random::new(seed * 1000 + cut);
    world.power_on(&mut random);
    match second {
        Second::Nothing => {}
        Second::RunningUnreadable => {
            world.loaded(!target).make_unreadable(BlockIndex(0));
        }
        Second::EnvironmentLost => world.file.replace(&[]),
    }
    let mut environment = world.environment();
    let played = play(&mut environment, |slot| world.is_loadable(slot));
    let whole = match played.booted {
        None => second == Second::RunningUnreadable,
        Some(slot) if slot != target => world.holds(slot, &releases.old),
        Some(slot) => {
            let new = world.holds(slot, &releases.new);
            seen.booted_new += u32::from(new);
            new || world.holds(slot, &releases.older)
        }
    };
    if !whole {
        seen.violations.push(format!("{what}: booted {:?}, which is not whole", played.booted));
    }
    // The next attempt goes on from whatever this one left.
    if bug == Bug::None && second == Second::Nothing && played.booted == Some(!target) {
        let again = attempt(&mut world, &releases.new, target, bug);
        let played = play(&mut environment, |slot| world.is_loadable(slot));
        if again.is_err() || played.booted != Some(target) || !world.holds(target, &releases.new) {
            seen.violations.push(format!("{what}: tried again: {again:?}, {played:?}"));
        }
    }
}

#[test]
fn whatever_boots_after_a_power_cut_is_a_whole_release() {
    for (targets, seeds) in [(Targets::RootAndBoot, 3), (Targets::Root, 2)] {
        let seen = sweep(&Releases::new(targets), Bug::None, seeds);
        assert!(
            seen.violations.is_empty(),
            "{targets:?}: {} of {} runs: {:#?}",
            seen.violations.len(),
            seen.runs,
            &seen.violations[..seen.violations.len().min(5)]
        );
        assert!(seen.runs > 1000, "{} runs", seen.runs);
        assert!(seen.booted_new > 0, "the sweep must reach the end of the install");
    }
}

#[test]
fn the_sweep_finds_steps_that_were_left_out() {
    for (targets, seeds) in [(Targets::RootAndBoot, 2), (Targets::Root, 1)] {
        let releases = Releases::new(targets);
        for bug in [Bug::Flush, Bug::Clear, Bug::Order] {
            let seen = sweep(&releases, bug, seeds);
            let found = !seen.violations.is_empty();
            assert!(found, "{targets:?}: {bug:?} was not found in {} runs", seen.runs);
        }
    }
}
