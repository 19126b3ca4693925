//! Claims about the JSON reader; serde_json is the judge of what is JSON.

use std::collections::BTreeMap;
use std::string::{String, ToString as _};
use std::vec::Vec;
use std::{format, vec};

use proptest::prelude::*;
use serde_json::Value as Judge;

use super::*;

/// Rebuilds a document from our reading of it.
fn rebuild(value: Value<'_>) -> Result<Judge, JsonError> {
    Ok(match value.kind() {
        Kind::Null => Judge::Null,
        Kind::Bool => Judge::Bool(value.bool()?),
        Kind::Number => match value.u64() {
            Ok(number) => Judge::from(number),
            Err(error) => {
                assert_eq!(error.cause, Cause::NotU64);
                // Beyond what a float holds it is JSON, but serde_json refuses it.
                serde_json::from_str(value.raw()).map_err(|_| error)?
            }
        },
        Kind::String => Judge::String(value.text()?.to_string()),
        Kind::Array => {
            Judge::Array(value.array()?.map(|item| rebuild(item?)).collect::<Result<_, _>>()?)
        }
        Kind::Object => Judge::Object(
            value
                .object()?
                .map(|member| member.and_then(|(key, value)| Ok((key.into(), rebuild(value)?))))
                .collect::<Result<_, _>>()?,
        ),
    })
}

fn cause(document: &str) -> (usize, Cause) {
    let error = Value::parse(document.as_bytes())
        .and_then(|value| value.object()?.try_for_each(|member| member.map(drop)))
        .unwrap_err();
    (error.at, error.cause)
}

#[test]
fn what_we_do_not_accept_is_refused_with_its_place() {
    let kind = |found| Cause::Kind { expected: Kind::Object, found };
    for (document, expected) in [
        ("", (0, Cause::End)),
        ("{", (1, Cause::End)),
        ("{\"a\"", (4, Cause::End)),
        ("{\"a\":", (5, Cause::End)),
        ("{\"a\":1,}", (7, Cause::Syntax)),
        ("{\"a\":[1,]}", (8, Cause::Syntax)),
        ("{\"a\":[1}", (7, Cause::Syntax)),
        ("{,}", (1, Cause::Syntax)),
        ("{a:1}", (1, Cause::Syntax)),
        ("{\"a\":01}", (6, Cause::Syntax)),
        ("{\"a\":1.}", (7, Cause::Syntax)),
        ("{\"a\":-}", (6, Cause::Syntax)),
        ("{\"a\":1e}", (7, Cause::Syntax)),
        ("{\"a\":+1}", (5, Cause::Syntax)),
        ("{\"a\":nul}", (8, Cause::Syntax)),
        ("{\"a\":NaN}", (5, Cause::Syntax)),
        ("{\"a\":\"\u{1}\"}", (6, Cause::Syntax)),
        ("{\"a\":\"\\x\"}", (6, Cause::Syntax)),
        ("{\"a\":\"\\u12\"}", (6, Cause::Syntax)),
        ("{\"a\":\"\\u+123\"}", (6, Cause::Syntax)),
        ("{\"a\":\"\\ud800\"}", (6, Cause::Syntax)),
        ("{\"a\":\"\\udc00\\ud800\"}", (6, Cause::Syntax)),
        ("{\"a\":1} x", (8, Cause::Trailing)),
        ("{}{}", (2, Cause::Trailing)),
        ("\u{feff}{}", (0, Cause::Syntax)),
        ("{\"a\":1,\"b\":2, \"a\":3}", (14, Cause::Duplicate)),
        ("{\"\\u0061\":1}", (1, Cause::EscapedKey)),
        ("[]", (0, kind(Kind::Array))),
        (" \"{}\"", (1, kind(Kind::String))),
    ] {
        assert_eq!(cause(document), expected, "{document}");
    }
    let error = Value::parse(b"{\"a\":\"\xff\"}").unwrap_err();
    assert_eq!(error, JsonError { at: 6, cause: Cause::NotUtf8 });
}

