//! Conformance vectors of other projects: read where they lie, beside this one, and counted. A clone
//! elsewhere does without.

#[path = "../tests/support/choices.rs"]
mod choices;
#[path = "../tests/support/tally.rs"]
mod tally;

use std::path::Path;

use serde_json::Value;

pub(crate) use self::choices::is_taken;
pub(crate) use self::tally::Tally;

use crate::jwks::Algorithm;

/// What later versions verify: what needs it is left out, as long as it must be accepted.
const LATER: [&str; 1] = ["Ed448"];

/// Whether signatures of this algorithm are still to come.
pub(crate) fn is_later(algorithm: &str) -> bool {
    let later = LATER.contains(&algorithm);
    assert!(
        !later || Algorithm::named(algorithm).is_none(),
        "{algorithm} has come"
    );
    later
}

/// How the vectors say what must become of them.
pub(crate) fn verdict(accepted: bool) -> &'static str {
    if accepted { "valid" } else { "invalid" }
}

/// The vectors of these files, each with its file's name as `file` and with what is said of all its
/// group, or of all the file, as `group`. Next to a file is how many it has at least.
pub(crate) fn load(files: &[(&str, usize)], tally: &mut Tally) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors");
    if !folder.exists() {
        tally.missing(files.iter().map(|(_, count)| count).sum());
        return Vec::new();
    }
    files
        .iter()
        .flat_map(|(file, count)| {
            let path = folder.join(file);
            let text =
                std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let document: Value = serde_json::from_slice(&text)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let vectors = vectors(file, &document);
            assert!(vectors.len() >= *count, "vectors of {file} are missing");
            vectors
        })
        .collect()
}

/// A table of Istio's, which has that many rows at least.
pub(crate) fn table(name: &str, rows: usize, tally: &mut Tally) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/cases/istio.json");
    if !path.exists() {
        tally.missing(rows);
        return Vec::new();
    }
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let tables: Value = serde_json::from_slice(&text).expect("JSON");
    let table: Vec<Value> = list(&tables[name]).cloned().collect();
    assert!(table.len() >= rows, "rows of {name} are missing");
    table
}

fn vectors(file: &str, document: &Value) -> Vec<Value> {
    let name = file.rsplit('/').next().unwrap_or(file);
    let groups = ["groups", "testGroups"].map(|name| list(&document[name]));
    let groups = groups.into_iter().flatten().chain([document]);
    let mut all = Vec::new();
    for group in groups {
        let mut about = group.clone();
        let members = about.as_object_mut().expect("a group");
        for name in ["groups", "testGroups", "tests", "vectors"] {
            members.remove(name);
        }
        let vectors = ["tests", "vectors"].map(|name| list(&group[name]));
        for vector in vectors.into_iter().flatten() {
            let mut vector = vector.clone();
            vector["file"] = name.trim_end_matches(".json").into();
            vector["group"] = about.clone();
            all.push(vector);
        }
    }
    all
}

pub(crate) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

pub(crate) fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is not a string"))
}
