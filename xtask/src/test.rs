//! `cargo xtask test`: the steps of CI, one after the other, and a table of how they went.

use crate::steps::{self, Step, Trouble};
use crate::tally::Tally;
use crate::{screen, workspace};
use std::time::{Duration, Instant};

pub(crate) fn main(arguments: &[String]) -> Result<(), String> {
    let options = Options::parse(arguments)?;
    let steps = select(steps::ALL, &options)?;
    if options.list {
        list(&steps);
        return Ok(());
    }
    let started = Instant::now();
    let mut tally = Tally::default();
    let mut results = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        screen::title(&format!(
            "{} ({} of {}): {}",
            step.name,
            number + 1,
            steps.len(),
            step.about
        ));
        let result = run(step, &mut tally);
        announce(&result);
        results.push(result);
    }
    summarise(&results, started.elapsed(), tally)
}

struct Finished {
    step: &'static Step,
    outcome: Result<String, Trouble>,
    took: Duration,
}

fn run(step: &'static Step, tally: &mut Tally) -> Finished {
    let started = Instant::now();
    let outcome = (step.run)(tally);
    Finished {
        step,
        outcome,
        took: started.elapsed(),
    }
}

fn announce(finished: &Finished) {
    let took = screen::time(finished.took);
    match &finished.outcome {
        Ok(_) => println!("{}", screen::green(&format!("passed in {took}"))),
        Err(Trouble::Failed(why)) => {
            println!("{}\n{why}", screen::red(&format!("FAILED in {took}")))
        }
        Err(Trouble::DidNotRun { why, remedy }) => {
            println!(
                "{}\n{why}\nto run it: {remedy}",
                screen::yellow("DID NOT RUN")
            );
        }
    }
}

fn summarise(results: &[Finished], took: Duration, tally: Tally) -> Result<(), String> {
    let rows: Vec<Vec<String>> = results.iter().map(row).collect();
    screen::title("summary");
    println!("{}", screen::table(&rows));
    println!();
    if let Some(folder) = workspace::missing_vectors() {
        println!(
            "The published vectors are not in {}: tests that read them could not. \
             IDEMP_VECTORS names the folder.\n",
            folder.display()
        );
    }
    for finished in results {
        if let Err(trouble) = &finished.outcome {
            let name = finished.step.name;
            let advice = trouble.advice(finished.step);
            println!("{}", screen::bold(&format!("{name}: {advice}")));
            println!("    then: cargo xtask test --only {name}");
        }
    }
    let verdict = verdict(results, std::env::var("CI").is_ok_and(|ci| ci == "true"));
    if let Ok(praise) = &verdict {
        println!(
            "{} {}",
            screen::green(praise),
            screen::dim(&format!("({})", screen::time(took)))
        );
    }
    if tally.ran() > 0 {
        println!(
            "tests: {} passed, {} failed, {} skipped",
            tally.passed, tally.failed, tally.skipped
        );
    }
    verdict.map(drop)
}

fn row(finished: &Finished) -> Vec<String> {
    let took = screen::time(finished.took);
    let (result, took, note) = match &finished.outcome {
        Ok(note) => (screen::green("passed"), took, note.clone()),
        Err(Trouble::Failed(why)) => (screen::red("FAILED"), took, gist(why)),
        Err(Trouble::DidNotRun { why, .. }) => {
            (screen::yellow("DID NOT RUN"), "-".to_string(), gist(why))
        }
    };
    vec![finished.step.name.to_string(), result, took, note]
}

/// Enough of a message to recognise it by: the whole of it stands further up.
fn gist(text: &str) -> String {
    let line = text.lines().next().unwrap_or("");
    match line.char_indices().nth(72) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_string(),
    }
}

/// CI does not trust what did not run; on a contributor's machine it is said and allowed.
fn verdict(results: &[Finished], ci: bool) -> Result<String, String> {
    let names = |wanted: fn(&Trouble) -> bool| {
        let matching = results
            .iter()
            .filter(|finished| finished.outcome.as_ref().is_err_and(wanted));
        matching
            .map(|finished| finished.step.name)
            .collect::<Vec<_>>()
    };
    let failed = names(|trouble| matches!(trouble, Trouble::Failed(_)));
    let missed = names(|trouble| matches!(trouble, Trouble::DidNotRun { .. }));
    let mut complaints = Vec::new();
    if !failed.is_empty() {
        complaints.push(format!("FAILED: {}", failed.join(", ")));
    }
    if !missed.is_empty() && (ci || !failed.is_empty()) {
        complaints.push(format!("DID NOT RUN: {}", missed.join(", ")));
    }
    if !complaints.is_empty() {
        Err(complaints.join("; "))
    } else if missed.is_empty() {
        Ok("All is well.".to_string())
    } else {
        Ok(format!(
            "What ran is well, but {} DID NOT RUN, and CI insists.",
            missed.join(", ")
        ))
    }
}

