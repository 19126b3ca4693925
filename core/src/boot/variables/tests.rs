//! Variables hold every state, and what they cannot hold is refused by name.

use std::collections::HashMap;
use std::string::{String, ToString as _};

use proptest::prelude::*;

use super::*;
use Notation::{Digit, Unary};

fn decode_pairs(
    notation: Notation,
    pairs: &[(&str, &str)],
) -> Result<Option<BootState>, VariableError> {
    let map: HashMap<&str, &str> = pairs.iter().copied().collect();
    decode(notation, |name| map.get(name).copied())
}

const COMMITTED: [(&str, &str); 4] =
    [(ORDER, "b"), (GOOD_A, "bad"), (GOOD_B, "good"), (END, END_VALUE)];

fn committed_but(name: &'static str, value: &'static str) -> [(&'static str, &'static str); 5] {
    let [order, a, b, end] = COMMITTED;
    [order, a, b, end, (name, value)]
}

#[test]
fn a_trial_is_written_in_letters_or_as_a_digit() {
    let trial = Some(Trial { slot: Slot::B, tries_left: 3 });
    let state = BootState { trial, ..BootState::factory(Some(Slot::A)) };
    for (notation, tries) in [(Unary, "xxx"), (Digit, "3")] {
        let written = encode(&state, notation);
        let expected = ["a", "good", "bad", "b", tries, "", "1"];
        assert_eq!(written.each_ref().map(Variable::value), expected);
        assert_eq!(written.each_ref().map(|variable| variable.name), NAMES);
    }
}

#[test]
fn absent_and_empty_are_the_same() {
    let state = BootState::factory(Some(Slot::B));
    assert_eq!(decode_pairs(Digit, &COMMITTED), Ok(Some(state)));
    assert_eq!(decode_pairs(Digit, &committed_but(TRY, "")), Ok(Some(state)));
    assert_eq!(decode_pairs(Digit, &[]), Ok(None));
    assert_eq!(decode_pairs(Digit, &NAMES.map(|name| (name, ""))), Ok(None));
}

#[test]
fn a_state_without_its_end_is_not_a_state() {
    let [order, a, b, _] = COMMITTED;
    assert_eq!(decode_pairs(Digit, &[order, a, b]), Err(VariableError::NoEnd));
    assert_eq!(decode_pairs(Digit, &[(TRIES, "2")]), Err(VariableError::NoEnd));
    assert_eq!(decode_pairs(Digit, &committed_but(END, "2")), Err(VariableError::Version));
}

#[test]
fn a_missing_goodness_is_an_error_and_not_bad() {
    for name in [ORDER, GOOD_A, GOOD_B] {
        let missing = decode_pairs(Digit, &committed_but(name, ""));
        assert_eq!(missing, Err(VariableError::Missing { name }));
    }
}

#[test]
fn an_impossible_value_is_refused_by_name() {
    for (notation, name, value) in [
        (Digit, ORDER, "c"),
        (Digit, ORDER, "a b"),
        (Digit, GOOD_A, "yes"),
        (Digit, TRY, "A"),
        (Digit, FAILED, "b"),
        (Digit, FAILED, "b:"),
        (Digit, FAILED, "c:tries"),
        (Digit, FAILED, "b:so many words"),
    ] {
        let refused = decode_pairs(notation, &committed_but(name, value));
        assert_eq!(refused, Err(VariableError::Value { name }), "{value}");
    }
}

#[test]
fn tries_are_zero_to_seven_in_their_own_notation() {
    for (notation, text, tries) in [
        (Unary, "", Some(0)),
        (Unary, "x", Some(1)),
        (Unary, "xxxxxxx", Some(7)),
        (Unary, "xxxxxxxx", None),
        (Unary, "xy", None),
        (Unary, "1", None),
        (Digit, "", Some(0)),
        (Digit, "0", Some(0)),
        (Digit, "7", Some(7)),
        (Digit, "8", None),
        (Digit, "-1", None),
        (Digit, "03", None),
        (Digit, "x", None),
    ] {
        assert_eq!(super::tries(notation, text), tries, "{notation:?} {text:?}");
    }
}

proptest! {
    #[test]
    fn every_state_survives_a_round_trip(
        unary in any::<bool>(),
        order in any::<bool>(),
        good in any::<[bool; 2]>(),
        trial in proptest::option::of((any::<bool>(), 0..=TRIES_MAX)),
        failed in proptest::option::of((any::<bool>(), "[a-z0-9-]{1,16}")),
    ) {
        let slot = |is_b| if is_b { Slot::B } else { Slot::A };
        let [a, b] = good;
        let state = BootState {
            order: slot(order),
            good: PerSlot { a, b },
            trial: trial.map(|(is_b, tries_left)| Trial { slot: slot(is_b), tries_left }),
            failed: failed.map(|(is_b, word)| Failed {
                slot: slot(is_b),
                reason: Reason::from_word(&word).unwrap(),
            }),
        };
        let notation = if unary { Unary } else { Digit };
        let written: HashMap<&str, String> = encode(&state, notation)
            .iter()
            .map(|variable| (variable.name, variable.value().to_string()))
            .collect();
        let read = decode(notation, |name| written.get(name).map(String::as_str));
        prop_assert_eq!(read, Ok(Some(state)));
    }
}
