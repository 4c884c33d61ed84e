//! A request as the core sees it: plain data.

use std::borrow::Cow;
use std::ops::Range;
use std::rc::Rc;

use crate::outcome::{Change, Changes};
use crate::sorted;
use crate::spelling::{Names, are_alike};

/// The header of one request, pseudo-headers included.
///
/// Names are lower-case, as Envoy hands them over. Values are bytes: nothing obliges a client to
/// send UTF-8. A name that was sent on several lines is there several times.
///
/// All lines lie in one piece of memory, as the host hands it over, and a changed request shares
/// that with the one before.
#[derive(Clone, Debug, Default)]
pub struct Request {
    sent: Rc<Vec<u8>>,
    /// What changes wrote. Its places are counted on from the end of what was sent.
    written: Vec<u8>,
    lines: Vec<Line>,
}

/// Where the name and the value of a line are.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) name: Range<usize>,
    pub(crate) value: Range<usize>,
}

impl Request {
    /// A request with these headers, in the order in which they came.
    #[must_use]
    pub fn new(headers: Vec<(String, Vec<u8>)>) -> Self {
        let mut request = Self::default();
        for (name, value) in headers {
            let line = request.line(&name, &value);
            request.lines.push(line);
        }
        request
    }

    /// A request whose lines are in this piece of memory.
    pub(crate) fn within(sent: Vec<u8>, lines: Vec<Line>) -> Self {
        Self {
            sent: Rc::new(sent),
            written: Vec::new(),
            lines,
        }
    }

