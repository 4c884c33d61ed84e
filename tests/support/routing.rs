//! Routes on claims, as Istio makes them of a VirtualService, and the native filters that put the
//! claims where those routes look for them.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use prost::Message as _;
use prost_types::value::Kind;
use serde_json::{Value, json};

use super::case::text;

/// The header in which our plugin hands over claims.
pub const CLAIMS: &str = "x-jwt-claims";
const JWT_AUTHN: &str = "envoy.filters.http.jwt_authn";

/// How a name in a match addresses a claim, and which (Istio's pkg/jwt/routing.go).
pub fn claim(name: &str) -> Option<(&'static str, Vec<&str>)> {
    let prefix = "@request.auth.claims";
    let (start, rest) = name.split_at_checked(prefix.len())?;
    if !start.eq_ignore_ascii_case(prefix) {
        return None;
    }
    let (separator, names) = match rest.strip_prefix('.') {
        Some(names) => (("Dot", "."), names),
        None => (("Square", "]["), rest.strip_prefix('[')?.strip_suffix(']')?),
    };
    (!names.is_empty()).then(|| (separator.0, names.split(separator.1).collect()))
}

/// Claims as their header has them: a serialised `google.protobuf.Value` in base64.
pub fn encoded(claims: &Value) -> String {
    BASE64_STANDARD.encode(proto(claims).encode_to_vec())
}

fn proto(value: &Value) -> prost_types::Value {
    let members = value.as_object().into_iter().flatten();
    match value {
        Value::Null => Kind::NullValue(0).into(),
        Value::Bool(flag) => (*flag).into(),
        Value::Number(number) => number.as_f64().expect("a double").into(),
        Value::String(text) => text.clone().into(),
        Value::Array(items) => items.iter().map(proto).collect::<Vec<_>>().into(),
        Value::Object(_) => members
            .map(|(name, member)| (name.clone(), proto(member)))
            .collect::<BTreeMap<_, _>>()
            .into(),
    }
}

/// The route of a row: to the upstream, where all of `match_headers` and none of
/// `match_without_headers` match.
pub fn route(row: &Value) -> Value {
    let mut claims = Vec::new();
    let mut headers = Vec::new();
    for (list, inverted) in [("match_headers", false), ("match_without_headers", true)] {
        for entry in row[list].as_array().expect("a list") {
            let name = text(&entry["name"]);
            let value = match text(&entry["match"]) {
                "regex" => json!({ "safe_regex": { "regex": entry["value"] } }),
                kind @ ("exact" | "prefix") => json!({ kind: entry["value"] }),
                other => panic!("unknown match {other}"),
            };
            match claim(name) {
                Some((_, path)) => claims.push(on_claim(&path, &value, inverted)),
                None => headers
                    .push(json!({ "name": name, "string_match": value, "invert_match": inverted })),
            }
        }
    }
    json!({
        "match": { "prefix": "/", "dynamic_metadata": claims, "headers": headers },
        "route": { "cluster": "upstream" },
    })
}

/// A string that matches, or a list with one.
fn on_claim(path: &[&str], value: &Value, inverted: bool) -> Value {
    let keys = ["payload"].iter().chain(path);
    let value = json!({ "string_match": value });
    json!({
        "filter": JWT_AUTHN,
        "path": keys.map(|key| json!({ "key": key })).collect::<Vec<_>>(),
        "value": { "or_match": { "value_matchers": [{ "list_match": { "one_of": value } }, value] } },
        "invert": inverted,
    })
}

/// Moves the claims out of their header to where `jwt_authn` would have put them.
pub fn header_to_metadata() -> Value {
    json!({
        "name": "envoy.filters.http.header_to_metadata",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.header_to_metadata.v3.Config",
            "request_rules": [{
                "header": CLAIMS,
                "on_header_present": {
                    "metadata_namespace": JWT_AUTHN,
                    "key": "payload",
                    "type": "PROTOBUF_VALUE",
                    "encode": "BASE64",
                },
                "remove": true,
            }],
        },
    })
}

/// Has the route chosen again, in any version of Envoy.
pub fn lua() -> Value {
    json!({
        "name": "envoy.filters.http.lua",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
            "default_source_code": {
                "inline_string": "function envoy_on_request(handle) handle:clearRouteCache() end",
            },
        },
    })
}

/// Has the route chosen again, in Envoy 1.40.
pub fn set_filter_state() -> Value {
    json!({
        "name": "envoy.filters.http.set_filter_state",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config",
            "on_request_headers": [{
                "object_key": "claims",
                "factory_key": "envoy.string",
                "format_string": { "text_format_source": { "inline_string": "moved" } },
            }],
            "clear_route_cache": true,
        },
    })
}
