//! The example, built and run as a process.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use idemp::Fingerprint;

/// Where cargo puts the example: it builds examples before it runs tests, unless it is told to run
/// one test only.
fn example() -> &'static PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        let profile = test.parent().unwrap().parent().unwrap();
        let mut build = Command::new(std::env::var_os("CARGO").unwrap());
        build.args([
            "build",
            "--quiet",
            "-p",
            "idemp",
            "--example",
            "fingerprint",
        ]);
        build.current_dir(env!("CARGO_MANIFEST_DIR"));
        build.arg("--target-dir").arg(profile.parent().unwrap());
        if profile.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success());
        let name = format!("fingerprint{}", std::env::consts::EXE_SUFFIX);
        profile.join("examples").join(name)
    })
}

fn run(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(example())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may refuse its arguments before it reads.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// Status, standard output, standard error.
fn told(arguments: &[&str], input: &[u8]) -> (i32, String, String) {
    let output = run(arguments, input);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn a_fingerprint_is_one_line_of_hex() {
    let body = br#"{"b": 1.0, "a": "\u0041"}"#;
    let expected = Fingerprint::of_json(body).to_hex() + "\n";
    assert_eq!(told(&[], body), (0, expected, String::new()));
}

#[test]
fn the_canonical_form_is_the_bytes_and_one_newline() {
    let body = b" {\"b\": 9007199254740993, \"a\": \"\\u00e9\"} \n";
    let (_, exact, _) = told(&["--canonical"], body);
    assert_eq!(exact, "{\"a\":\"é\",\"b\":9007199254740993}\n");
    let (_, rfc8785, _) = told(&["--canonical", "--mode", "rfc8785"], body);
    assert_eq!(rfc8785, "{\"a\":\"é\",\"b\":9007199254740992}\n");
    let (status, out, error) = told(&["--canonical", "--mode=rfc8785-strict"], body);
    assert_eq!((status, out.as_str()), (2, ""));
    assert!(
        error.contains("integer that a double cannot hold at byte 7"),
        "{error}"
    );
}

#[test]
fn a_document_without_a_canonical_form_is_an_error_with_its_offset() {
    for (body, told_of) in [
        (&br#"{"a":1,"a":2}"#[..], "duplicate member name at byte 7"),
        (b"", "unexpected end at byte 0"),
        (b"[1,]", "unexpected character at byte 3"),
        (b"\"\xff\"", "invalid utf-8 at byte 1"),
        (b"{} {}", "text behind the value at byte 3"),
    ] {
        for arguments in [&[][..], &["--canonical"]] {
            let (status, out, error) = told(arguments, body);
            assert_eq!((status, out.as_str()), (2, ""));
            assert!(error.contains(told_of), "{error}");
        }
    }
}

#[test]
fn a_line_is_a_document_and_an_error_is_an_answer() {
    let input = b"{\"b\":1,\"a\":1e0}\n{\"private\":1,\"private\":2}\n\n[1.50]";
    let (status, out, error) = told(&["--json-lines", "--canonical"], input);
    assert_eq!((status, error.as_str()), (0, ""));
    let lines: Vec<&str> = out.lines().collect();
    let duplicate = "error 13 duplicate member name";
    assert_eq!(
        lines,
        [
            "{\"a\":1,\"b\":1}",
            duplicate,
            "error 0 unexpected end",
            "[1.5]"
        ]
    );

    let (_, out, _) = told(&["--json-lines"], input);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(
        lines[0],
        Fingerprint::of_json(b"{\"a\":1,\"b\":1}").to_hex()
    );
    assert_eq!(lines[1], duplicate);
    assert_eq!(lines[3], Fingerprint::of_json(b"[1.5]").to_hex());
}

#[test]
fn files_are_answered_in_order_and_a_bad_one_does_not_hide_the_next() {
    let folder = std::env::temp_dir().join(format!("idemp-example-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut paths = Vec::new();
    for (name, body) in [("a", "[1.0]"), ("b", "[1,"), ("c", "[3.0]")] {
        let path = folder.join(name);
        std::fs::write(&path, body).unwrap();
        paths.push(path.to_str().unwrap().to_owned());
    }
    let (status, out, error) = told(&["--canonical", &paths[0], &paths[1], &paths[2]], b"");
    assert_eq!((status, out.as_str()), (2, "[1]\n[3]\n"));
    assert!(error.contains("unexpected end at byte 3"), "{error}");
    let missing = folder.join("missing");
    assert_eq!(told(&[missing.to_str().unwrap()], b"").0, 2);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn help_is_no_error_and_an_unknown_flag_is_one() {
    let (status, out, _) = told(&["--help"], b"");
    assert!(
        status == 0 && out.starts_with("usage: fingerprint"),
        "{out}"
    );
    for arguments in [&["--what"][..], &["--mode"], &["--mode", "float"], &["-x"]] {
        let (status, out, error) = told(arguments, b"1");
        assert_eq!((status, out.as_str()), (2, ""));
        assert!(error.contains("usage: fingerprint"), "{error}");
    }
}
