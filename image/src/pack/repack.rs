//! When data of earlier releases is packed again, and why.
//!
//! Packs only grow in number while releases build on each other, and frames slowly fill up with
//! what no longer is needed. Packing again costs a registry the same bytes a second time, so it is
//! done only as far as one of three limits is crossed:
//!
//! | limit | what it bounds |
//! |---|---|
//! | a pack of which less than an eighth is needed | what a source without ranges sends in vain |
//! | all frames together more than 1.17 × what is needed of them | what a fresh install fetches in vain |
//! | more than 48 packs | a release may have 64 |

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use gybe_core::recipe::{FrameIndex, PackId};

use super::live::LiveFrame;
use crate::base::BasePack;

/// A pack is packed again when less than one part in this many of it is needed.
const NEEDED_MIN: u64 = 8;

/// A fresh install may fetch this many hundredths of what it needs.
const FETCHED_MAX: u64 = 117;

/// The most packs that a release refers to before some are put together.
const PACKS_MAX: usize = 48;

/// How many packs are left then.
const PACKS_AFTER: usize = 32;

/// Why something was packed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Little of a pack is needed any more.
    Dead {
        /// The pack.
        pack: PackId,
        /// How many of its bytes are needed.
        used: u64,
        /// How many it has.
        len: u64,
    },
    /// Frames hold so much that is not needed that a fresh install would fetch too much.
    Waste {
        /// How many bytes it would fetch.
        fetched: u64,
        /// How many it needs.
        used: u64,
    },
    /// There are too many packs.
    TooMany {
        /// How many there would be.
        packs: usize,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dead { pack, used, len } => {
                write!(f, "of pack {} only {used} of {len} bytes are still used", pack.0)
            }
            Self::Waste { fetched, used } => write!(
                f,
                "a fresh install would fetch {fetched} bytes for {used} that it uses, limit \
                 {FETCHED_MAX} %"
            ),
            Self::TooMany { packs } => {
                write!(f, "there would be {packs} packs, limit {PACKS_MAX}")
            }
        }
    }
}

/// What is to be packed again.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) frames: BTreeSet<(PackId, FrameIndex)>,
    pub(super) reasons: Vec<Reason>,
}

/// Plans what of `live` is packed again beside `new_len` bytes of new data.
pub(super) fn plan(packs: &[BasePack], live: &[LiveFrame], new_len: u64) -> Plan {
    let lens: Vec<(PackId, u64)> = packs.iter().map(|pack| (pack.id, pack.len())).collect();
    plan_for(&lens, live, new_len)
}

fn plan_for(packs: &[(PackId, u64)], live: &[LiveFrame], new_len: u64) -> Plan {
    let mut plan = Plan::default();
    plan.dead(packs, live);
    plan.waste(live, new_len);
    plan.too_many(live);
    plan
}

impl Plan {
    fn has(&self, frame: &LiveFrame) -> bool {
        self.frames.contains(&(frame.pack, frame.frame))
    }

    fn add(&mut self, frame: &LiveFrame) {
        self.frames.insert((frame.pack, frame.frame));
    }

    fn dead(&mut self, packs: &[(PackId, u64)], live: &[LiveFrame]) {
        let needed = needed(live.iter());
        for &(pack, len) in packs {
            let used = needed.get(&pack).copied().unwrap_or(0);
            if used > 0 && used.saturating_mul(NEEDED_MIN) < len {
                live.iter().filter(|frame| frame.pack == pack).for_each(|frame| self.add(frame));
                self.reasons.push(Reason::Dead { pack, used, len });
            }
        }
    }

    fn waste(&mut self, live: &[LiveFrame], new_len: u64) {
        let used = new_len + live.iter().map(LiveFrame::used_len).sum::<u64>();
        let taken = |frame| if self.has(frame) { frame.used_len() } else { frame.stored_len };
        let mut fetched = new_len + live.iter().map(taken).sum::<u64>();
        let too_much =
            |fetched: u64| fetched.saturating_mul(100) > used.saturating_mul(FETCHED_MAX);
        if !too_much(fetched) {
            return;
        }
        self.reasons.push(Reason::Waste { fetched, used });
        // Where the least is needed, the most is saved for what is packed again.
        let mut wasteful: Vec<&LiveFrame> = live.iter().filter(|frame| !self.has(frame)).collect();
        wasteful.sort_by_key(|frame| (frame.live_blocks() << 16) / frame.blocks.max(1));
        for frame in wasteful {
            if !too_much(fetched) {
                break;
            }
            fetched = fetched.saturating_sub(frame.stored_len.saturating_sub(frame.used_len()));
            self.add(frame);
        }
    }

