//! Work that is spread over the cores of the machine.

use std::num::NonZero;
use std::sync::Mutex;
use std::thread;

use gybe_core::install::{HashPieces, Piece};

/// The most threads that work on one thing: more would only wait for the medium.
const THREADS_MAX: usize = 4;

/// As many threads as the machine runs at once.
#[derive(Clone, Copy, Debug)]
pub struct Cores {
    threads: usize,
}

impl Cores {
    /// Those of this machine that this program may use.
    #[must_use]
    pub fn of_this_machine() -> Self {
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        Self { threads: threads.min(THREADS_MAX) }
    }

    /// As many of them, but no more than `limit`.
    #[must_use]
    pub fn at_most(self, limit: usize) -> Self {
        Self { threads: self.threads.min(limit).max(1) }
    }

    /// Does `work` on each of `items`, and calls `meanwhile` on this thread.
    pub fn each<T: Send>(
        self,
        items: &mut [T],
        meanwhile: &mut dyn FnMut(),
        work: impl Fn(&mut T) + Sync,
    ) {
        let queue = Mutex::new(items.iter_mut());
        let take = || queue.lock().ok().and_then(|mut items| items.next());
        let run = || {
            while let Some(item) = take() {
                work(item);
            }
        };
        thread::scope(|scope| {
            for _ in 1..self.threads {
                // A thread that the system does not give us is no loss: this one does it all.
                let _ = thread::Builder::new().spawn_scoped(scope, run);
            }
            meanwhile();
            run();
        });
    }

    /// Runs `work` on all of them at once, and says which error came first.
    ///
    /// # Errors
    /// That of one that did not come to its end.
    pub fn all<E: Send>(self, work: impl Fn() -> Result<(), E> + Sync) -> Result<(), E> {
        let first = Mutex::new(Ok(()));
        let run = || {
            if let Err(cause) = work()
                && let Ok(mut first) = first.lock()
                && first.is_ok()
            {
                *first = Err(cause);
            }
        };
        thread::scope(|scope| {
            for _ in 1..self.threads {
                let _ = thread::Builder::new().spawn_scoped(scope, run);
            }
            run();
        });
        // A thread that panicked while it held this has ended the program.
        first.into_inner().unwrap_or(Ok(()))
    }
}

impl HashPieces for Cores {
    fn hash(&mut self, pieces: &mut [Piece<'_>], meanwhile: &mut dyn FnMut()) {
        self.each(pieces, meanwhile, Piece::hash);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn everything_is_done_once_on_any_number_of_cores() {
        for threads in 1..=THREADS_MAX {
            for count in [0, 1, 3, 100] {
                let mut items = vec![0; count];
                let mut calls = 0;
                Cores { threads }.each(&mut items, &mut || calls += 1, |item| *item += 1);
                assert_eq!((items, calls), (vec![1; count], 1), "{threads} threads");
            }
        }
    }

    #[test]
    fn all_of_them_work_and_one_error_is_told() {
        let calls = AtomicUsize::new(0);
        let work =
            || if calls.fetch_add(1, Ordering::Relaxed) == 2 { Err("third") } else { Ok(()) };
        assert_eq!(Cores { threads: 4 }.all(work), Err("third"));
        assert_eq!(calls.into_inner(), 4);
        assert_eq!(Cores { threads: 2 }.at_most(1).all(|| Ok::<(), ()>(())), Ok(()));
    }
}
