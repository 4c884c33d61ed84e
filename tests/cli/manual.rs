//! Help, completions and the manual name every command.

use std::fs;
use std::path::Path;

use crate::portcullis;

/// The commands, as the help lists them.
fn commands() -> Vec<String> {
    let (help, status) = portcullis(&["--help"]);
    assert_eq!(status, 0);
    let (_, list) = help.split_once("Commands:\n").expect("commands");
    let lines = list.lines().take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let names: Vec<String> = names
        .filter(|name| !name.is_empty() && *name != "help")
        .map(str::to_owned)
        .collect();
    assert!(names.len() > 1, "{help}");
    names
}

#[test]
fn completions_know_every_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let (script, status) = portcullis(&["completions", shell]);
        assert_eq!(status, 0);
        for name in commands() {
            assert!(script.contains(&name), "{shell}: {name}");
        }
    }
}

#[test]
fn every_command_has_its_page() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("man");
    let path = folder.to_str().expect("UTF-8");
    assert_eq!(portcullis(&["man", path]), (String::new(), 0));
    for name in commands() {
        let page = fs::read_to_string(folder.join(format!("portcullis-{name}.1")));
        let page = page.expect("a page");
        for section in [".SH DESCRIPTION", ".SH \"EXIT STATUS\"", ".SH \"SEE ALSO\""] {
            assert!(page.contains(section), "{name}: {section}: {page}");
        }
        // What has a section of its own isn't told twice.
        assert!(
            !page.contains("Exit status:") && !page.contains("For example:"),
            "{name}: {page}"
        );
    }
    let page = |name: &str| fs::read_to_string(folder.join(name)).expect("a page");
    assert!(page("portcullis-explain.1").contains(".SH \"EXAMPLES\""));
    assert!(page("portcullis-check.1").contains("advice that is denied"));
    assert!(page("portcullis.1").contains("portcullis\\-check(1)"));
    assert!(page("portcullis-keys-serve.1").contains("portcullis\\-keys(1)"));
}

#[test]
fn what_can_not_run_is_told_by_the_exit_status() {
    assert_eq!(portcullis(&["no-such-command"]).1, 2);
    assert_eq!(portcullis(&["man", "/dev/null/nowhere"]).1, 2);
}
