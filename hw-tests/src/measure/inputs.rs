//! The images that are measured: made once by foreign tools, kept by the number of their recipe.
//!
//! | tag    | what it is                                                                    |
//! |--------|-------------------------------------------------------------------------------|
//! | `base` | Debian 12 as released, with what a machine that runs containers has           |
//! | `new`  | the same packages from `bookworm-updates` and `bookworm-security` too         |
//! | `cfg`  | `base` with a few hundred bytes of one configuration file changed             |
//! | `krn`  | `base` with the kernel of `bookworm-security`                                 |
//! | `trx`  | the same packages from Debian 13                                              |
//!
//! The layers are those of a usual build: the root, the kernel's modules, and what is configured.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use super::{layout::Layout, made, peers::Peer};
use crate::{
    run,
    sample::{
        self,
        debian::{Age, Root},
        files::{self, File},
    },
    say, tree,
};

/// Changes whenever the recipe does, so that no run uses images of an older one.
const RECIPE: &str = "1";
/// A machine that runs containers. MicroShift is not in Debian: large Go programs stand in for it.
const INCLUDE: &str = "systemd,systemd-sysv,dbus,udev,linux-image-cloud-amd64,initramfs-tools,\
    zstd,openssh-server,podman,crun,runc,containerd,skopeo,buildah,kubernetes-client,etcd-server,\
    etcd-client,containernetworking-plugins,openvswitch-switch,nftables,network-manager,iproute2,\
    ca-certificates,python3";
const MODULES: &str = "./usr/lib/modules/*";
/// Not the folder itself, which the layer that adds to it names: zstd:chunked refuses a name twice.
const CONFIGURED: &str = "./etc/?*";
/// The image that every device begins with.
pub(super) const BASE: &str = "base";

/// An image that a device with `base` is brought to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub(super) tag: &'static str,
    pub(super) what: &'static str,
    /// Which of the peers that take minutes run on it.
    pub(super) slow_peers: &'static [Peer],
}

const DEBIAN: [Pair; 4] = [
    Pair {
        tag: "new",
        what: "months of updates and security updates",
        slow_peers: &[Peer::Zstd19, Peer::Patch19],
    },
    Pair { tag: "cfg", what: "one configuration file changed", slow_peers: &[] },
    Pair { tag: "krn", what: "another kernel", slow_peers: &[] },
    Pair { tag: "trx", what: "the next major release", slow_peers: &[Peer::Zstd19] },
];
const SMALL: [Pair; 2] = [
    Pair {
        tag: "new",
        what: "a quarter of the files changed",
        slow_peers: &[Peer::Zstd19, Peer::Patch19],
    },
    Pair { tag: "cfg", what: "one configuration file changed", slow_peers: &[] },
];

/// Which images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// The pairs of the page.
    Debian,
    /// Some megabytes, made in seconds, to see that the command works.
    Small,
}

/// The images, and the keys that belong to them.
#[derive(Debug)]
pub(super) struct Inputs {
    folder: PathBuf,
    size: Size,
}

impl Inputs {
    /// The images: made the first time, found afterwards.
    pub(super) fn ready(size: Size) -> Result<Self, String> {
        let name = if size == Size::Debian { "debian" } else { "small" };
        let folder = tree::target().join("measure").join(format!("{name}-{RECIPE}"));
        let inputs = Self { folder, size };
        if inputs.folder.exists() {
            return Ok(inputs);
        }
        let start = Instant::now();
        say::heading("images (made once, kept in target/measure)");
        let partial = Self { folder: inputs.folder.with_extension("partial"), size };
        if partial.folder.exists() {
            fs::remove_dir_all(&partial.folder).map_err(sample::words)?;
        }
        partial.make().map_err(|cause| format!("{cause} (in {})", partial.folder.display()))?;
        // Only whole sets of images ever have the final name.
        fs::rename(&partial.folder, &inputs.folder).map_err(sample::words)?;
        say::line(&format!("the images took {:.0} s", start.elapsed().as_secs_f64()));
        Ok(inputs)
    }

