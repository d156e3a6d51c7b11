//! `cargo xtask bench`: the programs of `benches/`, one after the other; those in Rust built for
//! release, those in JavaScript on the built npm package.

use crate::invocation::Invocation;
use crate::steps::{Trouble, or_get};
use crate::{addon, chromium, package, screen, toolchain, workspace};

/// The programs in JavaScript: the folder of each, and whether it needs a browser.
const IN_JAVASCRIPT: [(&str, &str, bool); 6] = [
    ("page-size", "benches/js", false),
    ("fingerprint-js", "benches/js", false),
    ("indexeddb", "benches/js", true),
    ("fingerprint-node", "benches/node", false),
    ("memory-peers", "benches/node", false),
    ("express-peers", "benches/node", false),
];

pub(crate) fn main(arguments: &[String]) -> Result<(), String> {
    let in_rust = workspace::programs("benches/src/bin");
    let all: Vec<String> = in_rust
        .iter()
        .cloned()
        .chain(IN_JAVASCRIPT.map(|(name, ..)| name.to_string()))
        .collect();
    let wanted = select(&all, arguments)?;
    if wanted.iter().any(|name| in_rust.contains(name)) {
        Invocation::new("cargo build --release -p idemp-benches --bins").run()?;
    }
    prepare(&wanted)?;
    header();
    for name in &wanted {
        screen::title(name);
        match IN_JAVASCRIPT.iter().find(|(known, ..)| known == name) {
            Some((_, folder, _)) => Invocation::new("node --import tsx")
                .arg(format!("{folder}/{name}.ts"))
                .run()?,
            None => Invocation::new("cargo run --quiet --release -p idemp-benches --bin")
                .arg(name)
                .run()?,
        }
    }
    Ok(())
}

/// What the programs in JavaScript need.
fn prepare(wanted: &[String]) -> Result<(), Trouble> {
    let mut wanted_in_javascript = IN_JAVASCRIPT
        .iter()
        .filter(|(name, ..)| wanted.iter().any(|wanted| wanted == name))
        .peekable();
    if wanted_in_javascript.peek().is_some() {
        package::build()?;
        addon::build()?;
    }
    if wanted_in_javascript.any(|(.., browser)| *browser) {
        or_get(chromium::prepare().map(drop), chromium::GET)?;
    }
    Ok(())
}

/// The machine that the numbers belong to.
fn header() {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let unknown = || "unknown".to_string();
    screen::title("this machine");
    println!("cpu    {}", processor().unwrap_or_else(unknown));
    println!("cores  {cores}");
    println!(
        "rustc  {}",
        toolchain::version("rustc").unwrap_or_else(unknown)
    );
}

fn processor() -> Option<String> {
    if let Ok(text) = std::fs::read_to_string("/proc/cpuinfo") {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        return line
            .split_once(':')
            .map(|(_, name)| name.trim().to_string());
    }
    let name = Invocation::new("sysctl -n machdep.cpu.brand_string")
        .capture()
        .ok()?;
    Some(name.trim().to_string())
}

fn select(all: &[String], wanted: &[String]) -> Result<Vec<String>, String> {
    if all.is_empty() {
        return Err("there is no benchmark in benches/src/bin".to_string());
    }
    if let Some(unknown) = wanted.iter().find(|name| !all.contains(name)) {
        return Err(format!(
            "there is no benchmark `{unknown}`; there is {}",
            all.join(", ")
        ));
    }
    Ok(if wanted.is_empty() {
        all.to_vec()
    } else {
        wanted.to_vec()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_benchmarks_run_unless_some_are_named() {
        let all = ["begin".to_string(), "canonical".to_string()];
        assert_eq!(select(&all, &[]).unwrap(), all);
        assert_eq!(select(&all, &all[1..]).unwrap(), ["canonical"]);
        let refusal = select(&all, &["finish".to_string()]).unwrap_err();
        assert_eq!(
            refusal,
            "there is no benchmark `finish`; there is begin, canonical"
        );
        assert!(select(&[], &[]).is_err());
    }
}
