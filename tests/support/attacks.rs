//! The attack vectors as cases: forged, malformed and misplaced tokens.

use serde_json::{Map, Value, json};

use super::case::{Case, Oracle, Suite, text};
use super::choices;
use super::mint::count;
use super::read_json;

/// All suites of attacks.
pub fn suites() -> Vec<Suite> {
    let tokens = read_json("tests/vectors/attacks/tokens_shared_keyset1.json");
    let (timed, untimed): (Vec<_>, Vec<_>) =
        list(&tokens["vectors"]).partition(|vector| vector.get("now").is_some());
    let mut at_fixed_time = token_suite("attack tokens at a fixed time", &tokens, &timed);
    at_fixed_time.clock = timed.first().and_then(|vector| vector["now"].as_u64());
    let suites = vec![
        token_suite("attack tokens", &tokens, &untimed),
        at_fixed_time,
        requests(),
    ];
    for (id, _) in choices::all().filter(|(id, _)| id.contains('/')) {
        let mut cases = suites.iter().flat_map(|suite| &suite.cases);
        assert!(cases.any(|case| case.id == id), "no vector {id}");
    }
    suites
}

/// The tokens that must be refused and that Envoy's own filter was seen to take.
pub fn taken_by_native_envoy() -> Vec<String> {
    let file = read_json("tests/vectors/attacks/tokens_shared_keyset1.json");
    let is_taken =
        |vector: &&Value| vector["expected"] == "reject" && vector["envoy_1_40"]["http"] == 200;
    let taken = list(&file["vectors"]).filter(is_taken);
    taken.map(|vector| text(&vector["id"]).to_owned()).collect()
}

fn token_suite(name: &str, file: &Value, vectors: &[&Value]) -> Suite {
    let mut suite = Suite::new(name);
    for (set, keys) in file["jwks"].as_object().expect("key sets") {
        let uri = format!("http://attacks.test/{set}");
        let body = keys
            .as_str()
            .map_or_else(|| keys.to_string(), str::to_owned);
        suite.add_server(&uri, &json!({ "body": body }));
        let mut rule = rule(&file["provider"]);
        rule["jwksUri"] = uri.into();
        suite.add_config(set, config(&rule, "/"));
    }
    for vector in vectors {
        let id = text(&vector["id"]);
        let token = match vector.get("build") {
            Some(pieces) => list(pieces).map(piece).collect(),
            None => text(&vector["token"]).to_owned(),
        };
        suite.add_token(id, json!({ "literal": token }));
        let request = if vector.get("transport").is_some() {
            let encoded: String = token.bytes().map(|byte| format!("%{byte:02X}")).collect();
            json!({ "path": format!("/?access_token={encoded}") })
        } else {
            json!({ "headers": { "authorization": format!("Bearer ${{{id}}}") } })
        };
        suite.cases.push(case(
            id,
            text(&vector["jwks"]),
            request,
            &vector["expected"],
        ));
    }
    suite
}

fn requests() -> Suite {
    let file = read_json("tests/vectors/attacks/http_shared_keyset1.json");
    let mut suite = Suite::new("attack requests");
    for (name, provider) in file["configs"].as_object().expect("configurations") {
        let mut rule = rule(provider);
        rule["jwks"] = file["jwks"].to_string().into();
        let guarded = if name == "path" { "/secure" } else { "/" };
        suite.add_config(name, config(&rule, guarded));
    }
    for vector in list(&file["vectors"]) {
        let id = text(&vector["id"]);
        let mut case = case(
            id,
            text(&vector["config"]),
            vector["request"].clone(),
            &vector["expected"],
        );
        if case.expect["status"] == 200
            && let Some(headers) = vector.get("expected_upstream_headers")
        {
            case.expect["upstream_headers"] = upstream_headers(id, headers);
        }
        // Envoy refuses a fragment, takes an absolute form apart, and joins the lines of
        // `authorization`.
        let ids = [
            "http-query/in-fragment",
            "http-path/fragment",
            "http-path/absolute-form",
            "http-authorization/dup-good-good",
        ];
        if ids.contains(&id) {
            case.tiers = vec!["envoy".to_owned()];
        }
        if id.starts_with("http-path/") {
            case.expect = normalised(vector).unwrap_or(case.expect);
        }
        suite.cases.push(case);
    }
    suite
}

fn case(id: &str, config: &str, request: Value, expected: &Value) -> Case {
    let is_taken = match text(expected) {
        "accept" => true,
        "reject" => false,
        _ => choices::is_taken(id),
    };
    let status = match is_taken {
        true => json!(200),
        false => json!([400, 401, 403, 431]),
    };
    let mut case = Case::new(id, config, request, json!({ "status": status }));
    case.oracle = Oracle::Skip("attack".to_owned());
    case
}

/// A path that normalisation makes into a guarded one must be refused. The vectors were
/// measured with slashes merged, and without the passing of preflights.
fn normalised(vector: &Value) -> Option<Value> {
    let excepted = ["double-slash-mid", "backslash", "cors-preflight"];
    let name = text(&vector["id"]).trim_start_matches("http-path/");
    let refused = vector["envoy_1_40_normalized_paths"]["http"] == 401;
    (refused && !excepted.contains(&name)).then(|| json!({ "status": [401, 403] }))
}

/// As the vectors have them, but that Istio makes no header of an empty string.
fn upstream_headers(id: &str, headers: &Value) -> Value {
    match id {
        "claim-headers/empty-string" => json!({ "x-str": null }),
        "claim-headers/payload-header-spoof" => json!({}),
        _ => headers.clone(),
    }
}

pub fn rule(provider: &Value) -> Value {
    let mut rule = Map::new();
    for (name, value) in provider.as_object().expect("a provider") {
        let (name, value) = match name.as_str() {
            "from_headers" => ("fromHeaders", renamed(value, &[("value_prefix", "prefix")])),
            "from_params" => ("fromParams", value.clone()),
            "from_cookies" => ("fromCookies", value.clone()),
            "forward_payload_header" => ("outputPayloadToHeader", value.clone()),
            "claim_to_headers" => (
                "outputClaimToHeaders",
                renamed(value, &[("header_name", "header"), ("claim_name", "claim")]),
            ),
            name => (name, value.clone()),
        };
        rule.insert(name.to_owned(), value);
    }
    rule.into()
}

fn renamed(items: &Value, names: &[(&str, &str)]) -> Value {
    list(items)
        .map(|item| {
            let members = item.as_object().expect("an object").iter();
            members
                .map(|(name, value)| {
                    let new = names
                        .iter()
                        .find(|(old, _)| old == name)
                        .map_or(&**name, |n| n.1);
                    (new.to_owned(), value.clone())
                })
                .collect::<Value>()
        })
        .collect()
}

/// Everything under a prefix needs a token of the rule's issuer, with or without a subject.
fn config(rule: &Value, guarded: &str) -> Value {
    let verified = json!({ "key": "request.auth.claims[iss]", "notValues": [rule["issuer"]] });
    json!({
        "jwtRules": [rule],
        "authorizationPolicies": [{
            "name": "guard",
            "action": "DENY",
            "rules": [{
                "to": [{ "operation": { "paths": [format!("{guarded}*")] } }],
                "when": [verified],
            }],
        }],
    })
}

fn piece(piece: &Value) -> String {
    text(&piece[1]).repeat(piece.get(2).map_or(1, count))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
