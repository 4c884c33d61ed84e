//! The path of a request, brought into one form before anything looks at it.
//!
//! The forms and their names are Istio's (`meshConfig.pathNormalization`), and what becomes of a
//! path is what Envoy's connection manager makes of it. What is matched is what the upstream gets.

use std::borrow::Cow;

use serde_json::Value;

use crate::config::reader::{Input, Read};
use crate::config::schema::{Schemas, one_of};
use crate::outcome::{Change, Changes, Reason};
use crate::request::Request;

/// How paths are treated.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Paths {
    pub(crate) normalization: Normalization,
    pub(crate) ambiguous: Ambiguous,
}

/// How far a path is normalised.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Normalization {
    /// Not at all, but for the fragment, which is cut off in every form.
    None,
    /// RFC 3986 section 6.2.2: dot segments are resolved, and what needn't be percent-encoded
    /// isn't; besides, `\` becomes `/`, and what must be percent-encoded is.
    #[default]
    Base,
    /// And slashes in a row become one.
    MergeSlashes,
    /// Before all that, `%2F` becomes `/`, and `%5C` becomes `\`.
    DecodeAndMergeSlashes,
}

/// What becomes of a path that others may read in another way.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Ambiguous {
    #[default]
    Allow,
    Reject,
}

impl Read for Normalization {
    fn read(input: &Input<'_>) -> Option<Self> {
        match input.text()? {
            "NONE" => Some(Self::None),
            "BASE" => Some(Self::Base),
            "MERGE_SLASHES" => Some(Self::MergeSlashes),
            "DECODE_AND_MERGE_SLASHES" => Some(Self::DecodeAndMergeSlashes),
            _ => {
                input.mistake(
                    "unknown normalization: write NONE, BASE, MERGE_SLASHES or \
                     DECODE_AND_MERGE_SLASHES",
                );
                None
            }
        }
    }

    fn schema(_: &mut Schemas) -> Value {
        one_of(&["NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"])
    }
}

impl Read for Ambiguous {
    fn read(input: &Input<'_>) -> Option<Self> {
        match input.text()? {
            "allow" => Some(Self::Allow),
            "reject" => Some(Self::Reject),
            _ => {
                input.mistake("unknown answer: write `allow` or `reject`");
                None
            }
        }
    }

    fn schema(_: &mut Schemas) -> Value {
        one_of(&["allow", "reject"])
    }
}

impl Paths {
    /// What must be changed before the request is looked at; nothing, where its path is in the
    /// right form already.
    ///
    /// # Errors
    ///
    /// The path can't be normalised, or is ambiguous where that isn't allowed.
    pub(crate) fn changes(self, request: &Request) -> Result<Changes, Reason> {
        let Some(target) = request.target() else {
            return Ok(Changes::default());
        };
        // As Envoy cuts it (and refuses it, by default), wherever it begins.
        let end = target.iter().position(|byte| *byte == b'#');
        let (whole, fragment) = target.split_at(end.unwrap_or(target.len()));
        let query = whole.iter().position(|byte| *byte == b'?');
        let (path, query) = whole.split_at(query.unwrap_or(whole.len()));
        if self.ambiguous == Ambiguous::Reject && is_ambiguous(path) {
            return Err(Reason::PathAmbiguous);
        }
        let normalized = self.normalization.normalized(path)?;
        if fragment.is_empty() && *normalized == *path {
            return Ok(Changes::default());
        }
        let target = [&*normalized, query].concat();
        Ok(Changes(vec![Change::Set(":path".to_owned(), target)]))
    }
}

impl Normalization {
    pub(crate) fn normalized(self, path: &[u8]) -> Result<Cow<'_, [u8]>, Reason> {
        let mut path = Cow::Borrowed(path);
        if self == Self::DecodeAndMergeSlashes && path.contains(&b'%') {
            path = with_decoded_slashes(&path).into();
        }
        if self >= Self::Base {
            if !path.iter().all(|byte| stays(*byte)) {
                path = percent_normalized(&path)?.into();
            }
            if has(&path, b"/.") {
                path = without_dot_segments(&path).into();
            }
        }
        if self >= Self::MergeSlashes && has(&path, b"//") {
            path = with_merged_slashes(&path).into();
        }
        Ok(path)
    }
}

