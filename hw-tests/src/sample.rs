//! Sample images: a Debian root with kernel and systemd, months of updates later, and a bad one.
//!
//! Real images made by foreign tools (mmdebstrap, bsdtar, umoci, skopeo), as users make theirs:
//!
//! | tag  | what it is                                                               |
//! |------|--------------------------------------------------------------------------|
//! | `v1` | Debian 12 as released: a base layer, a kernel layer, a layer of our own  |
//! | `v2` | the same packages from `bookworm-updates` and `bookworm-security` too    |
//! | `v3` | `v2` and one small layer, whose health check fails                       |
//!
//! A second layout holds `v1` with zstd layers, which must seal to the same root hash.

pub(crate) mod debian;
pub(crate) mod files;

pub(crate) use files::DEVICE_FOLDER;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Instant,
};

use crate::{full_test, run, say, tree};

/// Changes whenever the recipe does, so that no run uses images of an older one.
const RECIPE: &str = "2";
/// The architecture of the images, as OCI and Debian name it.
pub(crate) const ARCHITECTURE: &str = "amd64";
/// What the images and their device call themselves.
pub(crate) const COMPATIBLE: &str = "gybe-sample";
/// Every time stamp in the images: 2026-01-01.
pub(crate) const EPOCH: &str = "1767225600";

/// The images and the keys that belong to them: the public one is inside the images.
#[derive(Debug, Clone)]
pub struct Samples {
    folder: PathBuf,
}

impl Samples {
    /// The image of this tag, spelt as skopeo spells it.
    #[must_use]
    pub fn image(&self, tag: &str) -> String {
        format!("oci:{}:{tag}", self.folder.join("images").display())
    }

    /// `v1` with zstd layers. In a layout of its own: skopeo finds the gzip layers in the same one
    /// and keeps them.
    #[must_use]
    pub fn zstd_image(&self) -> String {
        format!("oci:{}:v1", self.folder.join("images-zstd").display())
    }

    /// The private key that signs releases.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.folder.join("keys/release.pem")
    }

    /// Its public half, as it lies in the images.
    #[must_use]
    pub fn public_key(&self) -> PathBuf {
        self.folder.join("keys/release.pub")
    }

    /// A private key that no image trusts.
    #[must_use]
    pub fn strange_key(&self) -> PathBuf {
        self.folder.join("keys/stranger.pem")
    }

    /// What `/usr/lib/gybe` holds in the images, by file name.
    ///
    /// # Errors
    /// The public key cannot be read.
    pub fn device_files(&self) -> io::Result<Vec<(&'static str, String)>> {
        files::device(&self.public_key())
    }

    /// Whether all of it is there.
    fn is_complete(&self) -> bool {
        self.folder.join("complete").exists()
    }
}

/// `sample-images`: makes the images and prints where they are.
pub fn main() -> ExitCode {
    if let Err(missing) = full_test::install(full_test::Purpose::Images) {
        say::trouble(&format!("Debian packages are missing. Run: {}", missing.line));
        return ExitCode::from(2);
    }
    match images() {
        Ok(samples) => {
            say::line(&samples.folder.display().to_string());
            ExitCode::SUCCESS
        }
        Err(cause) => {
            say::trouble(&format!("sample images: {cause}"));
            ExitCode::FAILURE
        }
    }
}

/// The folder of the sample images, there or not.
fn folder() -> PathBuf {
    tree::target().join("samples").join(RECIPE)
}

/// The sample images: made the first time, found afterwards.
///
/// # Errors
/// What the tool said that could not make its part.
pub fn images() -> Result<Samples, String> {
    let samples = Samples { folder: folder() };
    if samples.is_complete() {
        return Ok(samples);
    }
    let start = Instant::now();
    say::heading("sample images (made once, kept in target/samples)");
    let partial = Samples { folder: folder().with_extension("partial") };
    make(&partial).map_err(|cause| format!("{cause} (in {})", partial.folder.display()))?;
    // Only whole sets of images ever have the final name.
    fs::write(partial.folder.join("complete"), "").map_err(words)?;
    if samples.folder.exists() {
        fs::remove_dir_all(&samples.folder).map_err(words)?;
    }
    fs::rename(&partial.folder, &samples.folder).map_err(words)?;
    say::line(&format!("sample images took {:.0} s", start.elapsed().as_secs_f64()));
    Ok(samples)
}

