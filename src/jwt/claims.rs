//! Where in the claims a value lies.

use std::fmt;

use serde_json::{Map, Value};

/// The names on the way to a claim: members of objects, from the top.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct ClaimPath(Vec<String>);

impl ClaimPath {
    /// A claim at the top.
    pub(crate) fn top(name: &str) -> Self {
        Self(vec![name.to_owned()])
    }

    /// Reads the names as `outputClaimToHeaders` has them: `a.b.c` is nested, and so is
    /// `[a.b][c]`, in which names may hold dots.
    pub(crate) fn dotted(text: &str) -> Option<Self> {
        if text.starts_with('[') {
            return Self::bracketed(text);
        }
        let names: Vec<String> = text.split('.').map(str::to_owned).collect();
        names
            .iter()
            .all(|name| !name.is_empty())
            .then_some(Self(names))
    }

    /// Reads the names as in `request.auth.claims[a][b]`. Where they don't nest like this, all
    /// between the outermost brackets is one name (Istio's `extractNameInNestedBrackets`).
    pub(crate) fn bracketed(text: &str) -> Option<Self> {
        let inner = text.strip_prefix('[')?.strip_suffix(']')?;
        let names: Vec<String> = inner.split("][").map(str::to_owned).collect();
        if names.iter().any(|name| name.contains(['[', ']'])) {
            return Some(Self(vec![inner.to_owned()]));
        }
        names
            .iter()
            .all(|name| !name.is_empty())
            .then_some(Self(names))
    }

    /// Whether this is a claim at the top with one of these names.
    pub(crate) fn is_one_of(&self, names: &[String]) -> bool {
        matches!(self.0.as_slice(), [name] if names.contains(name))
    }

    /// Writes a value there; where there is one that is to stay, a list of both. `false` if something on
    /// the way is no object.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn put(&self, claims: &mut Map<String, Value>, value: Value, stays: bool) -> bool {
        let Some((name, outer)) = self.0.split_last() else {
            return false;
        };
        let mut inner = claims;
        for name in outer {
            let next = inner.entry(name.as_str());
            let next = next.or_insert_with(|| Map::new().into()).as_object_mut();
            let Some(next) = next else { return false };
            inner = next;
        }
        let value = match (inner.remove(name), stays) {
            (Some(Value::Array(mut list)), true) => {
                list.push(value);
                list.into()
            }
            (Some(before), true) => vec![before, value].into(),
            _ => value,
        };
        inner.insert(name.clone(), value);
        true
    }

    pub(super) fn find<'c>(&self, claims: &'c Map<String, Value>) -> Option<&'c Value> {
        let (first, rest) = self.0.split_first()?;
        rest.iter().try_fold(claims.get(first)?, |value, name| {
            value.as_object()?.get(name)
        })
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|name| write!(formatter, "[{name}]"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::vectors::{Tally, list, table, text};

    #[test]
    fn brackets() {
        for (text, names) in [
            ("[good]", Some(&["good"][..])),
            ("[a][b][c]", Some(&["a", "b", "c"])),
            ("[[good]", Some(&["[good"])),
            ("[good]]", Some(&["good]"])),
            ("[[x]]", Some(&["[x]"])),
            ("[https://x.y/z]", Some(&["https://x.y/z"])),
            ("[a]x[b]", Some(&["a]x[b"])),
            ("[]", None),
            ("[a][]", None),
            ("x[bad]", None),
            ("[bad", None),
            ("bad]", None),
            ("", None),
        ] {
            let expected = names.map(|n| ClaimPath(n.iter().map(|n| (*n).to_owned()).collect()));
            assert_eq!(ClaimPath::bracketed(text), expected, "{text}");
        }
    }

    #[test]
    fn lookup() {
        let claims = json!({"a": {"b": 1, "c.d": 2}, "a.b": 3, "l": [{"x": 4}]});
        let claims = claims.as_object().unwrap();
        for (text, value) in [
            ("a.b", Some(json!(1))),
            ("[a][b]", Some(json!(1))),
            ("[a.b]", Some(json!(3))),
            ("[a][c.d]", Some(json!(2))),
            ("a.c.d", None),
            ("l.x", None),
            ("nope", None),
            ("a.b.c", None),
        ] {
            let path = ClaimPath::dotted(text).unwrap();
            assert_eq!(path.find(claims), value.as_ref(), "{text}");
        }
        assert_eq!(ClaimPath::dotted(""), None);
        assert_eq!(ClaimPath::dotted("a..b"), None);
    }

    #[test]
    fn names_in_brackets_as_istio_reads_them() {
        let mut tally = Tally::default();
        for row in table("claim_key_brackets", 5, &mut tally) {
            let expected = list(&row["want"]).map(|name| text(name).to_owned());
            let expected = (row["error"] == false).then(|| ClaimPath(expected.collect()));
            let input = text(&row["input"]);
            tally.check(input, expected, ClaimPath::bracketed(input));
        }
        tally.finish("Istio, claims in brackets");
    }
}
