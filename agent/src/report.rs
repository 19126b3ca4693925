//! Reports to a configured endpoint: one POST of JSON for each transition.
//!
//! The ring of transitions is the spool: bounded, all its room taken when it was made, and what is
//! dropped is counted. A report is let go of when the endpoint accepted it (any status from 200 to
//! 299). A power cut after that and before it is noted posts it again, under the same number.

use std::time::{Duration, Instant};

use gybe_oci::post_json;
use serde::Serialize;
use tracing::{debug, warn};

use crate::config::{Config, Telling};
use crate::root::Root;
use crate::seed;
use crate::transitions::{self, Transition};

/// Version of the JSON form.
const VERSION: u8 = 1;
/// After so long the rest waits: the daemon has more to do.
const TIME_MAX: Duration = Duration::from_secs(60);

#[derive(Serialize)]
struct Report<'a> {
    version: u8,
    /// What the device is called.
    device: Option<String>,
    compatible: &'a str,
    /// How many reports were lost before this one.
    dropped: u64,
    #[serde(flatten)]
    transition: &'a Transition,
}

/// Posts what waits, oldest first, until something is not accepted; says whether all was.
#[must_use]
pub fn post(root: &Root, telling: &Telling) -> bool {
    let Some(url) = &telling.url else { return true };
    let config = match Config::load(root) {
        Ok(config) => config,
        Err(cause) => {
            warn!(%cause, "nothing is posted");
            return false;
        }
    };
    let device = telling.device.clone().or_else(|| seed::name(root, &config.pull));
    let timeout = Duration::from_secs(telling.timeout_s.into());
    let begun = Instant::now();
    loop {
        if begun.elapsed() > TIME_MAX {
            return false;
        }
        // The file is not held while somebody far away answers.
        let kept = transitions::read_if_possible(root);
        let Some(transition) = kept.next_to_post() else { return true };
        let report = Report {
            version: VERSION,
            device: device.clone(),
            compatible: &config.compatible,
            dropped: kept.dropped,
            transition,
        };
        let body = match serde_json::to_vec(&report) {
            Ok(body) => body,
            Err(cause) => {
                warn!(%cause, "a report has no JSON form");
                return false;
            }
        };
        let mut access = config.registry.access(root, None);
        access.limits.document = timeout;
        access.limits.overall = timeout;
        if let Err(cause) = post_json(access, url, body) {
            warn!(%cause, waiting = kept.waiting(), "reports wait for the endpoint");
            return false;
        }
        let number = transition.sequence;
        debug!(number, "report posted");
        let noted = transitions::change(root, |kept| kept.posted = kept.posted.max(number));
        if let Err(cause) = noted {
            warn!(%cause, "a report that was posted is posted again");
            return false;
        }
    }
}
