//! Where tokens stand in a request, and how they are taken out of it byte-exactly.

#[cfg(test)]
mod vectors;

use std::borrow::Cow;

use percent_encoding::percent_decode;
use smallvec::SmallVec;

use crate::config::jwt_rule::HeaderLocation;
use crate::config::text::{Text, is_token_byte};
use crate::outcome::Change;
use crate::request::Request;

const SCHEME: &[u8] = b"bearer";

/// The places at which a rule looks for tokens.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Locations {
    headers: Vec<HeaderLocation>,
    /// `Authorization: Bearer`, whose scheme has no case (RFC 9110 section 11.1).
    bearer: bool,
    params: Vec<String>,
    cookies: Vec<String>,
}

/// A piece of the request that holds a token.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Place {
    /// A line of the header.
    Line(usize),
    /// A parameter of the query, counted by `&`.
    Param(usize),
    /// A crumb, counted by `;`, of a cookie line.
    Crumb(usize, usize),
}

/// A token and where it was found.
#[derive(Debug)]
pub(crate) struct Token<'r> {
    pub(crate) text: Cow<'r, [u8]>,
    pub(crate) place: Place,
}

/// Most requests have one.
pub(crate) type Found<'r> = SmallVec<[Token<'r>; 1]>;

impl Locations {
    /// Istio's default locations are used where none is configured.
    pub(crate) fn new(headers: Vec<HeaderLocation>, params: Vec<Text>, cookies: Vec<Text>) -> Self {
        let default = headers.is_empty() && params.is_empty() && cookies.is_empty();
        let mut params: Vec<String> = params.into_iter().map(|param| param.0).collect();
        if default {
            params.push("access_token".to_owned());
        }
        Self {
            headers,
            bearer: default,
            params,
            cookies: cookies.into_iter().map(|cookie| cookie.0).collect(),
        }
    }

    /// Every token of the request at these places: headers first, then parameters, then cookies.
    ///
    /// Envoy reads only the first parameter or cookie of a name. An upstream may read another, so
    /// here each one is a token. An empty value is none to anybody: logging out leaves such cookies.
    pub(crate) fn find<'r>(&self, request: &'r Request) -> Found<'r> {
        let mut found = Found::new();
        for line in request.places() {
            let place = Place::Line(line);
            if self.bearer
                && let Some(value) = request.value_at(line, b"authorization")
                && let Some(text) = bearer(trimmed(value))
            {
                add(&mut found, text.into(), place);
            }
            for header in &self.headers {
                if let Some(value) = request.value_at(line, header.name.0.as_bytes())
                    && let Some(rest) = trimmed(value).strip_prefix(header.prefix.as_bytes())
                {
                    let text = match header.prefix.is_empty() {
                        true => rest,
                        false => without_leading_spaces(rest),
                    };
                    add(&mut found, text.into(), place);
                }
            }
        }
        for (index, param) in query(request).into_iter().flatten().enumerate() {
            let (name, value) = split_at_equals(param);
            if self
                .params
                .iter()
                .any(|own| own.as_bytes() == &*decoded(name))
            {
                add(&mut found, decoded(value), Place::Param(index));
            }
        }
        if !self.cookies.is_empty() {
            for (line, crumb, text) in crumbs(request) {
                // A crumb without a name is all value.
                let text = trimmed(text);
                let (name, value) = split_at_equals(text);
                if text.contains(&b'=')
                    && self
                        .cookies
                        .iter()
                        .any(|own| own.as_bytes() == trimmed(name))
                {
                    let place = Place::Crumb(line, crumb);
                    add(&mut found, unquoted(value).into(), place);
                }
            }
        }
        found
    }
}

fn add<'r>(found: &mut Found<'r>, text: Cow<'r, [u8]>, place: Place) {
    if !text.is_empty() {
        found.push(Token { text, place });
    }
}

/// What stands behind the scheme `Bearer`, if that is the word at the start.
///
/// The word ends where its letters do. Only a space may follow, but an upstream might think
/// otherwise, so whatever does becomes part of a token that can't be one.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(SCHEME.len())?;
    let ends = rest.first().is_some_and(|byte| !is_token_byte(*byte));
    (ends && scheme.eq_ignore_ascii_case(SCHEME)).then(|| without_leading_spaces(rest))
}

/// Without the blanks that HTTP/1 framing takes away and HTTP/2 leaves: what the next hop reads.
fn trimmed(value: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !is_blank(byte));
    let end = value.iter().rposition(|byte| !is_blank(byte));
    match (start, end) {
        (Some(start), Some(end)) => value.get(start..=end).unwrap_or_default(),
        _ => &[],
    }
}

