//! Patterns for paths: strings, and templates of segments.

use std::fmt;

use crate::matcher::StringMatch;

/// A compiled pattern.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct PathMatch {
    pub(super) pattern: Pattern,
    /// Whether `A` and `a` are the same.
    pub(super) ignores_case: bool,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) enum Pattern {
    Template(Template),
    Text(StringMatch),
}

/// How texts are compared.
type Same = fn(&[u8], &[u8]) -> bool;

/// `/a/{*}/b/{**}`: Envoy's `uri_template` as Istio lets it be written.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Part {
    Literal(String),
    /// `{**}`: anything, also nothing.
    Rest,
    /// `{*}`: one segment, which isn't empty.
    Segment,
}

const ONE: &str = "{*}";
const ANY: &str = "{**}";

impl PathMatch {
    /// Reads a pattern, for paths as they are or, if case is to be ignored, of ASCII letters in any case.
    ///
    /// # Errors
    ///
    /// What is wrong with a template, in a sentence for whoever wrote it.
    pub(crate) fn parse(pattern: &str, ignores_case: bool) -> Result<Self, &'static str> {
        // Only what names an operator is a template to Istio; other braces are then a mistake.
        let pattern = match pattern.contains(['{', '}']) {
            true => Pattern::Template(Template::parse(pattern)?),
            false => Pattern::Text(StringMatch::text(pattern)),
        };
        Ok(Self {
            pattern,
            ignores_case,
        })
    }

    /// `None` where the path has bytes of which Envoy's templates take none: an attacker must neither
    /// get in by one nor get around a policy.
    pub(crate) fn matches(&self, path: &[u8]) -> Option<bool> {
        let same: Same = match self.ignores_case {
            true => <[u8]>::eq_ignore_ascii_case,
            false => <[u8]>::eq,
        };
        match &self.pattern {
            Pattern::Template(template) => template.matches(same, path),
            Pattern::Text(text) if self.ignores_case => Some(text.matches_by(same, path)),
            Pattern::Text(text) => Some(text.matches(path)),
        }
    }
}

impl Template {
    /// What a path that matches starts with.
    pub(super) fn start(&self) -> &str {
        match self.0.first() {
            Some(Part::Literal(text)) => text,
            _ => "",
        }
    }

    fn parse(pattern: &str) -> Result<Self, &'static str> {
        let Some(path) = pattern.strip_prefix('/') else {
            return Err("a path template starts with `/`");
        };
        let mut parts = vec![Part::Literal("/".to_owned())];
        let mut has_rest = false;
        for (index, segment) in path.split('/').enumerate() {
            if index > 0 {
                push(&mut parts, "/");
            }
            let is_operator = segment == ONE || segment == ANY;
            if is_operator && has_rest {
                return Err("`{**}` must be the last operator of a path template");
            }
            match segment {
                ONE => parts.push(Part::Segment),
                ANY => {
                    has_rest = true;
                    parts.push(Part::Rest);
                }
                literal if literal.contains(['{', '}']) => {
                    return Err("`{` and `}` stand only in the segments `{*}` and `{**}`");
                }
                literal if !literal.bytes().all(is_literal) => {
                    return Err("a segment of a path template has only letters, digits and \
                                `-._~%!$&'()+,;:@=`");
                }
                literal => push(&mut parts, literal),
            }
        }
        Ok(Self(parts))
    }

    fn matches(&self, same: Same, path: &[u8]) -> Option<bool> {
        let is_whole = matches(&self.0, same, path);
        match path.iter().all(|byte| is_matchable(*byte)) {
            true => Some(is_whole),
            // The template would take it, did Envoy let it.
            false if is_whole => None,
            false => Some(false),
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| {
            formatter.write_str(match part {
                Part::Literal(literal) => literal,
                Part::Rest => ANY,
                Part::Segment => ONE,
            })
        })
    }
}

fn push(parts: &mut Vec<Part>, text: &str) {
    match parts.last_mut() {
        Some(Part::Literal(literal)) => literal.push_str(text),
        _ => parts.push(Part::Literal(text.to_owned())),
    }
}

