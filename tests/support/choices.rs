//! What `docs/semantics.md` says of vectors for which the standards leave the choice. The library's
//! own tests ask the same, so this file needs nothing but the standard library.

const DOCUMENT: &str = include_str!("../../docs/semantics.md");
const SECTION: &str = "## Where the standards leave the choice";

/// Every vector with a choice, and whether it is taken.
pub fn all() -> impl Iterator<Item = (&'static str, bool)> {
    let (_, section) = DOCUMENT.split_once(SECTION).expect("the section");
    let section = section.split("\n## ").next().unwrap_or(section);
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.flat_map(|row| {
        let cells: Vec<&str> = row.split(" | ").collect();
        let is_taken = match cells.get(1) {
            Some(&"taken") => true,
            Some(&"refused") => false,
            _ => panic!("neither taken nor refused: {row}"),
        };
        let ids = cells[0].split('`').skip(1).step_by(2);
        ids.map(move |id| (id, is_taken)).collect::<Vec<_>>()
    })
}

/// Whether a vector is taken.
pub fn is_taken(id: &str) -> bool {
    all()
        .find(|(documented, _)| *documented == id)
        .unwrap_or_else(|| panic!("docs/semantics.md documents no choice about {id}"))
        .1
}
