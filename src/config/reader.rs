//! Reading a JSON value into types, with every mistake kept instead of the first one only.
//!
//! serde stops at the first error; someone who mends a configuration wants all of them, each with
//! its path. A field's type says how it is read, so a value that was read is a value that is right.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::place::Place;
use super::schema::{Schemas, a, map_of};

/// One thing that is wrong in a configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mistake {
    /// Where.
    pub place: Place,
    /// Whether it is the name there that is wrong, whatever its value.
    pub is_name: bool,
    /// What, and what to write instead.
    pub message: String,
}

impl Mistake {
    pub(crate) fn at(place: Place, message: impl Into<String>) -> Self {
        Self {
            place,
            is_name: false,
            message: message.into(),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.steps().is_empty() {
            write!(formatter, "{}: ", self.place)?;
        }
        formatter.write_str(&self.message)
    }
}

/// Everything that is wrong in a configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mistakes(pub(crate) Vec<Mistake>);

impl Mistakes {
    /// The mistakes, in the order of the document.
    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.0.iter()
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str("\n")?;
            }
            write!(formatter, "{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// What is found while reading: mistakes, which refuse the configuration, and warnings.
#[derive(Debug, Default)]
pub(crate) struct Report {
    mistakes: RefCell<Vec<Mistake>>,
    warnings: RefCell<Vec<Mistake>>,
    allows_link_local: bool,
    /// Whether policies compare hosts without their ports.
    ignores_host_port: bool,
}

impl Report {
    /// A report on this document, whose `jwks.allowLinkLocal` and `ignoreHostPort` decide which
    /// addresses and hosts are mistakes everywhere else.
    pub(crate) fn on(document: &Value) -> Self {
        let allowed = document
            .get("jwks")
            .and_then(|jwks| jwks.get("allowLinkLocal"));
        let report = Self::default();
        let ignored = match document {
            Value::Object(_) => Input::root(document, &report)
                .object()
                .and_then(|document| document.field("ignore_host_port")),
            _ => None,
        };
        Self {
            allows_link_local: allowed == Some(&Value::Bool(true)),
            ignores_host_port: ignored.unwrap_or_default(),
            ..report
        }
    }

    /// What was read, and warnings; or everything that kept it from being read.
    pub(crate) fn into_result<T>(self, read: Option<T>) -> Result<(T, Vec<Mistake>), Mistakes> {
        let mistakes = self.mistakes.into_inner();
        match read {
            Some(read) if mistakes.is_empty() => Ok((read, self.warnings.into_inner())),
            _ => Err(Mistakes(mistakes)),
        }
    }
}

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
            message,
        });
    }

    pub(crate) fn warn(&self, message: impl Into<String>) {
        let warning = Mistake::at(self.place(), message);
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

    /// The member with this name, unless it is null.
    fn member(&self, name: &str, dialect: Dialect) -> Option<Input<'a>> {
        let camel = camel_case(name);
        let spelled_camel = self.members.get_key_value(&camel);
        let spelled_snake = match self.input.dialect {
            Dialect::Istio if camel != name => self.members.get_key_value(name),
            _ => None,
        };
        if spelled_camel.is_some() && spelled_snake.is_some() {
            self.input.mistake(format!(
                "`{camel}` and `{name}` are the same field: write it once"
            ));
        }
        match spelled_camel.or(spelled_snake)? {
            (_, Value::Null) => None,
            (name, value) => Some(Input {
                dialect,
                ..self.input.child(Step::Member(name), value)
            }),
        }
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
        T::read(input).map(Some)
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

impl Read for Duration {
    fn read(input: &Input<'_>) -> Option<Self> {
        let duration = input.value.as_str().and_then(parse_duration);
        if duration.is_none() {
            input.mistake("not a duration; write for example \"5s\", \"1m30s\" or \"500ms\"");
        }
        duration
    }

    fn schema(_: &mut Schemas) -> Value {
        json!({ "type": "string", "pattern": "^([0-9.]+(h|m|s|ms|us|µs|ns))+$" })
    }
}

/// A duration as Go and protobuf write it: decimal numbers, each with a unit.
fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| c != '.' && !c.is_ascii_digit())?);
        let (unit, tail) = tail.split_at(
            tail.find(|c: char| c == '.' || c.is_ascii_digit())
                .unwrap_or(tail.len()),
        );
        let nanoseconds = match unit {
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "us" | "µs" => 1_000,
            "ns" => 1,
            _ => return None,
        };
        total = total.checked_add(times(number, nanoseconds)?)?;
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
}

/// So many of these; what is left of a nanosecond is cut off.
fn times(number: &str, nanoseconds: u64) -> Option<Duration> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut total = match whole {
        "" => 0,
        whole => whole.parse::<u64>().ok()?.checked_mul(nanoseconds)?,
    };
    let mut place = nanoseconds;
    for digit in fraction.chars() {
        place /= 10;
        total = total.checked_add(u64::from(digit.to_digit(10)?) * place)?;
    }
    Some(Duration::from_nanos(total))
}

