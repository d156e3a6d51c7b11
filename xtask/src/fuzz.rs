//! `cargo xtask fuzz`: every target of `fuzz/`, for some seconds each.

use crate::invocation::Invocation;
use crate::{screen, toolchain, workspace};

pub(crate) fn main(arguments: &[String]) -> Result<(), String> {
    let ran = every_target(seconds(arguments)?)?;
    println!("\n{}", screen::green(&ran));
    Ok(())
}

/// Runs each target for that long, and says of how many nothing came.
pub(crate) fn every_target(seconds: u32) -> Result<String, String> {
    let targets = workspace::programs("fuzz/fuzz_targets");
    if targets.is_empty() {
        return Err("there is no fuzz target in fuzz/fuzz_targets".to_string());
    }
    toolchain::prepare_fuzzing()?;
    for target in &targets {
        Invocation::new(&format!("cargo +nightly fuzz run {target} --"))
            .arg(format!("-max_total_time={seconds}"))
            .run()?;
    }
    Ok(format!(
        "{} targets, {seconds} seconds each, nothing found",
        targets.len()
    ))
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
