//! Where tokens stand in a request.

#[cfg(test)]
mod vectors;

use std::borrow::Cow;

use percent_encoding::percent_decode;
use smallvec::SmallVec;

use super::opaque::is_opaque;
use super::sighting::{Field, Place, Sighting};
use crate::config::jwt_rule::{HeaderLocation, NonJwt};
use crate::config::text::{Text, is_token_byte};
#[cfg(test)]
use crate::request::Request;

/// Headers whose value is a scheme and what belongs to it (RFC 9110 sections 11.6.2 and 11.7.2).
const CREDENTIALS: [&str; 2] = ["authorization", "proxy-authorization"];

/// The places at which a rule looks for tokens.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Locations {
    headers: Vec<(String, Form)>,
    params: Vec<String>,
    cookies: Vec<String>,
    /// What becomes of what can't be a token.
    non_jwt: NonJwt,
}

/// What a header with a token looks like.
#[derive(Debug, Eq, PartialEq)]
enum Form {
    /// A prefix, which may be empty, and the token.
    Prefixed(String),
    /// A scheme, which has no case (RFC 9110 section 11.1), and the token.
    Scheme {
        word: String,
        /// Whether the token may stand right behind it: so it was written.
        is_open: bool,
    },
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
        let is_default = headers.is_empty() && params.is_empty() && cookies.is_empty();
        let headers = headers.into_iter();
        let headers = headers.map(|HeaderLocation { name, prefix }| {
            let form = Form::new(&name.0, prefix);
            (name.0, form)
        });
        let texts = |texts: Vec<Text>| texts.into_iter().map(|text| text.0).collect();
        let mut locations = Self {
            headers: headers.collect(),
            params: texts(params),
            cookies: texts(cookies),
            non_jwt: NonJwt::default(),
        };
        if is_default {
            let [authorization, _] = CREDENTIALS;
            let form = Form::new(authorization, "Bearer ".to_owned());
            locations.headers.push((authorization.to_owned(), form));
            locations.params.push("access_token".to_owned());
        }
        locations
    }

    /// The same, for a rule that says what becomes of what can't be a token.
    pub(crate) fn treating(self, non_jwt: NonJwt) -> Self {
        Self { non_jwt, ..self }
    }

    pub(crate) fn headers(&self) -> impl Iterator<Item = &str> {
        self.headers.iter().map(|(name, _)| name.as_str())
    }

    pub(crate) fn params(&self) -> impl Iterator<Item = &str> {
        self.params.iter().map(String::as_str)
    }

    pub(crate) fn cookies(&self) -> impl Iterator<Item = &str> {
        self.cookies.iter().map(String::as_str)
    }

    /// The tokens at these places.
    ///
    /// Envoy reads only the first parameter or cookie of a name. An upstream may read another, so
    /// here each one is a token. An empty value is none to anybody: logging out leaves such cookies.
    pub(crate) fn find<'r>(&self, seen: &[Sighting<'r>]) -> Found<'r> {
        let mut found = self.all(seen);
        if self.non_jwt == NonJwt::Ignore {
            found.retain(|token| !is_opaque(&token.text));
        }
        found
    }

    /// What stands there and is left to others.
    pub(crate) fn ignored<'r>(&self, seen: &[Sighting<'r>]) -> Found<'r> {
        let mut found = self.all(seen);
        found.retain(|token| self.non_jwt == NonJwt::Ignore && is_opaque(&token.text));
        found
    }

    fn all<'r>(&self, seen: &[Sighting<'r>]) -> Found<'r> {
        let mut found = Found::new();
        for seen in seen {
            let mut add = |text: Cow<'r, [u8]>| {
                let place = seen.place;
                if !text.is_empty() {
                    found.push(Token { text, place });
                }
            };
            match seen.field {
                Field::Cookie => {
                    if self.cookies.iter().any(|own| own.as_bytes() == seen.name) {
                        seen.is_named.set(true);
                        add(unquoted(seen.value).into());
                    }
                }
                Field::Header => {
                    for (own, form) in &self.headers {
                        if own.as_bytes() == seen.name {
                            seen.is_named.set(true);
                            form.token(seen.value).map(Cow::Borrowed).map(&mut add);
                        }
                    }
                }
                Field::Hidden => {}
                Field::Param => {
                    let name = decoded(seen.name);
                    if self.params.iter().any(|own| own.as_bytes() == &*name) {
                        seen.is_named.set(true);
                        add(decoded(seen.value));
                    }
                }
            }
        }
        found
    }
}

impl Form {
    fn new(name: &str, prefix: String) -> Self {
        let word = prefix.trim_ascii();
        let is_scheme = !word.is_empty() && word.bytes().all(is_token_byte);
        match CREDENTIALS.contains(&name) && is_scheme {
            true => Self::Scheme {
                word: word.to_owned(),
                is_open: prefix.ends_with(word),
            },
            false => Self::Prefixed(prefix),
        }
    }

