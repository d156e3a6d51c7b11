//! The canonical form against published vectors, its own policy, and another implementation.

use std::path::PathBuf;

use idemp::{CanonicalError, NumberMode, canonicalize};
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
    eprintln!(
        "NOT RUN: no {name} in {}, set IDEMP_VECTORS",
        folder.display()
    );
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

    let nightly = std::env::var_os("IDEMP_NIGHTLY").is_some();
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
