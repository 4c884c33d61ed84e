//! Strings of which more is known than that they are strings.

use std::borrow::Cow;

use serde_json::Value;

use super::reader::{Input, Read};
use super::schema::{Schemas, a};

/// A string that isn't empty.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Text(pub(crate) String);

/// The string of a field that may be missing.
pub(crate) fn text(field: &Option<Text>) -> Option<String> {
    field.as_ref().map(|text| text.0.clone())
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

/// What CGI, WSGI and others that read `_` as `-` take for one and the same name.
pub(crate) fn folded(name: &str) -> Cow<'_, str> {
    match name.contains('_') {
        true => name.replace('_', "-").into(),
        false => name.into(),
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

impl Read for OutputHeader {
    const EMPTY_IS_UNSET: bool = true;

    fn read(input: &Input<'_>) -> Option<Self> {
        let name = input.text()?.to_ascii_lowercase();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if name.is_empty() || !name.bytes().all(is_plain) {
            input.mistake("not a header name: write letters, digits, `-` and `_`");
            return None;
        }
        if NOT_WRITABLE.contains(&name.as_str()) {
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
