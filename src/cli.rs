//! The command line: what people do with configurations outside of a proxy, with the filter's own core.
//!
//! A command is a module with the struct of its arguments, whose doc comments are its help, and
//! `run`, which prints what it found and gives a [`Status`].

mod check;
mod configuration;
mod decision;
mod explain;
mod finding;
mod import;
mod keys;
mod manual;
mod mint;
mod reference;
mod request;
mod source;
mod test;
mod throwaway;
mod token;

use std::fmt;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

/// JWT authentication and authorization for Envoy, by Istio's rules: the tools beside the plugin.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Check),
    Completions(manual::Completions),
    Explain(Box<explain::Explain>),
    Import(Box<import::Import>),
    Keys(keys::Keys),
    Man(manual::Man),
    Schema(manual::Schema),
    Test(test::Test),
    Token(token::Token),
}

/// How a command that ran came out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Status {
    /// Nothing is wrong: 0.
    Right,
    /// Something is: 1.
    Wrong,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(match status {
            Status::Right => 0,
            Status::Wrong => 1,
        })
    }
}

/// Why a command could not run: 2, as for arguments that clap refuses.
#[derive(Debug)]
struct Failure(String);

impl Failure {
    const EXIT: u8 = 2;

    /// What was being done, and why it couldn't be.
    fn of(what: impl fmt::Display) -> impl FnOnce(std::io::Error) -> Self {
        move |error| Self(format!("{what}: {error}"))
    }
}

/// Runs the command that the arguments of the process name.
#[must_use]
pub fn main() -> ExitCode {
    let ran = match Cli::parse().command {
        Command::Check(arguments) => arguments.run(),
        Command::Completions(arguments) => arguments.run(Cli::command()),
        Command::Explain(arguments) => arguments.run(),
        Command::Import(arguments) => arguments.run(),
        Command::Keys(arguments) => arguments.run(),
        Command::Man(arguments) => arguments.run(Cli::command()),
        Command::Schema(arguments) => arguments.run(),
        Command::Test(arguments) => arguments.run(),
        Command::Token(arguments) => arguments.run(),
    };
    match ran {
        Ok(status) => status.into(),
        Err(Failure(message)) => {
            anstream::eprintln!("portcullis: {message}");
            Failure::EXIT.into()
        }
    }
}
