//! What a verified token writes into the header of the request.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::config::JwtRule;
use crate::jwt::{ClaimPath, Verified};
use crate::outcome::Change;
use crate::sorted;

/// A header that a rule writes, and from what.
#[derive(Debug)]
pub(crate) struct Output {
    header: String,
    from: From,
}

#[derive(Debug)]
enum From {
    Claim(ClaimPath),
    Payload,
}

impl Output {
    pub(crate) fn of(rule: &JwtRule) -> Vec<Self> {
        let payload = rule.output_payload_to_header.iter().map(|header| Self {
            header: header.0.clone(),
            from: From::Payload,
        });
        let claims = rule.output_claim_to_headers.iter().map(|output| Self {
            header: output.header.0.clone(),
            from: From::Claim(output.claim.clone()),
        });
        payload.chain(claims).collect()
    }

    pub(crate) fn header(&self) -> &str {
        &self.header
    }

    /// `None` where there is nothing to write. A claim that can't stand in a header isn't written:
    /// Envoy would answer the request with 503.
    pub(crate) fn change(&self, token: &Verified) -> Option<Change> {
        let value = match &self.from {
            From::Claim(path) => text(token.claim(path)?)?.into_bytes(),
            From::Payload => token.payload().to_vec(),
        };
        can_stand_in_header(&value).then(|| Change::Set(self.header.clone(), value))
    }
}

/// RFC 9110 section 5.5: no control characters, and no blanks around it, which the next hop would
/// take away.
fn can_stand_in_header(value: &[u8]) -> bool {
    let is_blank = |byte: Option<&u8>| matches!(byte, None | Some(b' ' | b'\t'));
    let is_text = |byte: &u8| (*byte >= b' ' && *byte != 0x7f) || *byte == b'\t';
    !is_blank(value.first()) && !is_blank(value.last()) && value.iter().all(is_text)
}

/// A claim as text: strings as they are, numbers in decimals, lists and objects as base64 of their
/// JSON. As Envoy's `claim_to_headers`, but for numbers that aren't whole or less than zero, which
/// Envoy writes with six decimals.
fn text(claim: &Value) -> Option<String> {
    match claim {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(json(claim)),
        Value::Array(_) | Value::Object(_) => Some(STANDARD.encode(json(claim))),
    }
}

/// Compact JSON as protobuf prints it: numbers without a fraction as integers, and `<`, `>`, `&`
/// escaped. Members are sorted because `serde_json` keeps them so.
fn json(value: &Value) -> String {
    plain_numbers(value)
        .to_string()
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
}

fn plain_numbers(value: &Value) -> Value {
    /// Up to here every whole double is exact.
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    match value {
        Value::Array(items) => items.iter().map(plain_numbers).collect(),
        Value::Object(members) => {
            let members = members.iter();
            let members = members.map(|(name, member)| (name.clone(), plain_numbers(member)));
            Value::Object(sorted::collected(members))
        }
        Value::Number(number) => match number.as_f64() {
            #[expect(clippy::cast_possible_truncation, reason = "it is whole and small")]
            Some(double) if number.is_f64() && double.fract() == 0.0 && double.abs() <= EXACT => {
                Value::from(double as i64)
            }
            _ => value.clone(),
        },
        _ => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn header_values() {
        for (value, expected) in [
            ("a b", true),
            ("a\tb", true),
            ("Zo\u{eb}", true),
            ("", false),
            (" a", false),
            ("a\t", false),
            ("a\r\nx: y", false),
            ("a\0", false),
            ("\u{7f}", false),
        ] {
            assert_eq!(can_stand_in_header(value.as_bytes()), expected, "{value:?}");
        }
    }

    #[test]
    fn claims_as_text() {
        for (claim, expected) in [
            (json!("a b"), Some("a b")),
            (json!(true), Some("true")),
            (json!(42), Some("42")),
            (json!(1.0), Some("1")),
            (json!(-7), Some("-7")),
            (json!(1.5), Some("1.5")),
            (json!(9_007_199_254_740_993_u64), Some("9007199254740993")),
            (json!(null), None),
            (json!(["p", "q"]), Some("WyJwIiwicSJd")),
            (
                json!({"b": 1.0, "a": "<"}),
                Some("eyJhIjoiXHUwMDNjIiwiYiI6MX0="),
            ),
        ] {
            assert_eq!(text(&claim).as_deref(), expected, "{claim}");
        }
    }
}
