//! Programs of the integrator's that are told what happens, and two times are asked first.
//!
//! They lie in `/usr/lib/gybe/hooks.d` and then `/etc/gybe/hooks.d`, run in the order of their names, and
//! find the facts in their environment: `GYBE_EVENT` says what it is about.
//!
//! `pre-install` and `pre-reboot` are questions, asked only before what nobody typed. A hook says no by
//! ending with 75 (`EX_TEMPFAIL`); then it is asked again a quarter of an hour later. Everything
//! else is a yes, and a warning: a hook that crashes or hangs must not keep a fleet from its updates. All
//! others are told after it happened, so that no hook can stand in the way of a commit or of a fallback;
//! none is run while a trial's watchdog waits for food.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::config::Telling;
use crate::health::run::{Ending, Ran, run_with};
use crate::health::scripts::{By, Script};
use crate::root::Root;
use crate::state::ReleaseName;
use crate::transitions::Transition;

/// Where hooks lie, the image's own first.
pub const FOLDERS: [&str; 2] = ["/usr/lib/gybe/hooks.d", "/etc/gybe/hooks.d"];
/// The most hooks of a folder.
const HOOKS_MAX: usize = 64;
/// How a hook says no: `EX_TEMPFAIL` of `sysexits.h`.
const NO: &str = "exit code 75";
/// Where hooks find their programs, where we do not know it.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What hooks are asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// A release is about to be written into the inactive slot.
    Install,
    /// The machine is about to reboot into one.
    Reboot,
}

impl Question {
    const fn word(self) -> &'static str {
        match self {
            Self::Install => "pre-install",
            Self::Reboot => "pre-reboot",
        }
    }
}

/// Asks the hooks whether `question` may be done about `release`. Gives the name of the one that says no.
#[must_use]
pub fn ask(
    root: &Root,
    telling: &Telling,
    question: Question,
    release: Option<&ReleaseName>,
) -> Option<String> {
    let mut fields = vec![("GYBE_EVENT".to_owned(), question.word().to_owned())];
    if let Some(release) = release {
        fields.push(("GYBE_TO_VERSION".to_owned(), release.version.clone()));
        fields.push(("GYBE_TO_DIGEST".to_owned(), release.digest.to_string()));
    }
    let mut asked = each(root, telling, &fields);
    let no = asked.find(|(_, ran)| ran.ending == Ending::Failed(NO.to_owned()));
    no.map(|(name, _)| {
        info!(hook = name, question = question.word(), "says that now is not the time");
        name
    })
}

/// Tells the hooks of `transition`, which has happened.
pub fn tell(root: &Root, telling: &Telling, transition: &Transition) {
    for _ in each(root, telling, &transition.fields("GYBE_")) {}
}

/// Runs one hook after the other, as far as somebody wants to know how it ended.
fn each<'a>(
    root: &'a Root,
    telling: &'a Telling,
    fields: &'a [(String, String)],
) -> impl Iterator<Item = (String, Ran)> + 'a {
    let path = std::env::var_os("PATH").unwrap_or_else(|| PATH_DEFAULT.into());
    let time = Duration::from_secs(telling.hook_deadline_s.into());
    find(root).into_iter().map(move |hook| {
        let now = Instant::now();
        let deadline = now.checked_add(time).unwrap_or(now);
        let ran = run_with(&hook, &path, fields, deadline, None);
        match &ran.ending {
            Ending::Passed => {}
            Ending::Failed(why) | Ending::Unstarted(why) => warn!(hook = hook.name, why, "hook"),
            Ending::Deadline => warn!(hook = hook.name, "hook was killed at its deadline"),
        }
        (hook.name, ran)
    })
}

/// Every executable file of both folders.
fn find(root: &Root) -> Vec<Script> {
    let mut hooks = Vec::new();
    for folder in FOLDERS {
        let Ok(entries) = fs::read_dir(root.path(folder)) else { continue };
        let mut found: Vec<_> =
            entries.filter_map(Result::ok).map(|entry| (entry.file_name(), entry.path())).collect();
        found.sort();
        let is_hook = |path: &std::path::PathBuf| {
            fs::metadata(path).is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
        };
        let found = found.into_iter().filter(|(_, path)| is_hook(path)).take(HOOKS_MAX);
        hooks.extend(found.map(|(name, path): (OsString, _)| Script {
            name: name.to_string_lossy().into_owned(),
            path,
            by: By::Itself,
            is_disabled: false,
        }));
    }
    hooks
}
