//! The command line, as people run it.
#![cfg(not(target_family = "wasm"))]

mod support;

#[path = "cli/advice.rs"]
mod advice;
#[path = "cli/check.rs"]
mod check;
#[path = "cli/documents.rs"]
mod documents;
#[path = "cli/explain.rs"]
mod explain;
#[path = "cli/fetch.rs"]
mod fetch;
#[path = "cli/folders.rs"]
mod folders;
#[path = "cli/import.rs"]
mod import;
#[path = "cli/import/listener.rs"]
mod import_listener;
#[path = "cli/import/told.rs"]
mod import_told;
#[path = "cli/manual.rs"]
mod manual;
#[path = "cli/output.rs"]
mod output;
#[path = "cli/schema.rs"]
mod schema;
#[path = "cli/secrets.rs"]
mod secrets;
#[path = "cli/surroundings.rs"]
mod surroundings;
#[path = "cli/test.rs"]
mod test;
#[path = "cli/token.rs"]
mod token;
#[path = "cli/yaml.rs"]
mod yaml;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What the command printed, and its exit status.
fn portcullis(arguments: &[&str]) -> (String, i32) {
    let (printed, _, status) = said(arguments);
    (printed, status)
}

/// The same, and what it said on standard error.
fn said(arguments: &[&str]) -> (String, String, i32) {
    let Output {
        stdout,
        stderr,
        status,
    } = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(arguments)
        .output()
        .expect("the command line runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let status = status.code().expect("an exit status");
    (text(stdout), text(stderr), status)
}

/// An empty folder for a test.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder");
    folder
}
