//! How tokens are taken out of a request, byte-exactly.

use std::cmp::Ordering;

use smallvec::SmallVec;

use super::sighting::{Place, split_target};
use crate::outcome::Change;
use crate::request::Request;
use crate::sorted;

/// What is to be taken out of a request.
#[derive(Debug)]
pub(crate) struct Removal<'r> {
    request: &'r Request,
    places: SmallVec<[Place; 2]>,
}

impl<'r> Removal<'r> {
    pub(crate) fn new(request: &'r Request) -> Self {
        Self {
            request,
            places: SmallVec::new(),
        }
    }

    pub(crate) fn request(&self) -> &'r Request {
        self.request
    }

    pub(crate) fn add(&mut self, place: Place) {
        self.places.push(place);
    }

    /// The changes that leave every other byte of the request as it is. The work is that of sorting the
    /// places, however many there are.
    pub(crate) fn changes(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.places.is_empty() {
            return changes;
        }
        let mut places = self.places.clone();
        sorted::by(&mut places, Ord::cmp);
        places.dedup();
        let mut names = SmallVec::<[&[u8]; 2]>::new();
        for here in places.chunk_by(|one, other| one.line == other.line) {
            let line = here.first().map_or(0, |place| place.line);
            match self.request.line_at(line) {
                (b":path", value) => {
                    changes.push(Change::Set(":path".to_owned(), rest_of_target(value, here)));
                }
                (name, _) => names.push(name),
            }
        }
        sorted::by(&mut names, by_length);
        names.dedup();
        let text = |name| String::from_utf8_lossy(name).into_owned();
        changes.extend(names.iter().map(|name| Change::Remove(text(name))));
        let mut places = places.as_slice();
        for line in self.request.places() {
            let end = places.iter().take_while(|place| place.line <= line).count();
            let (before, behind) = places.split_at(end);
            places = behind;
            if let Some((name, value)) = self.of(&names, line)
                && let Some(rest) = rest_of_line(value, before)
            {
                changes.push(Change::Append(text(name), rest));
            }
        }
        changes
    }

    /// The line, if it has one of these names.
    fn of(&self, names: &[&'r [u8]], line: usize) -> Option<(&'r [u8], &'r [u8])> {
        if let [name] = names {
            return Some((name, self.request.value_at(line, name)?));
        }
        let (name, value) = self.request.line_at(line);
        let found = names.binary_search_by(|own| by_length(own, &name));
        found.is_ok().then_some((name, value))
    }
}

/// Names are seldom of one length.
fn by_length(one: &&[u8], other: &&[u8]) -> Ordering {
    let lengths = one.len().cmp(&other.len());
    lengths.then_with(|| one.cmp(other))
}

/// What stays of a line; `None`: nothing.
fn rest_of_line(value: &[u8], taken: &[Place]) -> Option<Vec<u8>> {
    if taken.first().is_some_and(|place| place.piece.is_none()) {
        return None;
    }
    let mut rest = without(value, 0, taken)?;
    // The blank behind the separator that has gone.
    if taken.first().and_then(Place::start) == Some(0) {
        let blanks = rest.iter().take_while(|byte| **byte == b' ').count();
        rest.drain(..blanks);
    }
    Some(rest)
}

/// A target without these parameters.
fn rest_of_target(target: &[u8], taken: &[Place]) -> Vec<u8> {
    let (path, query, fragment) = split_target(target);
    let mut rest = path.to_vec();
    if let Some(query) = query
        && let Some(query) = without(query, path.len() + 1, taken)
    {
        rest.push(b'?');
        rest.extend(query);
    }
    rest.extend_from_slice(fragment);
    rest
}

