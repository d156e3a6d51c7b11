//! `cargo xtask fuzz`: every target of `fuzz/`, for some seconds each.

use crate::invocation::Invocation;
use crate::{screen, toolchain, workspace};

pub(crate) fn main(arguments: &[String]) -> Result<(), String> {
    let seconds = seconds(arguments)?;
    toolchain::prepare_fuzzing()?;
    let ran = every_target(seconds)?;
    println!("\n{}", screen::green(&ran));
    Ok(())
}

/// Runs each target for that long, the others too when one breaks, and says what came of it.
pub(crate) fn every_target(seconds: u32) -> Result<String, String> {
    if !workspace::root().join("fuzz/Cargo.toml").is_file() {
        return Err("there is no fuzz target: no fuzz/Cargo.toml".to_string());
    }
    let listed = Invocation::new("cargo +nightly fuzz list").capture()?;
    let targets: Vec<&str> = listed.split_whitespace().collect();
    if targets.is_empty() {
        return Err("fuzz/Cargo.toml names no fuzz target".to_string());
    }
    let limit = format!("-max_total_time={seconds}");
    let mut broken = Vec::new();
    for target in &targets {
        let run = Invocation::new(&format!("cargo +nightly fuzz run {target} --")).arg(&limit);
        if run.run().is_err() {
            broken.push(*target);
        }
    }
    if broken.is_empty() {
        Ok(format!(
            "{}, {seconds} s each, nothing found",
            targets.join(", ")
        ))
    } else {
        Err(format!("the fuzzer broke {}", broken.join(", ")))
    }
}

fn seconds(arguments: &[String]) -> Result<u32, String> {
    match arguments {
        [] => Ok(60),
        [number] => match number.parse() {
            Ok(seconds) if seconds > 0 => Ok(seconds),
            _ => Err(format!("fuzz wants a number of seconds, not `{number}`")),
        },
        _ => Err("fuzz wants one number of seconds".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_seconds_would_mean_for_ever_to_the_fuzzer() {
        assert_eq!(seconds(&[]), Ok(60));
        assert_eq!(seconds(&["5".to_string()]), Ok(5));
        assert!(seconds(&["0".to_string()]).is_err());
        assert!(seconds(&["soon".to_string()]).is_err());
    }
}
