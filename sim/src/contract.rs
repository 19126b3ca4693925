//! Holds any boot environment to the contract of [`BootEnv`].
//!
//! One life of a device is played: provisioned or from the factory, cleared, armed, tried, fallen
//! back, armed again, committed, rolled back. Every store is repeated once for each of its writes,
//! with the power going off during it and the write torn in many ways; then the environment must
//! give the state before or after.

use std::fmt;

use gybe_core::boot::{BootEnv, BootState, Health, Loaded, Reason, TransitionError};
use gybe_core::slot::Slot;

use crate::{FakeFile, Power, Random, Tear};

/// How an environment broke its contract. Everything needed to see it again is in here.
#[derive(Clone, Debug)]
pub struct Broken {
    what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Broken {}

/// What was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// How many transitions were stored.
    pub transition_count: usize,
    /// How many times the power was cut.
    pub cut_count: usize,
}

/// The environment under test, in some fake files.
#[derive(Clone, Debug)]
pub struct Bench<O> {
    /// The content of the files of a factory environment.
    pub factory: Vec<Vec<u8>>,
    /// What a cut may do to a write.
    pub tear: Tear,
    /// Whether a ruined sector may cost the trial, though never a Good slot: an environment without
    /// a second copy of everything cannot do better. A torn write may not.
    pub safe_is_enough: bool,
    /// Opens the environment in these files.
    pub open: O,
}

/// How often each write is torn in another way.
const TEARS: u64 = 24;

/// The life of a device, as states to store one after another.
fn life() -> Result<Vec<BootState>, TransitionError> {
    let (a, b) = (Slot::A, Slot::B);
    let mut states = vec![];
    let mut state = BootState::factory(Some(a));
    let mut then = |next: BootState| {
        states.push(next);
        next
    };
    state = then(state.clear(b, Some(a))?);
    state = then(state.arm(b, 3)?);
    for _ in 0..4 {
        state = then(state.boot().store.unwrap_or(state));
    }
    state = then(state.arm(b, 7)?);
    state = then(state.fail(b, Reason::Health)?);
    state = then(state.clear(b, Some(a))?);
    state = then(state.arm(b, 1)?);
    state = then(state.boot().store.unwrap_or(state));
    state = then(state.commit(b)?);
    state = then(state.rollback(b)?);
    state = then(state.clear(b, Some(a))?);
    state = then(state.arm(b, 2)?);
    state = then(state.cancel_trial()?);
    state = then(state.adopt(b));
    then(state.fail(a, Reason::Verity)?);
    Ok(states)
}

impl<E: BootEnv, O: Fn(Vec<FakeFile>) -> E> Bench<O> {
    /// Holds the environment to its contract.
    ///
    /// # Errors
    /// [`Broken`] says where it did not keep it.
    pub fn check(&self) -> Result<Checked, Broken> {
        let mut checked = Checked::default();
        let mut before = self.factory.clone();
        let mut state = None;
        self.expect(&before, "factory", &[Loaded { state, health: Health::Whole }])?;
        for next in life().map_err(|error| Broken { what: error.to_string() })? {
            let (after, op_count) = self.store(&before, &next)?;
            let whole = Loaded { state: Some(next), health: Health::Whole };
            self.expect(&after, "stored", &[whole])?;
            for (cut, seed) in (0..op_count).flat_map(|cut| (0..TEARS).map(move |s| (cut, s))) {
                self.cut(&before, state, &next, cut, seed)?;
                checked.cut_count += 1;
            }
            self.damage(&after, state, &next)?;
            checked.transition_count += 1;
            (before, state) = (after, Some(next));
        }
        Ok(checked)
    }

    fn files(&self, power: &Power, contents: &[Vec<u8>], seed: u64) -> Vec<FakeFile> {
        let files = contents.iter().map(|bytes| FakeFile::new(power, bytes.clone()));
        files.inspect(|file| file.tear(self.tear, seed)).collect()
    }

    fn store(&self, before: &[Vec<u8>], next: &BootState) -> Result<(Vec<Vec<u8>>, u64), Broken> {
        let power = Power::new();
        let files = self.files(&power, before, 0);
        let stored = (self.open)(files.clone()).store(next);
        stored.map_err(|error| Broken { what: format!("cannot store {next:?}: {error}") })?;
        Ok((files.iter().map(FakeFile::bytes).collect(), power.op_count()))
    }

