//! A channel that several threads take from.

use std::sync::Mutex;
use std::sync::mpsc::Receiver;

/// The receiving end of a channel, shared by the threads that do what comes out of it.
#[derive(Debug)]
pub(super) struct Intake<T>(Mutex<Option<Receiver<T>>>);

impl<T> Intake<T> {
    pub(super) const fn new(receiver: Receiver<T>) -> Self {
        Self(Mutex::new(Some(receiver)))
    }

    /// The next thing, waited for; `None` when there is no more, or nobody wants more.
    pub(super) fn next(&self) -> Option<T> {
        self.0.lock().ok()?.as_ref()?.recv().ok()
    }

    /// Takes no more from anybody, so that whoever sends ends too.
    pub(super) fn close(&self) {
        if let Ok(mut receiver) = self.0.lock() {
            *receiver = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;
    use std::thread;

    use super::*;

    #[test]
    fn everything_is_taken_once_and_nothing_after_closing() {
        let (send, receive) = sync_channel(1);
        let intake = Intake::new(receive);
        let mut taken = thread::scope(|scope| {
            let take = || std::iter::from_fn(|| intake.next()).collect::<Vec<u32>>();
            let threads = [scope.spawn(take), scope.spawn(take)];
            (0..100).for_each(|number| send.send(number).unwrap());
            drop(send);
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<u32>>()
        });
        taken.sort_unstable();
        assert_eq!(taken, (0..100).collect::<Vec<_>>());

        let (send, receive) = sync_channel(1);
        let intake = Intake::new(receive);
        send.send(1).unwrap();
        intake.close();
        assert_eq!((intake.next(), send.send(2).is_err()), (None, true));
    }
}
