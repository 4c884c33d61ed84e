//! What of a request stands where rules look for tokens, or where some upstream would read it from there.

use std::ops::Range;

use smallvec::SmallVec;

use super::Rule;
use super::location::Locations;
use crate::request::Request;
use crate::spelling::{Encoded, Names};

/// The names under which rules look for tokens.
#[derive(Debug, Default)]
pub(crate) struct Sought {
    headers: Names,
    params: Vec<Encoded>,
    cookies: Vec<Encoded>,
}

/// Something under one of these names, in whatever spelling.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sighting<'r> {
    pub(crate) place: Place,
    pub(crate) field: Field,
    /// As it was sent.
    pub(crate) name: &'r [u8],
    pub(crate) value: &'r [u8],
}

/// Most requests have one.
pub(crate) type Sightings<'r> = SmallVec<[Sighting<'r>; 1]>;

/// A piece of the request.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Place {
    /// The line of the header.
    pub(crate) line: usize,
    /// The bytes of its value, a parameter or a cookie. `None`: the whole line.
    pub(crate) piece: Option<(usize, usize)>,
}

/// What is named.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Field {
    Cookie,
    Header,
    /// A parameter behind a `;`, or a cookie behind a `,` or a blank, which is one for some upstreams
    /// and part of a value for the others: never a token.
    Hidden,
    Param,
}

impl Place {
    pub(crate) fn start(&self) -> Option<usize> {
        Some(self.piece?.0)
    }

    fn within(line: usize, piece: Range<usize>) -> Self {
        Self {
            line,
            piece: Some((piece.start, piece.end)),
        }
    }
}

impl Sought {
    pub(crate) fn new<'l>(locations: impl Iterator<Item = &'l Locations>) -> Self {
        let (mut headers, mut sought) = (Vec::new(), Self::default());
        for locations in locations {
            headers.extend(locations.headers());
            sought.params.extend(locations.params().map(Encoded::param));
            let cookies = locations.cookies().map(Encoded::cookie);
            sought.cookies.extend(cookies);
        }
        sought.headers = Names::new(headers.into_iter());
        sought
    }

    /// Where these rules look.
    pub(crate) fn of<'r>(rules: impl Iterator<Item = &'r Rule>) -> Self {
        Self::new(rules.map(|rule| &*rule.locations))
    }

    /// Whether this is the name of a header that is sought, in whatever spelling.
    pub(crate) fn has_header(&self, name: &[u8]) -> bool {
        self.headers.have(name) || !self.cookies.is_empty() && name == b"cookie"
    }

    /// Headers first, then parameters, then cookies, as they stand in the request.
    pub(crate) fn find<'r>(&self, request: &'r Request) -> Sightings<'r> {
        let mut seen = Sightings::new();
        for line in request.places() {
            let (name, value) = request.line_at(line);
            if self.headers.have(name) {
                seen.push(Sighting {
                    place: Place { line, piece: None },
                    field: Field::Header,
                    name,
                    value: trimmed(value),
                });
            }
        }
        if !self.params.is_empty() {
            self.find_params(request, &mut seen);
        }
        if !self.cookies.is_empty() {
            for line in request.places() {
                if let Some(value) = request.value_at(line, b"cookie") {
                    self.find_cookies(line, value, &mut seen);
                }
            }
        }
        seen
    }

    fn find_params<'r>(&self, request: &'r Request, seen: &mut Sightings<'r>) {
        let line = |line: usize| Some((line, request.value_at(line, b":path")?));
        let Some((line, target)) = request.places().find_map(line) else {
            return;
        };
        let (path, Some(query), _) = split_target(target) else {
            return;
        };
        let mut param = |piece: Range<usize>, text: &'r [u8], field| {
            let (name, value) = split_at_equals(text);
            let is_sought = self.params.iter().any(|own| own.is_read_in(name));
            if is_sought {
                seen.push(Sighting {
                    place: Place::within(line, piece),
                    field,
                    name,
                    value,
                });
            }
            is_sought
        };
        for (whole, text) in pieces(query, path.len() + 1, b'&') {
            if !param(whole.clone(), text, Field::Param) && text.contains(&b';') {
                for (piece, text) in pieces(text, whole.start, b';').skip(1) {
                    param(piece, text, Field::Hidden);
                }
            }
        }
    }

    fn find_cookies<'r>(&self, line: usize, value: &'r [u8], seen: &mut Sightings<'r>) {
        let mut cookie = |piece: Range<usize>, text: &'r [u8], field| {
            let text = trimmed(text);
            let (name, value) = split_at_equals(text);
            let name = trimmed(name);
            // One without a name is all value.
            let is_sought =
                text.len() > name.len() && self.cookies.iter().any(|own| own.is_read_in(name));
            if is_sought {
                seen.push(Sighting {
                    place: Place::within(line, piece),
                    field,
                    name,
                    value,
                });
            }
            is_sought
        };
        for (whole, text) in pieces(value, 0, b';') {
            if !cookie(whole.clone(), text, Field::Cookie) {
                let start = whole.start;
                let hidden = hidden_cookies(text)
                    .map(|piece| (piece.start + start..piece.end + start, text.get(piece)));
                for (piece, text) in hidden.skip(1) {
                    cookie(piece, text.unwrap_or_default(), Field::Hidden);
                }
            }
        }
    }
}

/// The pieces between separators, and which bytes of the line each is, where the text begins at this one.
fn pieces(text: &[u8], start: usize, separator: u8) -> impl Iterator<Item = (Range<usize>, &[u8])> {
    let pieces = text.split(move |byte| *byte == separator);
    pieces.scan(start, |start, piece| {
        let place = *start..*start + piece.len();
        *start = place.end + 1;
        Some((place, piece))
    })
}

/// What of one cookie other upstreams take for several: between commas (RFC 2965), or between blanks
/// that aren't those of an `=` (Python's `SimpleCookie`).
fn hidden_cookies(text: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let is_blank = |byte: u8| matches!(byte, b' ' | b'\t');
    let mut start = Some(0);
    std::iter::from_fn(move || {
        let from = start?;
        let mut before = None;
        let rest = text.get(from..).unwrap_or_default();
        let ends = |(at, byte): (usize, &u8)| {
            let is_end = match (*byte, before) {
                (b',', _) => true,
                // Only the first blank behind something.
                (byte, Some(last)) if is_blank(byte) && !is_blank(last) && last != b'=' => {
                    let behind = rest.get(at..).unwrap_or_default();
                    let next = behind.iter().find(|byte| !is_blank(**byte));
                    !matches!(next, None | Some(b'=' | b','))
                }
                _ => false,
            };
            before = Some(*byte);
            is_end.then_some(at)
        };
        let end = rest.iter().enumerate().find_map(ends);
        let to = from + end.unwrap_or(rest.len());
        start = end.map(|_| to + 1);
        Some(from..to)
    })
}

/// Path, query and the fragment that a careless client may have sent with its `#`.
pub(crate) fn split_target(target: &[u8]) -> (&[u8], Option<&[u8]>, &[u8]) {
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

fn split_at_equals(text: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = text.splitn(2, |byte| *byte == b'=');
    let name = parts.next().unwrap_or_default();
    (name, parts.next().unwrap_or_default())
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
