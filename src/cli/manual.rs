//! `completions`, `man` and `schema`: what shells, `man` and editors know, made from the types.

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::{Args, Command, ValueEnum};
use clap_complete::Shell;

use super::{Failure, Status, reference};

/// Print completions for a shell.
///
/// For example: portcullis completions bash > ~/.local/share/bash-completion/completions/portcullis
#[derive(Args, Debug)]
pub(super) struct Completions {
    /// For which shell.
    shell: Shell,
}

impl Completions {
    pub(super) fn run(&self, mut command: Command) -> Result<Status, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "portcullis", &mut script);
        io::stdout()
            .write_all(&script)
            .map_err(Failure::of("the completions can't be written"))?;
        Ok(Status::Right)
    }
}

/// Print what may stand in the plugin configuration.
#[derive(Args, Debug)]
pub(super) struct Schema {
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// The form of what is printed.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Format {
    /// JSON Schema, for editors and validators.
    #[default]
    Json,
    /// Tables of all fields, for readers.
    Markdown,
}

impl Schema {
    pub(super) fn run(&self) -> Result<Status, Failure> {
        let schema = crate::schema();
        let text = match self.format {
            Format::Json => format!("{schema:#}\n"),
            Format::Markdown => reference::markdown(&schema),
        };
        io::stdout()
            .write_all(text.as_bytes())
            .map_err(Failure::of("the schema can't be written"))?;
        Ok(Status::Right)
    }
}

/// Write the manual: portcullis.1, and a page for each command.
#[derive(Args, Debug)]
pub(super) struct Man {
    /// The folder that the pages are written to.
    folder: PathBuf,
}

impl Man {
    pub(super) fn run(&self, command: Command) -> Result<Status, Failure> {
        std::fs::create_dir_all(&self.folder)
            .and_then(|()| clap_mangen::generate_to(command, &self.folder))
            .map_err(Failure::of(self.folder.display()))?;
        Ok(Status::Right)
    }
}
