//! The claims of a verified token for those behind us. A Wasm filter can't write dynamic metadata
//! (envoyproxy/envoy#15148); Envoy's `header_to_metadata` makes it of a header.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value as ProtoValue};
use serde_json::{Map, Value};

use super::Identity;
use crate::outcome::Change;

/// From this length on, `header_to_metadata` drops a value.
const TOO_LONG: usize = 8 * 1024;
/// How many objects and lists may lie in one another: protobuf reads 100 messages deep, and an
/// object takes three.
const DEEPEST: usize = 32;

/// The header with the claims, a serialised `google.protobuf.Value` in base64.
pub(super) fn change(header: &str, identity: &Identity<'_>) -> Change {
    let claims = identity.token.claims();
    let message = normalised(claims, &identity.rule.space_delimited);
    let value = STANDARD.encode(message.encode_to_vec());
    match value.len() < TOO_LONG && 1 + deepest(claims.values()) <= DEEPEST {
        true => Change::Set(header.to_owned(), value.into_bytes()),
        false => Change::Withhold(header.to_owned()),
    }
}

fn deepest<'v>(values: impl Iterator<Item = &'v Value>) -> usize {
    let depth = |value: &'v Value| match value {
        Value::Array(items) => 1 + deepest(items.iter()),
        Value::Object(members) => 1 + deepest(members.values()),
        _ => 0,
    };
    values.map(depth).max().unwrap_or_default()
}

/// As Envoy's `normalize_payload_in_metadata`: a claim with words in it becomes a list of them; one
/// without stays as it is.
fn normalised(claims: &Map<String, Value>, space_delimited: &[String]) -> ProtoValue {
    let claim = |(name, claim): (&String, &Value)| {
        let text = claim.as_str().filter(|_| space_delimited.contains(name));
        let words = text.unwrap_or_default().split(' ');
        let words: Vec<ProtoValue> = words
            .filter(|word| !word.is_empty())
            .map(|word| message(Kind::StringValue(word.to_owned())))
            .collect();
        match words.is_empty() {
            true => (name.clone(), proto(claim)),
            false => (name.clone(), list(words)),
        }
    };
    message(Kind::StructValue(Struct {
        fields: claims.iter().map(claim).collect(),
    }))
}

fn proto(value: &Value) -> ProtoValue {
    match value {
        Value::Null => message(Kind::NullValue(0)),
        Value::Bool(flag) => message(Kind::BoolValue(*flag)),
        // Strict JSON has no number that isn't one of these.
        Value::Number(number) => message(Kind::NumberValue(number.as_f64().unwrap_or_default())),
        Value::String(text) => message(Kind::StringValue(text.clone())),
        Value::Array(items) => list(items.iter().map(proto).collect()),
        Value::Object(members) => message(Kind::StructValue(Struct {
            fields: members
                .iter()
                .map(|(name, member)| (name.clone(), proto(member)))
                .collect(),
        })),
    }
}

fn list(values: Vec<ProtoValue>) -> ProtoValue {
    message(Kind::ListValue(ListValue { values }))
}

fn message(kind: Kind) -> ProtoValue {
    ProtoValue { kind: Some(kind) }
}