fn without_leading_spaces(value: &[u8]) -> &[u8] {
    let start = value.iter().position(|byte| *byte != b' ');
    value
        .get(start.unwrap_or(value.len())..)
        .unwrap_or_default()
}

fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    percent_decode(text).into()
}

fn split_at_equals(text: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = text.splitn(2, |byte| *byte == b'=');
    let name = parts.next().unwrap_or_default();
    (name, parts.next().unwrap_or_default())
}

fn unquoted(value: &[u8]) -> &[u8] {
    value
        .strip_prefix(b"\"")
        .and_then(|value| value.strip_suffix(b"\""))
        .unwrap_or(value)
}

/// The parameters as they were sent.
fn query(request: &Request) -> Option<impl Iterator<Item = &[u8]>> {
    let (_, query, _) = split_target(request.target()?);
    Some(query?.split(|byte| *byte == b'&'))
}

/// Path, query and the fragment that a careless client may have sent with its `#`.
fn split_target(target: &[u8]) -> (&[u8], Option<&[u8]>, &[u8]) {
    let end = target.iter().position(|byte| *byte == b'#');
    let (target, fragment) = target.split_at(end.unwrap_or(target.len()));
    match target.iter().position(|byte| *byte == b'?') {
        Some(mark) => {
            let (path, query) = target.split_at(mark);
            (path, query.get(1..), fragment)
        }
        None => (target, None, fragment),
    }
}

/// All crumbs as they were sent, with the line and the place in it.
fn crumbs(request: &Request) -> impl Iterator<Item = (usize, usize, &[u8])> {
    let lines = request.places();
    let cookies = lines.filter_map(|line| Some((line, request.value_at(line, b"cookie")?)));
    cookies.flat_map(|(line, value)| {
        let crumbs = value.split(|byte| *byte == b';').enumerate();
        crumbs.map(move |(crumb, text)| (line, crumb, text))
    })
}

/// Tokens that are to be taken out of a request.
#[derive(Debug)]
pub(crate) struct Removal<'r> {
    request: &'r Request,
    /// In order, each once.
    places: SmallVec<[Place; 2]>,
}

impl<'r> Removal<'r> {
    pub(crate) fn new(request: &'r Request) -> Self {
        Self {
            request,
            places: SmallVec::new(),
        }
    }

    pub(crate) fn add(&mut self, place: Place) {
        if let Err(index) = self.places.binary_search(&place) {
            self.places.insert(index, place);
        }
    }

    /// The changes that leave every other byte of the request as it is.
    pub(crate) fn changes(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.places.is_empty() {
            return changes;
        }
        if let Some(Place::Param(_)) = self.first_from(Place::Param(0))
            && let Some(target) = self.request.target()
        {
            changes.push(Change::Set(":path".to_owned(), self.target(target)));
        }
        let mut done: SmallVec<[&[u8]; 2]> = SmallVec::new();
        for touched in self.request.places().filter(|line| self.touches(*line)) {
            let name = self.request.name_at(touched);
            if done.contains(&name) {
                continue;
            }
            done.push(name);
            let text = String::from_utf8_lossy(name);
            changes.push(Change::Remove(text.to_string()));
            for line in self.request.places() {
                if let Some(value) = self.request.value_at(line, name)
                    && let Some(value) = self.line(line, value)
                {
                    changes.push(Change::Append(text.to_string(), value));
                }
            }
        }
        changes
    }

    fn touches(&self, line: usize) -> bool {
        let crumb = self.first_from(Place::Crumb(line, 0));
        self.has(Place::Line(line)) || matches!(crumb, Some(Place::Crumb(own, _)) if own == line)
    }

    fn has(&self, place: Place) -> bool {
        self.places.binary_search(&place).is_ok()
    }

    fn first_from(&self, place: Place) -> Option<Place> {
        let index = self.places.partition_point(|own| *own < place);
        self.places.get(index).copied()
    }

    /// What stays of a line; `None`: nothing.
    fn line(&self, line: usize, value: &[u8]) -> Option<Vec<u8>> {
        if self.has(Place::Line(line)) {
            return None;
        }
        let crumbs = value.split(|byte| *byte == b';').enumerate();
        let kept: Vec<&[u8]> = crumbs
            .filter(|(crumb, _)| !self.has(Place::Crumb(line, *crumb)))
            .map(|(_, text)| text)
            .collect();
        if kept.is_empty() {
            return None;
        }
        let rest = kept.join(&b';');
        let first_is_gone = self.has(Place::Crumb(line, 0));
        Some(match first_is_gone {
            true => without_leading_spaces(&rest).to_vec(),
            false => rest,
        })
    }

