//! Claims about the two files, and the order in which they are written.

use std::vec::Vec;

use Slot::{A, B};
use gybe_core::boot::Reason;
use gybe_core::slot::Slot;

use super::*;

/// A file in memory that remembers each write.
#[derive(Default)]
struct File {
    content: Vec<u8>,
    writes: usize,
    fails: bool,
}

impl EnvFile for File {
    type Error = &'static str;

    fn read(&mut self, content: &mut [u8]) -> Result<usize, Self::Error> {
        if self.fails {
            return Err("cannot read");
        }
        let len = content.len().min(self.content.len());
        content[..len].copy_from_slice(&self.content[..len]);
        Ok(len)
    }

    fn write(&mut self, content: &[u8]) -> Result<(), Self::Error> {
        if self.fails {
            return Err("cannot write");
        }
        self.content = content.to_vec();
        self.writes += 1;
        Ok(())
    }
}

fn file(state: Option<&BootState>) -> File {
    let block = state.map_or(Block::empty(), |state| Block::empty().with_state(state).unwrap());
    File { content: block.as_bytes().to_vec(), ..File::default() }
}

fn damaged() -> File {
    File { content: Vec::new(), ..File::default() }
}

fn good(slots: &[Slot]) -> BootState {
    let mut state = BootState::factory(None);
    for slot in slots {
        *state.good.of_mut(*slot) = true;
    }
    state
}

fn load(live: File, safe: File) -> Result<Loaded, EnvironmentError<&'static str>> {
    Environment::new(live, safe).load()
}

/// Which files were written how often when `new` was stored: the live and the safe one.
fn writes(live: &BootState, safe: &BootState, new: &BootState) -> [usize; 2] {
    let mut environment = Environment::new(file(Some(live)), file(Some(safe)));
    environment.store(new).unwrap();
    assert_eq!(environment.load(), Ok(Loaded { state: Some(*new), health: Health::Whole }));
    let (live, safe) = environment.into_files();
    [live.writes, safe.writes]
}

#[test]
fn the_live_file_is_believed_while_it_is_whole() {
    let armed = good(&[A]).arm(B, 3).unwrap();
    let whole = Loaded { state: Some(armed), health: Health::Whole };
    assert_eq!(load(file(Some(&armed)), file(Some(&good(&[A])))), Ok(whole));
    for safe in [damaged(), file(None), file(Some(&good(&[A, B])))] {
        let one_damaged = Loaded { health: Health::CopyDamaged, ..whole };
        assert_eq!(load(file(Some(&armed)), safe), Ok(one_damaged));
    }
}

#[test]
fn a_damaged_or_emptied_live_file_means_safe_and_no_trial() {
    let armed = good(&[A]).arm(B, 3).unwrap();
    let mut torn = file(Some(&armed));
    let end = torn.content.windows(8).position(|text| text == b"gybe_end").unwrap();
    torn.content[end..].fill(b'#');
    for live in [damaged(), file(None), torn, File { fails: true, ..File::default() }] {
        let safe = Loaded { state: Some(good(&[A])), health: Health::Safe };
        assert_eq!(load(live, file(Some(&armed))), Ok(safe), "not even one that stands in safe");
    }
}

#[test]
fn two_files_without_our_variables_are_a_factory_environment() {
    assert_eq!(load(file(None), file(None)), Ok(Loaded { state: None, health: Health::Whole }));
    let one = Loaded { state: None, health: Health::CopyDamaged };
    assert_eq!(load(file(None), damaged()), Ok(one));
    assert_eq!(load(damaged(), file(None)), Ok(Loaded { health: Health::Safe, ..one }));
}

#[test]
fn two_damaged_files_are_an_error_that_names_both_causes() {
    let error = load(damaged(), File { fails: true, ..File::default() }).unwrap_err();
    let text = std::format!("{error}");
    let live = "environment block is 0 bytes or more, not 1024";
    assert_eq!(text, std::format!("boot environment: {live}; and its safe copy: cannot read"));
}

#[test]
fn two_damaged_files_are_repaired_by_formatting() {
    let mut environment = Environment::new(damaged(), damaged());
    environment.format().unwrap();
    assert_eq!(environment.load(), Ok(Loaded { state: None, health: Health::Whole }));
}

#[test]
fn the_safe_file_is_lowered_before_a_slot_is_cleared() {
    let both = good(&[A, B]);
    let cleared = both.clear(B, Some(A)).unwrap();
    assert_eq!(writes(&both, &both, &cleared), [1, 1]);
    let mut environment =
        Environment::new(File { fails: true, ..File::default() }, file(Some(&both)));
    environment.store(&cleared).unwrap_err();
    assert_eq!(environment.load().unwrap().state, Some(cleared), "safe came first");
}

#[test]
fn the_safe_file_is_raised_after_a_commit() {
    let trial = good(&[A]).arm(B, 1).unwrap();
    let committed = trial.commit(B).unwrap();
    assert_eq!(writes(&trial, &good(&[A]), &committed), [1, 1]);
    let mut environment =
        Environment::new(File { fails: true, ..File::default() }, file(Some(&good(&[A]))));
    environment.store(&committed).unwrap_err();
    assert_eq!(environment.load().unwrap().state, Some(good(&[A])), "safe comes last");
}

#[test]
fn arming_counting_and_failing_are_one_write_each() {
    let idle = good(&[A]);
    let armed = idle.arm(B, 3).unwrap();
    assert_eq!(writes(&idle, &idle, &armed), [1, 0]);
    assert_eq!(writes(&armed, &idle, &armed.boot().store.unwrap()), [1, 0]);
    assert_eq!(writes(&armed, &idle, &armed.fail(B, Reason::Health).unwrap()), [1, 0]);
    assert_eq!(writes(&armed, &idle, &armed), [0, 0], "and nothing new is none");
}

#[test]
fn a_lost_safe_file_does_not_learn_of_a_commit_before_the_live_one() {
    let trial = good(&[A]).arm(B, 1).unwrap();
    let committed = trial.commit(B).unwrap();
    let mut environment = Environment::new(file(Some(&trial)), damaged());
    environment.store(&committed).unwrap();
    assert_eq!(environment.into_files().1.writes, 2, "lowered, then raised");
}

#[test]
fn storing_repairs_what_is_damaged() {
    let idle = good(&[A]);
    for (live, safe) in [(damaged(), file(Some(&idle))), (file(Some(&idle)), damaged())] {
        let mut environment = Environment::new(live, safe);
        environment.store(&idle).unwrap();
        let whole = Loaded { state: Some(idle), health: Health::Whole };
        assert_eq!(environment.load(), Ok(whole));
    }
}
