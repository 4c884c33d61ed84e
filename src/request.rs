//! A request as the core sees it: plain data.

use std::borrow::Cow;

use crate::outcome::Changes;

/// The header of one request, pseudo-headers included.
///
/// Names are lower-case, as Envoy hands them over. Values are bytes: nothing obliges a client to
/// send UTF-8. A name that was sent on several lines is there several times.
#[derive(Clone, Debug, Default)]
pub struct Request {
    headers: Vec<(String, Vec<u8>)>,
}

impl Request {
    /// A request with these headers, in the order in which they came.
    #[must_use]
    pub fn new(headers: Vec<(String, Vec<u8>)>) -> Self {
        Self { headers }
    }

    /// All lines, pseudo-headers included.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// The value of every line with this name, which must be lower-case.
    pub fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers()
            .filter(move |(header, _)| *header == name)
            .map(|(_, value)| value)
    }

    /// The value of the first line with this name.
    #[must_use]
    pub fn value<'a>(&'a self, name: &str) -> Option<&'a [u8]> {
        self.values(name).next()
    }

    /// `:path` as it came, with its query. A `CONNECT` may have none.
    #[must_use]
    pub fn target(&self) -> Option<&[u8]> {
        self.value(":path")
    }

    /// `:path` without query and fragment: what path conditions see.
    #[must_use]
    pub fn path(&self) -> Option<&[u8]> {
        let target = self.target()?;
        target.split(|byte| matches!(byte, b'?' | b'#')).next()
    }

    /// The request as it is after these changes.
    #[must_use]
    pub fn changed(&self, changes: &Changes) -> Cow<'_, Self> {
        if changes.iter().next().is_none() {
            return Cow::Borrowed(self);
        }
        let mut headers = self.headers.clone();
        changes.apply(&mut headers);
        Cow::Owned(Self { headers })
    }

    /// Whether this is a CORS preflight, by the three signs that Envoy's `bypass_cors_preflight`
    /// asks for.
    #[must_use]
    pub fn is_cors_preflight(&self) -> bool {
        let is_set = |name| self.value(name).is_some_and(|value| !value.is_empty());
        self.value(":method") == Some(b"OPTIONS")
            && is_set("origin")
            && is_set("access-control-request-method")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&str, &str)]) -> Request {
        Request::new(
            headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
                .collect(),
        )
    }

    #[test]
    fn the_path_ends_before_query_and_fragment() {
        for (target, path) in [
            ("/a/b", "/a/b"),
            ("/a?b", "/a"),
            ("/a#b?c", "/a"),
            ("?x", ""),
            ("", ""),
        ] {
            let request = request(&[(":path", target)]);
            assert_eq!(request.path(), Some(path.as_bytes()), "{target}");
        }
        assert_eq!(request(&[]).path(), None);
    }

    #[test]
    fn a_preflight_has_all_three_signs() {
        let signs = [
            (":method", "OPTIONS"),
            ("origin", "https://a.test"),
            ("access-control-request-method", "GET"),
        ];
        assert!(request(&signs).is_cors_preflight());
        for missing in 0..signs.len() {
            let mut fewer = signs.to_vec();
            fewer.remove(missing);
            assert!(!request(&fewer).is_cors_preflight());
            let mut empty = signs;
            empty[missing].1 = "";
            assert!(!request(&empty).is_cors_preflight());
        }
    }
}
