//! Files, and the documents in them with the place of each value.

use std::fmt;
use std::io::{self, Read as _};
use std::ops::Range;
use std::path::Path;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::{Location, MessageFormatter as _, Spanned, UserMessageFormatter};

use super::Failure;
use crate::config::place::{Place, Step};
use crate::json;

/// Text that was read from somewhere.
#[derive(Debug)]
pub(super) struct Source {
    /// How people call it: a path, or `<stdin>`.
    pub(super) name: String,
    pub(super) text: String,
}

/// What keeps a text from being a document: where, and why.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) span: Range<usize>,
    pub(super) message: String,
}

impl Source {
    /// Reads a file, or for `-` what is piped in.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            let mut text = String::new();
            let read = io::stdin().read_to_string(&mut text);
            read.map_err(Failure::of("standard input"))?;
            return Ok(Self {
                name: "<stdin>".to_owned(),
                text,
            });
        }
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(Failure::of(&name))?;
        Ok(Self { name, text })
    }

    /// The documents of the text: one of JSON, or any number of YAML. JSON is held to what the
    /// plugin takes, which is less than YAML does.
    pub(super) fn documents(&self) -> Result<Vec<Node>, Unreadable> {
        let is_json = match Path::new(&self.name).extension() {
            Some(extension) => extension == "json",
            None => self.text.trim_start().starts_with('{'),
        };
        match is_json {
            true => Ok(vec![from_json(&self.text)?]),
            false => from_yaml(&self.text),
        }
    }

    /// Line and column, counted from 1, columns in characters.
    pub(super) fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line = before.rsplit('\n').next().unwrap_or(before);
        (
            before.bytes().filter(|byte| *byte == b'\n').count() + 1,
            line.chars().count() + 1,
        )
    }
}

/// A value, and where it is written.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// In bytes of the source.
    pub(super) span: Range<usize>,
    pub(super) content: Content,
}

#[derive(Clone, Debug)]
pub(super) enum Content {
    Scalar(Value),
    List(Vec<Node>),
    Object(Vec<(Name, Node)>),
}

/// The name of a member, and where it is written.
#[derive(Clone, Debug)]
pub(super) struct Name {
    pub(super) span: Range<usize>,
    pub(super) text: String,
}

impl Node {
    pub(super) fn value(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::List(items) => Value::Array(items.iter().map(Self::value).collect()),
            Content::Object(members) => {
                let members = members.iter();
                let members = members.map(|(name, node)| (name.text.clone(), node.value()));
                Value::Object(members.collect::<Map<_, _>>())
            }
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    pub(super) fn items(&self) -> &[Self] {
        match &self.content {
            Content::List(items) => items,
            _ => &[],
        }
    }

    pub(super) fn members(&self) -> &[(Name, Self)] {
        match &self.content {
            Content::Object(members) => members,
            _ => &[],
        }
    }

    pub(super) fn member(&self, name: &str) -> Option<(&Name, &Self)> {
        let mut members = self.members().iter();
        let (name, node) = members.find(|(own, _)| own.text == name)?;
        Some((name, node))
    }

    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        self.member(name).map(|(_, node)| node)
    }

    /// The value behind several names.
    pub(super) fn dig(&self, names: &[&str]) -> Option<&Self> {
        names.iter().try_fold(self, |node, name| node.get(name))
    }

    /// What to point at for what is wrong at a place.
    pub(super) fn pointed(&self, place: &Place, is_name: bool, source: &str) -> Range<usize> {
        let (mut node, mut name) = (self, None);
        for step in place.steps() {
            let next = match step {
                Step::Item(index) => node.items().get(*index).map(|item| (None, item)),
                Step::Member(name) => node.member(name).map(|(name, node)| (Some(name), node)),
            };
            let Some(next) = next else { break };
            (name, node) = next;
        }
        match (&node.content, name) {
            (_, Some(name)) if is_name => name.span.clone(),
            (Content::Scalar(value), _) if !value.is_null() => node.span.clone(),
            (_, Some(name)) => name.span.clone(),
            _ => first_line(&node.span, source),
        }
    }

    /// The member at a place of which a message speaks first, in backticks.
    pub(super) fn spoken_of(&self, place: &Place, message: &str) -> Option<Place> {
        let object = place
            .steps()
            .iter()
            .try_fold(self, |node, step| match step {
                Step::Item(index) => node.items().get(*index),
                Step::Member(name) => node.get(name),
            })?;
        let mut words = message.split('`').skip(1).step_by(2);
        words.find_map(|word| {
            let (name, index) = word.split_once('[').unwrap_or((word, ""));
            let place = object.member(name).map(|_| place.clone().member(name))?;
            let index = index.strip_suffix(']').and_then(|index| index.parse().ok());
            Some(match index {
                Some(index) => place.item(index),
                None => place,
            })
        })
    }

    /// The same with every place moved.
    fn moved(self, to: &impl Fn(Range<usize>) -> Range<usize>) -> Self {
        let content = match self.content {
            Content::Scalar(value) => Content::Scalar(value),
            Content::List(items) => {
                Content::List(items.into_iter().map(|item| item.moved(to)).collect())
            }
            Content::Object(members) => {
                let moved = |(name, node): (Name, Self)| {
                    let span = to(name.span);
                    (Name { span, ..name }, node.moved(to))
                };
                Content::Object(members.into_iter().map(moved).collect())
            }
        };
        Self {
            span: to(self.span),
            content,
        }
    }

