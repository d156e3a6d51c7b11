//! The canonical form against published vectors, its own policy, and another implementation.

use std::io::Write as _;
use std::path::PathBuf;

use idemp::{CanonicalError, CanonicalErrorKind, NumberMode, canonicalize};
use serde_json::Value;
use sha2::{Digest, Sha256};

const MODES: [NumberMode; 3] = [
    NumberMode::Exact,
    NumberMode::Rfc8785,
    NumberMode::Rfc8785Strict,
];

fn canonical(text: impl AsRef<[u8]>, mode: NumberMode) -> Result<String, CanonicalError> {
    canonicalize(text.as_ref(), mode).map(|form| String::from_utf8(form.into_owned()).unwrap())
}

fn exact(text: impl AsRef<[u8]>) -> Result<String, CanonicalError> {
    canonical(text, NumberMode::Exact)
}

fn rfc8785(text: impl AsRef<[u8]>) -> Result<String, CanonicalError> {
    canonical(text, NumberMode::Rfc8785)
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|b| !b.is_ascii_whitespace())
        .map(|b| char::from(b).to_digit(16).unwrap() as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn own_vectors() -> Value {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/vectors/canonical.json"
    );
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The published vectors, which are not part of this repository.
fn published(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("IDEMP_VECTORS").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/vectors")),
        PathBuf::from,
    );
    let path = folder.join("jcs").join(name);
    if path.exists() {
        return Some(path);
    }
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(
        !ci,
        "the published vectors are missing: set IDEMP_VECTORS to their folder"
    );
    // Not `eprintln!`: the output of a test that passes is not shown.
    let folder = folder.display();
    let loud = format!("\nNOT RUN: no {name} in {folder}: set IDEMP_VECTORS\n");
    std::io::stderr().write_all(loud.as_bytes()).unwrap();
    None
}

#[test]
fn every_case_of_the_policy_holds() {
    let vectors = own_vectors();
    let cases = vectors["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 54);
    for case in cases {
        let input = unhex(case["input_hex"].as_str().unwrap());
        for (name, mode) in [
            ("exact", NumberMode::Exact),
            ("rfc8785", NumberMode::Rfc8785),
        ] {
            let expected = &case[name];
            match (canonicalize(&input, mode), expected["error"].as_str()) {
                (Ok(form), None) => {
                    assert_eq!(hex(&form), expected["hex"].as_str().unwrap(), "{case}");
                }
                (Err(error), Some(kind)) => {
                    let (kind, offset) = match kind.split_once('(') {
                        Some((kind, offset)) => (kind, offset.trim_end_matches(')').parse().ok()),
                        None => (kind, None),
                    };
                    assert_eq!(format!("{:?}", error.kind()), kind, "{case}");
                    assert!(
                        offset.is_none_or(|offset: usize| offset == error.offset()),
                        "{error} {case}"
                    );
                }
                (got, _) => panic!("{case}: {got:?}"),
            }
        }
    }
}

#[test]
fn the_published_pairs_of_rfc_8785_come_out() {
    let Some(folder) = published("input") else {
        return;
    };
    let mut pairs = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let input = std::fs::read(&path).unwrap();
        let output = std::fs::read(published(&format!("output/{name}.json")).unwrap()).unwrap();
        let outhex = std::fs::read_to_string(published(&format!("outhex/{name}.txt")).unwrap());
        let form = canonicalize(&input, NumberMode::Rfc8785).unwrap();
        assert_eq!(*form, unhex(&outhex.unwrap()), "{name}");
        assert_eq!(form.trim_ascii_end(), output.trim_ascii_end(), "{name}");
        pairs += 1;
    }
    assert_eq!(pairs, 6);
}

#[test]
fn appendix_b_of_rfc_8785_comes_out() {
    let Some(path) = published("rfc8785_appendix_b.txt") else {
        return;
    };
    let mut lines = 0;
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let (bits, expected) = line.split_once(' ').unwrap();
        let value = f64::from_bits(u64::from_str_radix(bits, 16).unwrap());
        lines += 1;
        if expected.starts_with("ERROR") {
            assert!(exact(format!("{value}")).is_err(), "{line}");
            continue;
        }
        // However the double is spelled.
        assert_eq!(rfc8785(format!("{value:e}")).as_deref(), Ok(expected));
        assert_eq!(rfc8785(format!("{value:.800}")).as_deref(), Ok(expected));
        assert_eq!(rfc8785(format!("{value:.800e}")).as_deref(), Ok(expected));
        assert_eq!(exact(expected).as_deref(), Ok(expected));
    }
    assert_eq!(lines, 26);
}

