//! The power of a device, which goes off at a chosen operation.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The power that all fakes of one device share. It counts every write and flush, and can be told
/// to go off at one of them; until [`on`](Power::on) nothing works then.
#[derive(Clone, Debug)]
pub struct Power {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    op_count: AtomicU64,
    cut_at: AtomicU64,
}

/// Never reached: the power stays on.
const NEVER: u64 = u64::MAX;

/// The power is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("power was cut at operation {at}")]
pub struct PowerCut {
    /// The operation during which it went off, counted from 0.
    pub at: u64,
}

/// What became of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It ends.
    Done,
    /// The power goes off while it is under way.
    CutNow(PowerCut),
    /// The power is already off: nothing happens.
    Off(PowerCut),
}

impl Default for Power {
    fn default() -> Self {
        Self {
            inner: Arc::new(Inner { op_count: AtomicU64::new(0), cut_at: AtomicU64::new(NEVER) }),
        }
    }
}

impl Power {
    /// Power that stays on.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the power go off during operation `at`, counted from 0 since the device was made.
    pub fn cut_at(&self, at: u64) {
        self.inner.cut_at.store(at, Ordering::SeqCst);
    }

    /// Power is on again, and stays on. Each disk still has to decide what it kept:
    /// [`FakeDisk::power_on`](crate::FakeDisk::power_on).
    pub fn on(&self) {
        self.inner.cut_at.store(NEVER, Ordering::SeqCst);
    }

    /// How many operations there were, a cut one included.
    #[must_use]
    pub fn op_count(&self) -> u64 {
        self.inner.op_count.load(Ordering::SeqCst)
    }

    /// Whether the power is on.
    ///
    /// # Errors
    /// [`PowerCut`] when it is off.
    pub fn check(&self) -> Result<(), PowerCut> {
        let at = self.inner.cut_at.load(Ordering::SeqCst);
        if self.op_count() > at { Err(PowerCut { at }) } else { Ok(()) }
    }

    pub(crate) fn step(&self) -> Step {
        let at = self.inner.cut_at.load(Ordering::SeqCst);
        let op = self.inner.op_count.fetch_add(1, Ordering::SeqCst);
        match op.cmp(&at) {
            std::cmp::Ordering::Less => Step::Done,
            std::cmp::Ordering::Equal => Step::CutNow(PowerCut { at }),
            std::cmp::Ordering::Greater => Step::Off(PowerCut { at }),
        }
    }
}