    /// All lines, pseudo-headers included.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        // A name that isn't ASCII is nobody's; Envoy takes none.
        let text = |name| str::from_utf8(name).unwrap_or_default();
        self.lines().map(move |(name, value)| (text(name), value))
    }

    fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let lines = self.lines.iter();
        lines.map(|line| (self.bytes(&line.name), self.bytes(&line.value)))
    }

    /// The places of all lines.
    pub(crate) fn places(&self) -> Range<usize> {
        0..self.lines.len()
    }

    /// The name and the value of the line at this place.
    pub(crate) fn line_at(&self, place: usize) -> (&[u8], &[u8]) {
        let line = self.lines.get(place);
        line.map_or((&[], &[]), |line| {
            (self.bytes(&line.name), self.bytes(&line.value))
        })
    }

    /// The places of all lines with one of these names, in whatever spelling.
    #[inline]
    pub(crate) fn named(&self, names: &Names) -> impl Iterator<Item = usize> {
        let lines = self.lines.iter().enumerate();
        let likely = lines.filter(|(_, line)| names.may_have(line.name.len()));
        let named = likely.filter(|(_, line)| names.have(self.bytes(&line.name)));
        named.map(|(place, _)| place)
    }

    /// The value of the line at this place, if it has this name.
    #[inline]
    pub(crate) fn value_at(&self, place: usize, name: &[u8]) -> Option<&[u8]> {
        let line = self.lines.get(place)?;
        self.is(line, name).then(|| self.bytes(&line.value))
    }

    #[inline]
    fn bytes(&self, place: &Range<usize>) -> &[u8] {
        let bytes = match place.start.checked_sub(self.sent.len()) {
            None => self.sent.get(place.clone()),
            Some(start) => self.written.get(start..start + place.len()),
        };
        bytes.unwrap_or_default()
    }

    fn write(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.sent.len() + self.written.len();
        self.written.extend_from_slice(bytes);
        start..start + bytes.len()
    }

    fn line(&mut self, name: &str, value: &[u8]) -> Line {
        Line {
            name: self.write(name.as_bytes()),
            value: self.write(value),
        }
    }

    /// The value of every line with this name, which must be lower-case.
    pub fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let places = self.places();
        places.filter_map(|place| self.value_at(place, name.as_bytes()))
    }

    /// The value of every line that an upstream may take for one with this name, and that isn't.
    pub(crate) fn misspelt<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let lines = self.lines.iter().filter(|line| {
            let own = &line.name;
            own.len() == name.len() && is_misspelt(self.bytes(own), name.as_bytes())
        });
        lines.map(|line| self.bytes(&line.value))
    }

    /// Few names have the same length.
    #[inline]
    fn is(&self, line: &Line, name: &[u8]) -> bool {
        line.name.len() == name.len() && self.bytes(&line.name) == name
    }

    /// The value of the first line with this name.
    #[must_use]
    pub fn value<'a>(&'a self, name: &str) -> Option<&'a [u8]> {
        self.values(name).next()
    }

    /// What takes out every line with such a name.
    pub(crate) fn removed(&self, is_such: impl Fn(&str) -> bool) -> Vec<Change> {
        self.removed_by(&is_such)
    }

    #[inline(never)]
    fn removed_by(&self, is_such: &dyn Fn(&str) -> bool) -> Vec<Change> {
        let names = self.headers().map(|(name, _)| name);
        let mut names: Vec<&str> = names.filter(|name| is_such(name)).collect();
        sorted::by(&mut names, Ord::cmp);
        names.dedup();
        let names = names.into_iter();
        names.map(|name| Change::Remove(name.to_owned())).collect()
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
        let mut changed = self.clone();
        let mut rest = changes.0.as_slice();
        while let [change, behind @ ..] = rest {
            rest = match rest {
                // One by one, each would cost as much as all of them do.
                [Change::Remove(_), Change::Remove(_), ..] => changed.remove_first(rest),
                _ => {
                    changed.change(change);
                    behind
                }
            };
        }
        Cow::Owned(changed)
    }

    /// Makes the changes at the start that remove lines, and returns the others.
    fn remove_first<'c>(&mut self, changes: &'c [Change]) -> &'c [Change] {
        let names = changes.iter().map_while(|change| match change {
            Change::Remove(name) => Some(name.as_bytes()),
            _ => None,
        });
        let mut names: Vec<&[u8]> = names.collect();
        sorted::by(&mut names, Ord::cmp);
        let mut lines = std::mem::take(&mut self.lines);
        lines.retain(|line| names.binary_search(&self.bytes(&line.name)).is_err());
        self.lines = lines;
        changes.get(names.len()..).unwrap_or_default()
    }

    fn change(&mut self, change: &Change) {
        let (name, new) = match change {
            Change::Append(name, value) => {
                let line = self.line(name, value);
                return self.lines.push(line);
            }
            Change::Respond(..) | Change::Withhold(_) => return,
            Change::Remove(name) => (name, None),
            Change::Set(name, value) => (name, Some(self.line(name, value))),
        };
        let mut lines = std::mem::take(&mut self.lines);
        let is_old = |line: &Line| self.is(line, name.as_bytes());
        let first = new.as_ref().and_then(|_| lines.iter().position(is_old));
        lines.retain(|line| !is_old(line));
        if let Some(line) = new {
            lines.insert(first.unwrap_or(lines.len()), line);
        }
        self.lines = lines;
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

fn is_misspelt(own: &[u8], name: &[u8]) -> bool {
    let is_pseudo = |name: &[u8]| name.starts_with(b":");
    own != name && are_alike(own, name) && !is_pseudo(own) && !is_pseudo(name)
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
    fn changes_are_made_in_order() {
        let sent = request(&[("a", "1"), ("b", "2"), ("a", "3")]);
        let changed = sent.changed(&Changes(vec![
            Change::Set("a".into(), b"x".to_vec()),
            Change::Remove("b".into()),
            Change::Append("b".into(), b"y".to_vec()),
            Change::Set("c".into(), b"z".to_vec()),
        ]));
        let got: Vec<_> = changed.headers().collect();
        assert_eq!(got, [("a", &b"x"[..]), ("b", b"y"), ("c", b"z")]);
        let again = changed.changed(&Changes(vec![Change::Set("b".into(), b"".to_vec())]));
        let got: Vec<_> = again.headers().collect();
        assert_eq!(got, [("a", &b"x"[..]), ("b", b""), ("c", b"z")]);
        assert_eq!(sent.headers().count(), 3);
        let bare = changed.changed(&Changes(vec![
            Change::Remove("c".into()),
            Change::Remove("x".into()),
            Change::Remove("a".into()),
            Change::Append("a".into(), b"1".to_vec()),
            Change::Remove("b".into()),
        ]));
        assert_eq!(bare.headers().collect::<Vec<_>>(), [("a", &b"1"[..])]);
    }

    #[test]
    fn lines_lie_where_they_were_sent() {
        let line = |name: Range<usize>, value: Range<usize>| Line { name, value };
        let sent = Request::within(
            b"a-1-bb-".to_vec(),
            vec![line(0..1, 2..3), line(4..6, 7..7)],
        );
        let got: Vec<_> = sent.headers().collect();
        assert_eq!(got, [("a", &b"1"[..]), ("bb", b"")]);
        let set = Changes(vec![Change::Set("bb".into(), b"2".to_vec())]);
        assert_eq!(sent.changed(&set).value("bb"), Some(&b"2"[..]));
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
