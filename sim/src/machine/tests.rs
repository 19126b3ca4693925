//! A device in files, from the factory through a trial and back.

use std::process::Command;

use gybe_core::boot::{BootEnv as _, BootState, Loaded};
use gybe_core::digest::Digest;

use super::*;

const HOW: &str = "is missing; run: cargo full-test, which installs it";

struct Device {
    folder: tempfile::TempDir,
}

impl Device {
    fn new(bootloader: &str) -> Self {
        let device = Self { folder: tempfile::tempdir().unwrap() };
        for name in ["usr/lib/gybe", "dev", "boot"] {
            fs::create_dir_all(device.folder.path().join(name)).unwrap();
        }
        let slot = |name| {
            format!("[slot.{name}]\nroot = \"/dev/root_{name}\"\nboot = \"/dev/boot_{name}\"\n")
        };
        let config = format!("{}{}[bootloader]\n{bootloader}\n", slot("a"), slot("b"));
        device.write("usr/lib/gybe/config.toml", config.as_bytes());
        device
    }

    fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.folder.path().join(name), content).unwrap();
    }

    /// Puts a slot in its partitions, whose command line is `quiet NAME`.
    fn prove(&self, name: &str) {
        let mut root = vec![0; 4096];
        root[1024..1028].copy_from_slice(&slot_magic());
        self.write(&format!("dev/root_{name}"), &root);
        let digests =
            ["machine code", "archive"].map(|file| Digest::of(file.as_bytes()).hex().to_string());
        let [kernel, initrd] = digests;
        self.write("vmlinuz", b"machine code");
        self.write("initrd.img", b"archive");
        let env = format!(
            "# GRUB Environment Block\ngybe_format=1\ngybe_cmdline=quiet {name}\ngybe_kernel_sha256={kernel}\ngybe_initrd_sha256={initrd}\n"
        );
        self.write("gybe.env", format!("{env:#<1024}").as_bytes());
        let image = self.folder.path().join(format!("dev/boot_{name}"));
        let _gone = fs::remove_file(&image);
        let mut mkfs = Command::new("mkfs.vfat");
        mkfs.arg("-C").arg(&image).arg("256");
        let made = mkfs.output().unwrap_or_else(|_| panic!("mkfs.vfat (dosfstools) {HOW}"));
        assert!(made.status.success(), "{made:?}");
        for file in ["vmlinuz", "initrd.img", "gybe.env"] {
            let mut mcopy = Command::new("mcopy");
            mcopy.arg("-i").arg(&image).arg(self.folder.path().join(file)).arg("::");
            let copied = mcopy.output().unwrap_or_else(|_| panic!("mcopy (mtools) {HOW}"));
            assert!(copied.status.success(), "{copied:?}");
        }
    }

    fn clear(&self, name: &str) {
        let path = self.folder.path().join(format!("dev/boot_{name}"));
        let mut image = fs::read(&path).unwrap();
        image[..4096].fill(0);
        fs::write(path, image).unwrap();
    }

    fn boot(&self, power: EnvPower) -> (Result<Slot, MachineError>, Vec<String>) {
        let mut said = vec![];
        let machine = Machine::open(self.folder.path()).unwrap();
        let booted = machine.boot(power, |line| said.push(line.to_owned()));
        (booted, said)
    }

    fn cmdline(&self) -> String {
        fs::read_to_string(self.folder.path().join("proc/cmdline")).unwrap()
    }

    fn with_environment<T>(&self, action: impl FnOnce(&mut AnyEnvironment) -> T) -> T {
        let machine = Machine::open(self.folder.path()).unwrap();
        action(&mut machine.environment(&CutWrites::new(EnvPower::Stays)).unwrap())
    }

    fn store(&self, state: &BootState) {
        self.with_environment(|environment| environment.store(state).unwrap());
    }

    fn load(&self) -> Loaded {
        self.with_environment(|environment| environment.load().unwrap())
    }
}

fn slot_magic() -> [u8; 4] {
    [0xe2, 0xe1, 0xf5, 0xe0]
}

fn devices() -> Vec<Device> {
    let grub = Device::new("kind = \"grub\"\nenvironment = \"/boot/grubenv\"");
    let files = Device::new("kind = \"uboot\"\nfile = \"/boot/gybe.env\"");
    let redundant = Device::new("kind = \"uboot\"\nfw_env = \"/boot/fw_env.config\"");
    grub.write("boot/grubenv", b"");
    grub.write("boot/grubenv.safe", b"");
    files.write("boot/gybe.env", b"");
    files.write("boot/gybe2.env", b"");
    for device in [&grub, &files] {
        device.with_environment(|environment| match environment {
            AnyEnvironment::Grub(environment) => environment.format().unwrap(),
            AnyEnvironment::UBoot(environment) => environment.format().unwrap(),
        });
    }
    redundant.write("boot/fw_env.config", b"/boot/env 0x1000 0x1000\n/boot/env 0x2000 0x1000\n");
    let mut copies = vec![0; 0x3000];
    for at in [0x1000, 0x2000] {
        let mut copy = vec![0; 0x1000];
        let image = gybe_uboot::Image::empty_file();
        image.write(None, gybe_uboot::Stamp::Flags(1), &mut copy).unwrap();
        copies[at..at + 0x1000].copy_from_slice(&copy);
    }
    redundant.write("boot/env", &copies);
    vec![grub, files, redundant]
}

