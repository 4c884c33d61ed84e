//! The claims of a verified token for those behind us. A Wasm filter can't write dynamic metadata
//! (envoyproxy/envoy#15148); Envoy's `header_to_metadata` makes it of a header.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;
use prost_types::Value as ProtoValue;
use prost_types::value::Kind;
use serde_json::{Map, Value};

use super::Taken;
use crate::outcome::Change;
use crate::sorted;

/// From this length on, `header_to_metadata` drops a value.
const TOO_LONG: usize = 8 * 1024;
/// How many objects and lists may lie in one another, the claims themselves among them: protobuf
/// reads 100 messages deep, and an object takes three.
const DEEPEST: usize = 32;

/// The header with the claims, a serialised `google.protobuf.Value` in base64.
pub(super) fn change(header: &str, taken: &Taken<'_>) -> Change {
    let claims = taken.token.claims();
    let message = normalised(claims, &taken.rule.space_delimited);
    let value = STANDARD.encode(message.encode_to_vec());
    match value.len() < TOO_LONG && deepest(claims.values()) < DEEPEST {
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
            .map(ProtoValue::from)
            .collect();
        match words.is_empty() {
            true => (name.clone(), proto(claim)),
            false => (name.clone(), words.into()),
        }
    };
    sorted::collected::<BTreeMap<_, _>, _>(claims.iter().map(claim)).into()
}

fn proto(value: &Value) -> ProtoValue {
    match value {
        Value::Null => Kind::NullValue(0).into(),
        Value::Bool(flag) => (*flag).into(),
        // Strict JSON has no number that isn't a double.
        Value::Number(number) => number.as_f64().unwrap_or_default().into(),
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => items.iter().map(proto).collect::<Vec<_>>().into(),
        Value::Object(members) => {
            let members = members
                .iter()
                .map(|(name, member)| (name.clone(), proto(member)));
            sorted::collected::<BTreeMap<_, _>, _>(members).into()
        }
    }
}
