//! What of a request stands where rules look for tokens, or where some upstream would read it from there.

use std::cell::Cell;
use std::ops::Range;

use smallvec::SmallVec;

use super::Rule;
use super::location::Locations;
use crate::request::Request;
use crate::sorted;
use crate::spelling::{Encoded, Names};

/// The names under which rules look for tokens.
#[derive(Debug, Default)]
pub(crate) struct Sought {
    headers: Names,
    params: Vec<Encoded>,
    cookies: Vec<Encoded>,
}

/// Something under one of these names, in whatever spelling.
#[derive(Clone, Debug)]
pub(crate) struct Sighting<'r> {
    pub(crate) place: Place,
    pub(crate) field: Field,
    /// As it was sent.
    pub(crate) name: &'r [u8],
    pub(crate) value: &'r [u8],
    /// Whether some rule that was asked looks for tokens under just this name.
    pub(crate) is_named: Cell<bool>,
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
        Self::at(&locations.collect::<Vec<_>>())
    }

    #[inline(never)]
    fn at(locations: &[&Locations]) -> Self {
        let (mut headers, mut sought) = (Vec::new(), Self::default());
        for locations in locations {
            headers.extend(locations.headers());
            sought.params.extend(locations.params().map(Encoded::param));
            let cookies = locations.cookies().map(Encoded::cookie);
            sought.cookies.extend(cookies);
        }
        sought.headers = Names::new(headers.into_iter());
        // Most rules look at the same places, and each would be compared with all of a request.
        for names in [&mut sought.params, &mut sought.cookies] {
            sorted::by(names, Encoded::compare);
            names.dedup_by(|one, other| one.compare(other).is_eq());
        }
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
        for line in request.named(&self.headers) {
            let (name, value) = request.line_at(line);
            let place = Place { line, piece: None };
            seen.push(Sighting::new(place, Field::Header, name, trimmed(value)));
        }
        if !self.params.is_empty() {
            let line = |line: usize| Some((line, request.value_at(line, b":path")?));
            // Most have no query.
            if let Some((line, target)) = request.places().find_map(line)
                && let (path, Some(query), _) = split_target(target)
            {
                self.find_params(line, path.len() + 1, query, &mut seen);
            }
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

    /// In a query that begins at this byte of its line.
    #[inline(never)]
    fn find_params<'r>(
        &self,
        line: usize,
        start: usize,
        query: &'r [u8],
        seen: &mut Sightings<'r>,
    ) {
        for (whole, text) in pieces(query, start, b'&') {
            let (name, value) = split_at_equals(text);
            if self.params.iter().any(|own| own.is_read_in(name)) {
                let place = Place::within(line, whole);
                seen.push(Sighting::new(place, Field::Param, name, value));
            } else if text.contains(&b';') {
                self.find_hidden_params(line, whole, text, seen);
            }
        }
    }

    /// Parameters behind `;`. The one before them keeps its name if it has its `=`; else what is left
    /// would be read as another, and all of them go.
    fn find_hidden_params<'r>(
        &self,
        line: usize,
        whole: Range<usize>,
        text: &'r [u8],
        seen: &mut Sightings<'r>,
    ) {
        let mut is_named = false;
        for (piece, text) in pieces(text, whole.start, b';') {
            let (name, value) = split_at_equals(text);
            if self.params.iter().any(|own| own.is_read_in(name)) {
                let piece = if is_named { piece } else { whole.clone() };
                let place = Place::within(line, piece);
                seen.push(Sighting::new(place, Field::Hidden, name, value));
                if !is_named {
                    return;
                }
            }
            is_named |= text.contains(&b'=');
        }
    }

    #[inline(never)]
    fn find_cookies<'r>(&self, line: usize, value: &'r [u8], seen: &mut Sightings<'r>) {
        for (whole, text) in pieces(value, 0, b';') {
            // One without a name is all value.
            if !text.contains(&b'=') {
                continue;
            }
            let (name, value) = split_at_equals(trimmed(text));
            let name = trimmed(name);
            if self.cookies.iter().any(|own| own.is_read_in(name)) {
                let place = Place::within(line, whole);
                seen.push(Sighting::new(place, Field::Cookie, name, value));
            } else if let Some(start) = self.hidden_cookie(text) {
                // One of the separators goes with what is taken out.
                let start = whole.start + start + usize::from(start > 0);
                let place = Place::within(line, start..whole.end);
                seen.push(Sighting::new(place, Field::Hidden, &[], &[]));
            }
        }
    }

    /// Where in a cookie another one begins for some upstreams: at the separators before it. What stands
    /// before them keeps its name; how the rest would be read then, who knows, so all of it goes.
    fn hidden_cookie(&self, text: &[u8]) -> Option<usize> {
        let mut separators = None;
        for (at, byte) in text.iter().enumerate() {
            if separates(*byte) {
                separators.get_or_insert(at);
            } else if let Some(start) = separators.take()
                && let Some(rest) = text.get(at..)
                && self.cookies.iter().any(|own| own.begins(rest))
            {
                return Some(start);
            }
        }
        None
    }
}

impl<'r> Sighting<'r> {
    fn new(place: Place, field: Field, name: &'r [u8], value: &'r [u8]) -> Self {
        Self {
            place,
            field,
            name,
            value,
            is_named: Cell::new(false),
        }
    }
}

/// What ends a cookie for some upstreams: a comma (RFC 2965), a blank (Python's `SimpleCookie`), and what
/// can't stand in one (`WebOb`).
fn separates(byte: u8) -> bool {
    matches!(byte, 0..=b' ' | b',' | b'"' | b'[' | b'\\' | b']' | 0x7f..)
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

/// Path, query and the fragment that a careless client may have sent with its `#`.
pub(crate) fn split_target(target: &[u8]) -> (&[u8], Option<&[u8]>, &[u8]) {
    let end = target.iter().position(|byte| matches!(byte, b'?' | b'#'));
    let (path, rest) = target.split_at(end.unwrap_or(target.len()));
    match rest {
        [b'?', rest @ ..] => {
            let end = rest.iter().position(|byte| *byte == b'#');
            let (query, fragment) = rest.split_at(end.unwrap_or(rest.len()));
            (path, Some(query), fragment)
        }
        fragment => (path, None, fragment),
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
    if let ([first, ..], [.., last]) = (value, value)
        && !is_blank(first)
        && !is_blank(last)
    {
        return value;
    }
    let start = value.iter().position(|byte| !is_blank(byte));
    let end = value.iter().rposition(|byte| !is_blank(byte));
    match (start, end) {
        (Some(start), Some(end)) => value.get(start..=end).unwrap_or_default(),
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::text::Text;

    #[test]
    fn what_several_rules_look_for_is_looked_for_once() {
        let texts = |names: &[&str]| names.iter().map(|name| Text((*name).to_owned())).collect();
        let locations = [(&["b", "a_t"][..], "s"), (&["A.t"], "s"), (&["c"], "S")]
            .map(|(params, cookie)| Locations::new(Vec::new(), texts(params), texts(&[cookie])));
        let sought = Sought::new(locations.iter());
        assert_eq!((sought.params.len(), sought.cookies.len()), (3, 1));
    }
}