/// Declares a struct that is read from an object; the doc comment of a field is its reference, and
/// its description in the schema.
///
/// Fields under `beyond` are ours: they can't be written inside an Istio resource. Those under
/// `not_yet` are Istio's and can't be decided by this version; those under `unread` are right
/// here but read elsewhere, or facts that nothing depends on yet. `check` is a function that looks at the fields together.
macro_rules! record {
    (
        $(#[$meta:meta])*
        pub(crate) struct $name:ident {
            $( $(#[doc = $doc:literal])* $field:ident: $type:ty, )*
        }
        $( beyond { $( $(#[doc = $beyond_doc:literal])* $beyond:ident: $beyond_type:ty, )* } )?
        $( not_yet { $( $not_yet:ident, )* } )?
        $( unread { $( $(#[doc = $unread_doc:literal])* $unread:ident: $unread_type:ty, )* } )?
        $( check $check:path; )?
    ) => {
        $(#[$meta])*
        #[derive(Debug)]
        pub(crate) struct $name {
            $( $(#[doc = $doc])* pub(crate) $field: $type, )*
            $( $( $(#[doc = $beyond_doc])* pub(crate) $beyond: $beyond_type, )* )?
        }

        impl $crate::config::reader::Read for $name {
            fn read(input: &$crate::config::reader::Input<'_>) -> Option<Self> {
                let object = input.object()?;
                let all_known = object.deny_unknown(
                    &[$( stringify!($field), )* $( $( stringify!($unread), )* )?],
                    &[$( $( stringify!($beyond), )* )?],
                    &[$( $( stringify!($not_yet), )* )?],
                );
                $( let $field = object.field(stringify!($field)); )*
                $( $( let $beyond = object.field(stringify!($beyond)); )* )?
                let record = Self {
                    $( $field: $field?, )*
                    $( $( $beyond: $beyond?, )* )?
                };
                // What can't be read may be just what a check would miss.
                if !all_known {
                    return None;
                }
                $( $check(&record, input); )?
                Some(record)
            }

            fn schema(schemas: &mut $crate::config::schema::Schemas) -> serde_json::Value {
                use $crate::config::schema::Field;
                schemas.record(module_path!(), stringify!($name), &[
                    $( Field::of::<$type>(stringify!($field), &[$($doc),*]), )*
                    $( $( Field::of::<$unread_type>(stringify!($unread), &[$($unread_doc),*]), )* )?
                    $( $(
                        Field::of::<$beyond_type>(stringify!($beyond), &[$($beyond_doc),*])
                            .beyond(),
                    )* )?
                ])
            }
        }
    };
}

pub(crate) use record;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    record! {
        /// A record to try.
        pub(crate) struct Sample {
            /// A name.
            first_name: String,
            tags: Vec<String>,
        }
        beyond {
            extra: Option<bool>,
        }
        check check_sample;
    }

    fn check_sample(sample: &Sample, input: &Input<'_>) {
        if sample.tags.len() > 2 {
            input.mistake("too many tags");
        }
    }

    fn read(value: Value, dialect: Dialect) -> Result<Sample, Vec<String>> {
        let report = Report::default();
        let input = Input {
            dialect,
            ..Input::root(&value, &report)
        };
        let sample = Sample::read(&input);
        match report.into_result(sample) {
            Ok((sample, _)) => Ok(sample),
            Err(mistakes) => Err(mistakes.iter().map(Mistake::to_string).collect()),
        }
    }

    #[test]
    fn lists_every_mistake_with_its_path() {
        let value = json!({"tags": ["a", 1, {}], "extra": "yes", "frist": 1});
        assert_eq!(
            read(value, Dialect::Short).unwrap_err(),
            [
                "frist: unknown field; the fields here are `firstName`, `tags`, `extra`",
                "`firstName` is missing",
                "tags[1]: expected a string, found a number: put it in quotes",
                "tags[2]: expected a string, found an object",
                "extra: expected true or false, found a string",
            ]
        );
    }

    #[test]
    fn istio_resources_take_both_spellings_and_none_of_our_fields() {
        let snake = json!({"first_name": "x"});
        assert_eq!(read(snake.clone(), Dialect::Istio).unwrap().first_name, "x");
        assert!(read(snake, Dialect::Short).is_err());
        let beyond = json!({"firstName": "x", "extra": true});
        assert_eq!(
            read(beyond.clone(), Dialect::Short).unwrap().extra,
            Some(true)
        );
        assert!(read(beyond, Dialect::Istio).is_err());
        let twice = json!({"firstName": "x", "first_name": "y"});
        assert_eq!(
            read(twice, Dialect::Istio).unwrap_err(),
            ["`firstName` and `first_name` are the same field: write it once"]
        );
    }

    #[test]
    fn null_is_unset_and_checks_see_the_whole() {
        let value = json!({"firstName": "x", "tags": null});
        assert!(read(value, Dialect::Short).unwrap().tags.is_empty());
        let value = json!({"firstName": "x", "tags": ["a", "b", "c"]});
        assert_eq!(read(value, Dialect::Short).unwrap_err(), ["too many tags"]);
    }

    #[test]
    fn durations() {
        for (text, millis) in [
            ("5s", Some(5_000)),
            ("1m30s", Some(90_000)),
            ("0.5s", Some(500)),
            (".5s", Some(500)),
            ("1.s", Some(1_000)),
            ("0.25h1.5m", Some(990_000)),
            (".s", None),
            ("0s", Some(0)),
            ("1h", Some(3_600_000)),
            ("250ms", Some(250)),
            ("", None),
            ("5", None),
            ("s", None),
            ("-5s", None),
            ("5 s", None),
            ("1e3s", None),
            ("1..5s", None),
            ("999999999999999999999999h", None),
        ] {
            assert_eq!(
                parse_duration(text),
                millis.map(Duration::from_millis),
                "{text}"
            );
        }
    }
}
