//! From the bytes that Envoy hands over to JSON.

use prost_types::value::Kind;
use prost_types::{Struct, Value as ProtoValue};
use serde_json::{Map, Number, Value};

use super::place::Place;
use super::reader::{Mistake, Mistakes};
use crate::json;

/// Reads a plugin configuration: JSON text (a `StringValue`), or a serialised
/// `google.protobuf.Struct`, which is what Envoy hands over where the configuration is one.
///
/// # Errors
///
/// It is neither.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, Mistakes> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(mistake(
            "the plugin configuration is empty: write at least one of `resources`, `jwtRules`, \
             `authorizationPolicies`",
        ));
    }
    match json::parse(bytes) {
        Ok(value) => Ok(value),
        Err(error) => from_struct(bytes)
            .ok_or_else(|| mistake(&format!("the plugin configuration is not JSON: {error}"))),
    }
}

fn mistake(message: &str) -> Mistakes {
    Mistakes(vec![Mistake::at(Place::default(), message)])
}

fn from_struct(bytes: &[u8]) -> Option<Value> {
    let document: Struct = prost::Message::decode(bytes).ok()?;
    object(document)
}

fn object(message: Struct) -> Option<Value> {
    let mut members = Map::new();
    for (name, member) in message.fields {
        members.insert(name, value(member)?);
    }
    Some(Value::Object(members))
}

fn value(message: ProtoValue) -> Option<Value> {
    Some(match message.kind? {
        Kind::NullValue(_) => Value::Null,
        Kind::NumberValue(number) => Value::Number(Number::from_f64(number)?),
        Kind::StringValue(text) => Value::String(text),
        Kind::BoolValue(flag) => Value::Bool(flag),
        Kind::StructValue(message) => object(message)?,
        Kind::ListValue(list) => {
            let items: Option<Vec<Value>> = list.values.into_iter().map(value).collect();
            Value::Array(items?)
        }
    })
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use serde_json::json;

    use super::*;

    fn proto(value: &Value) -> ProtoValue {
        let kind = match value {
            Value::Null => Kind::NullValue(0),
            Value::Bool(flag) => Kind::BoolValue(*flag),
            Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap()),
            Value::String(text) => Kind::StringValue(text.clone()),
            Value::Array(items) => Kind::ListValue(prost_types::ListValue {
                values: items.iter().map(proto).collect(),
            }),
            Value::Object(members) => Kind::StructValue(Struct {
                fields: members.iter().map(|(n, v)| (n.clone(), proto(v))).collect(),
            }),
        };
        ProtoValue { kind: Some(kind) }
    }

    #[test]
    fn takes_json_and_struct() {
        let document = json!({"a": [1.5, "x", true, null], "b": {"c": {}}});
        assert_eq!(parse(document.to_string().as_bytes()).unwrap(), document);
        let Some(Kind::StructValue(message)) = proto(&document).kind else {
            panic!("an object becomes a Struct");
        };
        assert_eq!(parse(&message.encode_to_vec()).unwrap(), document);
    }

    #[test]
    fn refuses_the_rest() {
        for (bytes, message) in [
            (
                &b""[..],
                "the plugin configuration is empty: write at least one of `resources`, `jwtRules`, \
                 `authorizationPolicies`",
            ),
            (
                b" \n",
                "the plugin configuration is empty: write at least one of `resources`, `jwtRules`, \
                 `authorizationPolicies`",
            ),
            (
                b"{\"a\":1,\"a\":2}",
                "the plugin configuration is not JSON: duplicate member \"a\" at line 1 column 13",
            ),
            (
                b"{",
                "the plugin configuration is not JSON: EOF while parsing an object at line 1 column 1",
            ),
            (
                b"\xff\xff",
                "the plugin configuration is not JSON: expected value at line 1 column 1",
            ),
        ] {
            assert_eq!(parse(bytes).unwrap_err().to_string(), message);
        }
    }
}
