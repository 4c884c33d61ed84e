//! The command line, as people run it.
#![cfg(not(target_family = "wasm"))]

mod support;

#[path = "cli/check.rs"]
mod check;
#[path = "cli/manual.rs"]
mod manual;
#[path = "cli/schema.rs"]
mod schema;

use std::process::{Command, Output};

/// What the command printed, and its exit status.
fn portcullis(arguments: &[&str]) -> (String, i32) {
    let Output { stdout, status, .. } = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(arguments)
        .output()
        .expect("the command line runs");
    let printed = String::from_utf8(stdout).expect("UTF-8");
    (printed, status.code().expect("an exit status"))
}
