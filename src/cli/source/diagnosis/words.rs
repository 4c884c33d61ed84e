//! What a parser of YAML says, to those who don't write parsers.

/// What the parser says, or a part of it, and what is said instead.
const WORDS: [(&str, &str); 23] = [
    // What is refused though it is YAML.
    (
        "MergeKeys",
        "too many merge keys (`<<`): write out what they stand for",
    ),
    ("Depth", "nested too deep"),
    ("recursion", "nested too deep"),
    ("nesting", "nested too deep"),
    ("replay", "aliases that stand for too much: write it out"),
    ("Anchor", "aliases that stand for too much: write it out"),
    // What isn't.
    (
        "illegal placement of ':'",
        "a `:` where none can be: is a bracket before it not closed?",
    ),
    (
        "did not find expected ','",
        "a `,` or a closing bracket is missing before this, or text with a bracket in it needs quotes",
    ),
    (
        "simple key expected ':'",
        "a `:` with a blank behind it is missing in this line",
    ),
    ("may not precede any of", "a blank is missing behind a `:`"),
    ("null is not allowed here", "a name is missing before a `:`"),
    ("unclosed bracket '['", "this `[` isn't closed"),
    ("unclosed bracket '{'", "this `{` isn't closed"),
    (
        "mismatched bracket '['",
        "a `[` is closed by a `}`: write the other, or quotes around text with brackets in it",
    ),
    (
        "mismatched bracket '{'",
        "a `{` is closed by a `]`: write the other, or quotes around text with brackets in it",
    ),
    (
        "only valid inside a block",
        "a `- ` starts an item only where a line starts; between brackets there are commas",
    ),
    (
        "block sequence entries",
        "a `- ` starts an item only where a line starts",
    ),
    (
        "scanning a block scalar",
        "text behind a `|` or `>` starts in the next line; text that starts with one needs quotes",
    ),
    ("anchor or alias", "text that starts with `&` needs quotes"),
    ("scanning a tag", "text that starts with `!` needs quotes"),
    ("directive", "text that starts with `%` needs quotes"),
    (
        "<document start>",
        "the document has ended before this line: is a bracket too many, or is `---` missing?",
    ),
    ("unclosed quote", "this quote isn't closed"),
];

pub(super) fn in_plain_words(said: &str) -> &str {
    let mut words = WORDS.iter();
    let found = words.find(|(part, _)| said.contains(part));
    found.map_or(said, |(_, words)| words)
}