    /// What of a value is a token.
    ///
    /// A word ends where its letters do. Only a space may follow a scheme, but an upstream might think
    /// otherwise, so whatever does becomes part of a token that can't be one. So does the whole value
    /// if what stands before a token stands inside of it, as in `Basic x, Bearer y`: the value is one,
    /// and an upstream might look for another.
    fn token<'v>(&self, value: &'v [u8]) -> Option<&'v [u8]> {
        let (text, is_open) = match self {
            Self::Prefixed(prefix) if prefix.is_empty() => return Some(value),
            Self::Prefixed(prefix) => (prefix, true),
            Self::Scheme { word, is_open } => (word, *is_open),
        };
        match value.split_at_checked(text.len()) {
            Some((start, rest))
                if self.is(start)
                    && (is_open || rest.first().is_some_and(|byte| !is_token_byte(*byte))) =>
            {
                Some(without_leading_spaces(rest))
            }
            _ => self.is_inside(value, text, is_open).then_some(value),
        }
    }

    /// Whether this is what stands before a token, and as long.
    #[inline]
    fn is(&self, start: &[u8]) -> bool {
        match self {
            Self::Prefixed(prefix) => start == prefix.as_bytes(),
            // Most write it as it is written here.
            Self::Scheme { word, .. } => {
                start == word.as_bytes() || start.eq_ignore_ascii_case(word.as_bytes())
            }
        }
    }

    /// Whether it stands where a word begins that isn't the first one.
    fn is_inside(&self, value: &[u8], text: &str, is_open: bool) -> bool {
        let begins_a_word = text.bytes().next().is_some_and(is_token_byte);
        let mut inside = value.windows(text.len() + 1).enumerate();
        inside.any(|(at, window)| {
            let Some((before, start)) = window.split_first() else {
                return false;
            };
            let next = value.get(at + window.len());
            !(begins_a_word && is_token_byte(*before))
                && self.is(start)
                && (is_open || matches!(next, Some(b' ' | b'\t')))
        })
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

fn unquoted(value: &[u8]) -> &[u8] {
    value
        .strip_prefix(b"\"")
        .and_then(|value| value.strip_suffix(b"\""))
        .unwrap_or(value)
}

#[cfg(test)]
impl Locations {
    fn find_in<'r>(&self, request: &'r Request) -> Found<'r> {
        self.find(&super::Sought::new([self].into_iter()).find(request))
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
        let found = locations.find_in(&request);
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
            ("Basic a, Bearer T", Some("Basic a, Bearer T")),
            ("Basic a,bearer\tT", Some("Basic a,bearer\tT")),
            (", Bearer T", Some(", Bearer T")),
            ("Basic Bearer T", Some("Basic Bearer T")),
            ("Basic a;BEARER T", Some("Basic a;BEARER T")),
            ("Basic a, Bearer", None),
            ("Basic a, xBearer T", None),
            ("Digest realm=\"Bearer\"", None),
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
            ("x-t", "a Tok T", Some("a Tok T")),
            ("x-t", "a,Tok T", Some("a,Tok T")),
            ("x-t", "aTok T", None),
            ("x-t", "a tok T", None),
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
    fn a_scheme_has_no_case_however_it_is_written() {
        let authorization = |prefix| locations(&[("authorization", prefix)], &[], &[]);
        let value = |value| [("authorization", value)];
        for prefix in ["Bearer ", "bearer ", "BEARER\t", " Bearer  "] {
            let own = authorization(prefix);
            for (sent, expected) in [
                ("Bearer T", &["T"][..]),
                ("bearer  T", &["T"]),
                ("BEARER\tT", &["\tT"]),
                ("BearerT", &[]),
                ("Basic a,bearer T", &["Basic a,bearer T"]),
            ] {
                assert_eq!(texts(&own, &value(sent)), expected, "{prefix:?} {sent:?}");
            }
        }
        for (prefix, sent, expected) in [
            ("Token ", "token T", Some("T")),
            ("Token ", "TokenT", None),
            ("Bearer", "bearer T", Some("T")),
            ("Bearer", "bearerT", Some("T")),
            ("Bearer", "Bearer", None),
            ("Bearer", "Basic a, bearerT", Some("Basic a, bearerT")),
            ("", "Bearer T", Some("Bearer T")),
            ("T=", "T=x", Some("x")),
            ("T=", "t=x", None),
        ] {
            let found = texts(&authorization(prefix), &value(sent));
            let expected: Vec<_> = expected.into_iter().collect();
            assert_eq!(found, expected, "{prefix:?} {sent:?}");
        }
        let own = locations(&[("proxy-authorization", "DPoP ")], &[], &[]);
        assert_eq!(texts(&own, &[("proxy-authorization", "dpop T")]), ["T"]);
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
}
