//! `cargo xtask doctor`: what is here, what is missing, and the command that gets it.

use crate::servers::{self, Server};
use crate::toolchain::{self, Oldest, WASM};
use crate::{addon, chromium, node, screen, workspace};

pub(crate) fn main(_: &[String]) -> Result<(), String> {
    let promised = workspace::rust_version()?;
    let findings = [
        program("rustc", "everything", "see https://rustup.rs", &["rustc"]),
        program(
            "rustfmt",
            "format",
            "rustup component add rustfmt",
            &["cargo-fmt"],
        ),
        program(
            "clippy",
            "lint",
            "rustup component add clippy",
            &["cargo-clippy"],
        ),
        program(
            "C linker",
            "everything",
            "apt-get install gcc libc6-dev",
            &["cc", "clang"],
        ),
        Finding {
            tool: WASM.to_string(),
            needed_for: "wasm",
            found: toolchain::has_wasm_target().then(|| "target of the compiler".to_string()),
            get: format!("rustup target add {WASM}"),
        },
        Finding {
            tool: format!("rustc {promised}"),
            needed_for: "msrv",
            found: Oldest::here(&promised)?.map(|oldest| match oldest {
                Oldest::Rustup(channel) => format!("rustup toolchain {channel}"),
                Oldest::Rustc(path) => path.display().to_string(),
            }),
            get: format!("rustup toolchain install {promised}.0"),
        },
        Finding {
            tool: "nightly".to_string(),
            needed_for: "fuzz",
            found: toolchain::installed("nightly"),
            get: "rustup toolchain install nightly".to_string(),
        },
        program(
            "cargo-fuzz",
            "fuzz",
            "cargo install cargo-fuzz --locked",
            &["cargo-fuzz"],
        ),
        Finding {
            tool: "node".to_string(),
            needed_for: "the npm package",
            found: node::here(),
            get: node::GET.to_string(),
        },
        Finding {
            tool: "zig".to_string(),
            needed_for: "the addon for other machines (cargo xtask node --all)",
            found: addon::zig_here(),
            get: addon::GET_ZIG.to_string(),
        },
        Finding {
            tool: "chromium".to_string(),
            needed_for: "tests in a browser",
            found: chromium::here(),
            get: chromium::GET.to_string(),
        },
        server(
            "postgres",
            "the PostgreSQL store and its faults",
            &servers::POSTGRES,
        ),
        server("redis", "the Redis store and its faults", &servers::REDIS),
        Finding {
            tool: "published vectors".to_string(),
            needed_for: "tests of the canonical form",
            found: workspace::missing_vectors()
                .is_none()
                .then(|| "there".to_string()),
            get: "name their folder in IDEMP_VECTORS".to_string(),
        },
    ];
    let rows: Vec<Vec<String>> = findings.iter().map(Finding::row).collect();
    println!("{}", screen::table(&rows));
    Ok(())
}

struct Finding {
    tool: String,
    needed_for: &'static str,
    found: Option<String>,
    get: String,
}

impl Finding {
    fn row(&self) -> Vec<String> {
        let (mark, detail) = match &self.found {
            Some(found) => (screen::green("here"), found.clone()),
            None => (screen::yellow("missing"), format!("get it: {}", self.get)),
        };
        vec![
            self.tool.clone(),
            mark,
            format!("for {}", self.needed_for),
            detail,
        ]
    }
}

/// A program under any of its names.
fn program(tool: &str, needed_for: &'static str, get: &str, names: &[&str]) -> Finding {
    Finding {
        tool: tool.to_string(),
        needed_for,
        found: names.iter().find_map(|name| toolchain::version(name)),
        get: get.to_string(),
    }
}

/// A server that tests start for themselves.
fn server(tool: &str, needed_for: &'static str, server: &Server) -> Finding {
    Finding {
        tool: tool.to_string(),
        needed_for,
        found: server.here(),
        get: server.get(),
    }
}
