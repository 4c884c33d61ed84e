//! Names as the loosest of upstreams reads them, so that a client can't write under another spelling
//! what it may not write under the name itself.
//!
//! CGI, WSGI and the like make one variable of names that differ in letter case or in characters that
//! are neither letters nor digits: lighttpd in any such character, PHP in `.`, blank and `[`. Names of
//! parameters and cookies are besides decoded and trimmed, and lose what marks them as lists.

use std::cmp::Ordering;

use crate::path::escaped;
use crate::sorted;

/// What a byte of a name counts for.
#[inline]
fn folded(byte: u8) -> u8 {
    match byte.is_ascii_alphanumeric() {
        true => byte.to_ascii_lowercase(),
        false => b'_',
    }
}

/// Whether these are two spellings of one name.
pub(crate) fn are_alike(one: &[u8], other: &[u8]) -> bool {
    let folds = |(a, b): (&u8, &u8)| folded(*a) == folded(*b);
    one.len() == other.len() && one.iter().zip(other).all(folds)
}

/// Names of headers, each under every spelling.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Folded, the shortest first, each once.
    folded: Vec<Vec<u8>>,
    /// By a bit each, the lengths that there are, but for multiples of 64.
    lengths: u64,
}

impl Names {
    pub(crate) fn new<'n>(names: impl Iterator<Item = &'n str>) -> Self {
        Self::of(&names.collect::<Vec<_>>())
    }

    /// One copy of this for all names keeps the module small.
    #[inline(never)]
    fn of(names: &[&str]) -> Self {
        let names = names.iter().map(|name| name.bytes().map(folded).collect());
        let mut names: Vec<Vec<u8>> = names.collect();
        sorted::by(&mut names, |one, other| {
            one.len().cmp(&other.len()).then_with(|| one.cmp(other))
        });
        names.dedup();
        let lengths = names.iter().fold(0, |all, name| all | bit(name.len()));
        Self {
            folded: names,
            lengths,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.folded.is_empty()
    }

    /// Whether a name of this length may be one of them: most are none, and are told so at once.
    #[inline]
    pub(crate) fn may_have(&self, length: usize) -> bool {
        self.lengths & bit(length) != 0
    }

    /// Whether this is one of them. A pseudo-header isn't, since no upstream takes it for a header.
    #[inline]
    pub(crate) fn have(&self, name: &[u8]) -> bool {
        let found = self
            .folded
            .binary_search_by(|own| match own.len().cmp(&name.len()) {
                // Most that are as long are one, and spelled so.
                Ordering::Equal if own == name => Ordering::Equal,
                Ordering::Equal => {
                    let spelled = name.iter().map(|byte| folded(*byte));
                    own.iter().copied().cmp(spelled)
                }
                differ => differ,
            });
        found.is_ok() && !name.starts_with(b":")
    }
}

#[inline]
fn bit(length: usize) -> u64 {
    1 << (length % 64)
}

/// The name of a parameter or a cookie, under every spelling.
#[derive(Debug)]
pub(crate) struct Encoded {
    folded: Vec<u8>,
}

impl Encoded {
    /// Of a parameter, which is named as it is read.
    pub(crate) fn param(name: &str) -> Self {
        Self {
            folded: name.bytes().map(folded).collect(),
        }
    }

    /// Of a cookie, which is named as it is sent.
    pub(crate) fn cookie(name: &str) -> Self {
        Self {
            folded: Decoded(name.as_bytes()).map(folded).collect(),
        }
    }

    /// An order in which those that are read in the same places are equal.
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        self.folded.cmp(&other.folded)
    }

    /// Whether some upstream reads it where this was sent.
    #[inline(never)]
    pub(crate) fn is_read_in(&self, sent: &[u8]) -> bool {
        let mut rest = Decoded(sent);
        loop {
            if self.starts(rest) {
                return true;
            }
            if !rest.next().is_some_and(is_dropped) {
                return false;
            }
        }
    }

    /// Whether a cookie of this name, with its `=`, begins what was sent.
    pub(crate) fn begins(&self, sent: &[u8]) -> bool {
        let mut sent = Decoded(sent);
        let is = |next, own| next != b'=' && folded(next) == own;
        let mut own = self.folded.iter();
        own.all(|own| sent.next().is_some_and(|next| is(next, *own)))
            && matches!(
                sent.find(|next| !matches!(next, b' ' | b'\t')),
                Some(0 | b'=' | b'[' | b']')
            )
    }

    fn starts(&self, mut sent: Decoded<'_>) -> bool {
        let mut own = self.folded.iter();
        own.all(|byte| sent.next().is_some_and(|next| folded(next) == *byte))
            // PHP ends a name at NUL, and brackets say that it is a list.
            && matches!(sent.next(), None | Some(0 | b'[' | b']'))
    }
}