    fn target(&self, target: &[u8]) -> Vec<u8> {
        let (path, query, fragment) = split_target(target);
        let params = query.unwrap_or_default().split(|byte| *byte == b'&');
        let kept: Vec<&[u8]> = params
            .enumerate()
            .filter(|(index, _)| !self.has(Place::Param(*index)))
            .map(|(_, param)| param)
            .collect();
        let mut rest = path.to_vec();
        if !kept.is_empty() {
            rest.push(b'?');
            rest.extend(kept.join(&b'&'));
        }
        rest.extend_from_slice(fragment);
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::text::HeaderName;

    fn request(headers: &[(&str, &str)]) -> Request {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), value.as_bytes().to_vec());
        Request::new(headers.iter().map(owned).collect())
    }

    fn locations(headers: &[(&str, &str)], params: &[&str], cookies: &[&str]) -> Locations {
        let headers = headers.iter().map(|(name, prefix)| HeaderLocation {
            name: HeaderName((*name).to_owned()),
            prefix: (*prefix).to_owned(),
        });
        let texts = |names: &[&str]| names.iter().map(|name| Text((*name).to_owned())).collect();
        Locations::new(headers.collect(), texts(params), texts(cookies))
    }

    fn texts(locations: &Locations, headers: &[(&str, &str)]) -> Vec<String> {
        let request = request(headers);
        let found = locations.find(&request);
        found
            .iter()
            .map(|token| String::from_utf8_lossy(&token.text).into_owned())
            .collect()
    }

    #[test]
    fn the_default_scheme_is_a_word_at_the_start() {
        let default = locations(&[], &[], &[]);
        for (value, expected) in [
            ("Bearer T", Some("T")),
            ("bearer T", Some("T")),
            ("BEARER  T", Some("T")),
            ("Bearer T,U", Some("T,U")),
            ("Bearer", None),
            ("Bearer ", None),
            ("BearerT", None),
            ("Bearer\tT", Some("\tT")),
            ("Bearer=T", Some("=T")),
            (" Bearer T", Some("T")),
            ("\tBearer T\t", Some("T")),
            ("Bearer2 T", None),
            ("xBearer T", None),
            ("Basic a, Bearer T", None),
            ("T", None),
            ("", None),
        ] {
            let found = texts(&default, &[("authorization", value)]);
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{value:?}");
        }
    }

    #[test]
    fn a_configured_prefix_is_taken_byte_for_byte() {
        let own = locations(&[("x-t", "Tok "), ("x-p", "")], &[], &[]);
        for (name, value, expected) in [
            ("x-t", "Tok T", Some("T")),
            ("x-t", "Tok   T", Some("T")),
            ("x-t", "tok T", None),
            ("x-t", "a Tok T", None),
            ("x-t", "T", None),
            ("x-p", "T", Some("T")),
            ("x-t", " Tok T", Some("T")),
            ("x-t", "\tTok T", Some("T")),
            ("x-p", " T ", Some("T")),
            ("x-p", "", None),
            ("x-p", " \t", None),
            ("x-t", "Tok ", None),
            ("authorization", "Bearer T", None),
        ] {
            let found = texts(&own, &[(name, value)]);
            assert_eq!(
                found,
                expected.into_iter().collect::<Vec<_>>(),
                "{name} {value:?}"
            );
        }
        assert_eq!(texts(&own, &[("x-p", "A"), ("x-p", "B")]), ["A", "B"]);
    }

    #[test]
    fn parameters_are_decoded_and_each_one_counts() {
        let default = locations(&[], &[], &[]);
        for (target, expected) in [
            ("/?access_token=T", &["T"][..]),
            ("/?a=1&access_token=T&b=2", &["T"]),
            ("/?access%5Ftoken=T%2EU", &["T.U"]),
            ("/?access_token=T+", &["T+"]),
            ("/?access_token=T%zz", &["T%zz"]),
            ("/?access_token=A&access_token=B", &["A", "B"]),
            ("/?access_token=", &[]),
            ("/?access_token", &[]),
            ("/?access_token&access_token=&access_token=T", &["T"]),
            ("/?access_token=%20", &[" "]),
            ("/?access_token2=T", &[]),
            ("/?ACCESS_TOKEN=T", &[]),
            ("/?a=b?access_token=T", &[]),
            ("/#access_token=T", &[]),
            ("/access_token=T", &[]),
        ] {
            assert_eq!(texts(&default, &[(":path", target)]), expected, "{target}");
        }
    }

    #[test]
    fn cookies_lose_their_quotes_and_each_one_counts() {
        let own = locations(&[], &[], &["s"]);
        for (lines, expected) in [
            (&["s=T"][..], &["T"][..]),
            (&["a=1; s=T; b=2"], &["T"]),
            (&["a=1;s=T"], &["T"]),
            (&["a=1", "s=T"], &["T"]),
            (&["s=\"T\""], &["T"]),
            (&["s= T"], &[" T"]),
            (&["s=A; s=B"], &["A", "B"]),
            (&["s="], &[]),
            (&["s=\"\"", "s= ; s=T"], &["T"]),
            (&["s=\"", "s=''", "s=\" \""], &["\"", "''", " "]),
            (
                &["\ts=T", "a=1;\ts=U", "s =V", "s=W ; a=1"],
                &["T", "U", "V", "W"],
            ),
            (&["xs=T", "a=s=T", "a=1, s=T"], &[]),
        ] {
            let headers: Vec<_> = lines.iter().map(|line| ("cookie", *line)).collect();
            assert_eq!(texts(&own, &headers), expected, "{lines:?}");
        }
    }

    /// Whatever order they are found in, by however many rules.
    #[test]
    fn places_are_taken_out_once_each() {
        let request = request(&[
            (":path", "/a?t=A&x&t=B"),
            ("x-p", "keep"),
            ("cookie", "s=A; a=1; s=B"),
            ("x-p", "Tok T"),
            ("cookie", "s=C"),
        ]);
        let all = locations(&[("x-p", "Tok ")], &["t"], &["s"]);
        let places: Vec<Place> = all.find(&request).iter().map(|token| token.place).collect();
        assert_eq!(places.len(), 6);
        let changes = |places: &mut dyn Iterator<Item = &Place>| {
            let mut removal = Removal::new(&request);
            places.for_each(|place| removal.add(*place));
            removal.changes()
        };
        let expected = [
            Change::Set(":path".into(), b"/a?x".to_vec()),
            Change::Remove("cookie".into()),
            Change::Append("cookie".into(), b"a=1".to_vec()),
            Change::Remove("x-p".into()),
            Change::Append("x-p".into(), b"keep".to_vec()),
        ];
        assert_eq!(changes(&mut places.iter()), expected);
        let twice_and_backwards = places.iter().chain(&places).rev();
        assert_eq!(changes(&mut { twice_and_backwards }), expected);
    }

    #[test]
    fn every_other_byte_stays() {
        let all = locations(&[("x-p", "Tok ")], &["t"], &["s"]);
        for (name, lines, expected) in [
            (":path", &["/a?t=T"][..], &["/a"][..]),
            (":path", &["/a?x=%20&t=T&y=%zz+&&"], &["/a?x=%20&y=%zz+&&"]),
            (":path", &["/a?&&t=T&"], &["/a?&&"]),
            (":path", &["/a?t=T&x"], &["/a?x"]),
            (":path", &["/a?t=A&t=B#f"], &["/a#f"]),
            ("cookie", &["s=T"], &[]),
            ("cookie", &["a=1; s=T; b=\"2\""], &["a=1; b=\"2\""]),
            ("cookie", &["s=T;  a=1;b=2"], &["a=1;b=2"]),
            ("cookie", &["a=1; s=T"], &["a=1"]),
            ("cookie", &["a=1", "s=T", "b=2; s=U"], &["a=1", "b=2"]),
            ("x-p", &["Tok T"], &[]),
            (
                "x-p",
                &["keep", "Tok T", "Tok U", "keep too"],
                &["keep", "keep too"],
            ),
        ] {
            let mut headers: Vec<(&str, &str)> = vec![("x-other", "o")];
            headers.extend(lines.iter().map(|line| (name, *line)));
            let request = request(&headers);
            let mut removal = Removal::new(&request);
            all.find(&request)
                .iter()
                .for_each(|token| removal.add(token.place));
            let changed = request.changed(&crate::outcome::Changes(removal.changes()));
            let left: Vec<_> = changed
                .values(name)
                .map(|value| String::from_utf8_lossy(value).into_owned())
                .collect();
            assert_eq!(left, expected, "{name} {lines:?}");
        }
    }
}
