//! A value, with the place of all that is in it.

use std::fmt;
use std::ops::Range;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::{Location, Spanned};

use super::within::Within;
use super::{Unreadable, from_json, yaml};
use crate::config::place::{Place, Step};

/// Octets of a line that is pointed at.
const LONGEST_LINE: usize = 1024;

/// A value, and where it is written.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Node {
    /// In bytes of the source.
    pub(in crate::cli) span: Range<usize>,
    pub(in crate::cli) content: Content,
}

#[derive(Clone, Debug)]
pub(in crate::cli) enum Content {
    Scalar(Value),
    List(Vec<Node>),
    Object(Vec<(Name, Node)>),
}

/// The name of a member, and where it is written.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Name {
    pub(in crate::cli) span: Range<usize>,
    pub(in crate::cli) text: String,
}

impl Node {
    pub(in crate::cli) fn value(&self) -> Value {
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

    pub(in crate::cli) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    pub(in crate::cli) fn items(&self) -> &[Self] {
        match &self.content {
            Content::List(items) => items,
            _ => &[],
        }
    }

    pub(in crate::cli) fn members(&self) -> &[(Name, Self)] {
        match &self.content {
            Content::Object(members) => members,
            _ => &[],
        }
    }

    pub(in crate::cli) fn member(&self, name: &str) -> Option<(&Name, &Self)> {
        let mut members = self.members().iter();
        let (name, node) = members.find(|(own, _)| own.text == name)?;
        Some((name, node))
    }

    pub(in crate::cli) fn get(&self, name: &str) -> Option<&Self> {
        self.member(name).map(|(_, node)| node)
    }

    /// The value behind several names.
    pub(in crate::cli) fn dig(&self, names: &[&str]) -> Option<&Self> {
        names.iter().try_fold(self, |node, name| node.get(name))
    }

    /// The value at a place.
    pub(in crate::cli) fn at(&self, place: &Place) -> Option<&Self> {
        self.behind(place.steps())
    }

    /// What holds the value at a place.
    pub(in crate::cli) fn holder(&self, place: &Place) -> Option<&Self> {
        self.behind(place.steps().split_last()?.1)
    }

    fn behind(&self, steps: &[Step]) -> Option<&Self> {
        steps.iter().try_fold(self, |node, step| match step {
            Step::Item(index) => node.items().get(*index),
            Step::Member(name) => node.get(name),
        })
    }

    /// What to point at for what is wrong at a place.
    pub(in crate::cli) fn pointed(
        &self,
        place: &Place,
        is_name: bool,
        source: &str,
    ) -> Range<usize> {
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
    pub(in crate::cli) fn spoken_of(&self, place: &Place, message: &str) -> Option<Place> {
        let object = self.at(place)?;
        let mut words = message.split('`').skip(1).step_by(2);
        words.find_map(|word| {
            let mut steps = word.split(['.', '[']).filter(|step| !step.is_empty());
            let name = steps.next()?;
            object.member(name)?;
            let place = place.clone().member(name);
            Some(steps.fold(place, |place, step| {
                match step.strip_suffix(']') {
                    Some(index) => index
                        .parse()
                        .map_or(place.clone(), |index| place.item(index)),
                    None => place.member(step),
                }
            }))
        })
    }

    /// The same with every place moved.
    fn moved(self, to: &Within) -> Self {
        let content = match self.content {
            Content::Scalar(value) => Content::Scalar(value),
            Content::List(items) => {
                Content::List(items.into_iter().map(|item| item.moved(to)).collect())
            }
            Content::Object(members) => {
                let moved = |(name, node): (Name, Self)| {
                    let span = to.moved(&name.span);
                    (Name { span, ..name }, node.moved(to))
                };
                Content::Object(members.into_iter().map(moved).collect())
            }
        };
        Self {
            span: to.moved(&self.span),
            content,
        }
    }

    /// The JSON in this string, with places in the source that the string is in.
    pub(in crate::cli) fn json(&self, source: &str) -> Result<Self, Unreadable> {
        let text = self.text().unwrap_or_default();
        let within = Within::new(text, &self.span, source);
        from_json(text)
            .map(|node| node.moved(&within))
            .map_err(|unreadable| unreadable.moved(&within))
    }

    /// The documents of YAML in this string, in the same way.
    pub(in crate::cli) fn yaml(&self, source: &str) -> Result<Vec<Self>, Unreadable> {
        let text = self.text().unwrap_or_default();
        let within = Within::new(text, &self.span, source);
        let moved = |node: Self| node.moved(&within);
        yaml::within(text)
            .map(|nodes| nodes.into_iter().map(moved).collect())
            .map_err(|unreadable| unreadable.moved(&within))
    }
}

/// The rest of the line on which something starts, or as much of it as it is long.
fn first_line(span: &Range<usize>, source: &str) -> Range<usize> {
    // Of a line that is longer nobody is shown more.
    let end = (span.start + LONGEST_LINE).min(source.len());
    let end = (span.start..=end)
        .rev()
        .find(|end| source.is_char_boundary(*end));
    let rest = source.get(span.start..end.unwrap_or(span.start));
    let rest = rest.unwrap_or_default();
    let line = rest.lines().next().unwrap_or_default().trim_end();
    span.start..span.start + line.len()
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
