//! Which rules may match, by the path or the host of a request.
//!
//! A rule is filed under the patterns of that one of its operations' fields which tells most. Ten
//! thousand rules with a path each then cost a request what one does.

use std::borrow::Cow;

use rustc_hash::FxHashMap;

use super::host::{host, without_port};
use super::path::{PathMatch, Pattern};
use super::{Condition, Rule, Test};
use crate::matcher::StringMatch;
use crate::request::Request;
use crate::sorted;

/// Rules by what a request must have. Rules are numbers, in the order in which they are tried.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Those that may match any request.
    always: Vec<usize>,
    hosts: Strings,
    paths: Strings,
}

#[derive(Debug, Default)]
struct Strings {
    exact: FxHashMap<Box<[u8]>, Vec<usize>>,
    prefixes: Affixes,
    suffixes: Affixes,
    /// Whether all of them are in small letters, and so is what is looked for.
    ignores_case: bool,
}

/// Texts at one end of another.
#[derive(Debug, Default)]
struct Affixes {
    /// The lengths that there are.
    lengths: Vec<usize>,
    rules: FxHashMap<Box<[u8]>, Vec<usize>>,
}

/// What a rule can be filed under.
#[derive(Debug)]
struct Key<'p> {
    text: &'p str,
    stands: Stands,
    /// Of all keys of a field, or of none.
    ignores_case: bool,
}

/// Where in what is compared a text has to stand.
#[derive(Clone, Copy, Debug)]
enum Stands {
    Alone,
    AtEnd,
    AtStart,
}

impl Index {
    pub(super) fn add(&mut self, rule: usize, conditions: &Rule) {
        let keys: Option<Vec<_>> = conditions
            .to
            .iter()
            .map(|operation| best(operation))
            .collect();
        match keys {
            Some(keys) if !keys.is_empty() => {
                for (field, keys) in keys {
                    let strings = match field {
                        Field::Host => &mut self.hosts,
                        Field::Path => &mut self.paths,
                    };
                    keys.iter().for_each(|key| strings.add(rule, key));
                }
            }
            _ => self.always.push(rule),
        }
    }

    /// The rules that may match, in order.
    pub(super) fn candidates(&self, request: &Request) -> impl Iterator<Item = usize> {
        let mut found = Vec::new();
        if let Some(path) = request.path() {
            self.paths.find(path, &mut found);
        }
        if !self.hosts.is_empty()
            && let Some(host) = host(request)
        {
            self.hosts.find(&host, &mut found);
            let name = without_port(&host);
            if name.len() < host.len() {
                self.hosts.find(name, &mut found);
            }
        }
        if found.len() > 1 {
            sorted::by(&mut found, Ord::cmp);
            found.dedup();
        }
        let mut found = found.into_iter().peekable();
        let mut always = self.always.iter().copied().peekable();
        std::iter::from_fn(move || match (found.peek(), always.peek()) {
            (Some(one), Some(other)) if one < other => found.next(),
            (Some(_), None) => found.next(),
            _ => always.next(),
        })
    }
}

#[derive(Clone, Copy, Debug)]
enum Field {
    Host,
    Path,
}

/// The field of an operation that leaves the fewest requests; `None` where none tells anything.
fn best(operation: &[Condition]) -> Option<(Field, Vec<Key<'_>>)> {
    let stated = operation.iter().filter(|condition| !condition.negated);
    let fields = stated.filter_map(|condition| match &condition.test {
        Test::Host(patterns) => {
            let keys = patterns
                .iter()
                .map(|host| Key::of_text(&host.pattern))
                .collect::<Option<Vec<_>>>();
            Some((Field::Host, keys?))
        }
        Test::Path(patterns) => {
            let keys = patterns
                .iter()
                .map(Key::of_path)
                .collect::<Option<Vec<_>>>();
            Some((Field::Path, keys?))
        }
        _ => None,
    });
    let weakest = |keys: &[Key<'_>]| keys.iter().map(Key::strength).min();
    fields.max_by_key(|(_, keys)| weakest(keys))
}

impl<'p> Key<'p> {
    fn of_text(pattern: &'p StringMatch) -> Option<Self> {
        let (text, stands) = match pattern {
            StringMatch::Exact(text) => (text, Stands::Alone),
            StringMatch::Prefix(text) => (text, Stands::AtStart),
            StringMatch::Suffix(text) => (text, Stands::AtEnd),
            StringMatch::NotEmpty | StringMatch::Present => return None,
        };
        Some(Self {
            text,
            stands,
            ignores_case: false,
        })
    }

    fn of_path(path: &'p PathMatch) -> Option<Self> {
        let key = match &path.pattern {
            Pattern::Template(template) => Self {
                text: template.start(),
                stands: Stands::AtStart,
                ignores_case: false,
            },
            Pattern::Text(text) => Self::of_text(text)?,
        };
        Some(Self {
            ignores_case: path.ignores_case,
            ..key
        })
    }

    fn strength(&self) -> usize {
        match self.stands {
            Stands::Alone => usize::MAX,
            Stands::AtEnd | Stands::AtStart => self.text.len(),
        }
    }
}

impl Strings {
    fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.prefixes.rules.is_empty() && self.suffixes.rules.is_empty()
    }

    fn add(&mut self, rule: usize, key: &Key<'_>) {
        self.ignores_case = key.ignores_case;
        let text = &*self.compared(key.text.as_bytes());
        match key.stands {
            Stands::Alone => self.exact.entry(text.into()).or_default().push(rule),
            Stands::AtEnd => self.suffixes.add(rule, text),
            Stands::AtStart => self.prefixes.add(rule, text),
        }
    }

    fn compared<'t>(&self, text: &'t [u8]) -> Cow<'t, [u8]> {
        match self.ignores_case && text.iter().any(u8::is_ascii_uppercase) {
            true => text.to_ascii_lowercase().into(),
            false => text.into(),
        }
    }

    fn find(&self, text: &[u8], found: &mut Vec<usize>) {
        let text = &*self.compared(text);
        found.extend(self.exact.get(text).into_iter().flatten());
        found.extend(self.prefixes.find(|length| text.get(..length)));
        let start = |length| text.len().checked_sub(length);
        found.extend(self.suffixes.find(|length| text.get(start(length)?..)));
    }
}

