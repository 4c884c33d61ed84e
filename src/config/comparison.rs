//! Conditions that Istio doesn't have. They stand under `when` in the short form only.

use serde_json::{Number, Value, json};

use super::reader::{Dialect, Input, Read, record};
use super::schema::{Schemas, a, any_of};
use super::text::{HeaderName, Text};
use crate::authz::{Bound, Comparison, Condition, Operand, PeerPattern, Reference, Test, Wanted};
use crate::jwt::ClaimPath;
use crate::matcher::StringMatch;

type Conditions = Vec<Condition<PeerPattern>>;

/// The conditions of an entry that names a claim or scopes; `None` if this is another one.
pub(super) fn conditions(input: &Input<'_>) -> Option<Option<Conditions>> {
    let has = |name| input.value().get(name).is_some();
    match input.dialect() {
        Dialect::Short if has("claim") => {
            Some(ClaimFields::read(input).map(ClaimFields::conditions))
        }
        Dialect::Short if has("scopes") => {
            Some(ScopesFields::read(input).map(|fields| fields.scopes.conditions(&Operand::Scopes)))
        }
        _ => None,
    }
}

record! {
    /// A claim and what must hold of it, all together.
    pub(crate) struct ClaimFields {
        /// The claim: `a.b` is the member `b` of the claim `a`; names with dots go in brackets,
        /// `[a.b][c]`.
        claim: ClaimPath,
        /// `true`: the claim is there, and not null; `false`: it isn't. This can always be told; no
        /// other comparison can of a claim that isn't there.
        present: Option<bool>,
        /// The claim is this boolean, this number, this very string, or this part of the request.
        equals: Option<One>,
        /// The claim is another value, of the same type.
        not_equals: Option<One>,
        /// The claim is a number, and this or more.
        at_least: Option<Number>,
        /// The claim is a number, and this or less.
        at_most: Option<Number>,
        /// The claim is a number, and more than this.
        above: Option<Number>,
        /// The claim is a number, and less than this.
        below: Option<Number>,
        /// One of these is in the list. Strings are patterns, as in `values`.
        any_of: Option<Listed>,
        /// Each of these is in the list.
        all_of: Option<Listed>,
        /// None of these is in the list.
        none_of: Option<Listed>,
    }
    check check_claim;
}

fn check_claim(fields: &ClaimFields, input: &Input<'_>) {
    let numbers = [
        &fields.at_least,
        &fields.at_most,
        &fields.above,
        &fields.below,
    ];
    let lists = [&fields.any_of, &fields.all_of, &fields.none_of];
    let compares = fields.equals.is_some()
        || fields.not_equals.is_some()
        || numbers.iter().any(|number| number.is_some())
        || lists.iter().any(|list| list.is_some());
    match fields.present {
        Some(false) if compares => {
            input.mistake("`present: false` can't stand beside a comparison: write it alone");
        }
        None if !compares => input.mistake(
            "write what the claim must be: `present`, `equals`, `notEquals`, `atLeast`, `atMost`, \
             `above`, `below`, `anyOf`, `allOf` or `noneOf`",
        ),
        _ => {}
    }
}

impl ClaimFields {
    fn conditions(self) -> Conditions {
        let claim = self.claim;
        let lists = ListFields {
            any_of: self.any_of,
            all_of: self.all_of,
            none_of: self.none_of,
        };
        let mut conditions = lists.conditions(&Operand::Claim(claim.clone()));
        conditions.extend(
            self.present
                .map(|present| condition(!present, Comparison::Present(claim.clone()))),
        );
        for (negated, one) in [(false, self.equals), (true, self.not_equals)] {
            conditions.extend(
                one.map(|One(one)| condition(negated, Comparison::Equals(claim.clone(), one))),
            );
        }
        for (bound, number) in [
            (Bound::AtLeast, self.at_least),
            (Bound::AtMost, self.at_most),
            (Bound::Above, self.above),
            (Bound::Below, self.below),
        ] {
            conditions.extend(
                number.map(|number| {
                    condition(false, Comparison::Ordered(claim.clone(), bound, number))
                }),
            );
        }
        conditions
    }
}

record! {
    /// The scopes of the token.
    pub(crate) struct ScopesFields {
        /// What must hold of what is in `scope` and `scp`, all together.
        scopes: ListFields,
    }
}

record! {
    /// What must hold of a list.
    pub(crate) struct ListFields {
        /// One of these is in the list. Strings are patterns, as in `values`.
        any_of: Option<Listed>,
        /// Each of these is in the list.
        all_of: Option<Listed>,
        /// None of these is in the list.
        none_of: Option<Listed>,
    }
    check check_list;
}

fn check_list(fields: &ListFields, input: &Input<'_>) {
    let lists = [&fields.any_of, &fields.all_of, &fields.none_of];
    if lists.iter().all(|list| list.is_none()) {
        input.mistake("write what must be in the list: `anyOf`, `allOf` or `noneOf`");
    }
}

impl ListFields {
    fn conditions(self, operand: &Operand) -> Conditions {
        let any_of = |Listed(list)| Comparison::AnyOf(operand.clone(), list);
        let all_of = |Listed(list)| Comparison::AllOf(operand.clone(), list);
        let conditions = [
            self.any_of.map(|list| condition(false, any_of(list))),
            self.all_of.map(|list| condition(false, all_of(list))),
            self.none_of.map(|list| condition(true, any_of(list))),
        ];
        conditions.into_iter().flatten().collect()
    }
}