fn make(samples: &Samples) -> Result<(), String> {
    let folder = &samples.folder;
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(words)?;
    }
    fs::create_dir_all(folder.join("keys")).map_err(words)?;
    for name in ["release", "stranger"] {
        make_key(&folder.join("keys").join(name))?;
    }
    let old = folder.join("old.tar");
    let new = folder.join("new.tar");
    // One core each: most of the time goes into unpacking and running maintainer scripts.
    let (first, second) = std::thread::scope(|scope| {
        let first = scope.spawn(|| debian_root(&old, debian::Age::Released));
        let second = debian_root(&new, debian::Age::Updated);
        (first.join(), second)
    });
    first.map_err(|_| "making the older root ended early")??;
    second?;

    let layout = folder.join("images");
    succeed(run::command("umoci").arg("init").arg("--layout").arg(&layout))?;
    for (version, root) in [("v1", &old), ("v2", &new)] {
        let tag = format!("{}:{version}", layout.display());
        succeed(run::command("umoci").args(["new", "--image", &tag]))?;
        for layer in split(folder, root)? {
            add_layer(&tag, &layer)?;
        }
        let own = staged(folder, "own.tar", &files::own(version, samples).map_err(words)?)?;
        add_layer(&tag, &own)?;
        let mut config = run::command("umoci");
        config.args(["config", "--image", &tag, "--architecture", ARCHITECTURE]);
        config.args(["--config.label", "containers.bootc=1"]);
        succeed(config.args(["--config.cmd", "/sbin/init"]))?;
    }
    let from = format!("{}:v2", layout.display());
    succeed(run::command("umoci").args(["tag", "--image", &from, "v3"]))?;
    let fault = staged(folder, "fault.tar", &files::fault())?;
    add_layer(&format!("{}:v3", layout.display()), &fault)?;
    succeed(run::command("umoci").arg("gc").arg("--layout").arg(&layout))?;
    let mut copy = run::command("skopeo");
    copy.args(["copy", "--quiet", "--dest-compress", "--dest-compress-format", "zstd"]);
    succeed(copy.args([samples.image("v1"), samples.zstd_image()]))?;
    for spent in [&old, &new] {
        fs::remove_file(spent).map_err(words)?;
    }
    Ok(())
}

fn debian_root(tar: &Path, age: debian::Age) -> Result<(), String> {
    let root = debian::Root { suite: "bookworm", include: debian::SMALL_MACHINE, age };
    debian::root(tar, &root)
}

/// A P-256 pair as users make theirs: `NAME.pem` and `NAME.pub`.
pub(crate) fn make_key(path: &Path) -> Result<(), String> {
    let private = path.with_extension("pem");
    let mut make = run::command("openssl");
    make.args(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    succeed(make.arg("-out").arg(&private))?;
    let mut public = run::command("openssl");
    public.args(["pkey", "-pubout", "-in"]).arg(&private);
    succeed(public.arg("-out").arg(path.with_extension("pub")))
}

/// Two layers from one root: the kernel, and everything else.
fn split(folder: &Path, root: &Path) -> Result<[PathBuf; 2], String> {
    let from = format!("@{}", root.display());
    let base = folder.join("base.tar");
    let kernel = folder.join("kernel.tar");
    let modules = "./usr/lib/modules/*";
    let mut rest = run::command("bsdtar");
    rest.args(["--format=pax", "--exclude", modules, "-cf"]).arg(&base).arg(&from);
    succeed(&mut rest)?;
    let mut only = run::command("bsdtar");
    only.args(["--format=pax", "--include", modules, "-cf"]).arg(&kernel).arg(&from);
    succeed(&mut only)?;
    Ok([base, kernel])
}

/// A layer with these files, owned by root.
pub(crate) fn staged(folder: &Path, name: &str, files: &[files::File]) -> Result<PathBuf, String> {
    let stage = tempfile::tempdir_in(folder).map_err(words)?;
    for file in files {
        file.write_below(stage.path()).map_err(words)?;
    }
    let layer = folder.join(name);
    let mut tar = run::command("tar");
    tar.arg("--create").arg("--file").arg(&layer).arg("--directory").arg(stage.path());
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=u=rwX,go=rX"]);
    tar.arg(format!("--mtime=@{EPOCH}")).arg(".");
    succeed(&mut tar)?;
    Ok(layer)
}

/// Appends a layer to the image and removes the file.
pub(crate) fn add_layer(tag: &str, layer: &Path) -> Result<(), String> {
    succeed(run::command("umoci").args(["raw", "add-layer", "--image", tag]).arg(layer))?;
    fs::remove_file(layer).map_err(words)
}

pub(crate) fn succeed(command: &mut Command) -> Result<(), String> {
    match run::to_end(command) {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{}: {status}", run::shown(command))),
        Err(cause) => Err(format!("cannot run {}: {cause}", run::shown(command))),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
pub(crate) fn words(cause: io::Error) -> String {
    cause.to_string()
}
