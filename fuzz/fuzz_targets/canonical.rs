//! Any bytes: canonicalising and fingerprinting hold what they promise.
//!
//! `cargo +nightly fuzz run canonical -- -dict=fuzz/json.dict -max_total_time=60`, from the root of
//! the repository, after `cargo install cargo-fuzz`.

#![no_main]

use idemp::{CanonicalErrorKind, Fingerprint, FingerprintBuilder, NumberMode, canonicalize};
use libfuzzer_sys::fuzz_target;
use serde::Deserialize;

fuzz_target!(|input: &[u8]| {
    let exact = canonicalize(input, NumberMode::Exact);
    let rfc8785 = canonicalize(input, NumberMode::Rfc8785);
    let strict = canonicalize(input, NumberMode::Rfc8785Strict);

    for (mode, form) in [
        (NumberMode::Exact, &exact),
        (NumberMode::Rfc8785, &rfc8785),
        (NumberMode::Rfc8785Strict, &strict),
    ] {
        match form {
            Ok(form) => {
                let twice = canonicalize(form, mode).expect("a canonical form is canonical");
                assert_eq!(&twice, form, "canonicalising twice changes nothing");
            }
            Err(error) => assert!(error.offset() <= input.len()),
        }
    }

    match (&exact, &rfc8785) {
        (Ok(exact), Ok(rfc8785)) => {
            let again = canonicalize(exact, NumberMode::Rfc8785).expect("it had a form before");
            assert_eq!(&again, rfc8785, "the exact form loses nothing");
        }
        (Ok(_), Err(error)) => assert_eq!(error.kind(), CanonicalErrorKind::NumberRange),
        (Err(one), other) => assert!(other.is_err(), "{one}"),
    }
    match (&rfc8785, &strict) {
        (Ok(rfc8785), Ok(strict)) => assert_eq!(rfc8785, strict),
        (Ok(_), Err(error)) => assert_eq!(error.kind(), CanonicalErrorKind::InexactInteger),
        (Err(_), strict) => assert!(strict.is_err()),
    }

    // Another parser agrees on what JSON is.
    match &rfc8785 {
        Ok(form) => {
            let theirs = parse(input).expect("what has a form is JSON");
            let ours = parse(form).expect("a form is JSON");
            assert!(same(&theirs, &ours), "the form is the same data");
        }
        Err(error) => assert!(
            matches!(
                error.kind(),
                CanonicalErrorKind::Duplicate
                    | CanonicalErrorKind::NumberRange
                    | CanonicalErrorKind::Depth
            ) || parse(input).is_err(),
            "{error}"
        ),
    }

    let fingerprint = Fingerprint::of_json(input);
    assert_eq!(fingerprint.to_hex().parse(), Ok(fingerprint));
    match &exact {
        Ok(form) => {
            assert_eq!(fingerprint, Fingerprint::of_json(form));
            assert_ne!(fingerprint, Fingerprint::of_bytes(form));
        }
        Err(_) => assert_eq!(fingerprint, Fingerprint::of_bytes(input)),
    }

    // Rules with pointers take any body, and what they leave out does not count.
    let left_out = FingerprintBuilder::new()
        .exclude(["/a", "/b/0", "/0/a", "//\u{e9}"])
        .expect("these are pointers");
    let _ = left_out.json(input).expect("not strict");
    let selected = FingerprintBuilder::new()
        .select(["/a", "/b/0", "", "/0"])
        .expect("these are pointers");
    let _ = selected.json(input).expect("not strict");
});

/// Reads JSON as deep as it goes: the limit of the other parser is not ours.
fn parse(text: &[u8]) -> serde_json::Result<serde_json::Value> {
    let mut parser = serde_json::Deserializer::from_slice(text);
    parser.disable_recursion_limit();
    let value = serde_json::Value::deserialize(&mut parser)?;
    parser.end().map(|()| value)
}

/// Whether two values are the same data, apart from numbers: those go through a double here, which
/// the other parser does not read exactly.
fn same(one: &serde_json::Value, two: &serde_json::Value) -> bool {
    use serde_json::Value::{Array, Number, Object};
    match (one, two) {
        (Number(_), Number(_)) => true,
        (Array(one), Array(two)) => {
            one.len() == two.len() && one.iter().zip(two).all(|(one, two)| same(one, two))
        }
        (Object(one), Object(two)) => {
            one.len() == two.len()
                && one
                    .iter()
                    .all(|(name, one)| two.get(name).is_some_and(|two| same(one, two)))
        }
        (one, two) => one == two,
    }
}