/// What stands before a name and isn't part of it: blanks for PHP, brackets for Rack and qs, a second
/// `?` for `URLSearchParams`.
fn is_dropped(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ' | b'+' | b'?' | b'[' | b']')
}

/// What a name becomes when it is percent-decoded, once: nobody common does it twice.
#[derive(Clone, Copy)]
struct Decoded<'n>(&'n [u8]);

impl Iterator for Decoded<'_> {
    type Item = u8;

    #[inline]
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        let decoded = match (*first, rest) {
            // `%u005f`, for ASP.NET.
            (b'%', [b'u' | b'U', b'0', b'0', digits @ ..]) => escaped(digits),
            (b'%', digits) => escaped(digits),
            _ => None,
        };
        let (byte, rest) = decoded.map_or((*first, rest), |(byte, _, rest)| (byte, rest));
        self.0 = rest;
        Some(byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_one_spelling_each() {
        let names = Names::new(["X-Role", "x_role", "b", "-path"].into_iter());
        for (name, expected) in [
            ("x-role", true),
            ("X.ROLE", true),
            ("x~role", true),
            ("x-role-", false),
            ("xrole", false),
            ("x--role", false),
            ("b", true),
            ("c", false),
            ("-", false),
            ("_path", true),
            (":path", false),
            ("", false),
        ] {
            assert_eq!(names.have(name.as_bytes()), expected, "{name}");
        }
        assert!(!Names::default().have(b""));
    }

    #[test]
    fn alike() {
        for (one, other, expected) in [
            ("a-b", "A_b", true),
            ("a-b", "a-c", false),
            ("a-b", "ab", false),
            ("a1", "a2", false),
            ("", "", true),
        ] {
            let are = are_alike(one.as_bytes(), other.as_bytes());
            assert_eq!(are, expected, "{one} {other}");
        }
    }

    #[test]
    fn encoded_names() {
        let token = Encoded::param("to_ken");
        for (sent, expected) in [
            ("to_ken", true),
            ("TO.KEN", true),
            ("to ken", true),
            ("to%5Fken", true),
            ("%74o%u005Fken", true),
            ("%74o%U002eken", true),
            ("+%20%0b\tto_ken", true),
            ("[to_ken]", true),
            ("?to_ken", true),
            ("to_ken[]", true),
            ("to_ken%5b0]", true),
            ("to_ken%00more", true),
            ("to_ken+", false),
            ("to_ken.x", false),
            ("to_kens", false),
            ("to_ke", false),
            ("token", false),
            ("to__ken", false),
            ("to%255Fken", false),
            ("to%zzken", false),
            ("a[to_ken]", false),
            ("%", false),
            ("%5", false),
            ("%u005", false),
            ("", false),
        ] {
            assert_eq!(token.is_read_in(sent.as_bytes()), expected, "{sent}");
        }
    }

    #[test]
    fn names_that_begin_with_what_is_dropped_are_read_all_the_same() {
        assert!(Encoded::param("[t]").is_read_in(b"[t]"));
        assert!(Encoded::param("_t").is_read_in(b"+_t"));
        assert!(!Encoded::param("_t").is_read_in(b"t"));
    }

    #[test]
    fn cookies_within_others() {
        let session = Encoded::cookie("session_id");
        for (sent, expected) in [
            ("session_id=1", true),
            ("Session.Id \t= 1", true),
            ("session%5fid[]=1", true),
            ("session id=1", true),
            ("session_id", false),
            ("session_id ", false),
            ("session_ids=1", false),
            ("session=id=1", false),
            ("session_id x=1", false),
            ("", false),
        ] {
            assert_eq!(session.begins(sent.as_bytes()), expected, "{sent}");
        }
    }

    #[test]
    fn a_cookie_is_named_as_it_is_sent() {
        let encoded = Encoded::cookie("session%5Fid");
        for sent in ["session%5Fid", "session_id", "session%5fid"] {
            assert!(encoded.is_read_in(sent.as_bytes()), "{sent}");
        }
        assert!(Encoded::param("a%41").is_read_in(b"a%2541"));
    }
}
