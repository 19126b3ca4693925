//! The files that a user adds to a Debian root to make it an image for Gybe.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use super::{COMPATIBLE, Samples};

/// The folder of the device's configuration and trust.
pub(crate) const DEVICE_FOLDER: &str = "usr/lib/gybe";

/// One file of a layer.
pub(crate) struct File {
    path: String,
    mode: u32,
    content: String,
}

impl File {
    pub(crate) fn new(path: impl Into<String>, content: impl Into<String>) -> Self {
        Self { path: path.into(), mode: 0o644, content: content.into() }
    }

    fn script(path: &str, content: &str) -> Self {
        Self { mode: 0o755, ..Self::new(path, content) }
    }

    /// Writes the file where a layer is being put together.
    pub(crate) fn write_below(&self, stage: &Path) -> io::Result<()> {
        let path = stage.join(&self.path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(self.mode).open(&path)?;
        file.write_all(self.content.as_bytes())
    }
}

/// `config.toml`, `trust.toml` and the public key, as they lie in `/usr/lib/gybe`.
pub(crate) fn device(public_key: &Path) -> io::Result<Vec<(&'static str, String)>> {
    let config = format!(
        r#"compatible = "{COMPATIBLE}"

[slot.a]
root = "/dev/disk/by-partlabel/root_a"
boot = "/dev/disk/by-partlabel/boot_a"

[slot.b]
root = "/dev/disk/by-partlabel/root_b"
boot = "/dev/disk/by-partlabel/boot_b"

[bootloader]
kind = "grub"
environment = "/boot/env/grubenv"
tries = 3
"#
    );
    let trust = "threshold = 1\n\n[[key]]\nname = \"release\"\nfile = \"release.pub\"\n";
    let key = fs::read_to_string(public_key)?;
    Ok(vec![("config.toml", config), ("trust.toml", trust.into()), ("release.pub", key)])
}

/// The user's own layer of a healthy image.
pub(super) fn own(version: &str, samples: &Samples) -> io::Result<Vec<File>> {
    let mut files: Vec<File> = device(&samples.public_key())?
        .into_iter()
        .map(|(name, content)| File::new(format!("{DEVICE_FOLDER}/{name}"), content))
        .collect();
    files.push(File::new("usr/share/gybe-sample/version", format!("{version}\n")));
    let console = "kargs = [\"console=ttyS0\", \"panic=10\"]\nmatch-architectures = [\"x86_64\"]\n";
    files.push(File::new("usr/lib/bootc/kargs.d/10-console.toml", console));
    let healthy = "#!/bin/sh\n\
        # Healthy means that this is the system it says it is.\n\
        grep -q '^ID=debian' \"${ROOT:-}/usr/lib/os-release\"\n";
    files.push(File::script("usr/lib/greenboot/check/required.d/10-system.sh", healthy));
    // A whiteout, as a Containerfile with `RUN rm` leaves one.
    files.push(File::new("etc/.wh.motd", ""));
    Ok(files)
}

/// What breaks the third version: a check that always fails, as a service that never comes up.
pub(super) fn fault() -> Vec<File> {
    let broken = "#!/bin/sh\necho 'the point of sale does not answer on port 8080' >&2\nexit 1\n";
    vec![
        File::new("usr/share/gybe-sample/version", "v3\n"),
        File::script("usr/lib/greenboot/check/required.d/50-point-of-sale.sh", broken),
    ]
}
