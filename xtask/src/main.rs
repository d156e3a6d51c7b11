//! The contributors' index: `cargo xtask` lists what there is, `cargo xtask NAME` runs it.

mod addon;
mod apt;
mod bench;
mod chromium;
mod debian;
mod demo;
mod doctor;
mod fuzz;
mod invocation;
mod node;
mod package;
mod postgres;
mod programs;
mod screen;
mod servers;
mod source_code;
mod steps;
mod tally;
mod test;
mod toolchain;
mod workspace;

use std::process::ExitCode;

/// One line of the index. What fails says so with a message for the contributor.
struct Entry {
    name: &'static str,
    arguments: &'static str,
    about: &'static str,
    run: fn(&[String]) -> Result<(), String>,
}

const INDEX: &[Entry] = &[
    Entry {
        name: "demo",
        arguments: "[--serve [--port N]]",
        about: "what it does: a service, played over HTTP and checked; --serve lets you try it",
        run: demo::run,
    },
    Entry {
        name: "test",
        arguments: "[--nightly] [--only STEP] [--list]",
        about: "everything that CI runs, in the same order",
        run: test::main,
    },
    Entry {
        name: "wasm",
        arguments: "",
        about: "the npm package, built into js/dist, with core as WebAssembly",
        run: package::main,
    },
    Entry {
        name: "node",
        arguments: "[--all]",
        about: "the addon of Node for this machine and its npm package; --all for every target that can be built for here",
        run: addon::main,
    },
    Entry {
        name: "bench",
        arguments: "[NAME…]",
        about: "the benchmarks, built for release",
        run: bench::main,
    },
    Entry {
        name: "fuzz",
        arguments: "[SECONDS]",
        about: "every fuzz target, for 60 seconds each unless told otherwise",
        run: fuzz::main,
    },
    Entry {
        name: "doctor",
        arguments: "",
        about: "which tools are here, which are missing, and how to get them",
        run: doctor::main,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else {
        print!("{}", index());
        return ExitCode::SUCCESS;
    };
    if matches!(name.as_str(), "help" | "--help" | "-h") {
        print!("{}", index());
        return ExitCode::SUCCESS;
    }
    let Some(entry) = INDEX.iter().find(|entry| entry.name == name) else {
        eprint!("`{name}` is not in the index\n\n{}", index());
        return ExitCode::from(2);
    };
    match (entry.run)(rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("\n{}", screen::red(&message));
            ExitCode::FAILURE
        }
    }
}

fn index() -> String {
    let rows = INDEX
        .iter()
        .map(|entry| {
            let call = format!("cargo xtask {} {}", entry.name, entry.arguments);
            vec![call.trim_end().to_string(), entry.about.to_string()]
        })
        .collect::<Vec<_>>();
    format!("{}\n", screen::table(&rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_has_one_line_for_each_entry() {
        let index = index();
        assert_eq!(index.trim_end().lines().count(), INDEX.len());
        for entry in INDEX {
            assert!(index.contains(entry.about), "{} is missing", entry.name);
        }
    }
}
