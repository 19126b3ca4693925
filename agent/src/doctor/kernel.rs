//! What the kernel must be able to do, and what it must have been told.

use std::fs;

use super::Findings;
use crate::device::cmdline;
use crate::root::Root;

const FILE_SYSTEMS: &str = "/proc/filesystems";
const RELEASE: &str = "/proc/sys/kernel/osrelease";
const MODULES: &str = "/lib/modules";
/// The longest list of modules that is read: 4 MiB.
const LIST_LEN_MAX: usize = 4 << 20;

/// File systems, what each is for, and whether one can do without.
const NEEDED: [(&str, &str, Need); 4] = [
    ("erofs", "the root file system", Need::Must),
    ("overlay", "a writable /etc", Need::Should),
    ("vfat", "the boot environment on a FAT", Need::Should),
    ("ext4", "the state partition", Need::Should),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Must,
    Should,
}

pub(super) fn look(root: &Root, findings: &mut Findings) {
    let kernel = Kernel::read(root);
    for (name, purpose, need) in NEEDED {
        let what = "kernel";
        match (kernel.has_file_system(name), need) {
            (true, _) => findings.ok(what, name),
            (false, Need::Must) => {
                findings.fail(
                    what,
                    format!("no {name} for {purpose}"),
                    "build it in, or as a module",
                );
            }
            (false, Need::Should) => {
                findings.warn(
                    what,
                    format!("no {name} for {purpose}"),
                    "build it in, or as a module",
                );
            }
        }
    }
    if kernel.has_module("dm_verity", "dm-verity") {
        findings.ok("kernel", "dm-verity");
    } else {
        let todo = "set CONFIG_DM_VERITY: the root is not checked without it";
        findings.fail("kernel", "no dm-verity", todo);
    }
    told(root, findings);
    pstore(root, findings);
}

/// What the kernel was told that decides whether it comes back.
fn told(root: &Root, findings: &mut Findings) {
    let line = fs::read(root.path(cmdline::FILE)).unwrap_or_default();
    let line = String::from_utf8_lossy(&line);
    let last = |name: &str| {
        let words = line.split_ascii_whitespace().take_while(|word| *word != "--");
        words.filter_map(|word| word.strip_prefix(name)?.strip_prefix('=')).last()
    };
    match last("panic").map(str::parse::<i64>) {
        Some(Ok(0)) | None => findings.fail(
            "panic",
            "the kernel was not told to reboot after a panic, so it stops there",
            "add panic=10 to the image's kernel arguments",
        ),
        Some(Ok(seconds)) => findings.ok("panic", format!("panic={seconds}: the kernel reboots")),
        Some(Err(_)) => {
            findings.fail("panic", "panic= is no number", "add panic=10 to the image's arguments");
        }
    }
    if last("rd.emergency") == Some("reboot") {
        findings.ok("initramfs", "rd.emergency=reboot");
    } else {
        findings.warn(
            "initramfs",
            "it may wait for somebody at the console when it fails",
            "add rd.emergency=reboot rd.shell=0, where dracut made it",
        );
    }
}

/// Whether the kernel's last words outlive a reboot.
fn pstore(root: &Root, findings: &mut Findings) {
    let backend = fs::read_to_string(root.path("/sys/module/pstore/parameters/backend"));
    let backend = backend.as_deref().map_or("", str::trim);
    if backend.is_empty() || backend == "(null)" {
        findings.warn(
            "pstore",
            "none, so a panic cannot be told from a power cut",
            "reserve memory for ramoops, or enable efi-pstore",
        );
    } else {
        findings.ok("pstore", format!("kept by {backend}"));
    }
}

/// What a kernel is known to have, built in, loaded, or as a module that could be.
struct Kernel {
    file_systems: String,
    lists: String,
    loaded: Vec<String>,
}

impl Kernel {
    fn read(root: &Root) -> Self {
        let text = |path: String| {
            let mut bytes = fs::read(root.path(path)).unwrap_or_default();
            bytes.truncate(LIST_LEN_MAX);
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let release = text(RELEASE.to_owned()).trim().to_owned();
        let list = |name: &str| text(format!("{MODULES}/{release}/modules.{name}"));
        let loaded = fs::read_dir(root.path("/sys/module")).into_iter().flatten();
        let loaded = loaded.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Self {
            file_systems: text(FILE_SYSTEMS.to_owned()),
            lists: list("builtin") + &list("dep"),
            loaded: loaded.collect(),
        }
    }

    fn has_file_system(&self, name: &str) -> bool {
        let known = |line: &str| line.split_ascii_whitespace().next_back() == Some(name);
        self.file_systems.lines().any(known) || self.has_module(name, name)
    }

    /// Whether there is a module that is called `name` when loaded, and `file` in lists.
    fn has_module(&self, name: &str, file: &str) -> bool {
        let is_listed = |line: &str| {
            let path = line.split(':').next().unwrap_or(line);
            let base = path.rsplit('/').next().unwrap_or(path);
            base.split('.').next() == Some(file)
        };
        self.loaded.iter().any(|it| it == name) || self.lists.lines().any(is_listed)
    }
}
