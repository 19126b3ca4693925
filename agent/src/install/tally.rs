//! What an install cost, and how far it is.

use gybe_oci::Source;
use serde::Serialize;

use super::wanted::{Lies, Wanted};
use super::{Job, bytes};
use crate::release::Read;

/// Told how many bytes of how many are done in a phase.
pub type Progress<'a> = dyn Fn(Phase, u64, u64) + Sync + 'a;

/// A part of an install.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// A stick is read before anything of it is used.
    Verify,
    /// The recipe is brought to the slot.
    Recipe,
    /// What the slots have is found and copied.
    Copy,
    /// The rest is fetched.
    Fetch,
    /// Everything is read back and compared.
    ReadBack,
}

/// What an install took from where. Each block of the release is counted once in `copied`,
/// `skipped`, `zero` or `unpacked`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Bytes read from the source: manifest, configuration, signatures, recipe, and frames.
    pub fetched_bytes: u64,
    /// How many contiguous ranges of blobs that were: each document and the recipe's table are one,
    /// and so is each run of pages or of frames that lie side by side. From a registry, how many
    /// requests.
    pub requests: u64,
    /// How many frames were fetched.
    pub fetched_frames: u64,
    /// Of `fetched_bytes`, those that nobody wanted: gaps between parts that were asked for as one,
    /// frames that were fetched more than once, what a registry sent beside what it was asked for,
    /// and what it sent again.
    pub wasted_bytes: u64,
    /// Bytes that came out of frames.
    pub unpacked_bytes: u64,
    /// Bytes copied from the running slot.
    pub copied_bytes: u64,
    /// Bytes that were right in the inactive slot already.
    pub skipped_bytes: u64,
    /// Bytes that are zeros.
    pub zero_bytes: u64,
    /// Bytes written to the targets; hash tree and trailer come on top.
    pub written_bytes: u64,
    /// Bytes of all targets.
    pub total_bytes: u64,
}

impl Tally {
    /// The tally of an install that has read nothing but what decides about it.
    pub(super) fn new(job: &Job<'_>) -> Self {
        let Read { bytes: fetched_bytes, requests } = job.read;
        let targets = &job.release.config().targets;
        let total_bytes = targets.iter().map(|target| bytes(target.blocks)).sum();
        Self { fetched_bytes, requests, total_bytes, ..Self::default() }
    }

    /// Puts in place of what was counted what the source says that it took.
    pub(super) fn settle(&mut self, source: &Source) {
        if let Some(traffic) = source.traffic() {
            self.fetched_bytes = traffic.bytes;
            self.requests = traffic.requests;
            self.wasted_bytes += traffic.wasted_bytes;
        }
    }

    /// Counts what comes on top of `parts` parts where requests are led elsewhere.
    pub(super) fn detour(&mut self, source: &Source, parts: u64) {
        let (requests, bytes) = source.detour();
        self.requests += requests * parts;
        self.fetched_bytes += bytes * parts;
        self.wasted_bytes += bytes * parts;
    }

    pub(super) const fn fetched(&mut self, len: u64) {
        self.fetched_bytes += len;
    }

    /// Counts a frame that was fetched, and what of it was written.
    pub(super) fn count(&mut self, wanted: &Wanted) {
        let len = u64::from(wanted.frame.record.stored_len);
        self.fetched(len);
        self.fetched_frames += 1;
        let (requests, wasted) = match wanted.lies {
            Lies::Apart { gap } => (1, gap),
            Lies::Behind { gap } => (0, gap),
            Lies::Again => (1, len),
        };
        self.requests += requests;
        self.wasted_bytes += wasted;
        if wanted.lies != Lies::Again {
            self.fetched(wasted);
        }
        let blocks: u64 = wanted.places.iter().map(|(place, _)| u64::from(place.count)).sum();
        self.unpacked_bytes += bytes(blocks);
        self.written_bytes += bytes(blocks);
    }
}
