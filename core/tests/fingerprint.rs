//! What makes two requests the same, and what does not.

use std::collections::HashSet;

use idemp::{CanonicalErrorKind, Fingerprint, FingerprintBuilder, NumberMode, PointerError};
use serde_json::{Value, json};

fn rules() -> FingerprintBuilder {
    FingerprintBuilder::new()
}

fn json(rules: &FingerprintBuilder, body: &str) -> Fingerprint {
    rules.json(body.as_bytes()).unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |b: &u8| char::from(*b).to_digit(16).unwrap() as u8;
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| digit(&pair[0]) << 4 | digit(&pair[1]))
        .collect()
}

/// All of them are different.
fn all_differ(fingerprints: impl IntoIterator<Item = Fingerprint>) {
    let all: Vec<_> = fingerprints.into_iter().collect();
    let different: HashSet<_> = all.iter().collect();
    assert_eq!(different.len(), all.len());
}

#[test]
fn the_golden_vectors_hold() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/vectors/fingerprint.json"
    );
    let vectors: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    assert!(cases.len() >= 30);
    for case in cases {
        let text = |name: &str| case[name].as_str();
        let list = |name: &str| -> Vec<&str> {
            let list = case[name].as_array();
            list.map_or(vec![], |list| {
                list.iter().map(|v| v.as_str().unwrap()).collect()
            })
        };
        let pairs = |name: &str| -> Vec<(&str, Vec<u8>)> {
            let pairs = case[name].as_array().into_iter().flatten();
            pairs
                .map(|pair| (pair[0].as_str().unwrap(), unhex(pair[1].as_str().unwrap())))
                .collect()
        };
        let mode = match text("mode") {
            Some("rfc8785") => NumberMode::Rfc8785,
            Some("rfc8785-strict") => NumberMode::Rfc8785Strict,
            _ => NumberMode::Exact,
        };
        let mut rules = rules().numbers(mode);
        if let Some(method) = text("method") {
            rules = rules.method(method);
        }
        if let Some(path) = text("path") {
            rules = rules.path(path);
        }
        if let Some(query) = text("query") {
            rules = rules.query(query);
        }
        if let Some(content_type) = text("content_type") {
            rules = rules.content_type(content_type);
        }
        for (name, value) in pairs("headers") {
            rules = rules.header(name, value);
        }
        for (name, value) in pairs("parts") {
            rules = rules.part(name, value);
        }
        if case["select"].is_array() {
            rules = rules.select(list("select")).unwrap();
        }
        if case["exclude"].is_array() {
            rules = rules.exclude(list("exclude")).unwrap();
        }
        let input = unhex(text("input_hex").unwrap());
        let found = match text("body").unwrap() {
            "json" => rules.json(&input).unwrap(),
            "raw" => rules.raw(&input),
            "empty" => rules.empty(),
            other => panic!("{other}"),
        };
        assert_eq!(found.to_hex(), text("fingerprint").unwrap(), "{case}");
        let form = idemp::canonicalize(&input, mode).ok();
        let expected = text("canonical_hex").map(unhex);
        assert_eq!(form.as_deref(), expected.as_deref(), "{case}");
        let strict = rules.clone().strict(true).json(&input);
        assert_eq!(
            strict.is_ok(),
            expected.is_some() || input.is_empty(),
            "{case}"
        );
    }
}

