//! What goes into the small guests of the tests: a kernel, its modules, and our agent with the
//! libraries it needs.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{programs, run, tree};

/// A processor that guests run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// `x86_64`, the host's own.
    Amd64,
    /// `aarch64`, which the agent is built for by Debian's compiler.
    Arm64,
}

impl Architecture {
    /// Debian's and OCI's name of it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    fn folder(self) -> PathBuf {
        tree::tools().join("machines/guest").join(self.name())
    }

    /// The kernel as a loader starts it.
    #[must_use]
    pub fn kernel(self) -> PathBuf {
        self.folder().join("vmlinuz")
    }

    /// A static busybox.
    #[must_use]
    pub fn busybox(self) -> PathBuf {
        self.folder().join("busybox")
    }

    /// The kernel's version, as `uname -r` prints it.
    ///
    /// # Errors
    /// It is not there: `cargo full-test --step tools` brings it.
    pub fn release(self) -> io::Result<String> {
        Ok(fs::read_to_string(self.folder().join("release"))?.trim().to_owned())
    }

    /// The modules that guests use, each behind those that it needs.
    ///
    /// # Errors
    /// They are not there: `cargo full-test --step tools` brings them.
    pub fn modules(self) -> io::Result<Vec<PathBuf>> {
        let folder = self.folder().join("modules");
        let order = fs::read_to_string(folder.join("order"))?;
        Ok(order.lines().map(|name| folder.join(name)).collect())
    }

    /// The libraries that the agent needs: where each lies in the guest, and here.
    #[must_use]
    pub fn libraries(self) -> Vec<(String, PathBuf)> {
        let (loader, at) = match self {
            Self::Amd64 => ("ld-linux-x86-64.so.2", "lib64"),
            Self::Arm64 => ("ld-linux-aarch64.so.1", "lib"),
        };
        let here = self.folder().join("root/lib");
        let mut found = vec![(format!("{at}/{loader}"), here.join(loader))];
        for name in ["libc.so.6", "libm.so.6", "libgcc_s.so.1"] {
            found.push((format!("lib/{name}"), here.join(name)));
        }
        found
    }

    /// Builds the agent and returns it without what only a debugger reads: about 5 MB.
    ///
    /// # Errors
    /// What the compiler could not do.
    pub fn agent(self) -> Result<PathBuf, String> {
        let (built, strip) = match self {
            Self::Amd64 => (programs::build()?.join("gybe"), "strip"),
            Self::Arm64 => (build_for_arm64()?, "aarch64-linux-gnu-strip"),
        };
        let agent = tree::target().join("guest").join(self.name()).join("gybe");
        fs::create_dir_all(agent.parent().unwrap_or(&agent)).map_err(|cause| cause.to_string())?;
        let mut command = run::command(strip);
        command.arg("-o").arg(&agent).arg(built);
        run::answer(&mut command).ok_or_else(|| run::shown(&command))?;
        Ok(agent)
    }

    /// A command that runs a program of this architecture here, on the guest's libraries.
    pub(crate) fn here(self, program: &Path) -> std::process::Command {
        let mut command = match self {
            Self::Amd64 => return run::command(&program.to_string_lossy()),
            Self::Arm64 => run::command("qemu-aarch64-static"),
        };
        command.arg("-L").arg(self.folder().join("root")).arg(program);
        command
    }
}

/// Debian's compiler has the standard library for arm64; the host's own needs a network for it.
fn build_for_arm64() -> Result<PathBuf, String> {
    const TARGET: &str = "aarch64-unknown-linux-gnu";
    let folder = tree::target().join("aarch64");
    let mut build = run::cargo();
    build.args(["build", "--locked", "--quiet", "--all-features", "--target", TARGET]);
    build.args(["--package", "gybe-agent", "--bin", "gybe"]);
    build.env("RUSTC", tree::tools().join("debian-rust/rustc"));
    build.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc");
    // One folder per compiler: they do not read each other's output.
    build.env("CARGO_TARGET_DIR", &folder);
    match run::to_end(&mut build) {
        Ok(status) if status.success() => Ok(folder.join(TARGET).join("debug/gybe")),
        Ok(status) => Err(format!("{}: {status}", run::shown(&build))),
        Err(cause) => Err(format!("cannot run {}: {cause}", run::shown(&build))),
    }
}

/// The variables that a U-Boot has built in, a line each, as its build writes them to
/// `u-boot-initial-env`; read from the program, where they lie one behind the other with zeros
/// between. `None`: it has none.
#[must_use]
pub fn built_in_variables(u_boot: &[u8]) -> Option<String> {
    let at = u_boot.windows(8).position(|found| found == b"bootcmd=")?;
    let (before, after) = u_boot.split_at_checked(at)?;
    let is_variable = |entry: &&[u8]| entry.contains(&b'=') && entry.is_ascii();
    let before = before.strip_suffix(b"\0")?;
    let mut lines: Vec<&[u8]> = before.rsplit(|byte| *byte == 0).take_while(is_variable).collect();
    lines.reverse();
    lines.extend(after.split(|byte| *byte == 0).take_while(is_variable));
    Some(lines.iter().map(|line| format!("{}\n", String::from_utf8_lossy(line))).collect())
}