#[test]
fn the_es6_number_file_comes_out() {
    let Some(path) = published("es6_static_168_u64.txt") else {
        return;
    };
    let fixed = std::fs::read_to_string(path).unwrap();
    let fixed = fixed
        .lines()
        .map(|line| u64::from_str_radix(line, 16).unwrap());
    let mut block = [0u8; 32];
    let random = std::iter::repeat_with(move || {
        block = Sha256::digest(block).into();
        block
    });
    let random = random.flat_map(|block| {
        let doubles = block
            .chunks(8)
            .map(|chunk| u64::from_le_bytes(chunk.try_into().unwrap()));
        let usable = doubles.filter(|&bits| {
            let value = f64::from_bits(bits);
            value.is_finite() && value != 0.0
        });
        usable.collect::<Vec<_>>()
    });
    let all = fixed
        .chain((0..2000).map(|i| 0x0010_0000_0000_0000 + i))
        .chain(random);

    let nightly = std::env::var("IDEMP_NIGHTLY").is_ok_and(|value| value == "1");
    let last = if nightly { 1_000_000 } else { 100_000 };
    let mut hash = Sha256::new();
    let mut checked = 0;
    for (at, bits) in all.take(last).enumerate() {
        let literal = format!("{:e}", f64::from_bits(bits));
        let text = rfc8785(&literal).unwrap();
        assert_eq!(exact(&text).as_ref(), Ok(&text), "{bits:x}");
        hash.update(format!("{bits:x},{text}\n"));
        let expected = match at + 1 {
            1_000 => "be18b62b6f69cdab33a7e0dae0d9cfa869fda80ddc712221570f9f40a5878687",
            10_000 => "b9f7a8e75ef22a835685a52ccba7f7d6bdc99e34b010992cbc5864cd12be6892",
            100_000 => "22776e6d4b49fa294a0d0f349268e5c28808fe7e0cb2bcbe28f63894e494d4c7",
            1_000_000 => "49415fee2c56c77864931bd3624faad425c3c577d6d74e89a83bc725506dad16",
            _ => continue,
        };
        assert_eq!(hex(&hash.clone().finalize()), expected, "{} lines", at + 1);
        checked += 1;
    }
    assert_eq!(checked, if nightly { 4 } else { 3 });
}

#[test]
fn canonicalising_twice_changes_nothing_and_lends_the_input_back() {
    for case in own_vectors()["cases"].as_array().unwrap() {
        let input = unhex(case["input_hex"].as_str().unwrap());
        for mode in MODES {
            if let Ok(once) = canonicalize(&input, mode) {
                let twice = canonicalize(&once, mode).unwrap();
                assert_eq!(once, twice, "{case}");
                assert!(matches!(twice, std::borrow::Cow::Borrowed(_)), "{case}");
            }
        }
    }
}

#[test]
fn a_name_that_comes_twice_is_found_in_objects_of_every_size_and_order() {
    for count in [2usize, 3, 8, 23, 24, 25, 26, 100] {
        for first in 0..count - 1 {
            let mut names: Vec<String> = (0..count)
                .map(|n| format!("same start {}", n * 7 % count))
                .collect();
            // Written with an escape the second time.
            let last = names[first].replace('s', "\\u0073");
            names[count - 1] = last;
            let mut text = String::from("{");
            let mut offset = 0;
            for name in &names {
                offset = text.len();
                text += &format!("\"{name}\":0,");
            }
            text.pop();
            text.push('}');
            for mode in MODES {
                let error = canonicalize(text.as_bytes(), mode).unwrap_err();
                assert_eq!(error.kind(), CanonicalErrorKind::Duplicate, "{text}");
                assert_eq!(error.offset(), offset, "{text}");
            }
        }
    }
}

#[test]
fn of_many_repeated_names_the_first_in_reading_order_is_told() {
    for sorted in [true, false] {
        let mut names = vec!["a", "b", "b", "c", "c", "c"];
        if !sorted {
            names = vec!["c", "b", "c", "a", "b", "a"];
        }
        let members: Vec<String> = names.iter().map(|name| format!("\"{name}\":0")).collect();
        let error = exact(format!("[{{{}}}]", members.join(","))).unwrap_err();
        assert_eq!(error.kind(), CanonicalErrorKind::Duplicate);
        assert_eq!(
            error.offset(),
            2 + 2 * 6,
            "the third name is the first that came before"
        );
    }
}

