//! What greenboot's scripts ask GRUB's environment for, answered whatever the boot loader is.
//!
//! Scripts such as MicroShift's run `grub2-editenv - list` and look for `boot_counter`: it is 2, 1 and 0
//! in the three attempts of a release, and at 0 they prepare for the fallback. They find a program of
//! that name in a folder that is in front of their `PATH`, and of nobody else's.
//!
//! Source: greenboot 0.15, MicroShift `packaging/greenboot`, read 2026-11.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use tracing::warn;

use crate::root::Root;

/// Where the programs lie.
pub const FOLDER: &str = "/run/gybe/compat";
/// What they are called, on Fedora and on Debian.
const NAMES: [&str; 2] = ["grub2-editenv", "grub-editenv"];
/// Where programs are, when nothing says so.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The `PATH` of scripts, with the programs in front. `counter` is what `boot_counter` is: the tries that
/// are left on trial, and nothing else.
#[must_use]
pub fn path(root: &Root, counter: Option<u8>) -> OsString {
    let path = env::var_os("PATH").filter(|path| !path.is_empty());
    let path = path.unwrap_or_else(|| PATH_DEFAULT.into());
    match put(root, counter) {
        Ok(folder) => {
            let mut with = folder.into_os_string();
            with.push(":");
            with.push(path);
            with
        }
        Err(cause) => {
            warn!(folder = FOLDER, %cause, "scripts will not find grub2-editenv");
            path
        }
    }
}

fn put(root: &Root, counter: Option<u8>) -> io::Result<PathBuf> {
    let folder = root.path(FOLDER);
    fs::create_dir_all(&folder)?;
    for name in NAMES {
        // Made anew: an older one may be running.
        let (file, new) = (folder.join(name), folder.join(format!(".{name}")));
        fs::write(&new, program(counter))?;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755))?;
        fs::rename(&new, &file)?;
    }
    Ok(folder)
}

/// As `grub2-editenv [FILE] COMMAND`; the file does not matter, and `-` is the usual one.
fn program(counter: Option<u8>) -> String {
    let counter =
        counter.map_or_else(String::new, |counter| format!("; echo boot_counter={counter}"));
    format!(
        "#!/bin/sh\n\
         # Made by gybe health, for the scripts that it runs. The boot environment itself is gybe's.\n\
         case \"$1\" in list|set|unset|create) ;; *) shift ;; esac\n\
         case \"$1\" in\n\
         list) echo boot_success=0{counter}; exit 0 ;;\n\
         set)\n\
             shift\n\
             for word; do\n\
                 case \"$word\" in boot_success=*) ;; *)\n\
                     echo \"grub2-editenv: $word is not set: gybe keeps the boot environment\" >&2\n\
                     exit 1 ;;\n\
                 esac\n\
             done\n\
             exit 0 ;;\n\
         esac\n\
         echo \"grub2-editenv: $1 is refused: gybe keeps the boot environment\" >&2\n\
         exit 1\n"
    )
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn scripts_see_the_counter_and_change_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::below(folder.path().to_owned());
        let ask = |counter, arguments: &[&str]| {
            let path = path(&root, counter);
            let first = env::split_paths(&path).next().unwrap();
            assert_eq!(first, root.path(FOLDER));
            let shell = "exec sh \"$0\"/grub2-editenv \"$@\"";
            let mut command = Command::new("sh");
            let ended = command.args(["-c", shell]).arg(first).args(arguments).output().unwrap();
            (ended.status.success(), String::from_utf8(ended.stdout).unwrap())
        };
        let two = (true, "boot_success=0\nboot_counter=2\n".to_owned());
        for list in [&["list"][..], &["-", "list"], &["/boot/grub2/grubenv", "list"]] {
            assert_eq!(ask(Some(2), list), two, "{list:?}");
        }
        assert_eq!(ask(None, &["list"]), (true, "boot_success=0\n".to_owned()));
        assert!(ask(Some(0), &["-", "set", "boot_success=1"]).0);
        for refused in [
            &["-", "set", "boot_counter=9"][..],
            &["set", "boot_success=1", "next_entry=x"],
            &["-", "unset", "boot_counter"],
            &["x", "create"],
            &[],
        ] {
            assert!(!ask(Some(0), refused).0, "{refused:?}");
        }
    }
}
