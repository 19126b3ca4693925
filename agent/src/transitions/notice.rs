//! What the device shows, compared with what was told last.

use super::transition::summary;
use super::{Kind, Told, Transition};
use crate::evidence::Evidence;
use crate::state::{Armed, Fallback, ReleaseName};

/// What the device shows.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// What runs, if its slot is Good.
    pub kept: Option<&'a ReleaseName>,
    /// What is armed or on trial.
    pub armed: Option<&'a Armed>,
    /// The last fallback.
    pub fell_back: Option<&'a Fallback>,
    /// What happened in trials.
    pub evidence: &'a Evidence,
}

/// What is told from now on, and what happened, oldest first. Doing it twice is doing it once.
#[must_use]
pub fn noticed(told: &Told, seen: &Seen<'_>) -> (Told, Vec<Transition>) {
    let mut now = told.clone();
    let mut transitions = Vec::new();
    if let Some(fell_back) = seen.fell_back {
        let Fallback { from, to, reason, .. } = fell_back;
        now.fell_back = Some((from.digest, reason.clone()));
        if now.fell_back != told.fell_back {
            let mut transition = Transition::new(Kind::FellBack).because(reason, "");
            (transition.from, transition.to) = (Some(from.clone()), to.clone());
            transition.evidence = summary(seen.evidence, from.digest);
            transitions.push(transition);
        }
    }
    if let Some(kept) = seen.kept {
        now.kept = Some(kept.clone());
        let was_tried = told.armed.as_ref().is_some_and(|(armed, _)| *armed == kept.digest);
        // What ran before anything was ever told came from a factory.
        if let Some(before) = told.kept.as_ref().filter(|before| *before != kept) {
            let kind = if was_tried { Kind::Updated } else { Kind::RolledBack };
            let mut transition = Transition::new(kind);
            (transition.from, transition.to) = (Some(before.clone()), Some(kept.clone()));
            transition.evidence = summary(seen.evidence, kept.digest).filter(|_| was_tried);
            transitions.push(transition);
        }
    }
    match seen.armed {
        Some(armed) => {
            now.armed = Some((armed.release.digest, armed.rearmed));
            if now.armed != told.armed {
                let mut transition = Transition::new(Kind::Armed);
                transition.from.clone_from(&armed.from);
                transition.to = Some(armed.release.clone());
                transitions.push(transition);
            }
        }
        // Until its fate is told it is known that it was armed.
        None if seen.kept.is_some() => now.armed = None,
        None => {}
    }
    (now, transitions)
}