fn matches(parts: &[Part], same: Same, path: &[u8]) -> bool {
    let Some((part, parts)) = parts.split_first() else {
        return path.is_empty();
    };
    match part {
        Part::Literal(literal) => {
            path.split_at_checked(literal.len())
                .is_some_and(|(start, path)| {
                    same(start, literal.as_bytes()) && matches(parts, same, path)
                })
        }
        Part::Segment => {
            let end = path.iter().position(|byte| *byte == b'/');
            let (segment, path) = path.split_at(end.unwrap_or(path.len()));
            !segment.is_empty() && matches(parts, same, path)
        }
        // It is the last operator.
        Part::Rest => match parts {
            [Part::Literal(literal)] => StringMatch::Suffix(literal.clone()).matches_by(same, path),
            _ => true,
        },
    }
}

/// What Istio's webhook takes in a segment.
fn is_literal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()+,;:@=".contains(&byte)
}

/// What Envoy's operators take, measured: all of printable ASCII but brackets.
fn is_matchable(byte: u8) -> bool {
    (b'!'..=b'~').contains(&byte) && byte != b'[' && byte != b']'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates() {
        for (pattern, path, expected) in [
            ("/foo/{*}", "/foo/bar", Some(true)),
            ("/foo/{*}", "/foo/b%20r", Some(true)),
            ("/foo/{*}", "/foo/b*r", Some(true)),
            ("/foo/{*}", "/foo", Some(false)),
            ("/foo/{*}", "/foo/", Some(false)),
            ("/foo/{*}", "/foo//", Some(false)),
            ("/foo/{*}", "/foo/bar/baz", Some(false)),
            ("/foo/{*}", "/foo/[x]", None),
            ("/foo/{*}", "/bar/[x]", Some(false)),
            ("/foo/{**}", "/foo/", Some(true)),
            ("/foo/{**}", "/foo/a/b", Some(true)),
            ("/foo/{**}", "/foo/a//b", Some(true)),
            ("/foo/{**}", "/foo", Some(false)),
            ("/foo/{**}/", "/foo/bar/", Some(true)),
            ("/foo/{**}/", "/foo//", Some(true)),
            ("/foo/{**}/", "/foo/", Some(false)),
            ("/foo/{**}/", "/foo/bar/baz.txt", Some(false)),
            ("/{**}/x", "/a/b/x", Some(true)),
            ("/{**}/x", "//x", Some(true)),
            ("/{**}/x", "/x", Some(false)),
            ("/foo/{*}/bar/{**}", "/foo/buzz/bar/", Some(true)),
            ("/foo/{*}/bar/{**}", "/foo/buzz/bar", Some(false)),
            ("/{*}/{*}", "/a/b", Some(true)),
            ("/{*}/{*}", "/a", Some(false)),
        ] {
            let compiled = PathMatch::parse(pattern, false).unwrap();
            assert_eq!(
                compiled.matches(path.as_bytes()),
                expected,
                "{pattern} {path}"
            );
        }
    }

    #[test]
    fn case_that_is_ignored() {
        for (pattern, path, expected) in [
            ("/Admin", "/aDMIN", true),
            ("/admin*", "/ADMIN/x", true),
            ("*/Keys", "/a/kEYS", true),
            ("/admin", "/admin/", false),
            ("*", "/A", true),
            ("/a%2F", "/A%2f", true),
            ("/a%4*", "/A%41", true),
            ("/%61", "/%41", false),
            ("/[", "/{", false),
            ("/Foo/{*}/Bar", "/fOO/x/bAR", true),
            ("/foo/{**}/Bar", "/FOO/x/bAR", true),
            ("/foo/{**}/bar", "/FOO/bar", false),
            ("/caf%C3%89", "/CAF%c3%89", true),
            ("/caf%C3%89", "/caf%C3%A9", false),
        ] {
            let compiled = PathMatch::parse(pattern, true).unwrap();
            let matches = compiled.matches(path.as_bytes());
            assert_eq!(matches, Some(expected), "{pattern} {path}");
        }
    }

    #[test]
    fn no_templates() {
        for pattern in [
            "{*}",
            "/foo/{**}buzz/bar",
            "/foo/{buzz}/bar",
            "/{*}/foo/{*}.txt",
            "/{*}/foo/{temp",
            "/{*}/foo/temp}/bar",
            "/{**}/{**}",
            "/{**}/{*}",
            "/{*}/a b",
            "/{*}/a*",
        ] {
            assert!(PathMatch::parse(pattern, false).is_err(), "{pattern}");
        }
    }
}
