//! Comparisons that Istio's conditions can't make: claims with numbers and booleans, with all or
//! none of a list, and with the request itself.
//!
//! A claim that isn't there or is of another type can't be compared. That is neither yes nor no, so
//! the opposite of such a comparison is undecided, too.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use percent_encoding::percent_decode;
use serde_json::{Number, Value};

use super::host::{host, without_port};
use super::{Subject, any};
use crate::authn::Identity;
use crate::jwt::ClaimPath;
use crate::matcher::StringMatch;

/// The claims in which OAuth's authorization servers put scopes: the first is RFC 8693's, the
/// other one Microsoft's and Okta's.
const SCOPES: [&str; 2] = ["scope", "scp"];

/// What of a token is compared with what.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Comparison {
    AllOf(Operand, Vec<Wanted>),
    AnyOf(Operand, Vec<Wanted>),
    /// A claim that is one value, no list.
    Equals(ClaimPath, Wanted),
    /// A claim that is a number. It compares so with the number.
    Ordered(ClaimPath, Bound, Number),
    /// The claim is there, and not null: this can always be told.
    Present(ClaimPath),
}

/// What may be a list.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Operand {
    /// A claim: a list, one value, or words where its rule says so.
    Claim(ClaimPath),
    /// Scopes, whichever claim they are in: a list, or words.
    Scopes,
}

/// A limit of a range.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Bound {
    Above,
    AtLeast,
    AtMost,
    Below,
}

/// What a value is compared with.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Wanted {
    Boolean(bool),
    Number(Number),
    Request(Reference),
    Text(StringMatch),
}

/// A text in the request.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Reference {
    /// The value of the header's lines, if they have one value.
    Header(String),
    /// What stands, in lower case, between these in the host without its port.
    Host { before: String, after: String },
    /// A segment of the path, counted from 1, percent-decoded. It isn't empty.
    PathSegment(u8),
}

/// A claim, or an item of one.
#[derive(Clone, Copy)]
enum Item<'t> {
    Boolean(bool),
    Number(&'t Number),
    Text(&'t str),
    /// What compares with nothing.
    Other,
}

impl Comparison {
    /// What it looks at, in the words of a policy.
    pub(super) fn attribute(&self) -> &'static str {
        match self {
            Self::AllOf(Operand::Scopes, _) | Self::AnyOf(Operand::Scopes, _) => "scopes",
            Self::AllOf(..)
            | Self::AnyOf(..)
            | Self::Equals(..)
            | Self::Ordered(..)
            | Self::Present(_) => "claim",
        }
    }

    /// The scopes that it asks for, where it asks for scopes by their names.
    pub(super) fn scopes(&self) -> Option<Vec<&str>> {
        match self {
            Self::AllOf(Operand::Scopes, wanted) => wanted.iter().map(Wanted::scope).collect(),
            Self::AnyOf(Operand::Scopes, wanted) => wanted
                .iter()
                .find_map(Wanted::scope)
                .map(|scope| vec![scope]),
            _ => None,
        }
    }

    /// `None` where there is nothing to compare.
    pub(super) fn holds(&self, subject: Subject<'_>) -> Option<bool> {
        let claim = |path: &ClaimPath| subject.identity?.claim(path);
        match self {
            Self::AllOf(operand, wanted) => {
                let items = operand.items(subject.identity?)?;
                let missed = wanted.iter().map(|one| Some(!one.is_in(&items, subject)?));
                Some(!any(missed)?)
            }
            Self::AnyOf(operand, wanted) => {
                let items = operand.items(subject.identity?)?;
                any(wanted.iter().map(|one| one.is_in(&items, subject)))
            }
            Self::Equals(path, wanted) => wanted.is(Item::of(claim(path)?), subject),
            Self::Ordered(path, bound, number) => match claim(path)? {
                Value::Number(claimed) => Some(bound.admits(compared(claimed, number)?)),
                _ => None,
            },
            Self::Present(path) => Some(claim(path).is_some_and(|claim| !claim.is_null())),
        }
    }
}

