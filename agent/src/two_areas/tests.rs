//! What a file of two areas survives, by the example of the state.

use proptest::prelude::*;

use super::*;
use crate::state::{AREA_LEN, FILE, State, StateError, StateFile, read};

fn device() -> (tempfile::TempDir, Root) {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::below(folder.path().to_owned());
    (folder, root)
}

fn tracking(reference: &str) -> State {
    State { reference: Some(reference.to_owned()), ..State::default() }
}

#[test]
fn what_is_stored_is_read_by_the_next_program() {
    let (_folder, root) = device();
    assert_eq!(read(&root).unwrap(), State::default());
    for turn in 0..5 {
        let state = tracking(&format!("oci:/media/{turn}"));
        let mut file = StateFile::open(&root).unwrap();
        file.store(state.clone()).unwrap();
        assert_eq!(file.state(), &state);
        drop(file);
        assert_eq!(read(&root).unwrap(), state);
        // Its room was all taken when it was made.
        assert_eq!(fs::metadata(root.path(FILE)).unwrap().len(), 2 * AREA_LEN as u64);
    }
}

#[test]
fn two_programs_do_not_update_one_device() {
    let (_folder, root) = device();
    let file = StateFile::open(&root).unwrap();
    assert!(matches!(StateFile::open(&root), Err(StateError::File(FileError::Held { .. }))));
    assert_eq!(read(&root).unwrap(), State::default());
    drop(file);
    assert!(StateFile::open(&root).is_ok());
}

#[test]
fn a_store_that_is_cut_leaves_before_or_after() {
    let (_folder, root) = device();
    let (before, after) = (tracking("oci:/before"), tracking("oci:/after"));
    StateFile::open(&root).unwrap().store(before.clone()).unwrap();
    let path = root.path(FILE);
    let whole = fs::read(&path).unwrap();
    StateFile::open(&root).unwrap().store(after.clone()).unwrap();
    let written = fs::read(&path).unwrap();
    for cut in (0..=written.len()).step_by(512) {
        let torn = [&written[..cut], &whole[cut..]].concat();
        fs::write(&path, torn).unwrap();
        let found = read(&root).unwrap();
        assert!(found == before || found == after, "cut at {cut}: {found:?}");
    }
    assert_eq!(read(&root).unwrap(), after);
}

#[test]
fn a_damaged_file_is_an_empty_state_that_can_be_stored_to() {
    let (_folder, root) = device();
    StateFile::open(&root).unwrap().store(tracking("oci:/x")).unwrap();
    for damage in [&b""[..], b"x", &[0; 2 * AREA_LEN], &[b'\n'; 3 * AREA_LEN]] {
        fs::write(root.path(FILE), damage).unwrap();
        assert_eq!(read(&root).unwrap(), State::default());
        StateFile::open(&root).unwrap().store(tracking("oci:/y")).unwrap();
        assert_eq!(read(&root).unwrap(), tracking("oci:/y"));
    }
}

#[test]
fn what_is_too_long_is_refused_with_both_numbers() {
    let (_folder, root) = device();
    let mut file = StateFile::open(&root).unwrap();
    let error = file.store(tracking(&"x".repeat(1025))).unwrap_err();
    assert_eq!(error.to_string(), "reference is 1025 bytes, limit 1024");
    assert_eq!(file.state(), &State::default());
}

proptest! {
    #[test]
    fn any_bytes_are_some_state_or_none(mut content in prop::collection::vec(any::<u8>(), 0..200)) {
        decode::<State>(&content);
        let mut whole = encode(&tracking("oci:/x"), 7).unwrap();
        let len = content.len();
        whole[..len].swap_with_slice(&mut content);
        decode::<State>(&whole);
    }
}