#[test]
fn an_error_is_told_with_its_kind_and_its_place() {
    use CanonicalErrorKind::{Depth, Eof, LoneSurrogate, NumberRange, Syntax, Trailing, Utf8};
    let too_deep = "[".repeat(129);
    for (text, kind, offset) in [
        (&b"\"abc"[..], Eof, 4),
        (b"\"ab\\", Eof, 4),
        (b"\"\\u00", Eof, 5),
        (b"\"\\u00g0\"", Syntax, 5),
        (b"\"\\x\"", Syntax, 2),
        (b"\"\\ud800\\u0041\"", LoneSurrogate, 1),
        (b"\"a\\ud800\\ud800\\udc00\"", LoneSurrogate, 2),
        (b"\"\\ud800\\n\"", LoneSurrogate, 1),
        (b"\"\\ud800\\u\"", Syntax, 9),
        (b"\"a\nb\"", Syntax, 2),
        (b"[1 2]", Syntax, 3),
        (b"[1", Eof, 2),
        (b"[", Eof, 1),
        (b"{", Eof, 1),
        (b"{1:2}", Syntax, 1),
        (b"{\"a\" 1}", Syntax, 5),
        (b"{\"a\":}", Syntax, 5),
        (b"{\"a\":1,}", Syntax, 7),
        (b"{\"a\":1 \"b\":2}", Syntax, 7),
        (b"{\"a\":1]", Syntax, 6),
        (b"{\"a", Eof, 3),
        (b"-", Eof, 1),
        (b"-a", Syntax, 1),
        (b"-01", Syntax, 2),
        (b"1.e5", Syntax, 2),
        (b"1e", Eof, 2),
        (b"1e+", Eof, 3),
        (b"1ex", Syntax, 2),
        (b"[ -1e1000000001]", NumberRange, 2),
        (b".5", Syntax, 0),
        (b"truE", Syntax, 3),
        (b"tru", Eof, 3),
        (b"nulll", Trailing, 4),
        (b"falsy", Syntax, 4),
        (b"\x0b1", Syntax, 0),
        (b"1\xc2\xa0", Trailing, 1),
        (b"\x00", Syntax, 0),
        (b"1\x00", Trailing, 1),
        (b"[1\x00]", Syntax, 2),
        (b"[1,\"\xe2\x82\"]", Utf8, 4),
        (b"[x,\"\xff\"]", Utf8, 4),
        (too_deep.as_bytes(), Depth, 128),
    ] {
        for mode in MODES {
            let error = canonicalize(text, mode).unwrap_err();
            let shown = String::from_utf8_lossy(text);
            assert_eq!((error.kind(), error.offset()), (kind, offset), "{shown}");
        }
    }
}

#[test]
fn no_message_shows_what_is_in_the_text() {
    for text in [
        "{\"secret\":1,\"secret\":2}",
        "[secret]",
        "\"secret",
        "1 secret",
    ] {
        let error = exact(text).unwrap_err();
        for shown in [
            format!("{error}"),
            format!("{error:?}"),
            error.kind().to_string(),
        ] {
            assert!(!shown.contains("secret"), "{shown}");
        }
    }
}

#[test]
fn the_exponent_that_counts_is_that_of_the_number_and_not_of_its_spelling() {
    let last = "1e+1000000000";
    for same in [
        "1e1000000000",
        "10e999999999",
        "0.1e1000000001",
        "0.0001e1000000004",
    ] {
        assert_eq!(exact(same).as_deref(), Ok(last), "{same}");
    }
    for beyond in [
        "10e1000000000",
        "0.1e1000000002",
        "1e-1000000001",
        "0.1e-1000000000",
    ] {
        let kind = exact(beyond).unwrap_err().kind();
        assert_eq!(kind, CanonicalErrorKind::NumberRange, "{beyond}");
    }
    assert_eq!(exact("10e-1000000001").as_deref(), Ok("1e-1000000000"));
    assert_eq!(exact("0.000e99999999999999999999").as_deref(), Ok("0"));
}

#[test]
fn a_strict_integer_is_one_whose_digits_a_double_gives_back() {
    let strict = |text: &str| canonical(text, NumberMode::Rfc8785Strict);
    for (text, expected) in [
        ("9007199254740991", "9007199254740991"),
        ("-9007199254740992", "-9007199254740992"),
        ("9007199254740992.0", "9007199254740992"),
        ("9007199254740994", "9007199254740994"),
        ("9223372036854776000", "9223372036854776000"),
        ("1e23", "1e+23"),
        ("1.5e300", "1.5e+300"),
        ("0.1000000000000000055511151231257827", "0.1"),
        ("1e-400", "0"),
    ] {
        assert_eq!(strict(text).as_deref(), Ok(expected));
    }
    for text in [
        "9007199254740993",
        "9007199254740993.0",
        "900719925474099300e-2",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "100000000000000000000001",
    ] {
        let error = strict(text).unwrap_err();
        assert_eq!(error.kind(), CanonicalErrorKind::InexactInteger, "{text}");
    }
}

#[test]
fn a_form_larger_than_any_buffer_comes_out_whole_wherever_its_parts_fall() {
    for shift in 0..70 {
        let member = |n: usize| {
            let long = "y".repeat(n * 37 % 100);
            format!(r#"{{"z{n}":"{long}","é":[1.0,{{"b":"\u0041","a":{n}}}],"k":null, "c":-0.50}}"#)
        };
        let elements: Vec<String> = (0..300).map(member).collect();
        let pad = "x".repeat(shift);
        let long = "w".repeat(9000 + shift);
        let text = format!(
            r#"{{"b":"{pad}","a":[{}],"aa":"{long}"}}"#,
            elements.join(",")
        );
        let value: Value = serde_json::from_str(&text).unwrap();
        let theirs = serde_json_canonicalizer::to_string(&value).unwrap();
        assert_eq!(rfc8785(&text).unwrap(), theirs, "{shift}");
        assert_eq!(exact(&text).unwrap(), theirs, "{shift}");
        // The same parts, when they are hashed one by one.
        let (one, other) = (text.as_bytes(), theirs.as_bytes());
        assert_eq!(
            idemp::Fingerprint::of_json(one),
            idemp::Fingerprint::of_json(other)
        );
    }
}