impl Comparison {
    /// The path of the claim that it looks at; nothing where it looks at scopes.
    pub(super) fn claim(&self) -> String {
        match self {
            Self::AllOf(Operand::Claim(path), _)
            | Self::AnyOf(Operand::Claim(path), _)
            | Self::Equals(path, _)
            | Self::Ordered(path, ..)
            | Self::Present(path) => path.to_string(),
            Self::AllOf(Operand::Scopes, _) | Self::AnyOf(Operand::Scopes, _) => String::new(),
        }
    }

    /// What it wants, in words.
    pub(super) fn wanted(&self) -> Vec<String> {
        let all =
            |wanted: &[Wanted]| -> Vec<String> { wanted.iter().map(Wanted::to_string).collect() };
        match self {
            Self::AllOf(_, wanted) => vec![format!("all of {}", all(wanted).join(", "))],
            Self::AnyOf(_, wanted) => all(wanted),
            Self::Equals(_, wanted) => vec![wanted.to_string()],
            Self::Ordered(_, bound, number) => vec![format!("{bound} {number}")],
            Self::Present(_) => vec!["present".to_owned()],
        }
    }

    /// What the token has there.
    pub(super) fn seen(&self, identity: &Identity<'_>) -> Option<String> {
        let claim = |path: &ClaimPath| identity.claim(path).map(Value::to_string);
        match self {
            Self::AllOf(Operand::Claim(path), _)
            | Self::AnyOf(Operand::Claim(path), _)
            | Self::Equals(path, _)
            | Self::Ordered(path, ..)
            | Self::Present(path) => claim(path),
            Self::AllOf(Operand::Scopes, _) | Self::AnyOf(Operand::Scopes, _) => {
                let scopes = SCOPES.map(ClaimPath::top);
                let scopes: Vec<String> = scopes.iter().filter_map(claim).collect();
                (!scopes.is_empty()).then(|| scopes.join(", "))
            }
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Above => ">",
            Self::AtLeast => ">=",
            Self::AtMost => "<=",
            Self::Below => "<",
        })
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => value.fmt(formatter),
            Self::Number(number) => number.fmt(formatter),
            Self::Request(Reference::Header(name)) => write!(formatter, "the header {name}"),
            Self::Request(Reference::Host { before, after }) => {
                write!(
                    formatter,
                    "what stands in the host for * in {before}*{after}"
                )
            }
            Self::Request(Reference::PathSegment(number)) => {
                write!(formatter, "segment {number} of the path")
            }
            Self::Text(pattern) => pattern.fmt(formatter),
        }
    }
}

impl Operand {
    fn items<'t>(&self, identity: &'t Identity<'_>) -> Option<Vec<Item<'t>>> {
        match self {
            Self::Claim(path) => items(identity.claim(path)?, identity.is_spaced(path)),
            Self::Scopes => {
                let claims = SCOPES.map(ClaimPath::top);
                let claims = claims.iter().filter_map(|claim| identity.claim(claim));
                let lists: Option<Vec<Vec<Item<'_>>>> =
                    claims.map(|claim| items(claim, true)).collect();
                lists
                    .filter(|lists| !lists.is_empty())
                    .map(|lists| lists.concat())
            }
        }
    }
}

/// The items of a list, or those that a single value makes.
fn items(claim: &Value, is_spaced: bool) -> Option<Vec<Item<'_>>> {
    match claim {
        Value::Array(items) => Some(items.iter().map(Item::of).collect()),
        Value::Null | Value::Object(_) => None,
        Value::String(words) if is_spaced => {
            let words = words.split(' ').filter(|word| !word.is_empty());
            Some(words.map(Item::Text).collect())
        }
        value => Some(vec![Item::of(value)]),
    }
}

impl<'t> Item<'t> {
    fn of(value: &'t Value) -> Self {
        match value {
            Value::Bool(value) => Self::Boolean(*value),
            Value::Number(number) => Self::Number(number),
            Value::String(text) => Self::Text(text),
            Value::Array(_) | Value::Null | Value::Object(_) => Self::Other,
        }
    }
}

impl Wanted {
    fn scope(&self) -> Option<&str> {
        match self {
            Self::Text(pattern) => pattern.scope(),
            _ => None,
        }
    }