impl Affixes {
    fn add(&mut self, rule: usize, text: &[u8]) {
        if let Err(place) = self.lengths.binary_search(&text.len()) {
            self.lengths.insert(place, text.len());
        }
        self.rules.entry(text.into()).or_default().push(rule);
    }

    /// The rules of every affix that `part` of a length is.
    fn find<'t>(&self, part: impl Fn(usize) -> Option<&'t [u8]>) -> impl Iterator<Item = usize> {
        let parts = self.lengths.iter().map_while(move |length| part(*length));
        parts
            .filter_map(|part| self.rules.get(part))
            .flatten()
            .copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::HostMatch;

    fn condition(negated: bool, test: Test) -> Condition {
        Condition { negated, test }
    }

    fn paths(patterns: &[&str]) -> Test {
        let parsed = patterns
            .iter()
            .map(|pattern| PathMatch::parse(pattern, false).unwrap());
        Test::Path(parsed.collect())
    }

    fn paths_in_any_case(patterns: &[&str]) -> Test {
        let parsed = patterns
            .iter()
            .map(|pattern| PathMatch::parse(pattern, true).unwrap());
        Test::Path(parsed.collect())
    }

    fn hosts(patterns: &[&str]) -> Test {
        let patterns = patterns.iter().map(|pattern| HostMatch {
            pattern: StringMatch::host(pattern),
            ignores_port: true,
        });
        Test::Host(patterns.collect())
    }

    fn rule(to: Vec<Vec<Condition>>) -> Rule {
        Rule {
            from: Vec::new(),
            to,
            when: Vec::new(),
        }
    }

    #[test]
    fn rules_are_found_by_what_they_ask_for() {
        let is = |test| condition(false, test);
        let not = |test| condition(true, test);
        let rules = [
            rule(vec![vec![is(paths(&["/a"]))]]),
            rule(vec![vec![is(paths(&["/b*", "*/c"]))]]),
            rule(vec![]),
            rule(vec![vec![is(paths(&["/a"]))], vec![is(hosts(&["A.test"]))]]),
            rule(vec![vec![not(paths(&["/a"]))]]),
            rule(vec![vec![is(paths(&["*"])), is(hosts(&["a.test"]))]]),
            rule(vec![vec![is(paths(&["/t/{*}/x"]))]]),
            rule(vec![vec![is(paths(&["/a", "*"]))]]),
            rule(vec![vec![is(paths(&["/b*"])), is(hosts(&["a.test"]))]]),
        ];
        let mut index = Index::default();
        for (number, rule) in rules.iter().enumerate() {
            index.add(number, rule);
        }
        for (path, host, expected) in [
            ("/a", "b.test", &[0, 2, 3, 4, 7][..]),
            ("/a?q", "b.test", &[0, 2, 3, 4, 7]),
            ("/x", "a.TEST", &[2, 3, 4, 5, 7, 8]),
            ("/x", "a.test:80", &[2, 3, 4, 5, 7, 8]),
            ("/b/c", "b.test", &[1, 2, 4, 7]),
            ("/t/1/y", "b.test", &[2, 4, 6, 7]),
            ("", "", &[2, 4, 7]),
        ] {
            let headers = [(":path", path), (":authority", host)];
            let headers = headers.map(|(name, value)| (name.to_owned(), value.into()));
            let request = Request::new(headers.into());
            let found: Vec<usize> = index.candidates(&request).collect();
            assert_eq!(found, expected, "{path} {host}");
        }
    }

    #[test]
    fn case_of_paths_can_be_ignored() {
        let patterns = [
            &["/Admin"][..],
            &["/A*"],
            &["*/Keys"],
            &["/T/{*}/x"],
            &["/b"],
        ];
        let mut index = Index::default();
        for (number, patterns) in patterns.iter().enumerate() {
            let is = condition(false, paths_in_any_case(patterns));
            index.add(number, &rule(vec![vec![is]]));
        }
        for (path, expected) in [
            ("/aDMIN", &[0, 1][..]),
            ("/a/KEYS", &[1, 2]),
            ("/t/X/x", &[3]),
            ("/B", &[4]),
            ("/c", &[]),
        ] {
            let request = Request::new(vec![(":path".to_owned(), path.into())]);
            let found: Vec<usize> = index.candidates(&request).collect();
            assert_eq!(found, expected, "{path}");
        }
    }
}