fn condition(negated: bool, comparison: Comparison) -> Condition<PeerPattern> {
    Condition {
        negated,
        test: Test::Compared(comparison),
    }
}

/// A value to compare with; a string is itself.
#[derive(Debug)]
pub(crate) struct One(Wanted);

impl Read for One {
    fn read(input: &Input<'_>) -> Option<Self> {
        wanted(input, |text| StringMatch::Exact(text.to_owned())).map(Self)
    }

    fn schema(schemas: &mut Schemas) -> Value {
        wanted_schema(schemas)
    }
}

/// An item of a list; a string is a pattern.
#[derive(Debug)]
pub(crate) struct Each(Wanted);

impl Read for Each {
    fn read(input: &Input<'_>) -> Option<Self> {
        wanted(input, StringMatch::text).map(Self)
    }

    fn schema(schemas: &mut Schemas) -> Value {
        wanted_schema(schemas)
    }
}

fn wanted(input: &Input<'_>, pattern: fn(&str) -> StringMatch) -> Option<Wanted> {
    match input.value() {
        Value::Bool(value) => Some(Wanted::Boolean(*value)),
        Value::Number(number) => Some(Wanted::Number(number.clone())),
        Value::Object(_) => ReferenceFields::read(input)?
            .reference()
            .map(Wanted::Request),
        Value::String(_) => Text::read(input).map(|Text(text)| Wanted::Text(pattern(&text))),
        _ => input.expected("a boolean, a number, a string, or a part of the request"),
    }
}

fn wanted_schema(schemas: &mut Schemas) -> Value {
    any_of([
        a("boolean"),
        a("number"),
        a("string"),
        ReferenceFields::schema(schemas),
    ])
}

/// At least one item.
#[derive(Debug)]
pub(crate) struct Listed(Vec<Wanted>);

impl Read for Listed {
    fn read(input: &Input<'_>) -> Option<Self> {
        let items = Vec::<Each>::read(input)?;
        if items.is_empty() {
            input.mistake("the list is empty: write at least one value");
        }
        Some(Self(items.into_iter().map(|Each(item)| item).collect()))
    }

    fn schema(schemas: &mut Schemas) -> Value {
        Vec::<Each>::schema(schemas)
    }
}

impl Read for Number {
    fn read(input: &Input<'_>) -> Option<Self> {
        match input.value() {
            Value::Number(number) => Some(number.clone()),
            _ => input.expected("a number"),
        }
    }

    fn schema(_: &mut Schemas) -> Value {
        a("number")
    }
}

record! {
    /// A part of the request: one of these.
    pub(crate) struct ReferenceFields {
        /// The value of this header. Where it has several lines, they must be the same.
        header: Option<ReferredHeader>,
        /// What the star is in the host, without the port and in lower case: with `*.example.com`,
        /// `acme` of `Acme.example.com:443`. `*` is the whole host.
        host: Option<HostPart>,
        /// The segment of this number, from 1, of the path as it is normalised, percent-decoded.
        path_segment: Option<SegmentNumber>,
    }
    check check_reference;
}

fn check_reference(fields: &ReferenceFields, input: &Input<'_>) {
    let written = [
        fields.header.is_some(),
        fields.host.is_some(),
        fields.path_segment.is_some(),
    ];
    if written.iter().filter(|is_written| **is_written).count() != 1 {
        input.mistake("write exactly one of `header`, `host` and `pathSegment`");
    }
}

impl ReferenceFields {
    fn reference(self) -> Option<Reference> {
        let header = self.header.map(|header| Reference::Header(header.0));
        let segment = self.path_segment.map(|n| Reference::PathSegment(n.0));
        header.or(segment).or(self.host.map(|host| host.0))
    }
}

/// A header that can be there.
#[derive(Debug)]
pub(crate) struct ReferredHeader(String);

impl Read for ReferredHeader {
    fn read(input: &Input<'_>) -> Option<Self> {
        match HeaderName::read(input)?.0.as_str() {
            "host" => {
                input.mistake("the host is no header here: write `{host: \"*\"}`");
                None
            }
            name => Some(Self(name.to_owned())),
        }
    }

    fn schema(_: &mut Schemas) -> Value {
        a("string")
    }
}

/// A host with a star for the part that is meant.
#[derive(Debug)]
pub(crate) struct HostPart(Reference);

impl Read for HostPart {
    fn read(input: &Input<'_>) -> Option<Self> {
        let host = input.text()?.to_ascii_lowercase();
        match host.split_once('*') {
            Some((before, after)) if !after.contains('*') => Some(Self(Reference::Host {
                before: before.to_owned(),
                after: after.to_owned(),
            })),
            _ => {
                input.mistake("write one `*` for the part of the host: `*.example.com`, or `*`");
                None
            }
        }
    }

    fn schema(_: &mut Schemas) -> Value {
        a("string")
    }
}

#[derive(Debug)]
pub(crate) struct SegmentNumber(u8);

impl Read for SegmentNumber {
    fn read(input: &Input<'_>) -> Option<Self> {
        Number::read(input)?;
        let segment = input.whole().filter(|segment| *segment > 0);
        if segment.is_none() {
            input.mistake("not a segment: count from 1, to 255");
        }
        segment.map(Self)
    }

    fn schema(_: &mut Schemas) -> Value {
        json!({ "type": "integer", "minimum": 1, "maximum": u8::MAX })
    }
}
