//! The updater on the device, as a library of its binary `gybe`.
//!
//! The binary is [`cli`] and one module a verb; everything else serves them. No other package
//! links this one.

pub mod admission;
pub mod cli;
pub mod commit;
pub mod config;
pub mod cores;
pub mod device;
pub mod doctor;
pub mod erofs;
pub mod error;
pub mod etc;
pub mod evidence;
pub mod grow;
pub mod health;
pub mod hooks;
pub mod initramfs;
pub mod install;
pub mod journal;
#[cfg(feature = "keyless")]
pub mod keyless;
pub mod metrics;
pub mod output;
pub mod progress;
pub mod release;
pub mod replica;
pub mod report;
pub mod rollout;
pub mod root;
pub mod run;
pub mod seed;
pub mod session;
pub mod signals;
pub mod state;
pub mod status;
pub mod transitions;
pub mod trust;
pub mod two_areas;
pub mod update;
pub mod usb;
pub mod var;
pub mod verbs;
pub mod window;
