//! How Istio's policies compare strings.
//!
//! `value` is the whole string, `value*` a prefix, `*value` a suffix, `*` presence. A `*` anywhere
//! else is itself, and one at the start counts before one at the end
//! (pilot/pkg/security/authz/matcher).

use std::fmt;

/// A compiled pattern.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum StringMatch {
    Exact(String),
    /// `*` where it means "not empty": Istio writes it as the regular expression `.+`, in which
    /// `.` is no line feed.
    NotEmpty,
    Prefix(String),
    /// `*` where it means "there", empty or not.
    Present,
    Suffix(String),
}

impl StringMatch {
    /// A pattern for claims, principals and paths, where `*` wants at least one character.
    pub(crate) fn text(pattern: &str) -> Self {
        Self::parse(pattern, Self::NotEmpty)
    }

    /// A pattern for headers, hosts and methods, where `*` takes an empty value, too.
    pub(crate) fn header(pattern: &str) -> Self {
        Self::parse(pattern, Self::Present)
    }

    /// A pattern for hosts, which have no case: it takes what was put into lower case.
    pub(crate) fn host(pattern: &str) -> Self {
        Self::header(&pattern.to_ascii_lowercase())
    }

    fn parse(pattern: &str, star: Self) -> Self {
        if pattern == "*" {
            star
        } else if let Some(suffix) = pattern.strip_prefix('*') {
            Self::Suffix(suffix.to_owned())
        } else if let Some(prefix) = pattern.strip_suffix('*') {
            Self::Prefix(prefix.to_owned())
        } else {
            Self::Exact(pattern.to_owned())
        }
    }

    /// The one value that matches, where it can be a scope (RFC 6749 section 3.3).
    pub(crate) fn scope(&self) -> Option<&str> {
        let is_legal = |byte: u8| byte.is_ascii_graphic() && !b"\"\\".contains(&byte);
        match self {
            Self::Exact(scope) if !scope.is_empty() && scope.bytes().all(is_legal) => Some(scope),
            _ => None,
        }
    }

    pub(crate) fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => value == exact.as_bytes(),
            Self::NotEmpty => !value.is_empty() && !value.contains(&b'\n'),
            Self::Prefix(prefix) => value.starts_with(prefix.as_bytes()),
            Self::Present => true,
            Self::Suffix(suffix) => value.ends_with(suffix.as_bytes()),
        }
    }
}

impl StringMatch {
    /// The same, where texts are compared like this.
    pub(crate) fn matches_by(&self, same: fn(&[u8], &[u8]) -> bool, value: &[u8]) -> bool {
        let (part, wanted) = match self {
            Self::Exact(exact) => (Some(value), exact),
            Self::NotEmpty | Self::Present => return self.matches(value),
            Self::Prefix(prefix) => (value.get(..prefix.len()), prefix),
            Self::Suffix(suffix) => {
                let start = value.len().checked_sub(suffix.len());
                (start.and_then(|start| value.get(start..)), suffix)
            }
        };
        part.is_some_and(|part| same(part, wanted.as_bytes()))
    }
}

impl fmt::Display for StringMatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(exact) => formatter.write_str(exact),
            Self::NotEmpty | Self::Present => formatter.write_str("*"),
            Self::Prefix(prefix) => write!(formatter, "{prefix}*"),
            Self::Suffix(suffix) => write!(formatter, "*{suffix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, value, text, header) in [
            ("abc", "abc", true, true),
            ("abc", "ABC", false, false),
            ("abc", "abcd", false, false),
            ("abc*", "abc", true, true),
            ("abc*", "abcd", true, true),
            ("abc*", "xabc", false, false),
            ("*abc", "abc", true, true),
            ("*abc", "xabc", true, true),
            ("*abc", "abcx", false, false),
            ("a*c", "abc", false, false),
            ("a*c", "a*c", true, true),
            ("**", "x*", true, true),
            ("**", "*x", false, false),
            ("*b*", "ab*", true, true),
            ("*b*", "*bc", false, false),
            ("*", "x", true, true),
            ("*", "", false, true),
            ("*", "a\nb", false, true),
            ("", "", true, true),
        ] {
            assert_eq!(
                StringMatch::text(pattern).matches(value.as_bytes()),
                text,
                "text {pattern:?} {value:?}"
            );
            assert_eq!(
                StringMatch::header(pattern).matches(value.as_bytes()),
                header,
                "header {pattern:?} {value:?}"
            );
        }
    }

    #[test]
    fn other_comparisons() {
        for (pattern, value, expected) in [
            ("POST", "Post", true),
            ("post", "POST", true),
            ("POST", "Posts", false),
            ("PO*", "post", true),
            ("PO*", "p", false),
            ("*ST", "post", true),
            ("*ST", "t", false),
            ("*", "post", true),
        ] {
            let pattern = StringMatch::header(pattern);
            let found = pattern.matches_by(<[u8]>::eq_ignore_ascii_case, value.as_bytes());
            assert_eq!(found, expected, "{pattern} {value}");
        }
    }

    #[test]
    fn hosts_have_no_case() {
        for (pattern, host, expected) in [
            ("Example.com", "eXAMPLE.com", true),
            ("*.Example.com", "A.example.COM", true),
            ("example.com", "example.com:8080", false),
            ("example.com:*", "Example.com:8080", true),
        ] {
            assert_eq!(
                StringMatch::host(pattern).matches(&host.as_bytes().to_ascii_lowercase()),
                expected,
                "{pattern} {host}"
            );
        }
    }

    #[test]
    fn values_are_bytes() {
        assert!(StringMatch::text("*").matches(b"\xff"));
        assert!(StringMatch::text("a*").matches(b"a\xff"));
    }
}
