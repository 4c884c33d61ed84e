//! `completions`, `man` and `schema`: what shells, `man` and editors know, made from the types.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, Command, ValueEnum};
use clap_complete::Shell;

use super::{Failure, Status, reference, shown};

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
        super::print(&String::from_utf8_lossy(&script))?;
        Ok(Status::Right)
    }
}

/// Print what may stand in the plugin configuration.
///
/// For example: portcullis schema > portcullis.schema.json
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
        super::print(&text)?;
        Ok(Status::Right)
    }
}

/// Write the manual: portcullis.1, and a page for each command.
///
/// For example: portcullis man ~/.local/share/man/man1
#[derive(Args, Debug)]
pub(super) struct Man {
    /// The folder that the pages are written to.
    folder: PathBuf,
}

impl Man {
    pub(super) fn run(&self, command: Command) -> Result<Status, Failure> {
        let mut command = command.disable_help_subcommand(true);
        command.build();
        std::fs::create_dir_all(&self.folder)
            .and_then(|()| pages(&command, &[], &self.folder))
            .map_err(Failure::of(shown::path(&self.folder)))?;
        Ok(Status::Right)
    }
}

/// How every command ends that says nothing else.
const EXIT_STATUS: &str = "0 if all is right, 1 if not, 2 if the command could not run.";

/// Writes the page of a command, and those of its own commands.
fn pages(command: &Command, above: &[&str], folder: &Path) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let below: Vec<&Command> = command.get_subcommands().collect();
    let names = below
        .iter()
        .map(|below| below.get_display_name().unwrap_or(below.get_name()));
    let mut related: Vec<&str> = above.iter().copied().chain(names).collect();
    related.sort_unstable();
    std::fs::write(folder.join(format!("{name}.1")), page(command, &related)?)?;
    let mut above = above.to_vec();
    above.push(name);
    below
        .into_iter()
        .try_for_each(|below| pages(below, &above, folder))
}

/// What `--help` says, with the exit status, the examples and related pages in sections of their own, where people
/// look for them.
fn page(command: &Command, related: &[&str]) -> io::Result<Vec<u8>> {
    let about = command.get_long_about().or(command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    let (about, status) = cut(&about, "Exit status: ");
    let (about, example) = cut(&about, "For example: ");
    let man = clap_mangen::Man::new(command.clone().long_about(about));
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    section(
        &mut page,
        "EXIT STATUS",
        status.as_deref().unwrap_or(EXIT_STATUS),
    )?;
    if let Some(example) = example {
        section(&mut page, "EXAMPLES", &example)?;
    }
    let related: Vec<String> = related.iter().map(|name| format!("{name}(1)")).collect();
    if !related.is_empty() {
        section(&mut page, "SEE ALSO", &related.join(", "))?;
    }
    Ok(page)
}

/// A section, in which nothing is taken for a request of roff.
fn section(page: &mut Vec<u8>, title: &str, text: &str) -> io::Result<()> {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    writeln!(page, ".SH \"{title}\"\n\\&{text}")
}

/// A text without the part that starts so, up to the end of a paragraph, and that part.
fn cut(text: &str, start: &str) -> (String, Option<String>) {
    let Some((before, rest)) = text.split_once(start) else {
        return (text.to_owned(), None);
    };
    let (part, after) = rest.split_once("\n\n").unwrap_or((rest, ""));
    let part = part.split_whitespace().collect::<Vec<_>>().join(" ");
    (
        format!("{}\n\n{after}", before.trim_end())
            .trim_end()
            .to_owned(),
        Some(part),
    )
}