#[test]
fn the_same_data_is_the_same_request_and_other_data_is_another() {
    let of = |body: &str| Fingerprint::of_json(body.as_bytes());
    assert_eq!(
        of(r#"{"b":1.0,"a":[1,2]}"#),
        of(" {\"a\": [1, 2], \"\\u0062\": 1} ")
    );
    all_differ([
        of("{}"),
        of("[]"),
        of("null"),
        of("0"),
        of(r#""""#),
        of(""),
        of(" "),
        of(r#"{"a":null}"#),
        of(r#"{"a":[1,2]}"#),
        of(r#"{"a":[2,1]}"#),
        of(r#"{"A":[1,2]}"#),
        of("9007199254740992"),
        of("9007199254740993"),
        of("\"\u{e9}\""),
        of("\"e\u{301}\""),
        of(r#"{"a":1,"a":2}"#),
        of(r#"{"a":2,"a":1}"#),
        of(r#"{"a":1, "a":2}"#),
    ]);
}

#[test]
fn canonical_raw_and_empty_bodies_never_meet() {
    let form = br#"{"a":1}"#;
    assert_ne!(Fingerprint::of_json(form), Fingerprint::of_bytes(form));
    // A body that says JSON and is not counts as the raw bytes that it is.
    assert_eq!(
        Fingerprint::of_json(b"{\"a\":"),
        Fingerprint::of_bytes(b"{\"a\":")
    );
    assert_ne!(
        Fingerprint::of_json(b"{\"a\":"),
        Fingerprint::of_json(b"{\"a\": ")
    );
    assert_eq!(Fingerprint::of_json(b""), Fingerprint::of_bytes(b""));
    assert_eq!(Fingerprint::of_json(b""), rules().empty());
    assert_ne!(Fingerprint::of_json(b""), Fingerprint::of_json(b"null"));
    assert_ne!(Fingerprint::of_json(b" "), Fingerprint::of_json(b""));
}

#[test]
fn a_strict_reading_refuses_with_the_offset_and_takes_an_empty_body() {
    let error = Fingerprint::of_json_strict(br#"{"a":1,"a":2}"#).unwrap_err();
    assert_eq!(
        (error.kind(), error.offset()),
        (CanonicalErrorKind::Duplicate, 7)
    );
    assert_eq!(Fingerprint::of_json_strict(b""), Ok(rules().empty()));
    let form = br#"{"a":1}"#;
    assert_eq!(
        Fingerprint::of_json_strict(form),
        Ok(Fingerprint::of_json(form))
    );
    let strict = rules().strict(true);
    assert_eq!(strict.json(b"[1,]").unwrap_err().offset(), 3);
    assert_eq!(strict.json(b""), Ok(rules().empty()));
    assert_eq!(rules().json(b"[1,]"), Ok(rules().raw(b"[1,]")));
}

#[test]
fn a_value_is_the_text_that_is_written_for_it() {
    let value = json!({"b": 1.0, "a": ["x", null]});
    let expected = Fingerprint::of_json(br#"{"a":["x",null],"b":1}"#);
    assert_eq!(Fingerprint::of_value(&value).unwrap(), expected);
    let no_json = std::collections::BTreeMap::from([(vec![1], 1)]);
    assert!(Fingerprint::of_value(&no_json).is_err());
}

#[test]
fn a_builder_without_parts_gives_the_plain_fingerprint() {
    let body = br#"{"a":1}"#;
    assert_eq!(rules().json(body), Ok(Fingerprint::of_json(body)));
    assert_eq!(rules().raw(body), Fingerprint::of_bytes(body));
}

#[test]
fn each_part_counts_and_none_runs_into_another() {
    let of = |rules: FingerprintBuilder| json(&rules, "{}");
    all_differ([
        of(rules()),
        of(rules().method("POST")),
        of(rules().method("post")),
        of(rules().method("")),
        of(rules().path("POST")),
        of(rules().path("/a")),
        of(rules().path("/a/")),
        of(rules().path("//a")),
        of(rules().path("/a").query("")),
        of(rules().path("/a").query("b")),
        of(rules().path("/ab")),
        of(rules().query("a")),
        of(rules().query("a=")),
        of(rules().query("a=1&b=2")),
        of(rules().query("a=1&&b=2")),
        of(rules().query("a=2&a=1")),
        of(rules().query("a=1&a=2")),
        of(rules().header("a", "b")),
        of(rules().header("a", "")),
        of(rules().header("a", "b").header("a", "c")),
        of(rules().header("a", "c").header("a", "b")),
        of(rules().header("a", "b, c")),
        of(rules().part("a", "b")),
        of(rules().part("ab", "c")),
        of(rules().part("a", "bc")),
        of(rules().part("a", "b").part("c", "")),
        of(rules().content_type("application/json")),
        of(rules().content_type("application/json; charset=utf-8")),
        of(rules().content_type("text/plain")),
        of(rules().content_type("nonsense")),
        of(rules().numbers(NumberMode::Rfc8785)),
        of(rules().numbers(NumberMode::Rfc8785Strict)),
    ]);
}

#[test]
fn order_counts_only_within_one_name() {
    let of = |rules: FingerprintBuilder| json(&rules, "{}");
    assert_eq!(
        of(rules().query("b=2&a=1&a=0")),
        of(rules().query("a=1&b=2&a=0"))
    );
    assert_eq!(
        of(rules()
            .header("X-B", "1")
            .header("x-a", "2")
            .header("x-b", "3")),
        of(rules()
            .header("X-A", "2")
            .header("x-b", "1")
            .header("X-b", "3")),
    );
    assert_eq!(
        of(rules()
            .part("b", "1")
            .method("PUT")
            .part("a", "2")
            .path("/")),
        of(rules()
            .path("/")
            .part("a", "2")
            .part("b", "1")
            .method("PUT")),
    );
    assert_ne!(of(rules().part("Name", "1")), of(rules().part("name", "1")));
}

#[test]
fn what_is_said_twice_of_one_thing_is_what_was_said_last() {
    let of = |rules: FingerprintBuilder| json(&rules, "{}");
    assert_eq!(
        of(rules().method("PUT").method("POST")),
        of(rules().method("POST"))
    );
    assert_eq!(of(rules().path("/a").path("/b")), of(rules().path("/b")));
    assert_eq!(of(rules().query("a&b").query("c")), of(rules().query("c")));
    let json_type = rules().content_type("application/json");
    assert_eq!(
        of(rules()
            .content_type("a/b; c=d")
            .content_type("application/json")),
        of(json_type)
    );
}

#[test]
fn spellings_of_one_content_type_are_one() {
    let of = |text: &str| json(&rules().content_type(text), "{}");
    let plain = of("application/json; charset=utf-8");
    assert_eq!(of("Application/JSON ;Charset=\"UTF-8\""), plain);
    assert_ne!(of("application/json"), plain);
    assert_ne!(of("application/json; charset=latin1"), plain);
    assert_ne!(of("application/json; charset=utf-8; profile=a"), plain);
    assert_ne!(of("a/b; profile=A"), of("a/b; profile=a"));
    assert_eq!(of("a/b; x=1; y=2"), of("a/b; y=2; x=1"));
    assert_ne!(of("a/b; x=\"1"), of("a/b; x=1"));
}

#[test]
fn what_is_left_out_does_not_count_and_its_siblings_do() {
    let rules = rules()
        .exclude([
            "/trace",
            "/meta/at",
            "/items/1/note",
            "/a~1b",
            "/m~0n",
            "/\u{e9}\n\"",
            "/nowhere/x",
        ])
        .unwrap();
    let of = |body: &str| json(&rules, body);
    let base = r#"{"trace":"1","meta":{"at":1,"by":"x"},"items":[{"note":1},{"note":1,"n":2}],"a/b":1,"m~n":1,"é\n\"":1}"#;
    let same = r#"{"items":[{"note":1},{"n":2.0}],"meta":{"by":"x","at":{"deep":[]}},"m~n":{}}"#;
    assert_eq!(of(base), of(same));
    all_differ([
        of(base),
        of(&base.replace(r#""by":"x""#, r#""by":"y""#)),
        of(&base.replace(r#"[{"note":1}"#, r#"[{"note":2}"#)),
        of(&base.replace(r#""n":2"#, r#""n":3"#)),
        of(&base.replace("\"meta\"", "\"Meta\"")),
        of(r#"{"items":[{"note":1},{"n":2}]}"#),
        of(r#"{"items":[{"note":1},{"n":2}],"meta":{}}"#),
        of(r#"{"items":[{"note":1},{"n":2}],"meta":null}"#),
        of("{}"),
        of("[]"),
    ]);
    // The rules themselves count: a body is never matched by rules under which it was not stored.
    assert_ne!(of("{}"), Fingerprint::of_json(b"{}"));
}

#[test]
fn pointers_to_elements_name_places_in_the_body_as_it_came() {
    let first = rules().exclude(["/0"]).unwrap();
    assert_eq!(json(&first, "[1,2,3]"), json(&first, "[9,2,3]"));
    assert_ne!(json(&first, "[1,2,3]"), json(&first, "[1,3,2]"));
    let two = rules().exclude(["/1", "/0"]).unwrap();
    assert_eq!(json(&two, "[1,2,3]"), json(&two, "[8,9,3]"));
    assert_ne!(json(&two, "[1,2,3]"), json(&two, "[1,2,4]"));
    let mixed = rules()
        .exclude(["/a/0"])
        .unwrap()
        .select(["/a/1", "/a"])
        .unwrap();
    assert_eq!(
        json(&mixed, r#"{"a":[1,2,3]}"#),
        json(&mixed, r#"{"a":[0,2,3]}"#)
    );
    assert_ne!(
        json(&mixed, r#"{"a":[1,2,3]}"#),
        json(&mixed, r#"{"a":[1,3,2]}"#)
    );
    // Indexes have no leading zeros, and `-` is behind the last element (RFC 6901, section 4).
    for nowhere in [
        "/00",
        "/01",
        "/-",
        "/3",
        "/-1",
        "/+0",
        "/99999999999999999999999",
    ] {
        let rules = rules().exclude([nowhere]).unwrap();
        all_differ(["[1]", "[2]", "[1,2]", "[]"].map(|body| json(&rules, body)));
    }
    // In an object they are names.
    let name = rules().exclude(["/00"]).unwrap();
    assert_eq!(json(&name, r#"{"00":1}"#), json(&name, "{}"));
}

#[test]
fn of_selected_fields_missing_null_and_falsy_values_all_differ() {
    let rules = rules().select(["/id", "/o/k"]).unwrap();
    let of = |body: &str| json(&rules, body);
    assert_eq!(
        of(r#"{"id":1,"x":2}"#),
        of(r#"{"y":3,"id":1.0,"o":{"z":1}}"#)
    );
    all_differ([
        of("{}"),
        of(r#"{"id":null}"#),
        of(r#"{"id":0}"#),
        of(r#"{"id":false}"#),
        of(r#"{"id":""}"#),
        of(r#"{"id":[]}"#),
        of(r#"{"id":{}}"#),
        of(r#"{"id":"0"}"#),
        of(r#"{"o":{"k":0}}"#),
        of(r#"{"o":{"k":null}}"#),
        of(r#"{"id":0,"o":{"k":0}}"#),
    ]);
    assert_eq!(of("[]"), of("{}"), "neither has a field");
    assert_ne!(of("[]"), of(""));
}

#[test]
fn selection_takes_the_whole_too_and_its_order_does_not_count() {
    let whole = rules().select([""]).unwrap();
    assert_ne!(json(&whole, "{}"), json(&whole, "[]"));
    let (ab, ba) = (
        rules().select(["/a", "/b", "/a"]).unwrap(),
        rules().select(["/b", "/a"]).unwrap(),
    );
    let body = r#"{"a":1,"b":2}"#;
    assert_eq!(json(&ab, body), json(&ba, body));
    assert_ne!(json(&ab, body), json(&ab, r#"{"a":2,"b":1}"#));
    let inside = rules().select(["/a"]).unwrap().exclude(["/a/t"]).unwrap();
    assert_eq!(
        json(&inside, r#"{"a":{"t":1,"k":1}}"#),
        json(&inside, r#"{"a":{"t":2,"k":1}}"#)
    );
    assert_ne!(
        json(&inside, r#"{"a":{"t":1,"k":1}}"#),
        json(&inside, r#"{"a":{"t":1,"k":2}}"#)
    );
}

#[test]
fn a_body_that_is_taken_raw_counts_whole_whatever_is_selected_or_left_out() {
    for rules in [
        rules().exclude(["/t"]).unwrap(),
        rules().select(["/a"]).unwrap(),
    ] {
        all_differ([
            json(&rules, r#"{"a":1,"t":1,"t":2}"#),
            json(&rules, r#"{"a":1,"t":1,"t":3}"#),
            json(&rules, r#"{"a":1}"#),
        ]);
        let duplicate = br#"{"a":1,"t":1,"t":2}"#;
        let error = rules.clone().strict(true).json(duplicate).unwrap_err();
        assert_eq!(error.kind(), CanonicalErrorKind::Duplicate);
    }
}

#[test]
fn a_bad_pointer_is_refused_when_the_rules_are_built() {
    for (text, error) in [
        ("a", PointerError::Slash),
        ("a/b", PointerError::Slash),
        ("/~", PointerError::Escape),
        ("/a~2", PointerError::Escape),
        ("/a/~/b", PointerError::Escape),
    ] {
        assert_eq!(rules().exclude([text]).unwrap_err(), error);
        assert_eq!(rules().select([text]).unwrap_err(), error);
    }
    assert_eq!(rules().exclude([""]).unwrap_err(), PointerError::Whole);
    let nothing: [&str; 0] = [];
    assert_eq!(
        rules().select(nothing).unwrap_err(),
        PointerError::NothingSelected
    );
    assert!(rules().exclude(nothing).is_ok());
    assert!(rules().exclude(["/", "/~01", "/a//b"]).is_ok());
    let empty_name = rules().exclude(["/"]).unwrap();
    assert_eq!(json(&empty_name, r#"{"":1}"#), json(&empty_name, "{}"));
}

#[test]
fn number_modes_are_told_apart_and_merge_what_they_say() {
    let of = |mode, body: &str| json(&rules().numbers(mode), body);
    let (big, next) = ("9007199254740992", "9007199254740993");
    assert_ne!(of(NumberMode::Exact, big), of(NumberMode::Exact, next));
    assert_eq!(of(NumberMode::Rfc8785, big), of(NumberMode::Rfc8785, next));
    assert_ne!(
        of(NumberMode::Rfc8785Strict, big),
        of(NumberMode::Rfc8785Strict, next)
    );
    all_differ(
        [
            NumberMode::Exact,
            NumberMode::Rfc8785,
            NumberMode::Rfc8785Strict,
        ]
        .map(|mode| of(mode, big)),
    );
}

#[test]
fn the_text_form_reads_back_and_no_other_text_does() {
    let fingerprint = Fingerprint::of_json(b"{}");
    let text = fingerprint.to_hex();
    assert_eq!(text.len(), 66);
    assert!(text.starts_with("01"));
    assert_eq!(text.parse(), Ok(fingerprint));
    let stored = serde_json::to_string(&fingerprint).unwrap();
    assert_eq!(stored, format!("\"{text}\""));
    assert_eq!(
        serde_json::from_str::<Fingerprint>(&stored).unwrap(),
        fingerprint
    );
    let unknown = Fingerprint::from_parts(200, *fingerprint.digest());
    assert_eq!(unknown.to_hex().parse(), Ok(unknown));
    assert_ne!(unknown, fingerprint);
    let upper = text.to_uppercase();
    for bad in [
        "",
        &text[1..],
        &text[..65],
        &upper,
        &format!("{text}0"),
        &text.replace(&text[5..6], "é"),
    ] {
        assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
        assert!(
            serde_json::from_value::<Fingerprint>(json!(bad)).is_err(),
            "{bad}"
        );
    }
}

#[test]
fn what_is_shown_of_a_fingerprint_or_of_rules_is_short() {
    let fingerprint = Fingerprint::from_parts(1, [0xab; 32]);
    assert_eq!(fingerprint.to_string(), "v1:abababab...");
    assert_eq!(format!("{fingerprint:?}"), "Fingerprint(v1:abababab...)");
    let rules = rules()
        .header("authorization", "secret")
        .exclude(["/t"])
        .unwrap();
    let shown = format!("{rules:?}");
    assert!(!shown.contains("secret") && shown.contains("/t"), "{shown}");
}