/// What is left of a text, which begins at this byte of its line, where each piece that is taken out
/// takes one separator along. `None`: no piece is left.
fn without(text: &[u8], start: usize, taken: &[Place]) -> Option<Vec<u8>> {
    let mut rest = Vec::with_capacity(text.len());
    let mut is_left = taken.is_empty();
    let mut end = None;
    let pieces = taken.iter().filter_map(|place| place.piece);
    let pieces =
        pieces.map(|(from, to)| (from.saturating_sub(start), Some(to.saturating_sub(start))));
    for (from, to) in pieces.chain([(text.len(), None)]) {
        let mut between = text.get(end.unwrap_or(0)..from).unwrap_or_default();
        // A separator at each end that isn't one of the text.
        let separators = usize::from(end.is_some()) + usize::from(to.is_some());
        if between.len() >= separators && !between.is_empty() {
            if let (Some(_), [kept @ .., _]) = (to, between) {
                between = kept;
            }
            if let (Some(_), false, [_, kept @ ..]) = (end, is_left, between) {
                between = kept;
            }
            rest.extend_from_slice(between);
            is_left = true;
        }
        end = to;
    }
    is_left.then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::Sought;
    use crate::authn::location::Locations;
    use crate::config::jwt_rule::HeaderLocation;
    use crate::config::text::{HeaderName, Text};
    use crate::outcome::Changes;

    fn request(headers: &[(&str, &str)]) -> Request {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), value.as_bytes().to_vec());
        Request::new(headers.iter().map(owned).collect())
    }

    /// Of the header `x-p`, the parameter `t` and the cookie `s`.
    fn places(request: &Request) -> Vec<Place> {
        let header = HeaderLocation {
            name: HeaderName("x-p".to_owned()),
            prefix: "Tok ".to_owned(),
        };
        let text = |text: &str| vec![Text(text.to_owned())];
        let locations = Locations::new(vec![header], text("t"), text("s"));
        let seen = Sought::new([&locations].into_iter()).find(request);
        let found = locations.find(&seen).into_iter();
        found.map(|token| token.place).collect()
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
        let places = places(&request);
        assert_eq!(places.len(), 6);
        let changes = |places: &mut dyn Iterator<Item = &Place>| {
            let mut removal = Removal::new(&request);
            places.for_each(|place| removal.add(*place));
            removal.changes()
        };
        let expected = [
            Change::Set(":path".into(), b"/a?x".to_vec()),
            Change::Remove("x-p".into()),
            Change::Remove("cookie".into()),
            Change::Append("x-p".into(), b"keep".to_vec()),
            Change::Append("cookie".into(), b"a=1".to_vec()),
        ];
        assert_eq!(changes(&mut places.iter()), expected);
        let twice_and_backwards = places.iter().chain(&places).rev();
        assert_eq!(changes(&mut { twice_and_backwards }), expected);
    }

    #[test]
    fn every_other_byte_stays() {
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
            let places = places(&request);
            places.iter().for_each(|place| removal.add(*place));
            let changed = request.changed(&Changes(removal.changes()));
            let left: Vec<_> = changed
                .values(name)
                .map(|value| String::from_utf8_lossy(value).into_owned())
                .collect();
            assert_eq!(left, expected, "{name} {lines:?}");
        }
    }

    fn taken_out(target: &str, pieces: &[&str]) -> Vec<u8> {
        let of_piece = |piece: &&str| {
            let from = target.find(piece).unwrap();
            Place {
                line: 0,
                piece: Some((from, from + piece.len())),
            }
        };
        let places: Vec<Place> = pieces.iter().map(of_piece).collect();
        rest_of_target(target.as_bytes(), &places)
    }

    #[test]
    fn a_piece_takes_one_separator_along() {
        for (target, pieces, expected) in [
            ("/?A", &["A"][..], "/"),
            ("/?A&b", &["A"], "/?b"),
            ("/?b&A", &["A"], "/?b"),
            ("/?b&A&c", &["A"], "/?b&c"),
            ("/?A&B&c", &["A", "B"], "/?c"),
            ("/?A&B", &["A", "B"], "/"),
            ("/?A&&B", &["A", "B"], "/?"),
            ("/?A&", &["A"], "/?"),
            ("/?&A", &["A"], "/?"),
            ("/?&&A&", &["A"], "/?&&"),
            ("/?b;A&c", &["A"], "/?b&c"),
            ("/?b;A;c&d", &["A"], "/?b;c&d"),
            ("/?b;A;B&d", &["A", "B"], "/?b&d"),
            ("/?b&A&c&B#f", &["A", "B"], "/?b&c#f"),
        ] {
            let rest = taken_out(target, pieces);
            assert_eq!(rest, expected.as_bytes(), "{target} {pieces:?}");
        }
    }

    #[test]
    fn many_places_are_taken_out_once_each() {
        let request = Request::new(vec![(
            ":path".into(),
            [b"/?".as_slice(), &b"A&".repeat(20_000)].concat(),
        )]);
        let mut removal = Removal::new(&request);
        for at in (0..20_000).rev().chain(0..20_000) {
            removal.add(Place {
                line: 0,
                piece: Some((2 + 2 * at, 3 + 2 * at)),
            });
        }
        assert_eq!(
            removal.changes(),
            [Change::Set(":path".into(), b"/?".to_vec())]
        );
    }
}