#[test]
fn a_key_that_is_the_start_of_another_is_no_duplicate() {
    let value = Value::parse(br#"{"ab":1,"a":2,"":3,"abc":4}"#).unwrap();
    let keys: Vec<_> = value.object().unwrap().map(|member| member.unwrap().0).collect();
    assert_eq!(keys, ["ab", "a", "", "abc"]);
}

#[test]
fn sixteen_levels_are_read_and_seventeen_refused() {
    let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(Value::parse(nested(16).as_bytes()).is_ok());
    let deep = nested(17);
    assert_eq!(
        Value::parse(deep.as_bytes()).unwrap_err(),
        JsonError { at: 16, cause: Cause::Depth }
    );
    let deepest = nested(1_000_000);
    assert_eq!(Value::parse(deepest.as_bytes()).unwrap_err().cause, Cause::Depth);
}

#[test]
fn members_are_limited_only_in_objects_that_are_read() {
    let object = |count| {
        let members: Vec<_> = (0..count).map(|index| format!("\"{index}\":0")).collect();
        format!("{{{}}}", members.join(","))
    };
    let (fits, over) = (object(MEMBERS_MAX), object(MEMBERS_MAX + 1));
    assert_eq!(Value::parse(fits.as_bytes()).unwrap().object().unwrap().count(), MEMBERS_MAX);
    let last = Value::parse(over.as_bytes()).unwrap().object().unwrap().last().unwrap();
    assert_eq!(last.unwrap_err().cause, Cause::Members);
    let skipped = format!("{{\"a\":{over}}}");
    assert_eq!(Value::parse(skipped.as_bytes()).unwrap().object().unwrap().count(), 1);
}

#[test]
fn a_document_above_the_limit_is_refused_unread() {
    let document = vec![b' '; DOCUMENT_LEN_MAX + 1];
    let error = Value::parse(&document).unwrap_err();
    assert_eq!(error.to_string(), "byte 0: document is 4194305 bytes, limit 4194304");
}

#[test]
fn integers_are_exact_to_the_last_and_never_floats() {
    let read = |text: &str| Value::parse(text.as_bytes()).unwrap().u64().map_err(|e| e.cause);
    assert_eq!(read("0"), Ok(0));
    assert_eq!(read("18446744073709551615"), Ok(u64::MAX));
    assert_eq!(read("9007199254740993"), Ok(9_007_199_254_740_993));
    for number in ["18446744073709551616", "-1", "-0", "1.0", "1e3"] {
        assert_eq!(read(number), Err(Cause::NotU64), "{number}");
    }
    let kind = Cause::Kind { expected: Kind::Number, found: Kind::String };
    assert_eq!(read("\"1\""), Err(kind));
}

#[test]
fn an_escaped_string_means_what_it_says() {
    let document = r#""a\u0026b\/\n\ud83d\ude80\udbff\udfff\"""#;
    let meaning = "a&b/\n\u{1f680}\u{10ffff}\"";
    let value = Value::parse(document.as_bytes()).unwrap();
    let text = value.text().unwrap();
    assert_eq!(text, meaning);
    assert!(text != "a&b");
    assert_eq!(text.plain(), None);
    assert_eq!(value.str().unwrap_err().cause, Cause::Escape);
    let mut buffer = [0; 14];
    assert_eq!(text.unescape(&mut buffer), Ok(meaning));
    let mut short = [0; 13];
    assert_eq!(text.unescape(&mut short), Err(Cause::TextTooLong { limit: 13 }));
    assert_eq!(serde_json::from_str::<String>(document).unwrap(), meaning);
}

#[test]
fn errors_name_what_is_missing() {
    let value = Value::parse(b" {}").unwrap();
    assert_eq!(value.missing("size").to_string(), "byte 1: \"size\" is missing");
}

/// Random documents, keys included that JSON has to escape nowhere.
fn documents() -> impl Strategy<Value = Judge> {
    let leaf = prop_oneof![
        Just(Judge::Null),
        any::<bool>().prop_map(Judge::from),
        any::<u64>().prop_map(Judge::from),
        any::<i64>().prop_map(Judge::from),
        any::<String>().prop_map(Judge::from),
    ];
    leaf.prop_recursive(8, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Judge::from),
            prop::collection::btree_map("[a-zé/. ]{0,6}", inner, 0..8)
                .prop_map(|map: BTreeMap<String, Judge>| map.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn what_serde_json_writes_we_read_the_same(document in documents(), pretty: bool) {
        let text = if pretty {
            serde_json::to_string_pretty(&document).unwrap()
        } else {
            serde_json::to_string(&document).unwrap()
        };
        prop_assert_eq!(rebuild(Value::parse(text.as_bytes()).unwrap()).unwrap(), document);
    }

    /// We may refuse what it accepts (duplicates, escaped keys, depth), never the reverse.
    #[test]
    fn what_we_accept_serde_json_reads_the_same(
        document in documents(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..4),
    ) {
        let mut bytes = serde_json::to_vec(&document).unwrap();
        for (at, byte, what) in edits {
            let at = at.index(bytes.len());
            match what {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => {}
            }
        }
        if let Ok(ours) = Value::parse(&bytes).and_then(rebuild) {
            prop_assert_eq!(serde_json::from_slice::<Judge>(&bytes).unwrap(), ours);
        }
    }

    /// Token soup reaches deeper into the grammar than random bytes.
    #[test]
    fn syntax_agrees_with_serde_json(
        tokens in prop::collection::vec(
            prop::sample::select(vec![
                "{", "}", "[", "]", ",", ":", "\"a\"", "\"b\"", "1", "-0.5E-7", "true", "null",
                " ", "\"\\ud834\\udd1e\"", "0", "\\", "\"",
            ]),
            0..14,
        ),
    ) {
        let text: String = tokens.concat();
        let judge = serde_json::from_str::<Judge>(&text);
        prop_assert_eq!(Value::parse(text.as_bytes()).is_ok(), judge.is_ok(), "{}", text);
    }
}
