//! Reading a JSON value into types, with every mistake kept instead of the first one only.
//!
//! serde stops at the first error; someone who mends a configuration wants all of them, each with
//! its path. A field's type says how it is read, so a value that was read is a value that is right.

mod duration;
mod record;
mod report;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

pub(crate) use self::record::record;
pub use self::report::{Mistake, Mistakes};
pub(crate) use self::report::{Report, Topic};
use super::place::Place;
use super::schema::{Schemas, a, map_of};

/// Whose names are written here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Dialect {
    /// Our own fields: camelCase, with what Istio's rules can't say.
    Short,
    /// An Istio resource: camelCase or snake_case, as Istio's own JSON reader takes both.
    Istio,
}

enum Step<'a> {
    Root,
    Index(usize),
    Member(&'a str),
}

/// A value of the document and where it stands.
pub(crate) struct Input<'a> {
    value: &'a Value,
    parent: Option<&'a Input<'a>>,
    step: Step<'a>,
    report: &'a Report,
    dialect: Dialect,
}

impl<'a> Input<'a> {
    pub(crate) fn root(value: &'a Value, report: &'a Report) -> Self {
        Self {
            value,
            parent: None,
            step: Step::Root,
            report,
            dialect: Dialect::Short,
        }
    }

    pub(crate) fn value(&self) -> &'a Value {
        self.value
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect
    }

    pub(crate) fn allows_link_local(&self) -> bool {
        self.report.allows_link_local
    }

    pub(crate) fn ignores_host_port(&self) -> bool {
        self.report.ignores_host_port
    }

    pub(crate) fn ignores_path_case(&self) -> bool {
        self.report.ignores_path_case
    }

    pub(crate) fn mistake(&self, message: impl Into<String>) {
        self.report_mistake(message.into(), false);
    }

    /// Reports that there is no such member.
    fn mistaken_name(&self, message: impl Into<String>) {
        self.report_mistake(message.into(), true);
    }

    /// One copy of this for all that is reported keeps the module small.
    #[inline(never)]
    fn report_mistake(&self, message: String, is_name: bool) {
        self.report.mistakes.borrow_mut().push(Mistake {
            place: self.place(),
            is_name,
            topic: Topic::Other,
            message,
        });
    }

    pub(crate) fn warn(&self, topic: Topic, message: impl Into<String>) {
        let warning = Mistake::at(self.place(), message);
        let warning = Mistake { topic, ..warning };
        self.report.warnings.borrow_mut().push(warning);
    }

    /// Reports that something else was expected here.
    pub(crate) fn expected<T>(&self, what: &str) -> Option<T> {
        self.mistake(format!("expected {what}, found {}", self.found()));
        None
    }

    /// Reports that something else was expected here, and how to make it of what is.
    pub(crate) fn expected_so<T>(&self, what: &str, advice: &str) -> Option<T> {
        self.mistake(format!("expected {what}, found {}: {advice}", self.found()));
        None
    }

    fn found(&self) -> &'static str {
        match self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        }
    }

    pub(crate) fn place(&self) -> Place {
        let parent = self.parent.map(Input::place).unwrap_or_default();
        match self.step {
            Step::Root => parent,
            Step::Index(index) => parent.item(index),
            Step::Member(name) => parent.member(name),
        }
    }

    pub(crate) fn text(&self) -> Option<&'a str> {
        match self.value {
            Value::String(text) => Some(text),
            Value::Bool(_) | Value::Number(_) => self.expected_so("a string", "put it in quotes"),
            _ => self.expected("a string"),
        }
    }

    /// A number that is whole, in the bounds of `T`; silent where it isn't.
    pub(crate) fn whole<T: TryFrom<u32>>(&self) -> Option<T> {
        // In a protobuf `Struct` every number is a double.
        let number = self.value.as_f64()?;
        let is_whole = number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is whole and in bounds"
        )]
        is_whole.then_some(number as u32)?.try_into().ok()
    }

    pub(crate) fn object(&'a self) -> Option<Object<'a>> {
        match self.value {
            Value::Object(members) => Some(Object {
                input: self,
                members,
            }),
            _ => self.expected("an object"),
        }
    }

    /// Another value in the same place.
    pub(crate) fn replaced<'b>(&'b self, value: &'b Value, dialect: Dialect) -> Input<'b> {
        Input {
            value,
            parent: self.parent,
            step: match self.step {
                Step::Root => Step::Root,
                Step::Index(index) => Step::Index(index),
                Step::Member(name) => Step::Member(name),
            },
            report: self.report,
            dialect,
        }
    }

    fn child(&'a self, step: Step<'a>, value: &'a Value) -> Input<'a> {
        Input {
            value,
            parent: Some(self),
            step,
            report: self.report,
            dialect: self.dialect,
        }
    }
}

/// An object of the document.
pub(crate) struct Object<'a> {
    input: &'a Input<'a>,
    members: &'a Map<String, Value>,
}

