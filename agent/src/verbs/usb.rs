//! `gybe usb`: what a stick holds, as when it is plugged in.
//!
//! Nobody may be there to answer, so it goes only forward, as an automatic update does; but what is
//! tracked stays what it was.
//!
//! | step | a power cut, or the stick pulled out, leaves |
//! |---|---|
//! | mount, search, read everything | the device as it was |
//! | install | the running slot as it was, the inactive one Unbootable; plugging in again goes on |
//! | arm | the state before or after one environment write |

use gybe_oci::Source;
use serde::Serialize;
use tracing::{info, warn};

use super::bring::{Arm, Asked, Order, bring};
use super::report;
use crate::cli::{Exit, Report, Usb};
use crate::config::usb::Then;
use crate::error::Error;
use crate::output;
use crate::progress::Display;
use crate::release::{Offer, OfferError, architecture};
use crate::root::Root;
use crate::session::Session;
use crate::update::{self, Candidate, Decision, Failures};
use crate::usb::{self, Bundle, Opened, UsbError};

/// Most reasons that a message gives.
const REASONS_MAX: usize = 8;

#[derive(Serialize)]
struct Nothing<'a> {
    version: u8,
    device: &'a str,
    installed: bool,
    why: &'a str,
}

pub(super) fn run(root: &Root, asked: &Usb) -> Result<Exit, Error> {
    let device = asked.device.display().to_string();
    let nothing = |why: &str| Ok(nothing(&device, why, asked.report));
    let (mut session, mut memory) = Session::begin(root)?;
    if !session.config.usb.enabled {
        return nothing("usb.enabled is false in the configuration");
    }
    // Asked before anything is looked at: what runs must be kept or given up first.
    let slot = session.slots.inactive(None)?;
    session.boot.clear(slot, session.slots.running_slot())?;
    let medium = match usb::open(root, &asked.device)? {
        Opened::Medium(medium) => medium,
        Opened::Nothing(why) => return nothing(&why),
    };
    let bundles = usb::search(&medium)?;
    if bundles.is_empty() {
        return nothing("there is no bundle on it: no OCI layout, no folder gybe, no *.gybe.tar");
    }
    let Found { mut offer, candidate } = choose(&session, &device, &bundles)?;
    let version = candidate.name.version.clone();
    info!(stick = %device, release = %candidate.name.digest, %version, "found");
    match update::decide(&session, memory.state(), &candidate, Failures::Respect) {
        Decision::Update => {}
        Decision::Armed { slot } => {
            return nothing(&format!("{version} is armed in slot {slot} already"));
        }
        Decision::None(why @ update::Why::Running) => {
            return nothing(&format!("{version}: {why}"));
        }
        Decision::None(why) => {
            let (name, why) = (offer.reference, why.to_string());
            return Err(UsbError::NotAnUpdate { name, version, why }.into());
        }
    }
    verify(&session, &offer, asked)?;
    let order =
        Order { slot: None, arm: Arm::Now, asked: Asked::Automatically, progress: asked.progress };
    let brought = bring(&mut session, &mut memory, &mut offer, order)?;
    report::brought(&brought, asked.report);
    match session.config.usb.then {
        Then::Reboot => session.reboot()?,
        Then::Wait => info!("the next boot tries it"),
    }
    Ok(Exit::RebootNeeded)
}

/// A release for this device.
struct Found {
    offer: Offer,
    candidate: Candidate,
}

/// The newest release that is for this device, in whatever bundle it is.
fn choose(session: &Session, device: &str, bundles: &[Bundle]) -> Result<Found, Error> {
    let mut best: Option<Found> = None;
    let mut reasons = Vec::new();
    for bundle in bundles {
        let listed = bundle.open().and_then(|layout| layout.listed(None));
        let listed = match listed {
            Ok(listed) => listed,
            Err(cause) => {
                warn!(%cause, "bundle passed over");
                reasons.push(cause.to_string());
                continue;
            }
        };
        for listed in listed {
            let machine = listed.descriptor.platform.as_ref();
            if let Some(other) = machine.filter(|it| it.architecture != architecture()) {
                reasons.push(format!("{}: a release for {other}", bundle.name));
                continue;
            }
            let offer = bundle
                .open()
                .and_then(|layout| Ok((layout.read_listed(listed)?, layout)))
                .map_err(OfferError::from)
                .and_then(|(found, layout)| {
                    gybe_oci::Offer::of(Source::Layout(layout), found, &bundle.name)
                });
            let found = offer.map_err(Error::from).and_then(|offer| {
                let offer = Offer::of(offer, &bundle.name);
                let candidate = Candidate::read(session, &offer)?;
                Ok(Found { offer, candidate })
            });
            match found {
                Ok(found) => {
                    let newer = |best: &Found| found.candidate.sequence > best.candidate.sequence;
                    if best.as_ref().is_none_or(newer) {
                        best = Some(found);
                    }
                }
                Err(cause) => {
                    warn!(%cause, "release passed over");
                    reasons.push(cause.to_string());
                }
            }
        }
    }
    if reasons.is_empty() {
        reasons.push("there is no release in it".to_owned());
    }
    reasons.truncate(REASONS_MAX);
    best.ok_or_else(|| UsbError::Refused { name: device.to_owned(), reasons }.into())
}

/// Reads all of it, so that a corrupt stick is known before the slot is touched.
fn verify(session: &Session, offer: &Offer, asked: &Usb) -> Result<(), Error> {
    let policy = session.admit(&offer.package, &offer.reference)?.policy;
    let release = offer.open_release(&policy)?;
    let display = Display::new(asked.progress);
    let show = |phase, done, total| display.show(phase, done, total);
    let checked = usb::check(&offer.source, release.manifest(), &show);
    display.end();
    info!(bytes = checked?, "the bundle is whole");
    Ok(())
}

fn nothing(device: &str, why: &str, report: Report) -> Exit {
    if report.json {
        output::json(&Nothing { version: 1, device, installed: false, why });
    } else {
        output::data(format_args!("{device}: nothing is installed: {why}"));
    }
    Exit::Done
}
