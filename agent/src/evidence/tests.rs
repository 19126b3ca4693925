//! What is kept of trials, and what is not.

use std::os::unix::fs::MetadataExt as _;

use super::*;
use crate::device::cmdline::CommandLine;
use crate::root::Root;

fn device() -> (tempfile::TempDir, Root) {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::below(folder.path().to_owned());
    (folder, root)
}

fn boot(number: u8) -> ThisBoot {
    ThisBoot { id: Some(format!("{number:032x}")), uptime_s: number.into(), time: None }
}

fn trial_line() -> CommandLine {
    let root_hash = Some(Digest::of(b"root"));
    CommandLine { slot: Some(Slot::B), trial: true, loader: Some(1), root_hash }
}

fn release(version: &str) -> ReleaseName {
    ReleaseName { digest: DigestText(Digest::of(version.as_bytes())), version: version.to_owned() }
}

fn announced(version: &str) -> Trial {
    Trial::new(Slot::B, Some(release(version)), Some(DigestText(Digest::of(b"root"))))
}

#[test]
fn notes_of_one_boot_are_one_attempt_and_only_add() {
    let (_folder, root) = device();
    begin_trial(&root, announced("2")).unwrap();
    let note = |number, note| note_boot(&root, &boot(number), &trial_line(), note).unwrap();
    note(1, Note::reached(Reached::Initramfs));
    note(1, Note { check: Some("10_a.sh".to_owned()), ..Note::reached(Reached::Checking) });
    note(1, Note::fault(Fault::Health, "no route\n"));
    note(1, Note::reached(Reached::Started));
    note(2, Note::reached(Reached::Initramfs));
    let evidence = read_if_possible(&root);
    let [trial] = evidence.trials.as_slice() else { panic!("{evidence:?}") };
    let [first, second] = trial.attempts.as_slice() else { panic!("{trial:?}") };
    assert_eq!((first.reached, first.fault), (Reached::Checking, Some(Fault::Health)));
    assert_eq!(first.check.as_deref(), Some("10_a.sh"));
    assert_eq!(first.output.as_deref(), Some("no route"));
    assert_eq!((second.reached, second.fault), (Reached::Initramfs, None));
    assert_eq!(evidence.fault_of(Digest::of(b"2")), Some(Fault::Health));
    assert_eq!(evidence.fault_of(Digest::of(b"1")), None);
}

#[test]
fn a_trial_that_is_over_goes_on_in_no_later_boot() {
    let (_folder, root) = device();
    begin_trial(&root, announced("2")).unwrap();
    for number in [1, 1, 2] {
        let note = Note::reached(Reached::Committed);
        note_boot(&root, &boot(number), &trial_line(), note).unwrap();
    }
    let attempts: Vec<_> =
        read_if_possible(&root).trials.iter().map(|trial| trial.attempts.len()).collect();
    assert_eq!(attempts, [1, 1]);
}

#[test]
fn what_is_no_trial_is_not_noted() {
    let (_folder, root) = device();
    for line in [CommandLine::default(), CommandLine { trial: false, ..trial_line() }] {
        note_boot(&root, &boot(1), &line, Note::reached(Reached::Started)).unwrap();
    }
    assert!(!root.path(FILE).exists());
}

#[test]
fn a_release_that_someone_arms_again_begins_without_a_past() {
    let (_folder, root) = device();
    begin_trial(&root, announced("2")).unwrap();
    let fault = Note::fault(Fault::Verity, "block 7");
    note_boot(&root, &boot(1), &trial_line(), fault).unwrap();
    begin_trial(&root, announced("2")).unwrap();
    assert_eq!(read_if_possible(&root).fault_of(Digest::of(b"2")), None);
    assert_eq!(read_if_possible(&root).trials.len(), 2);
}

#[test]
fn an_attempt_of_something_else_is_not_that_of_what_was_announced() {
    let (_folder, root) = device();
    begin_trial(&root, announced("2")).unwrap();
    let other = CommandLine { root_hash: Some(Digest::of(b"other")), ..trial_line() };
    note_boot(&root, &boot(1), &other, Note::fault(Fault::Verity, "")).unwrap();
    let evidence = read_if_possible(&root);
    assert_eq!(evidence.fault_of(Digest::of(b"2")), None);
    assert_eq!(evidence.trials.len(), 2);
}

#[test]
fn a_panic_and_a_reset_belong_to_the_attempt_before() {
    let (folder, root) = device();
    let put = |path: &str, text: &str| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    put("sys/fs/pstore/dmesg-ramoops-0", "Panic#1 Part1\nan old one\n");
    begin_trial(&root, announced("2")).unwrap();
    let started = || Note::reached(Reached::Started);
    note_boot(&root, &boot(1), &trial_line(), started()).unwrap();
    let after = look_back(&root, &boot(1), Slot::B).unwrap();
    assert_eq!(after.fault_of(Digest::of(b"2")), None, "the old panic is nobody's fault");

    put("sys/class/watchdog/watchdog0/bootstatus", "32\n");
    note_boot(&root, &boot(2), &trial_line(), started()).unwrap();
    let after = look_back(&root, &boot(2), Slot::B).unwrap();
    assert_eq!(after.trials[0].attempts[0].fault, Some(Fault::Watchdog));
    assert_eq!(after.trials[0].attempts[1].fault, None);

    put("sys/fs/pstore/dmesg-ramoops-0", "Panic#1 Part1\na new one\n");
    let after = look_back(&root, &boot(3), Slot::B).unwrap();
    let last = &after.trials[0].attempts[1];
    assert_eq!(last.fault, Some(Fault::Panic));
    assert!(last.kernel.as_ref().unwrap().ends_with("a new one"));
    assert_eq!(look_back(&root, &boot(3), Slot::B).unwrap(), after);
}

#[test]
fn a_panic_before_anything_could_be_noted_is_an_attempt_too() {
    let (folder, root) = device();
    begin_trial(&root, announced("2")).unwrap();
    let file = folder.path().join("sys/fs/pstore/dmesg-efi-0");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, "Panic#1 Part1\nno init found\n").unwrap();
    let after = look_back(&root, &boot(9), Slot::B).unwrap();
    assert_eq!(after.trials[0].attempts[0].reached, Reached::Kernel);
    assert_eq!(after.fault_of(Digest::of(b"2")), Some(Fault::Panic));
}

#[test]
fn whatever_happens_the_evidence_has_room_and_the_newest_is_kept() {
    let (_folder, root) = device();
    let long = "x\"\\".repeat(KERNEL_LEN_MAX);
    for version in 0..7 {
        begin_trial(&root, announced(&version.to_string())).unwrap();
        for number in 0..if version < 6 { 4 } else { 26 } {
            let fault = Note::fault(Fault::Health, long.clone());
            let note = Note { kernel: Some(long.clone()), ..fault };
            note_boot(&root, &boot(number), &trial_line(), note).unwrap();
            let newest = &read_if_possible(&root).trials[0];
            let last = newest.attempts.last().unwrap();
            assert_eq!(last.boot, boot(number).id);
            assert_eq!(last.output.as_ref().map(String::len), Some(OUTPUT_LEN_MAX));
            assert_eq!(last.kernel.as_ref().map(String::len), Some(KERNEL_LEN_MAX));
        }
    }
    let evidence = read_if_possible(&root);
    assert_eq!(evidence.trials.len(), TRIALS_MAX);
    assert_eq!(evidence.trials[0].attempts.len(), ATTEMPTS_MAX);
    let file = std::fs::metadata(root.path(FILE)).unwrap();
    assert_eq!((file.len(), file.mode() & 0o077), (2 * AREA_LEN as u64, 0));
}
