//! The command line: what people do with configurations outside of a proxy, with the filter's own core.
//!
//! A command is a module with the struct of its arguments, whose doc comments are its help, and
//! `run`, which prints what it found and gives a [`Status`].

mod check;
mod codes;
mod conditions;
mod configuration;
mod decision;
mod document;
mod explain;
mod files;
mod finding;
mod import;
mod keys;
mod manual;
mod mint;
mod progress;
mod reference;
mod request;
mod shown;
mod source;
mod tally;
mod test;
mod throwaway;
mod token;

use std::fmt;
use std::io::{self, Write as _};
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
    /// Something couldn't be read, as has been told: 2.
    Unread,
    /// Something is wrong: 1.
    Wrong,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(match status {
            Status::Right => 0,
            Status::Unread => Failure::EXIT,
            Status::Wrong => 1,
        })
    }
}

/// Why a command could not run: 2, as for arguments that clap refuses.
#[derive(Debug)]
struct Failure(String);

impl Failure {
    const EXIT: u8 = 2;

    /// All of them, in a line each.
    fn all(failures: Vec<Self>) -> Option<Self> {
        let failures = failures.into_iter().map(|Self(message)| message);
        failures
            .reduce(|all, message| format!("{all}\nportcullis: {message}"))
            .map(Self)
    }

    /// What was being done, and why it couldn't be.
    fn of(what: impl fmt::Display) -> impl FnOnce(std::io::Error) -> Self {
        move |error| Self(format!("{what}: {error}"))
    }
}

/// Prints what a command has to say. Nobody has to listen to all of it, as in `portcullis schema | head`.
fn print(text: &str) -> Result<(), Failure> {
    let mut output = anstream::stdout().lock();
    let printed = output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush());
    match printed {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed.map_err(Failure::of("standard output")),
    }
}

/// Tells something beside that, on standard error, without secrets and without what steers a terminal.
fn tell(text: &str) {
    // There is nowhere else to tell that it can't be told.
    let _ = writeln!(anstream::stderr(), "portcullis: {}", shown::lines(text));
}

/// Tells what is wrong with the arguments, or helps.
fn refuse(error: &clap::Error) -> ExitCode {
    let text = error.render().ansi().to_string();
    match error.use_stderr() {
        // Colours are the only thing in it that steers a terminal, and secrets have none.
        true => drop(write!(anstream::stderr(), "{}", shown::styled(&text))),
        false => drop(print(&text)),
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Failure::EXIT))
}

/// Runs the command that the arguments of the process name.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let ran = match cli.command {
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
            tell(&message);
            Failure::EXIT.into()
        }
    }
}