/// Whether two readers of the path may see two paths: encoded slashes, dots and NUL, parameters
/// of segments, backslashes, empty segments.
fn is_ambiguous(path: &[u8]) -> bool {
    let is_encoded = |three: &[u8]| {
        let codes = [b"%2f", b"%5c", b"%2e", b"%00"];
        codes.iter().any(|code| three.eq_ignore_ascii_case(*code))
    };
    path.iter().any(|byte| matches!(byte, b';' | b'\\'))
        || has(path, b"//")
        || path.windows(3).any(is_encoded)
}

fn has(path: &[u8], two: &[u8; 2]) -> bool {
    path.windows(2).any(|window| window == two)
}

/// RFC 3986 section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// What Envoy leaves as it is: besides RFC 3986's letters of a path, brackets.
fn stays(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'/' | b'!' | b'$' | b'&'..=b',' | b':' | b';' | b'=' | b'@' | b'[' | b']'
        )
}

fn with_decoded_slashes(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, tail)) = rest.split_first() {
        let (byte, tail) = match rest {
            [b'%', b'2', b'f' | b'F', tail @ ..] => (b'/', tail),
            [b'%', b'5', b'c' | b'C', tail @ ..] => (b'\\', tail),
            _ => (*first, tail),
        };
        decoded.push(byte);
        rest = tail;
    }
    decoded
}

/// Decodes what needn't be encoded, encodes what must be, and turns backslashes.
fn percent_normalized(path: &[u8]) -> Result<Vec<u8>, Reason> {
    let mut normalized = Vec::with_capacity(path.len());
    // Where the last `%` stands that begins no escape.
    let mut stray = None;
    let mut rest = path;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        match *first {
            0 => return Err(Reason::PathInvalid),
            b'%' => match escaped(tail) {
                Some((0, ..)) => return Err(Reason::PathInvalid),
                Some((byte, digits, tail)) => {
                    rest = tail;
                    match is_unreserved(byte) {
                        true => normalized.push(byte),
                        false => {
                            normalized.push(b'%');
                            normalized.extend(digits);
                        }
                    }
                }
                None => {
                    stray = Some(normalized.len());
                    normalized.push(b'%');
                }
            },
            b'\\' => normalized.push(b'/'),
            byte if stays(byte) => normalized.push(byte),
            byte => normalized.extend(format!("%{byte:02X}").bytes()),
        }
        // Out of `%%36%31` must come no `%61`, which the next reader would take for an `a`.
        if let Some(place) = stray
            && normalized.len() == place + 3
            && normalized
                .get(place + 1..)
                .is_some_and(|end| escaped(end).is_some())
        {
            normalized.splice(place..=place, *b"%25");
        }
    }
    Ok(normalized)
}

/// The byte that an escape stands for, its digits, and what follows them.
pub(crate) fn escaped(text: &[u8]) -> Option<(u8, [u8; 2], &[u8])> {
    let [high, low, rest @ ..] = text else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?;
    Some((byte, [*high, *low], rest))
}

/// Resolves `.` and `..`, with parameters behind them, too: Tomcat and others take `..;a` for `..`.
fn without_dot_segments(path: &[u8]) -> Vec<u8> {
    let mut resolved = Vec::with_capacity(path.len());
    let mut segments = path.split(|byte| *byte == b'/');
    resolved.extend_from_slice(segments.next().unwrap_or_default());
    let root = resolved.len();
    // The slash before the segment is there; the one behind it belongs to the next.
    let mut has_slash = false;
    for segment in segments {
        if !has_slash {
            resolved.push(b'/');
        }
        let name = segment.split(|byte| *byte == b';').next();
        match name.unwrap_or_default() {
            b"." => has_slash = true,
            b".." => {
                has_slash = true;
                resolved.pop();
                let slash = resolved.iter().rposition(|byte| *byte == b'/');
                resolved.truncate(slash.unwrap_or(root));
                resolved.push(b'/');
            }
            _ => {
                has_slash = false;
                resolved.extend_from_slice(segment);
            }
        }
    }
    resolved
}