    fn too_many(&mut self, live: &[LiveFrame]) {
        let needed = needed(live.iter().filter(|frame| !self.has(frame)));
        // And the one that is new.
        let packs = needed.len() + 1;
        if packs <= PACKS_MAX {
            return;
        }
        self.reasons.push(Reason::TooMany { packs });
        let mut smallest: Vec<(u64, PackId)> =
            needed.into_iter().map(|(pack, used)| (used, pack)).collect();
        smallest.sort_unstable();
        let gone = smallest.iter().take(packs.saturating_sub(PACKS_AFTER));
        let gone: BTreeSet<PackId> = gone.map(|(_, pack)| *pack).collect();
        live.iter().filter(|frame| gone.contains(&frame.pack)).for_each(|frame| self.add(frame));
    }
}

/// How many bytes of each pack are needed.
fn needed<'f>(live: impl Iterator<Item = &'f LiveFrame>) -> BTreeMap<PackId, u64> {
    let mut needed = BTreeMap::new();
    for frame in live {
        *needed.entry(frame.pack).or_insert(0) += frame.used_len();
    }
    needed
}

#[cfg(test)]
mod tests {
    use gybe_core::digest::Digest;

    use super::super::live::LiveChunk;
    use super::*;

    /// A frame of 100 blocks and 1000 bytes, of which `live` blocks are needed.
    fn frame(pack: u16, frame: u32, live: u32) -> LiveFrame {
        let chunk = LiveChunk { count: live, digest: Digest::of(b""), begins: false };
        LiveFrame {
            pack: PackId(pack),
            frame: FrameIndex(frame),
            stored_len: 1000,
            blocks: 100,
            chunks: BTreeMap::from([(0, chunk)]),
        }
    }

    fn frames(plan: &Plan) -> Vec<(u16, u32)> {
        plan.frames.iter().map(|(pack, frame)| (pack.0, frame.0)).collect()
    }

    #[test]
    fn what_is_needed_stays_where_it_is() {
        let live = [frame(0, 0, 100), frame(0, 1, 90), frame(1, 0, 80)];
        let plan = plan_for(&[(PackId(0), 15_200), (PackId(1), 1000)], &live, 0);
        assert_eq!(plan, Plan::default());
    }

    #[test]
    fn a_pack_of_which_little_is_needed_is_packed_again() {
        let live = [frame(0, 3, 100), frame(0, 7, 90), frame(1, 0, 100)];
        let plan = plan_for(&[(PackId(0), 15_201), (PackId(1), 1000)], &live, 0);
        assert_eq!(frames(&plan), [(0, 3), (0, 7)]);
        assert_eq!(plan.reasons, [Reason::Dead { pack: PackId(0), used: 1900, len: 15_201 }]);
        assert_eq!(plan_for(&[(PackId(0), 15_200)], &live, 0), Plan::default());
        // One of which nothing is needed is simply left out.
        assert_eq!(plan_for(&[(PackId(5), 9000)], &[], 0), Plan::default());
    }

    #[test]
    fn the_frames_with_the_most_waste_are_packed_again_until_little_is_wasted() {
        let live: Vec<_> = (0..10).map(|at| frame(0, at, 60 + 4 * at)).collect();
        let packs = [(PackId(0), 10_000)];
        let plan = plan_for(&packs, &live, 0);
        assert_eq!(plan.reasons, [Reason::Waste { fetched: 10_000, used: 7800 }]);
        assert_eq!(frames(&plan), [(0, 0), (0, 1), (0, 2)]);
        let after: u64 =
            live.iter().map(|it| if plan.has(it) { it.used_len() } else { it.stored_len }).sum();
        assert!(after * 100 <= 7800 * FETCHED_MAX, "{after}");
        // Beside enough that is new, the same waste does not matter.
        assert_eq!(plan_for(&packs, &live, 7000), Plan::default());
    }

    #[test]
    fn the_smallest_of_too_many_packs_are_put_together() {
        let live: Vec<_> = (0..48).map(|pack| frame(pack, 0, 60 + u32::from(pack))).collect();
        let packs: Vec<_> = (0..48).map(|pack| (PackId(pack), 1000)).collect();
        let plan = plan_for(&packs, &live, 100_000);
        assert_eq!(plan.reasons, [Reason::TooMany { packs: 49 }]);
        assert_eq!(frames(&plan), (0..17).map(|pack| (pack, 0)).collect::<Vec<_>>());
        assert_eq!(plan_for(&packs[1..], &live[1..], 100_000), Plan::default());
    }
}
