//! `portcullis`, the command line.

#[cfg(not(target_family = "wasm"))]
fn main() -> std::process::ExitCode {
    portcullis::cli::main()
}

/// Cargo builds programs for the tests that run as Wasm, too; the command line is none of them.
#[cfg(target_family = "wasm")]
fn main() {}
