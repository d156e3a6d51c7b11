//! How many tests ran, as the programs say that ran them.

/// What the closing lines of test programs say, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    pub(crate) fn ran(&self) -> u64 {
        self.passed + self.failed
    }

    /// From a closing line; nothing from any other.
    pub(crate) fn of_line(line: &str) -> Self {
        Self::of_cargo(line)
            .or_else(|| Self::of_node(line))
            .unwrap_or_default()
    }

    /// `test result: ok. 3 passed; 0 failed; 1 ignored; …`
    fn of_cargo(line: &str) -> Option<Self> {
        let mut tally = Self::default();
        let result = line.strip_prefix("test result: ")?;
        let counts = result.split_once(". ").map_or("", |(_, counts)| counts);
        for count in counts.split(';') {
            let Some((number, kind)) = count.trim().split_once(' ') else {
                continue;
            };
            let number = number.parse().unwrap_or(0);
            match kind {
                "passed" => tally.passed = number,
                "failed" => tally.failed = number,
                "ignored" => tally.skipped = number,
                _ => {}
            }
        }
        Some(tally)
    }

    /// `# pass 3`, or `ℹ pass 3`: one line for each count. What ran out of time is cancelled, and
    /// what is still to do is not done.
    fn of_node(line: &str) -> Option<Self> {
        let count = line
            .strip_prefix("# ")
            .or_else(|| line.strip_prefix("ℹ "))?;
        let (kind, number) = count.trim_end().split_once(' ')?;
        let number = number.parse().ok()?;
        let mut tally = Self::default();
        match kind {
            "pass" => tally.passed = number,
            "fail" | "cancelled" => tally.failed = number,
            "skipped" | "todo" => tally.skipped = number,
            _ => return None,
        }
        Some(tally)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_add_up() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests\n",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n",
            "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 4 filtered out\n",
        ] {
            tally.add(&Tally::of_line(line));
        }
        assert_eq!(
            tally,
            Tally {
                passed: 4,
                failed: 2,
                skipped: 1
            }
        );
    }

    #[test]
    fn the_closing_lines_of_node_add_up_by_either_reporter() {
        let closing = |sign: &str| {
            let counts = "tests 9\nsuites 2\npass 3\nfail 1\ncancelled 1\nskipped 2\ntodo 2\nduration_ms 71.4\n";
            let lines = counts.split_inclusive('\n');
            let mut tally = Tally::default();
            for line in lines {
                tally.add(&Tally::of_line(&format!("{sign} {line}")));
            }
            tally
        };
        let expected = Tally {
            passed: 3,
            failed: 2,
            skipped: 4,
        };
        assert_eq!(closing("#"), expected);
        assert_eq!(closing("ℹ"), expected);
    }

    #[test]
    fn what_a_test_says_of_itself_is_no_closing_line() {
        for line in [
            "    # pass 3",
            "# pass the salt",
            "# Subtest: pass 3",
            "✔ pass 3 (0.5ms)",
            "pass 3",
        ] {
            assert_eq!(Tally::of_line(line), Tally::default(), "{line}");
        }
    }
}