    fn is_in(&self, items: &[Item<'_>], subject: Subject<'_>) -> Option<bool> {
        any(items.iter().map(|item| self.is(*item, subject)))
    }

    /// `None`: they are of two types.
    fn is(&self, item: Item<'_>, subject: Subject<'_>) -> Option<bool> {
        match (self, item) {
            (Self::Boolean(wanted), Item::Boolean(value)) => Some(*wanted == value),
            (Self::Number(wanted), Item::Number(number)) => {
                Some(compared(number, wanted)? == Ordering::Equal)
            }
            (Self::Text(pattern), Item::Text(text)) => Some(pattern.matches(text.as_bytes())),
            (Self::Request(reference), Item::Text(text)) => {
                Some(*reference.text(subject)? == *text.as_bytes())
            }
            // Requests have no numbers, only their digits; fractions have more than one form.
            (Self::Request(reference), Item::Number(number)) if !number.is_f64() => {
                Some(*reference.text(subject)? == *number.to_string().as_bytes())
            }
            _ => None,
        }
    }
}

impl Reference {
    fn text<'s>(&self, subject: Subject<'s>) -> Option<Cow<'s, [u8]>> {
        match self {
            Self::Header(name) => {
                let mut lines = subject.request.values(name);
                let first = lines.next()?;
                // Who knows which of two the upstream reads, and whether with the blanks that HTTP/2 keeps.
                let is_one = lines.all(|line| line == first) && first.trim_ascii() == first;
                let is_known = is_one && subject.request.misspelt(name).next().is_none();
                is_known.then_some(first.into())
            }
            Self::Host { before, after } => {
                let host = host(subject.request)?;
                let name = without_port(&host).strip_prefix(before.as_bytes())?;
                let between = name.strip_suffix(after.as_bytes())?;
                (!between.is_empty()).then(|| between.to_vec().into())
            }
            Self::PathSegment(number) => {
                let mut segments = subject.request.path()?.split(|byte| *byte == b'/');
                let segment = segments.nth(usize::from(*number))?;
                (!segment.is_empty()).then(|| percent_decode(segment).into())
            }
        }
    }
}

impl Bound {
    fn admits(self, ordering: Ordering) -> bool {
        match self {
            Self::Above => ordering.is_gt(),
            Self::AtLeast => ordering.is_ge(),
            Self::AtMost => ordering.is_le(),
            Self::Below => ordering.is_lt(),
        }
    }
}

/// Compares by value, exactly: 3 and 3.0 are one number, 2^53 and 2^53 + 1 are two.
fn compared(a: &Number, b: &Number) -> Option<Ordering> {
    key(a)?.partial_cmp(&key(b)?)
}

/// The whole part, and what tells apart numbers that have the same.
fn key(number: &Number) -> Option<(i128, f64)> {
    let double = number.as_f64()?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "beyond its range it is the last one, and the double tells"
    )]
    let whole = number.as_i128().unwrap_or(double.trunc() as i128);
    Some((whole, double))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_compare_by_value() {
        use Ordering::{Equal, Greater, Less};
        for (a, b, expected) in [
            (json!(3), json!(3.0), Equal),
            (json!(-0.0), json!(0), Equal),
            (json!(3), json!(3.5), Less),
            (json!(-3), json!(-3.5), Greater),
            (json!(-0.5), json!(0), Less),
            (
                json!(9_007_199_254_740_993_u64),
                json!(9_007_199_254_740_992_u64),
                Greater,
            ),
            (
                json!(9_007_199_254_740_993_u64),
                json!(9_007_199_254_740_992.0),
                Greater,
            ),
            (json!(u64::MAX), json!(18_446_744_073_709_551_616.0), Less),
            (json!(1e300), json!(1e301), Less),
            (json!(-1e300), json!(i64::MIN), Less),
            (json!(1e-320), json!(0), Greater),
        ] {
            let (Value::Number(a), Value::Number(b)) = (a, b) else {
                panic!("numbers");
            };
            assert_eq!(compared(&a, &b), Some(expected), "{a} {b}");
            assert_eq!(compared(&b, &a), Some(expected.reverse()), "{b} {a}");
        }
    }
}