    /// Cuts the power during one write, and wants the state before or after; and after one more
    /// store, everything as it should be.
    fn cut(
        &self,
        before: &[Vec<u8>],
        state: Option<BootState>,
        next: &BootState,
        cut: u64,
        seed: u64,
    ) -> Result<(), Broken> {
        let power = Power::new();
        power.cut_at(cut);
        let files = self.files(&power, before, seed);
        let place = format!("power cut at write {cut}, seed {seed}");
        if (self.open)(files.clone()).store(next).is_ok() {
            return Err(Broken { what: format!("{place}: stored {next:?} without power") });
        }
        power.on();
        let torn: Vec<Vec<u8>> = files.iter().map(FakeFile::bytes).collect();
        let any_health = [Health::Whole, Health::CopyDamaged, Health::Safe];
        let mut allowed = vec![];
        for state in [state, Some(*next)] {
            allowed.extend(any_health.map(|health| Loaded { state, health }));
        }
        if self.safe_is_enough && matches!(self.tear, Tear::Noise(_)) {
            allowed.extend(safe(state, next));
        }
        self.expect(&torn, &place, &allowed)?;
        let (repaired, _) = self.store(&torn, next)?;
        let whole = Loaded { state: Some(*next), health: Health::Whole };
        self.expect(&repaired, &format!("{place}, stored again"), &[whole])
    }

    /// Ruins each file, which costs at most the last transition or the trial, and all of them, which
    /// is an error.
    fn damage(
        &self,
        after: &[Vec<u8>],
        before: Option<BootState>,
        state: &BootState,
    ) -> Result<(), Broken> {
        let ruined = |only: Option<usize>| {
            let mut files = after.to_vec();
            for (file, index) in files.iter_mut().zip(0..) {
                if only.is_none_or(|only| only == index) {
                    Random::new(1).fill(file);
                }
            }
            files
        };
        let damaged = |state| Loaded { state, health: Health::CopyDamaged };
        let mut allowed = vec![damaged(Some(*state))];
        if self.safe_is_enough {
            allowed.extend(safe(Some(*state), state));
        } else {
            allowed.push(damaged(before));
        }
        if after.len() > 1 {
            for index in 0..after.len() {
                self.expect(&ruined(Some(index)), &format!("file {index} ruined"), &allowed)?;
            }
        }
        match (self.open)(self.files(&Power::new(), &ruined(None), 0)).load() {
            Err(_) => Ok(()),
            Ok(loaded) => Err(Broken { what: format!("nothing but noise, loaded as {loaded:?}") }),
        }
    }

    fn expect(&self, files: &[Vec<u8>], place: &str, allowed: &[Loaded]) -> Result<(), Broken> {
        let found = (self.open)(self.files(&Power::new(), files, 0)).load();
        if found.as_ref().is_ok_and(|found| allowed.contains(found)) {
            return Ok(());
        }
        Err(Broken { what: format!("{place}: {found:?} is none of {allowed:?}") })
    }
}

/// Every record of Good slots that may be in force between `state` and `next`: none names a slot
/// that is not Good before and after, and none is empty while something is.
fn safe(state: Option<BootState>, next: &BootState) -> Vec<Loaded> {
    let before = state.unwrap_or(*next);
    let both = Slot::ALL.map(|slot| before.is_good(slot) && next.is_good(slot));
    let records = [[true, true], [true, false], [false, true], [false, false]];
    let mut allowed = vec![];
    for [a, b] in
        records.into_iter().filter(|[a, b]| [*a && !both[0], *b && !both[1]] == [false; 2])
    {
        for order in Slot::ALL {
            let mut record = BootState { trial: None, failed: None, order, ..*next };
            (record.good.a, record.good.b) = (a, b);
            if a || b || both == [false; 2] {
                allowed.push(Loaded { state: Some(record), health: Health::Safe });
            }
        }
    }
    if state.is_none() {
        allowed.push(Loaded { state: None, health: Health::Safe });
    }
    allowed
}