#[test]
fn a_trial_is_counted_down_and_fallen_back_from() {
    for device in devices() {
        device.prove("a");
        device.prove("b");
        assert_eq!(device.boot(EnvPower::Stays).0.unwrap(), Slot::A, "the factory slot");
        assert_eq!(device.cmdline(), "quiet a gybe.slot=a gybe.loader=1\n");

        let armed = BootState::factory(Some(Slot::A)).arm(Slot::B, 2).unwrap();
        device.store(&armed);
        for left in [1, 0] {
            let (booted, said) = device.boot(EnvPower::Stays);
            assert_eq!(booted.unwrap(), Slot::B);
            let line =
                format!("loader: a try of slot b spent, {left} left, slot b loaded on trial");
            assert_eq!(said, [line]);
            assert_eq!(device.cmdline(), "quiet b gybe.slot=b gybe.trial=1 gybe.loader=1\n");
        }
        let (booted, said) = device.boot(EnvPower::Stays);
        assert_eq!(booted.unwrap(), Slot::A);
        assert_eq!(said, ["loader: slot b has failed: tries, slot a loaded"]);
        assert_eq!(device.cmdline(), "quiet a gybe.slot=a gybe.loader=1\n");
        assert_eq!(device.boot(EnvPower::Stays).1, ["loader: nothing to write, slot a loaded"]);
    }
}

#[test]
fn a_trial_that_cannot_be_loaded_is_reset_until_it_falls_back() {
    for device in devices() {
        device.prove("a");
        device.prove("b");
        device.store(&BootState::factory(Some(Slot::A)).arm(Slot::B, 2).unwrap());
        device.clear("b");
        let (booted, said) = device.boot(EnvPower::Stays);
        assert_eq!(booted.unwrap(), Slot::A);
        let reset = |left| {
            format!(
                "loader: a try of slot b spent, {left} left, reset, slot b cannot be loaded: boot target is no FAT"
            )
        };
        let fallback = "loader: slot b has failed: tries, slot a loaded".to_owned();
        assert_eq!(said, [reset(1), reset(0), fallback]);
    }
}

#[test]
fn a_power_cut_while_a_try_is_spent_leaves_a_whole_state() {
    for device in devices() {
        device.prove("a");
        device.prove("b");
        let armed = BootState::factory(Some(Slot::A)).arm(Slot::B, 3).unwrap();
        device.store(&armed);
        let (booted, said) = device.boot(EnvPower::CutOnce);
        assert_eq!(booted.unwrap(), Slot::B);
        assert_eq!(said[0], "loader: the power went off while the environment was written");
        let left = device.load().state.unwrap().trial.unwrap().tries_left;
        assert!(left == 1 || left == 2, "the cut try is spent or not: {left}");
    }
}

#[test]
fn a_corrupt_kernel_or_root_is_not_loaded() {
    let device = devices().remove(0);
    device.prove("a");
    device.prove("b");
    device.store(&BootState::factory(Some(Slot::A)));
    let boot = device.folder.path().join("dev/boot_a");
    let mut image = fs::read(&boot).unwrap();
    let kernel = image.windows(7).position(|bytes| bytes == b"machine").unwrap();
    image[kernel] = b'M';
    fs::write(&boot, image).unwrap();
    let (booted, said) = device.boot(EnvPower::Stays);
    let refused = match said.as_slice() {
        [line] => line.split_once(", slot a cannot").unwrap().1.to_owned(),
        lines => panic!("{lines:?}"),
    };
    assert_eq!(
        (booted.unwrap(), refused.as_str()),
        (Slot::B, " be loaded: vmlinuz has another digest")
    );
    device.write("dev/root_b", &[0; 4096]);
    assert!(matches!(device.boot(EnvPower::Stays).0, Err(MachineError::Nothing)));
}

#[test]
fn a_configuration_without_a_loader_is_an_error() {
    let device = Device::new("kind = \"barebox\"");
    let (booted, said) = device.boot(EnvPower::Stays);
    assert_eq!(booted.unwrap_err().to_string(), "configuration has no usable bootloader.kind");
    assert!(said.is_empty());
}
