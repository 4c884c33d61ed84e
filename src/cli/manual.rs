//! `completions`, `man` and `schema`: what shells, `man` and editors know, made from the types.

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use super::{Failure, Status};

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

/// Print the JSON Schema of the plugin configuration, for editors and validators.
#[derive(Args, Debug)]
pub(super) struct Schema {}

impl Schema {
    pub(super) fn run(&self) -> Result<Status, Failure> {
        writeln!(io::stdout(), "{:#}", crate::schema())
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