    pub(super) fn pairs(&self) -> &'static [Pair] {
        if self.size == Size::Debian { &DEBIAN } else { &SMALL }
    }

    /// Where all of it lies.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The images as a build leaves them, with gzip layers.
    pub(super) fn images(&self) -> Layout {
        Layout(self.folder.join("images"))
    }

    /// The same with zstd:chunked layers.
    pub(super) fn chunked(&self) -> Layout {
        Layout(self.folder.join("chunked"))
    }

    /// The private key that signs releases.
    pub(super) fn key(&self) -> PathBuf {
        self.folder.join("keys/release.pem")
    }

    /// What `/usr/lib/gybe` holds, by file name.
    pub(super) fn device_files(&self) -> Result<Vec<(&'static str, String)>, String> {
        files::device(&self.key().with_extension("pub")).map_err(sample::words)
    }

    /// How large the partitions of a device have to be: of `root`, and of `boot`.
    pub(super) fn partitions(&self) -> (u64, u64) {
        if self.size == Size::Debian { (1088 << 20, 128 << 20) } else { (64 << 20, 16 << 20) }
    }

    fn make(&self) -> Result<(), String> {
        fs::create_dir_all(self.folder.join("keys")).map_err(sample::words)?;
        sample::make_key(&self.folder.join("keys/release"))?;
        let layout = self.images();
        sample::succeed(run::command("umoci").arg("init").arg("--layout").arg(&layout.0))?;
        match self.size {
            Size::Debian => self.make_debian()?,
            Size::Small => self.make_small()?,
        }
        sample::succeed(run::command("umoci").arg("gc").arg("--layout").arg(&layout.0))?;
        for tag in [BASE].into_iter().chain(self.pairs().iter().map(|pair| pair.tag)) {
            let mut copy = run::command("skopeo-newer");
            copy.args(["--insecure-policy", "copy", "--quiet", "--dest-compress"]);
            copy.args(["--dest-compress-format", "zstd:chunked"]);
            let (from, to) = (layout.source(tag), self.chunked().source(tag));
            sample::succeed(copy.args([from, to]))?;
        }
        Ok(())
    }

    fn make_debian(&self) -> Result<(), String> {
        let released = ("bookworm", Age::Released);
        // One core each: most of the time goes into unpacking and running maintainer scripts.
        for two in [
            [(BASE, released), ("new", ("bookworm", Age::Updated))],
            [("krn", ("bookworm", Age::NewKernel)), ("trx", ("trixie", Age::Released))],
        ] {
            let make = |(tag, (suite, age)): (&str, (&str, Age))| {
                let root = Root { suite, include: INCLUDE, age };
                sample::debian::root(&self.folder.join(format!("{tag}.tar")), &root)
            };
            let [first, second] = two;
            let (first, second) = std::thread::scope(|scope| {
                let first = scope.spawn(move || make(first));
                let second = make(second);
                (first.join(), second)
            });
            first.map_err(|_| "making a root ended early")??;
            second?;
        }
        for tag in [BASE, "new", "krn", "trx"] {
            let root = self.folder.join(format!("{tag}.tar"));
            let rest =
                self.part(&root, "rest", &["--exclude", MODULES, "--exclude", CONFIGURED])?;
            let modules = self.part(&root, "modules", &["--include", MODULES])?;
            let configured = self.part(&root, "configured", &["--include", CONFIGURED])?;
            fs::remove_file(&root).map_err(sample::words)?;
            self.image(None, tag, &[rest, modules])?;
            if tag == BASE {
                self.image(Some(BASE), "cfg", &[self.with_own(Some(&configured), Setting::New)?])?;
            }
            self.image(Some(tag), tag, &[self.with_own(Some(&configured), Setting::Old)?])?;
            fs::remove_file(configured).map_err(sample::words)?;
        }
        Ok(())
    }

    fn make_small(&self) -> Result<(), String> {
        for (tag, changed) in [(BASE, 0), ("new", 8)] {
            let made = made::Made { file_count: 32, file_len: 256 << 10, changed };
            let layer = self.folder.join("made.tar");
            made.layer(&layer)?;
            self.image(None, tag, &[layer])?;
            if tag == BASE {
                self.image(Some(BASE), "cfg", &[self.with_own(None, Setting::New)?])?;
            }
            self.image(Some(tag), tag, &[self.with_own(None, Setting::Old)?])?;
        }
        Ok(())
    }

    /// A layer of what bsdtar takes from a root with these options.
    fn part(&self, root: &Path, name: &str, chosen: &[&str]) -> Result<PathBuf, String> {
        let layer = self.folder.join(format!("{name}.tar"));
        let mut take = run::command("bsdtar");
        take.arg("--format=pax").args(chosen).arg("-cf").arg(&layer);
        sample::succeed(take.arg(format!("@{}", root.display())))?;
        Ok(layer)
    }

    /// The files of our own as a layer, behind those of `configured`.
    fn with_own(&self, configured: Option<&Path>, setting: Setting) -> Result<PathBuf, String> {
        let device = self.device_files()?.into_iter();
        let mut own: Vec<File> = device
            .map(|(name, content)| File::new(format!("{}/{name}", sample::DEVICE_FOLDER), content))
            .collect();
        own.push(File::new("etc/acme/gateway.conf", setting.file()));
        let own = sample::staged(&self.folder, "own.tar", &own)?;
        let layer = self.folder.join("layer.tar");
        let mut join = run::command("bsdtar");
        join.arg("--format=pax").arg("-cf").arg(&layer);
        join.args(configured.map(|tar| format!("@{}", tar.display())));
        sample::succeed(join.arg(format!("@{}", own.display())))?;
        fs::remove_file(own).map_err(sample::words)?;
        Ok(layer)
    }

    /// Puts layers on nothing, or on the image `from`, and calls the result `tag`.
    fn image(&self, from: Option<&str>, tag: &str, layers: &[PathBuf]) -> Result<(), String> {
        let images = self.images();
        let name = |tag: &str| format!("{}:{tag}", images.0.display());
        match from {
            None => sample::succeed(run::command("umoci").args(["new", "--image", &name(tag)]))?,
            Some(from) if from == tag => {}
            Some(from) => {
                sample::succeed(run::command("umoci").args(["tag", "--image", &name(from), tag]))?;
            }
        }
        made::finish(&name(tag), layers)
    }
}

/// What the configuration file says.
#[derive(Clone, Copy)]
enum Setting {
    Old,
    New,
}

impl Setting {
    /// About 1.4 KB, of which some hundred bytes differ.
    fn file(self) -> String {
        let lines = (0..36).map(|line| {
            let changed = matches!(self, Self::New) && line % 6 == 0;
            let peer = if changed { line * 7 + 101 } else { line + 10 };
            format!("peer_{line:02} = 10.20.30.{peer}:8443 # plant\n")
        });
        lines.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Setting;

    #[test]
    fn a_few_lines_of_the_configuration_differ() {
        let (old, new) = (Setting::Old.file(), Setting::New.file());
        assert!((1200..1600).contains(&old.len()), "{} bytes", old.len());
        assert_eq!(old.lines().zip(new.lines()).filter(|(old, new)| old != new).count(), 6);
    }
}