impl<'a> Object<'a> {
    /// Reads the member with this name, which is given in snake_case.
    pub(crate) fn field<T: Read>(&self, name: &str) -> Option<T> {
        self.field_in(name, self.input.dialect)
    }

    /// Reads a member whose own members are spelled in another dialect.
    pub(crate) fn field_in<T: Read>(&self, name: &str, dialect: Dialect) -> Option<T> {
        match self.member(name, dialect) {
            None => T::absent(self.input, name),
            Some(member) => T::read(&member),
        }
    }

    /// Reports a mistake in this member.
    pub(crate) fn mistake_at(&self, name: &str, message: String) {
        let [camel, snake] = self.spellings(name);
        match camel.or(snake) {
            Some((name, value)) => self.input.child(Step::Member(name), value).mistake(message),
            None => self.input.mistake(message),
        }
    }

    /// The member with this name, unless it is null.
    fn member(&self, name: &str, dialect: Dialect) -> Option<Input<'a>> {
        let [camel, snake] = self.spellings(name);
        if let (Some((camel, _)), Some((snake, _))) = (camel, snake) {
            self.input.mistake(format!(
                "`{camel}` and `{snake}` are the same field: write it once"
            ));
        }
        match camel.or(snake)? {
            (_, Value::Null) => None,
            (name, value) => Some(Input {
                dialect,
                ..self.input.child(Step::Member(name), value)
            }),
        }
    }

    /// The members with this name, in camelCase and, where that counts, in snake_case.
    fn spellings(&self, name: &str) -> [Option<(&'a String, &'a Value)>; 2] {
        let camel = camel_case(name);
        let snake = match self.input.dialect {
            Dialect::Istio if camel != name => self.members.get_key_value(name),
            _ => None,
        };
        [self.members.get_key_value(&camel), snake]
    }

    /// Reports every member that is none of `fields` and `beyond`, the fields that Istio doesn't
    /// have, and every one of `not_yet`: to skip what this version can't decide would open what it
    /// closes. Tells whether there was none to report.
    pub(crate) fn deny_unknown(&self, fields: &[&str], beyond: &[&str], not_yet: &[&str]) -> bool {
        let beyond = match self.input.dialect {
            Dialect::Short => beyond,
            Dialect::Istio => &[],
        };
        let known = || fields.iter().chain(beyond);
        let is_one = |field: &&str, name: &str| {
            camel_case(field) == name || self.input.dialect == Dialect::Istio && *field == name
        };
        let mut all_known = true;
        for (name, value) in self.members {
            if known().any(|field| is_one(field, name)) {
                continue;
            }
            all_known = false;
            let member = self.input.child(Step::Member(name), value);
            if not_yet.iter().any(|field| is_one(field, name)) {
                member.mistaken_name(
                    "not supported by this version of Portcullis: remove the resource or rule",
                );
            } else {
                let names: Vec<_> = known().map(|f| format!("`{}`", camel_case(f))).collect();
                member.mistaken_name(format!(
                    "unknown field; the fields here are {}",
                    names.join(", ")
                ));
            }
        }
        all_known
    }
}

