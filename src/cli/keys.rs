//! `keys`: key sets for tests and development.

mod serve;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use self::serve::Serve;
use super::mint::{Algorithm, SigningKey};
use super::source::Source;
use super::{Failure, Status, shown};

/// Make keys for tests, and publish them.
#[derive(Args, Debug)]
pub(super) struct Keys {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Generate(Generate),
    Public(Public),
    Serve(Serve),
}

impl Keys {
    pub(super) fn run(&self) -> Result<Status, Failure> {
        match &self.command {
            Command::Generate(arguments) => arguments.run(),
            Command::Public(arguments) => arguments.run(),
            Command::Serve(arguments) => arguments.run(),
        }
    }
}

/// Print a new private key, as a JWK set. Keep it to yourself: (umask 077; portcullis keys generate >
/// keys.json)
#[derive(Args, Debug)]
struct Generate {
    /// What the key is for; several make a set of several keys.
    #[arg(long, value_enum, default_value = "ES256")]
    alg: Vec<Algorithm>,
    /// The name of the key, or of each. Default: its thumbprint (RFC 7638).
    #[arg(long)]
    kid: Vec<String>,
    /// A set whose keys come behind the new one, so that tokens of both verify: a rotation.
    #[arg(long, value_name = "FILE")]
    before: Option<PathBuf>,
}

impl Generate {
    fn run(&self) -> Result<Status, Failure> {
        if self.kid.len() > self.alg.len() {
            return Err(Failure(
                "there are more names than keys: write --alg for each".to_owned(),
            ));
        }
        let mut names = self.kid.iter();
        let mut keys = Vec::new();
        for algorithm in &self.alg {
            let name = names.next().map(String::as_str);
            keys.push(SigningKey::generate(*algorithm, name).map_err(Failure)?);
        }
        if let Some(file) = &self.before {
            keys.extend(read(file)?);
        }
        print(keys.iter().map(SigningKey::private).collect())
    }
}

/// Print what others may know of keys: the set for `jwks`, or to publish.
#[derive(Args, Debug)]
struct Public {
    /// A JWK, a JWK set or PEM; `-` is standard input.
    file: PathBuf,
}

impl Public {
    fn run(&self) -> Result<Status, Failure> {
        print(published(&self.file)?)
    }
}

fn print(keys: Vec<Value>) -> Result<Status, Failure> {
    super::print(&format!("{:#}\n", json!({ "keys": keys })))?;
    Ok(Status::Right)
}

fn read(file: &Path) -> Result<Vec<SigningKey>, Failure> {
    let source = Source::read(file)?;
    SigningKey::parse_all(&source.text).map_err(|error| source.wrong(&error))
}

/// The public keys of a file.
fn published(file: &Path) -> Result<Vec<Value>, Failure> {
    let keys = read(file)?;
    let public: Vec<Value> = keys.iter().filter_map(SigningKey::public).collect();
    if public.is_empty() {
        return Err(Failure(format!(
            "{}: nothing of a secret is public: write it in `jwks` of the rule",
            shown::path(file)
        )));
    }
    Ok(public)
}
