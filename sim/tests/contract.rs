//! One contract for every boot environment, with the power cut at every write.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail by panicking")]

use gybe_core::boot::{BootEnv, BootState, Loaded};
use gybe_sim::contract::{Bench, Checked};
use gybe_sim::{FakeEnv, FakeFile, FakeFileError, Tear};

const SECTOR: Tear = Tear::Units(512);
const PAGE: Tear = Tear::Units(4096);
const RUINED_SECTOR: Tear = Tear::Noise(512);
const RUINED_PAGE: Tear = Tear::Noise(4096);

fn pair(files: Vec<FakeFile>) -> [FakeFile; 2] {
    files.try_into().unwrap()
}

fn grub(files: Vec<FakeFile>) -> gybe_grub::Environment<FakeFile> {
    let [live, safe] = pair(files);
    gybe_grub::Environment::new(live, safe)
}

fn grub_factory() -> Vec<Vec<u8>> {
    vec![gybe_grub::Block::empty().as_bytes().to_vec(); 2]
}

type UBoot = gybe_uboot::Environment<FakeFile, Vec<u8>>;

const REDUNDANT_LEN: usize = 16384;

fn redundant(files: Vec<FakeFile>) -> UBoot {
    UBoot::redundant(pair(files), [vec![0; REDUNDANT_LEN], vec![0; REDUNDANT_LEN]])
}

/// What `saveenv` leaves on a new board: nothing of ours.
fn redundant_factory() -> Vec<Vec<u8>> {
    let mut data = b"bootcmd=run distro_bootcmd\0bootdelay=2\0".to_vec();
    data.resize(REDUNDANT_LEN - 5, 0);
    let head = crc32(&data).to_le_bytes();
    [1, 0].map(|flags| [&head[..], &[flags], &data].concat()).to_vec()
}

/// CRC-32 as in zlib, written down once more so that it does not come from the code under test.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    })
}

fn two_files(files: Vec<FakeFile>) -> UBoot {
    let buffer = || vec![0; gybe_uboot::FILE_LEN];
    UBoot::files(pair(files), [buffer(), buffer()])
}

fn two_files_factory() -> Vec<Vec<u8>> {
    let power = gybe_sim::Power::new();
    let files = [(); 2].map(|()| FakeFile::new(&power, vec![]));
    two_files(files.to_vec()).format().unwrap();
    files.map(|file| file.bytes()).to_vec()
}

fn keeps_it<E: BootEnv>(
    factory: Vec<Vec<u8>>,
    tear: Tear,
    safe_is_enough: bool,
    open: impl Fn(Vec<FakeFile>) -> E,
) -> Checked {
    let checked = Bench { factory, tear, safe_is_enough, open }.check();
    checked.unwrap_or_else(|broken| panic!("{tear:?}: {broken}"))
}

#[test]
fn the_fake_environment_keeps_the_contract() {
    let open = |files: Vec<FakeFile>| FakeEnv::new(files.into_iter().next().unwrap());
    let checked = keeps_it(vec![vec![0; 512]], SECTOR, false, open);
    assert!(checked.transition_count >= 18 && checked.cut_count >= 400, "{checked:?}");
}

#[test]
fn grub_keeps_the_contract_where_sectors_are_whole_or_not_written() {
    for tear in [SECTOR, PAGE] {
        let checked = keeps_it(grub_factory(), tear, true, grub);
        assert!(checked.cut_count >= 400, "{checked:?}");
    }
}

#[test]
fn grub_keeps_every_good_slot_where_a_cut_ruins_what_was_being_written() {
    for tear in [RUINED_SECTOR, RUINED_PAGE] {
        keeps_it(grub_factory(), tear, true, grub);
    }
}

#[test]
fn a_redundant_u_boot_environment_keeps_the_contract_whatever_a_cut_ruins() {
    for tear in [SECTOR, PAGE, RUINED_SECTOR, RUINED_PAGE] {
        keeps_it(redundant_factory(), tear, false, redundant);
    }
}

#[test]
fn two_u_boot_files_keep_the_contract_whatever_a_cut_ruins() {
    for tear in [SECTOR, PAGE, RUINED_SECTOR, RUINED_PAGE] {
        keeps_it(two_files_factory(), tear, false, two_files);
    }
}

/// An environment with a fault that the contract must catch.
struct Faulty<E> {
    inner: E,
    fault: fn(&mut E, &BootState) -> Result<(), FakeFileError>,
}

impl<E: BootEnv> BootEnv for Faulty<E> {
    type Error = E::Error;

    fn load(&mut self) -> Result<Loaded, E::Error> {
        self.inner.load()
    }

    fn store(&mut self, state: &BootState) -> Result<(), E::Error> {
        let _ignored = (self.fault)(&mut self.inner, state);
        self.inner.store(state)
    }
}

#[test]
fn an_environment_that_stores_in_two_steps_is_caught() {
    let open = |files| Faulty {
        inner: redundant(files),
        // As a peer does it: first the goodness, then the trial.
        fault: |inner, state| {
            let _first_half = inner.store(&BootState { trial: None, failed: None, ..*state });
            Ok(())
        },
    };
    let bench = Bench { factory: redundant_factory(), tear: SECTOR, safe_is_enough: false, open };
    let broken = bench.check().unwrap_err().to_string();
    assert!(broken.contains("power cut at write"), "{broken}");
}

#[test]
fn one_file_written_in_place_is_caught() {
    let open = |files: Vec<FakeFile>| {
        let file = files.into_iter().next().unwrap();
        two_files(vec![file.clone(), file])
    };
    let factory = two_files_factory().into_iter().take(1).collect();
    let bench = Bench { factory, tear: RUINED_SECTOR, safe_is_enough: false, open };
    let broken = bench.check().unwrap_err().to_string();
    assert!(broken.contains("BothDamaged"), "{broken}");
}