pub(super) fn camel_case(snake: &str) -> String {
    let mut camel = String::with_capacity(snake.len());
    let mut upper = false;
    for letter in snake.chars() {
        match letter {
            '_' => upper = true,
            letter if upper => {
                camel.push(letter.to_ascii_uppercase());
                upper = false;
            }
            letter => camel.push(letter),
        }
    }
    camel
}

/// A type that can stand in a configuration.
pub(crate) trait Read: Sized {
    /// Whether an empty string is the same as none, where the field may be missing: proto3 can't tell
    /// them apart, so templates of Istio's resources write either.
    const EMPTY_IS_UNSET: bool = false;

    /// Reads the value, or reports what is wrong with it.
    fn read(input: &Input<'_>) -> Option<Self>;

    /// What is read here, as JSON Schema.
    fn schema(schemas: &mut Schemas) -> Value;

    /// The value of a field that isn't written (or is null, which protobuf's JSON takes as unset), by its name
    /// in snake_case.
    fn absent(object: &Input<'_>, name: &str) -> Option<Self> {
        object.mistake(format!("`{}` is missing", camel_case(name)));
        None
    }
}

impl<T: Read> Read for Option<T> {
    fn read(input: &Input<'_>) -> Option<Self> {
        match T::EMPTY_IS_UNSET && input.value == "" {
            true => Some(None),
            false => T::read(input).map(Some),
        }
    }

    fn schema(schemas: &mut Schemas) -> Value {
        T::schema(schemas)
    }

    fn absent(_: &Input<'_>, _: &str) -> Option<Self> {
        Some(None)
    }
}

/// A value that may be wrong, where that has been reported.
pub(crate) struct Readable<T>(pub(crate) Option<T>);

impl<T: Read> Read for Readable<T> {
    fn read(input: &Input<'_>) -> Option<Self> {
        Some(Self(T::read(input)))
    }

    fn schema(schemas: &mut Schemas) -> Value {
        T::schema(schemas)
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(input: &Input<'_>) -> Option<Self> {
        let Value::Array(items) = input.value else {
            return match input.value {
                Value::String(_) => input.expected_so("a list", "put it in brackets"),
                _ => input.expected("a list"),
            };
        };
        let mut read = Self::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            read.extend(T::read(&input.child(Step::Index(index), item)));
        }
        (read.len() == items.len()).then_some(read)
    }

    fn schema(schemas: &mut Schemas) -> Value {
        json!({ "type": "array", "items": T::schema(schemas) })
    }

    fn absent(_: &Input<'_>, _: &str) -> Option<Self> {
        Some(Vec::new())
    }
}

impl Read for bool {
    fn read(input: &Input<'_>) -> Option<Self> {
        match input.value {
            Value::Bool(value) => Some(*value),
            _ => input.expected("true or false"),
        }
    }

    fn schema(_: &mut Schemas) -> Value {
        a("boolean")
    }

    fn absent(_: &Input<'_>, _: &str) -> Option<Self> {
        Some(false)
    }
}

impl Read for String {
    fn read(input: &Input<'_>) -> Option<Self> {
        input.text().map(str::to_owned)
    }

    fn schema(_: &mut Schemas) -> Value {
        a("string")
    }
}

impl Read for BTreeMap<String, String> {
    fn read(input: &Input<'_>) -> Option<Self> {
        let Value::Object(members) = input.value else {
            return input.expected("an object of strings");
        };
        let mut read = Self::new();
        for (name, value) in members {
            if let Some(value) = String::read(&input.child(Step::Member(name), value)) {
                read.insert(name.clone(), value);
            }
        }
        (read.len() == members.len()).then_some(read)
    }

    fn schema(_: &mut Schemas) -> Value {
        map_of(&a("string"))
    }

    fn absent(_: &Input<'_>, _: &str) -> Option<Self> {
        Some(Self::new())
    }
}
