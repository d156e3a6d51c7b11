//! `idemp-wasm-traps INPUT.wasm OUTPUT.wasm`: makes a trap of every function that can only panic,
//! which is what a panic ends in anyway: nobody would read its message, and the code that formats it
//! is a tenth of the download. What nothing uses then is left out.

use std::error::Error;
use std::fs;
use std::process::ExitCode;

use walrus::{FunctionBuilder, FunctionKind, Module};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(input), Some(output)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: idemp-wasm-traps INPUT.wasm OUTPUT.wasm");
        return ExitCode::from(2);
    };
    match with_traps(&input, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// What JavaScript uses: see `bindings-wasm` and `js/src/core/exported.ts`.
const EXPORTS: &[&str] = &["memory", "room", "call", "place"];

fn with_traps(input: &str, output: &str) -> Result<(), Box<dyn Error>> {
    let mut module = Module::from_buffer(&fs::read(input)?)?;
    let trapped = trap_panics(&mut module);
    if trapped == 0 {
        return Err("there is no panic to trap: the build has no name section".into());
    }
    let others: Vec<_> = module
        .exports
        .iter()
        .filter(|export| !EXPORTS.contains(&export.name.as_str()))
        .map(walrus::Export::id)
        .collect();
    for id in others {
        module.exports.delete(id);
    }
    walrus::passes::gc::run(&mut module);
    // It names more than is used, and wasm-opt, which reads it, would use it.
    module.customs.remove_raw("target_features");
    fs::write(output, module.emit_wasm())?;
    Ok(())
}

/// What only panics, by parts of the compiler's names for it.
const PANICS: &[&str] = &[
    "core9panicking",
    "3std9panicking",
    "begin_unwind",
    "rust_panic",
    "slice_index_fail",
    "slice_error_fail",
    "unwrap_failed",
    "expect_failed",
    "handle_alloc_error",
    "raw_vec12handle_error",
    "len_mismatch_fail",
];

fn trap_panics(module: &mut Module) -> usize {
    let panics: Vec<_> = module
        .funcs
        .iter()
        .filter(|function| {
            let name = function.name.as_deref().unwrap_or("");
            matches!(function.kind, FunctionKind::Local(_))
                && PANICS.iter().any(|part| name.contains(part))
        })
        .map(walrus::Function::id)
        .collect();
    for &id in &panics {
        let kind = module.types.get(module.funcs.get(id).ty());
        let (parameters, results) = (kind.params().to_vec(), kind.results().to_vec());
        let mut trap = FunctionBuilder::new(&mut module.types, &parameters, &results);
        trap.func_body().unreachable();
        let arguments = parameters.iter().map(|&kind| module.locals.add(kind));
        let arguments = arguments.collect();
        let trap = trap.local_func(arguments);
        module.funcs.get_mut(id).kind = FunctionKind::Local(trap);
    }
    panics.len()
}
