//! `idemp-wasm-glue INPUT.wasm FOLDER`: runs wasm-bindgen over a build and writes the WebAssembly
//! and the JavaScript beside it into a folder.
//!
//! On the way every function that can only panic becomes a trap, which is what a panic ends in
//! anyway: nobody would read its message, and the code that formats it is a tenth of the download.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use walrus::{FunctionBuilder, FunctionKind, Module};
use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(input), Some(folder)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: idemp-wasm-glue INPUT.wasm FOLDER");
        return ExitCode::from(2);
    };
    match glue(&input, Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn glue(input: &str, folder: &Path) -> Result<(), Box<dyn Error>> {
    let mut module = Module::from_buffer(&fs::read(input)?)?;
    let trapped = trap_panics(&mut module);
    if trapped == 0 {
        return Err("there is no panic to trap: the build has no name section".into());
    }
    walrus::passes::gc::run(&mut module);
    // Without the list wasm-bindgen takes the oldest calling convention: no reference types and no
    // multiple results, which wasm2js could not translate.
    module.customs.remove_raw("target_features");
    let mut bindgen = Bindgen::new();
    bindgen
        .input_module("idemp", module)
        .typescript(false)
        .remove_name_section(true)
        .remove_producers_section(true)
        .bundler(true)
        .map_err(|error| error.to_string())?;
    bindgen
        .generate(folder)
        .map_err(|error| format!("{error:?}"))?;
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