fn with_merged_slashes(path: &[u8]) -> Vec<u8> {
    let mut merged = path.to_vec();
    merged.dedup_by(|a, b| *a == b'/' && *b == b'/');
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::{Tally, table, text};

    fn paths(mode: &str) -> Paths {
        let normalization = match mode {
            "NONE" => Normalization::None,
            "BASE" => Normalization::Base,
            "MERGE_SLASHES" => Normalization::MergeSlashes,
            "DECODE_AND_MERGE_SLASHES" => Normalization::DecodeAndMergeSlashes,
            _ => panic!("{mode}"),
        };
        Paths {
            normalization,
            ambiguous: Ambiguous::Allow,
        }
    }

    fn request(target: &str) -> Request {
        Request::new(vec![(":path".to_owned(), target.into())])
    }

    /// What becomes of a target.
    fn outcome(paths: Paths, target: &str) -> String {
        let request = request(target);
        match paths.changes(&request) {
            Ok(changes) => {
                let changed = request.changed(&changes);
                String::from_utf8_lossy(changed.target().unwrap()).into_owned()
            }
            Err(reason) => reason.status().to_string(),
        }
    }

    #[test]
    fn as_istio_normalises() {
        let mut tally = Tally::default();
        for row in table("path_normalization", 173, &mut tally) {
            if row.get("contradicted").is_some() {
                tally.leave_out("contradicted by Envoy");
                continue;
            }
            let (mode, input) = (text(&row["mode"]), text(&row["input"]));
            let expected = text(&row["expect"]).to_owned();
            tally.check(
                &format!("{mode} {input}"),
                expected,
                outcome(paths(mode), input),
            );
        }
        tally.finish("Istio, path normalisation");
    }

    /// Measured with the connection managers of Envoy 1.40.
    #[test]
    fn what_istios_table_does_not_have() {
        for (target, expected) in [
            ("", ""),
            ("*", "*"),
            ("/?a=/../%2f\\;", "/?a=/../%2f\\;"),
            ("/a/./b?c#d", "/a/b?c"),
            ("/a?b#c?d", "/a?b"),
            ("/..", "/"),
            ("/.", "/"),
            ("/a/..", "/"),
            ("/a/.", "/a/"),
            ("/../../a/", "/a/"),
            ("/a/b/../..", "/"),
            ("///a//..///b/", "///a///b/"),
            ("/a/...", "/a/..."),
            ("/a/.b/..c", "/a/.b/..c"),
            ("/a\\..\\b", "/b"),
            ("/%5c..%5c", "/%5c..%5c"),
            ("/x/.;/a", "/x/a"),
            ("/x/..;a;b/c", "/c"),
            ("/x/..;", "/"),
            ("/x/...;/a", "/x/...;/a"),
            ("/a;b/c", "/a;b/c"),
            ("/a%zz%", "/a%zz%"),
            ("/%%41", "/%A"),
            ("/%%36%31", "/%2561"),
            ("/%%361", "/%2561"),
            ("/%6%31", "/%2561"),
            ("/%%32%46x", "/%252Fx"),
            ("/%%2e", "/%."),
            ("/a\"<>^`{|}~[]@", "/a%22%3C%3E%5E%60%7B%7C%7D~[]@"),
            ("/a%00", "400"),
            ("/a?%00", "/a?%00"),
        ] {
            let base = outcome(paths("BASE"), target);
            assert_eq!(base, expected, "{target}");
            assert_eq!(outcome(paths("BASE"), &base), expected, "again {target}");
        }
        // The connection manager finds these only at the second look, and `//` never.
        assert_eq!(outcome(paths("BASE"), "/x/%2e%2e;/a"), "/a");
        assert_eq!(outcome(paths("MERGE_SLASHES"), "//"), "/");
    }

    #[test]
    fn nothing_is_written_where_nothing_differs() {
        for target in ["/", "/a/b?c=../%2e//", "/a%20b/%C3%A9", "*", "//a;b"] {
            let changes = paths("BASE").changes(&request(target)).unwrap();
            assert_eq!(changes, Changes::default(), "{target}");
        }
        let none = Paths::default().changes(&Request::default()).unwrap();
        assert_eq!(none, Changes::default());
    }

    #[test]
    fn ambiguous_paths() {
        for (target, expected) in [
            ("/a%2fb", true),
            ("/a%5Cb", true),
            ("/a%2Eb", true),
            ("/a%00", true),
            ("/a;b", true),
            ("/a\\b", true),
            ("/a//b", true),
            ("//", true),
            ("/a/", false),
            ("/", false),
            ("/a/./b", false),
            ("/a%20b", false),
            ("/a%252fb", false),
            ("/a?//%2f;\\", false),
        ] {
            for mode in ["NONE", "DECODE_AND_MERGE_SLASHES"] {
                let paths = Paths {
                    ambiguous: Ambiguous::Reject,
                    ..paths(mode)
                };
                let refused = paths.changes(&request(target)).err();
                let expected = expected.then_some(Reason::PathAmbiguous);
                assert_eq!(refused, expected, "{mode} {target}");
            }
        }
    }
}
