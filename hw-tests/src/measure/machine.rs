//! On what and with what was measured: the machine, the tools, the revision.

use std::fs;

use crate::{run, tree};

/// Name of a tool, and the command that tells its version.
const TOOLS: &[(&str, &[&str])] = &[
    ("rustc", &["--version"]),
    ("casync", &["--version"]),
    ("zck", &["--version"]),
    ("zstd", &["--version"]),
    ("skopeo-newer", &["--version"]),
    ("umoci", &["--version"]),
    ("mmdebstrap", &["--version"]),
    ("strace", &["--version"]),
    ("time", &["--version"]),
];

/// Facts in the order of the page: what, and its value.
pub(super) type Facts = Vec<(String, String)>;

/// The machine: as `/proc` tells it.
pub(super) fn machine() -> Facts {
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':'))
            .map_or("?".into(), |(_, value)| value.trim().into())
    };
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let told = |name: &str, arguments: &[&str]| {
        run::answer(run::command(name).args(arguments)).unwrap_or_else(|| "?".into())
    };
    let folder = tree::target();
    let system = told(
        "findmnt",
        &["--noheadings", "--output=FSTYPE", "--target", &folder.to_string_lossy()],
    );
    vec![
        ("processor".into(), format!("{cores} × {}", field("/proc/cpuinfo", "model name"))),
        ("memory".into(), field("/proc/meminfo", "MemTotal")),
        ("kernel".into(), told("uname", &["-srm"])),
        ("slots".into(), format!("files on {system}")),
        ("revision".into(), revision()),
    ]
}

/// The revision that was measured, and whether the tree was as it says.
fn revision() -> String {
    let commit = run::answer(run::command("git").args(["rev-parse", "--short=12", "HEAD"]));
    let mut status = run::command("git");
    // The page itself is what changes here.
    status.args(["status", "--porcelain", "--", ":!docs/benchmarks.md"]);
    let changed = run::answer(&mut status).is_none_or(|lines| !lines.is_empty());
    let mark = if changed { ", with changes" } else { "" };
    format!("{}{mark}", commit.unwrap_or_else(|| "?".into()))
}

/// What the tools call themselves.
pub(super) fn tools() -> Facts {
    let ask = |(name, arguments): &(&str, &[&str])| {
        let output = run::command(name).args(*arguments).output();
        let text = output.map_or_else(
            |cause| cause.to_string(),
            |output| {
                let said = if output.stdout.is_empty() { output.stderr } else { output.stdout };
                String::from_utf8_lossy(&said).into_owned()
            },
        );
        let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("?").trim();
        ((*name).to_owned(), line.trim_matches('*').trim().to_owned())
    };
    TOOLS.iter().map(ask).collect()
}

/// Today, in the form of the page.
pub(super) fn today() -> String {
    let date = run::answer(run::command("date").args(["--utc", "+%Y-%m-%d"]));
    date.unwrap_or_else(|| "?".into())
}