    /// The JSON in this string, with places in the source that the string is in.
    pub(super) fn json(&self, source: &str) -> Result<Self, Unreadable> {
        let text = self.text().unwrap_or_default();
        let to = |span: Range<usize>| moved(text, &span, &self.span, source);
        match from_json(text) {
            Ok(node) => Ok(node.moved(&to)),
            Err(Unreadable { span, message }) => Err(Unreadable {
                span: to(span),
                message,
            }),
        }
    }
}

/// The rest of the line on which something starts, or as much of it as it is long.
fn first_line(span: &Range<usize>, source: &str) -> Range<usize> {
    let rest = source.get(span.start..).unwrap_or_default();
    let line = rest.lines().next().unwrap_or_default().trim_end();
    span.start..span.start + line.len()
}

/// Where a part of a string stands in the source: the string's lines are looked for there, as a
/// block scalar has them, each behind its margin. A string that is written in another way is taken
/// as one.
fn moved(text: &str, part: &Range<usize>, whole: &Range<usize>, source: &str) -> Range<usize> {
    let found = || {
        let before = text.get(..part.start)?;
        let number = before.matches('\n').count();
        let line = text.lines().nth(number)?;
        let column = before.rsplit('\n').next()?.len();
        let start = whole.start + source.get(whole.clone())?.find(text.lines().next()?)?;
        let lines_before: usize = source
            .get(start..)?
            .split_inclusive('\n')
            .take(number)
            .map(str::len)
            .sum();
        let at = start + lines_before;
        let at = at + source.get(at..)?.lines().next()?.find(line)?;
        Some(at + column..at + column + part.len())
    };
    found().unwrap_or_else(|| whole.clone())
}

fn from_json(text: &str) -> Result<Node, Unreadable> {
    let value = json::parse(text.as_bytes()).map_err(|error| {
        // serde_json counts columns in bytes.
        let start = offset(text, error.line() as u64, 1);
        let at = (start + error.column().saturating_sub(1)).min(text.len());
        let at = (0..=at).rev().find(|at| text.is_char_boundary(*at));
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or(&message);
        Unreadable {
            span: at.map(|at| at..at).unwrap_or_default(),
            message: format!("not JSON: {message}"),
        }
    })?;
    let located = from_yaml(text).ok().and_then(|mut nodes| nodes.pop());
    // YAML takes all JSON but for tabs at the start of some lines.
    Ok(located.unwrap_or_else(|| unplaced(value)))
}

fn unplaced(value: Value) -> Node {
    let content = match value {
        Value::Array(items) => Content::List(items.into_iter().map(unplaced).collect()),
        Value::Object(members) => {
            let members = members.into_iter();
            let unplaced = |(text, value)| (Name { span: 0..0, text }, unplaced(value));
            Content::Object(members.map(unplaced).collect())
        }
        scalar => Content::Scalar(scalar),
    };
    Node {
        span: 0..0,
        content,
    }
}

fn from_yaml(text: &str) -> Result<Vec<Node>, Unreadable> {
    let options = serde_saphyr::options! {
        budget: None,
        with_snippet: false,
    };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        let (line, column) = error
            .location()
            .map_or((1, 1), |at| (at.line(), at.column()));
        let at = offset(text, line, column);
        Unreadable {
            span: at..at,
            message: format!("not YAML: {}", UserMessageFormatter.format_message(&error)),
        }
    })
}

/// The byte at a line and a column, in characters, both counted from 1.
fn offset(text: &str, line: u64, column: u64) -> usize {
    let before = |count: u64| usize::try_from(count.saturating_sub(1)).unwrap_or(usize::MAX);
    let mut lines = text.split_inclusive('\n');
    let start: usize = lines.by_ref().take(before(line)).map(str::len).sum();
    let characters = lines.next().unwrap_or_default().chars();
    start
        + characters
            .take(before(column))
            .map(char::len_utf8)
            .sum::<usize>()
}

fn span(location: Location) -> Range<usize> {
    let bytes = |count: Option<u64>| count.and_then(|count| count.try_into().ok());
    let start: usize = bytes(location.span().byte_offset()).unwrap_or_default();
    start..start + bytes(location.span().byte_len()).unwrap_or_default()
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let located = Spanned::<Content>::deserialize(deserializer)?;
        Ok(Self {
            span: span(located.defined),
            content: located.value,
        })
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Contents)
    }
}

struct Contents;

impl<'de> Visitor<'de> for Contents {
    type Value = Content;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value that JSON has")
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Number(value.into())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Number(value.into())))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Content, E> {
        let number = Number::from_f64(value);
        let number = number.ok_or_else(|| E::custom("this number can't be written in JSON"))?;
        Ok(Content::Scalar(Value::Number(number)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Content, E> {
        Ok(Content::Scalar(Value::String(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Content, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Content::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Content, A::Error> {
        let mut members = Vec::new();
        while let Some(name) = access.next_key::<Spanned<String>>()? {
            let name = Name {
                span: span(name.defined),
                text: name.value,
            };
            members.push((name, access.next_value()?));
        }
        Ok(Content::Object(members))
    }
}