#[derive(Debug, Default, PartialEq)]
struct Options {
    nightly: bool,
    list: bool,
    only: Vec<String>,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut arguments = arguments.iter().map(String::as_str);
        while let Some(argument) = arguments.next() {
            let names = match argument {
                "--nightly" => {
                    options.nightly = true;
                    continue;
                }
                "--list" => {
                    options.list = true;
                    continue;
                }
                "--only" => arguments
                    .next()
                    .ok_or("--only wants the name of a step, see --list")?,
                other => other.strip_prefix("--only=").ok_or_else(|| {
                    format!("test knows --nightly, --only STEP, --list, not {other}")
                })?,
            };
            options.only.extend(names.split(',').map(String::from));
        }
        Ok(options)
    }
}

/// The steps to run, in the order of the list. A nightly step runs when it is named, too.
fn select(all: &'static [Step], options: &Options) -> Result<Vec<&'static Step>, String> {
    if let Some(unknown) = options
        .only
        .iter()
        .find(|name| all.iter().all(|step| step.name != **name))
    {
        let names: Vec<&str> = all.iter().map(|step| step.name).collect();
        return Err(format!(
            "there is no step `{unknown}`; there is {}",
            names.join(", ")
        ));
    }
    let named = |step: &Step| options.only.iter().any(|name| name == step.name);
    let usual = |step: &Step| options.nightly || options.list || !step.nightly;
    let wanted = |step: &&Step| {
        if options.only.is_empty() {
            usual(step)
        } else {
            named(step)
        }
    };
    Ok(all.iter().filter(wanted).collect())
}

fn list(steps: &[&Step]) {
    let row = |step: &&Step| {
        let when = if step.nightly { "nightly: " } else { "" };
        vec![step.name.to_string(), format!("{when}{}", step.about)]
    };
    println!(
        "{}",
        screen::table(&steps.iter().map(row).collect::<Vec<_>>())
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: &[Step] = &[
        Step {
            name: "one",
            about: "",
            nightly: false,
            mend: "",
            run: |_| Ok(String::new()),
        },
        Step {
            name: "two",
            about: "",
            nightly: false,
            mend: "",
            run: |_| Ok(String::new()),
        },
        Step {
            name: "slow",
            about: "",
            nightly: true,
            mend: "",
            run: |_| Ok(String::new()),
        },
    ];

    fn parsed(line: &str) -> Result<Options, String> {
        let arguments: Vec<String> = line.split_whitespace().map(String::from).collect();
        Options::parse(&arguments)
    }

    fn selected(line: &str) -> Vec<&'static str> {
        let steps = select(STEPS, &parsed(line).unwrap()).unwrap();
        steps.into_iter().map(|step| step.name).collect()
    }

    fn finished(outcome: Result<String, Trouble>) -> Finished {
        Finished {
            step: &STEPS[0],
            outcome,
            took: Duration::ZERO,
        }
    }

    fn missed() -> Trouble {
        Trouble::DidNotRun {
            why: "no tool".to_string(),
            remedy: "get it".to_string(),
        }
    }

    #[test]
    fn nightly_steps_run_when_asked_for() {
        assert_eq!(selected(""), ["one", "two"]);
        assert_eq!(selected("--nightly"), ["one", "two", "slow"]);
        assert_eq!(selected("--only slow"), ["slow"]);
    }

    #[test]
    fn named_steps_keep_the_order_of_the_list() {
        assert_eq!(selected("--only two --only one"), ["one", "two"]);
        assert_eq!(selected("--only=two,one"), ["one", "two"]);
        assert_eq!(selected("--nightly --only two"), ["two"]);
    }

    #[test]
    fn a_step_that_does_not_exist_is_refused_and_the_others_named() {
        let refusal = select(STEPS, &parsed("--only three").unwrap())
            .err()
            .unwrap();
        assert_eq!(refusal, "there is no step `three`; there is one, two, slow");
        assert!(parsed("--only").is_err());
        assert!(parsed("--fast").is_err());
    }

    #[test]
    fn ci_fails_on_a_step_that_did_not_run_and_a_contributor_is_told() {
        let results = [finished(Ok(String::new())), finished(Err(missed()))];
        assert_eq!(verdict(&results, true), Err("DID NOT RUN: one".to_string()));
        assert!(
            verdict(&results, false)
                .unwrap()
                .contains("one DID NOT RUN")
        );
    }

    #[test]
    fn every_failure_is_named() {
        let failed = || finished(Err(Trouble::Failed("why".to_string())));
        let results = [
            failed(),
            finished(Ok(String::new())),
            failed(),
            finished(Err(missed())),
        ];
        let complaint = verdict(&results, false).unwrap_err();
        assert_eq!(complaint, "FAILED: one, one; DID NOT RUN: one");
    }
}
