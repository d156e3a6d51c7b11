//! Prints the canonical form or the fingerprint of JSON documents.
//!
//! ```text
//! echo '{"b":1,"a":2}' | cargo run -p idemp --example fingerprint -- --canonical
//! cargo run -p idemp --example fingerprint -- --mode rfc8785 order.json
//! ```

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::ExitCode;

use idemp::{CanonicalError, FingerprintBuilder, NumberMode, canonicalize};

const USAGE: &str = "\
usage: fingerprint [--mode exact|rfc8785|rfc8785-strict] [--canonical] [--json-lines] [FILE...]";

const HELP: &str = "
Prints the fingerprint of each file, or of standard input: one line of hex digits, the version
first. A document without a canonical form goes to standard error, and the exit status is 2.

  --mode MODE    how numbers count (default: exact)
  --canonical    print the canonical form, and one newline
  --json-lines   read one document a line and print one answer a line: `error`, the byte offset in
                 the line and what is wrong where there is no canonical form; the exit status is 0
  --help         print this";

fn main() -> ExitCode {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{USAGE}\n{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("fingerprint: {problem}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match options.run() {
        Ok(status) => status,
        // Whoever read the output has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fingerprint: {error}");
            ExitCode::from(2)
        }
    }
}

struct Options {
    mode: NumberMode,
    canonical: bool,
    lines: bool,
    files: Vec<String>,
}

impl Options {
    /// Reads the arguments; nothing where help is asked for.
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self {
            mode: NumberMode::Exact,
            canonical: false,
            lines: false,
            files: Vec::new(),
        };
        let mut only_files = false;
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                _ if only_files => options.files.push(argument),
                "--" => only_files = true,
                "--help" | "-h" => return Ok(None),
                "--canonical" => options.canonical = true,
                "--json-lines" => options.lines = true,
                "--mode" => options.mode = mode(arguments.next().as_deref())?,
                flag if flag.starts_with("--mode=") => {
                    options.mode = mode(flag.strip_prefix("--mode="))?;
                }
                "-" => options.files.push(argument),
                flag if flag.starts_with('-') => return Err(format!("unknown option {flag}")),
                _ => options.files.push(argument),
            }
        }
        if options.files.is_empty() {
            options.files.push("-".into());
        }
        Ok(Some(options))
    }

    fn run(&self) -> io::Result<ExitCode> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        let mut status = ExitCode::SUCCESS;
        for file in &self.files {
            let source: Box<dyn Read> = if file == "-" {
                Box::new(io::stdin())
            } else {
                let opened = fs::File::open(file);
                let named =
                    |error: io::Error| io::Error::new(error.kind(), format!("{file}: {error}"));
                Box::new(opened.map_err(named)?)
            };
            if self.lines {
                self.answer_lines(source, &mut out)?;
            } else if let Err(error) = self.answer(source, &mut out)? {
                out.flush()?;
                eprintln!("fingerprint: {file}: {error}");
                status = ExitCode::from(2);
            }
        }
        out.flush()?;
        Ok(status)
    }

    fn answer(
        &self,
        mut source: impl Read,
        out: &mut impl Write,
    ) -> io::Result<Result<(), CanonicalError>> {
        let mut document = Vec::new();
        source.read_to_end(&mut document)?;
        match self.line(&document) {
            Ok(mut line) => {
                line.push(b'\n');
                out.write_all(&line).map(Ok)
            }
            Err(error) => Ok(Err(error)),
        }
    }

    fn answer_lines(&self, source: impl Read, out: &mut impl Write) -> io::Result<()> {
        let mut source = BufReader::new(source);
        let mut document = Vec::new();
        while source.read_until(b'\n', &mut document)? > 0 {
            if document.last() == Some(&b'\n') {
                document.pop();
            }
            match self.line(&document) {
                Ok(line) => out.write_all(&line)?,
                Err(error) => write!(out, "error {} {}", error.offset(), error.kind())?,
            }
            out.write_all(b"\n")?;
            document.clear();
        }
        Ok(())
    }

    /// What to print for a document. The reading is strict, also for an empty one.
    fn line(&self, document: &[u8]) -> Result<Vec<u8>, CanonicalError> {
        let form = canonicalize(document, self.mode)?;
        if self.canonical {
            return Ok(form.into_owned());
        }
        let rules = FingerprintBuilder::new().numbers(self.mode).strict(true);
        Ok(rules.json(document)?.to_hex().into_bytes())
    }
}

fn mode(name: Option<&str>) -> Result<NumberMode, String> {
    match name {
        Some("exact") => Ok(NumberMode::Exact),
        Some("rfc8785") => Ok(NumberMode::Rfc8785),
        Some("rfc8785-strict") => Ok(NumberMode::Rfc8785Strict),
        Some(other) => Err(format!("unknown mode {other}")),
        None => Err("--mode needs a value".into()),
    }
}
