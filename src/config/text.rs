//! Strings of which more is known than that they are strings.

use serde_json::Value;

use super::reader::{Input, Read};
use super::schema::{Schemas, a};
use crate::spelling::are_alike;

/// A string that isn't empty.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Text(pub(crate) String);

/// The string of a field that may be missing.
pub(crate) fn text(field: &Option<impl AsRef<str>>) -> Option<String> {
    field.as_ref().map(|text| text.as_ref().to_owned())
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// What something is called. It is written to logs, and so in one line that reads from left to right.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Name(pub(crate) String);

impl Name {
    /// What is wrong with a name, if anything.
    pub(crate) fn mistake(name: &str) -> Option<&'static str> {
        let turns = |letter| matches!(letter, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let is_odd = |letter: char| letter.is_control() || turns(letter);
        name.contains(is_odd).then_some(
            "names are written to logs: leave out control characters, and those that change the \
             direction of text",
        )
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Read for Name {
    fn read(input: &Input<'_>) -> Option<Self> {
        let Text(name) = Text::read(input)?;
        match Self::mistake(&name) {
            Some(mistake) => {
                input.mistake(mistake);
                None
            }
            None => Some(Self(name)),
        }
    }

    fn schema(_: &mut Schemas) -> Value {
        a("string")
    }
}

impl Read for Text {
    fn read(input: &Input<'_>) -> Option<Self> {
        match input.text()? {
            "" => {
                input.mistake("an empty value says nothing: write one, or remove it");
                None
            }
            text => Some(Self(text.to_owned())),
        }
    }

    fn schema(_: &mut Schemas) -> Value {
        a("string")
    }
}

/// The name of a request header, in lower case.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct HeaderName(pub(crate) String);

impl HeaderName {
    /// Whether this is a token of RFC 9110 section 5.6.2.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        (!name.is_empty() && name.bytes().all(is_token_byte))
            .then(|| Self(name.to_ascii_lowercase()))
    }
}

/// RFC 9110 section 5.6.2: the letters of header names and authentication schemes.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

impl Read for HeaderName {
    fn read(input: &Input<'_>) -> Option<Self> {
        let name = Self::parse(input.text()?);
        if name.is_none() {
            input.mistake("not a header name: write letters, digits and `-`");
        }
        name
    }

    fn schema(_: &mut Schemas) -> Value {
        a("string")
    }
}

/// A header that a rule writes.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct OutputHeader(pub(crate) String);

/// Headers that Envoy frames and routes by: writing a claim there would let a token steer the
/// proxy, and removing the client's would break the request.
const NOT_WRITABLE: &[&str] = &[
    "connection",
    "content-length",
    "host",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Whether a message is framed or routed by this header, whose name is in lower case.
pub(crate) fn steers_proxy(name: &str) -> bool {
    name.starts_with(':') || NOT_WRITABLE.contains(&name)
}

/// Whether it is, or another server may take it for one by which a message is.
pub(crate) fn may_steer(name: &str) -> bool {
    let is_alike = |own: &&str| are_alike(own.as_bytes(), name.as_bytes());
    steers_proxy(name) || NOT_WRITABLE.iter().any(is_alike)
}

impl Read for OutputHeader {
    const EMPTY_IS_UNSET: bool = true;

    fn read(input: &Input<'_>) -> Option<Self> {
        let name = input.text()?.to_ascii_lowercase();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if name.is_empty() || !name.bytes().all(is_plain) {
            input.mistake("not a header name: write letters, digits, `-` and `_`");
            return None;
        }
        if may_steer(&name) {
            input.mistake(format!(
                "`{name}` steers the proxy itself and can't be written from a token: \
                 choose another header"
            ));
            return None;
        }
        Some(Self(name))
    }

    fn schema(_: &mut Schemas) -> Value {
        a("string")
    }
}

/// Text that can stand in a header.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct HeaderValue(pub(crate) String);

impl HeaderValue {
    pub(crate) fn is_one(text: &str) -> bool {
        text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
    }
}

impl Read for HeaderValue {
    fn read(input: &Input<'_>) -> Option<Self> {
        let text = input.text()?;
        if Self::is_one(text) {
            return Some(Self(text.to_owned()));
        }
        input.mistake("write printable ASCII only: this becomes part of a header");
        None
    }

    fn schema(_: &mut Schemas) -> Value {
        a("string")
    }
}
