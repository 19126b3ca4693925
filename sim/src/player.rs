//! Plays the boot loader: the decision of the core, made on a real or fake environment.

use gybe_core::boot::{BootEnv, BootState, Load};
use gybe_core::slot::Slot;

/// What came of one start of the loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Played {
    /// What was stored before anything was loaded.
    pub stored: Stored,
    /// The slot that was loaded; `None` when nothing could be, and the board was reset.
    pub booted: Option<Slot>,
    /// Whether it was, or should have been, a try.
    pub trial: bool,
}

/// What became of the write before loading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// There was nothing to write.
    Nothing,
    /// It was written.
    State(BootState),
    /// It could not be written.
    Failed,
}

/// Starts the loader once. `is_loadable` says whether it could load a slot's kernel and initramfs.
///
/// A loader boots whatever happens, so an environment that cannot be read is for it what an empty
/// one is: slot A first, then B.
pub fn play<E: BootEnv>(environment: &mut E, is_loadable: impl FnMut(Slot) -> bool) -> Played {
    let loaded = environment.load().ok().and_then(|loaded| loaded.state);
    let boot = loaded.unwrap_or_else(|| BootState::factory(None)).boot();
    let (stored, load) = match boot.store {
        None => (Stored::Nothing, boot.stored),
        Some(state) => match environment.store(&state) {
            Ok(()) => (Stored::State(state), boot.stored),
            Err(_) => (Stored::Failed, boot.unstored),
        },
    };
    let Load { slot, trial, otherwise } = load;
    let booted = [Some(slot), otherwise].into_iter().flatten().find({
        let mut is_loadable = is_loadable;
        move |slot| is_loadable(*slot)
    });
    Played { stored, booted, trial }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FakeEnv, FakeFile, Power};
    use Slot::{A, B};

    fn armed() -> (FakeFile, FakeEnv) {
        let file = FakeFile::new(&Power::new(), vec![]);
        let mut environment = FakeEnv::new(file.clone());
        let state = BootState::factory(Some(A)).arm(B, 2).unwrap();
        environment.store(&state).unwrap();
        (file, environment)
    }

    #[test]
    fn an_unconfirmed_trial_falls_back_after_its_tries() {
        let (file, mut environment) = armed();
        let booted: Vec<_> =
            (0..5).map(|_| play(&mut environment, |_| true)).map(|p| (p.booted, p.trial)).collect();
        let (trial, fallback) = ((Some(B), true), (Some(A), false));
        assert_eq!(booted, [trial, trial, fallback, fallback, fallback]);
        assert_eq!(file.write_count(), 1 + 3, "arm, two tries, the failure, and nothing more");
    }

    #[test]
    fn a_trial_that_cannot_be_loaded_costs_a_try() {
        let (_, mut environment) = armed();
        let only_a = |slot| slot == A;
        let booted: Vec<_> = (0..3).map(|_| play(&mut environment, only_a).booted).collect();
        assert_eq!(booted, [None, None, Some(A)]);
    }

    #[test]
    fn a_try_that_cannot_be_counted_is_not_made() {
        let (file, mut environment) = armed();
        let before = file.bytes();
        file.fail(true);
        assert_eq!(play(&mut environment, |_| true).booted, Some(A), "as if it were empty");
        file.fail(false);
        assert_eq!(file.bytes(), before);
    }

    #[test]
    fn a_good_slot_that_cannot_be_loaded_gives_way_without_a_write() {
        let file = FakeFile::new(&Power::new(), vec![]);
        let mut environment = FakeEnv::new(file.clone());
        let state = BootState::factory(Some(A)).arm(B, 1).unwrap().commit(B).unwrap();
        environment.store(&state).unwrap();
        let played = play(&mut environment, |slot| slot == A);
        assert_eq!(played, Played { stored: Stored::Nothing, booted: Some(A), trial: false });
        assert_eq!(file.write_count(), 1);
    }
}
