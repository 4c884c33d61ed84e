//! Cases of Istio's own tests and documentation, and measurements of Envoy's filters. They come
//! from other projects, so they are read where they lie, beside this one, and a clone elsewhere
//! does without.

use serde_json::{Map, Value, json};

use super::case::{Case, Oracle, Suite, text};
use super::tally::say;
use super::{mint, project, read_json};

/// How many cases are missing where the files are.
const ISTIO_CASES: usize = 248;
const PROBES: usize = 187;
const CLAIM_ROUTES: usize = 19;

/// The suites that are there, and how many cases are missing.
pub fn suites() -> (Vec<Suite>, usize) {
    let mut suites = Vec::new();
    let mut missing = 0;
    for (path, count) in [("istio.json", ISTIO_CASES), ("probes.json", PROBES)] {
        let path = format!("../shared/cases/{path}");
        if !project(&path).exists() {
            say(&format!("{path} is not here: {count} cases left out"));
            missing += count;
            continue;
        }
        let file = read_json(&path);
        let suite = if file.get("probes").is_some() {
            probes(&file)
        } else {
            istio(&file, "cases")
        };
        assert_eq!(suite.cases.len(), count, "cases of {path}");
        suites.push(suite);
    }
    (suites, missing)
}

/// Istio's table of claim-based routes: the cases, and the rows that say what their routes match.
/// Where it isn't here, how many are missing.
pub fn claim_routing() -> Result<(Suite, Vec<Value>), usize> {
    let path = "../shared/cases/istio.json";
    if !project(path).exists() {
        return Err(CLAIM_ROUTES);
    }
    let file = read_json(path);
    let rows: Vec<Value> = list(&file["claim_routing"]).cloned().collect();
    assert_eq!(rows.len(), CLAIM_ROUTES, "routes of {path}");
    Ok((istio(&file, "claim_routing"), rows))
}

/// Names in a route's match, and which claims they address.
pub fn routing_claim_names() -> Vec<Value> {
    let path = "../shared/cases/istio.json";
    if !project(path).exists() {
        return Vec::new();
    }
    list(&read_json(path)["routing_claim_names"])
        .cloned()
        .collect()
}

fn istio(file: &Value, table: &str) -> Suite {
    let mut suite = Suite::new("istio");
    for (name, token) in entries(&file["tokens"]) {
        suite.add_token(name, json!({ "literal": token["jwt"] }));
    }
    let mut mint_keys = ["krsa", "kp256", "ked25519", "kp384"].iter();
    let mut minted_for = Map::new();
    for answer in list(&file["jwks_server"]) {
        let uri = text(&answer["uri"]);
        let mut keys = Vec::new();
        for set in list(&answer["keys"]) {
            if set == "mint" {
                let kid = mint_keys.next().expect("a key for every URI");
                minted_for.insert(uri.to_owned(), (*kid).into());
                keys.push(mint::public_key(kid));
            } else {
                keys.extend(list(&file["jwks"][text(set)]["keys"]).cloned());
            }
        }
        let mut served = json!({ "body": json!({ "keys": keys }).to_string() });
        for name in ["status", "delay_ms"] {
            if let Some(value) = answer.get(name) {
                served[name] = value.clone();
            }
        }
        suite.add_server(uri, &served);
    }
    for case in list(&file[table]) {
        let case = istio_case(&mut suite, file, &minted_for, case);
        suite.cases.push(case);
    }
    suite
}

fn istio_case(suite: &mut Suite, file: &Value, keys: &Map<String, Value>, case: &Value) -> Case {
    let policies: Vec<&str> = list(&case["policies"]).map(text).collect();
    let documents: Vec<&Value> = policies
        .iter()
        .flat_map(|name| list(&file["policies"][*name]["docs"]))
        .collect();
    let workload = text(&case["workload"]);
    let name = format!("{}@{workload}{}", policies.join("+"), case["jwks_cluster"]);
    let known = [
        "RequestAuthentication",
        "AuthorizationPolicy",
        "PeerAuthentication",
        "Policy",
        "MeshPolicy",
    ];
    // `shadow` is told in filter state, which the native filters have not.
    let shadow = &case["expect"]["shadow"];
    let name = format!("{name}{}", if shadow.is_null() { "" } else { " shadow" });
    let mut config = json!({
        "workload": file["meta"]["workloads"][workload],
        "resources": documents.iter().filter(|d| known.contains(&text(&d["kind"]))).collect::<Vec<_>>(),
    });
    if !shadow.is_null() {
        config["filterState"] = json!(["dryRun"]);
    }
    if case["jwks_cluster"] == false {
        config["jwks"] = json!({});
    }
    let id = text(&case["id"]);
    for token in minted_tokens(case) {
        let spec = minted_token(&token, keys, &documents, &case["clock"]);
        suite.add_token(&format!("{id} {token}"), spec);
    }
    if !suite.has_config(&name) {
        suite.add_config(&name, local(&config));
    }

    let mut parsed = Case::new(id, &name, istio_request(id, case), istio_expect(case));
    if !case["expect"]["grpc_status"].is_null() {
        // Envoy makes it of the status that it is told.
        parsed.tiers = vec!["envoy".to_owned(), "oracle".to_owned()];
    }
    if !shadow.is_null() {
        parsed.oracle = Oracle::Skip("tells in another place what a dry run says".to_owned());
    }
    parsed.left_out = if documents
        .iter()
        .any(|d| text(&d["kind"]).starts_with("ServiceRole"))
    {
        Some("rbac.istio.io/v1alpha1")
    } else if case["applicability"] == "tcp-only" {
        Some("TCP")
    } else if !case["contradicted"].is_null() {
        Some("contradicted by Envoy")
    } else {
        None
    };
    parsed
}

/// Minted tokens are each case's own.
fn istio_request(id: &str, case: &Value) -> Value {
    let request = &case["request"];
    let mut kept = json!({});
    for name in [
        "method",
        "path",
        "authority",
        "headers",
        "remote_ip",
        "protocol",
        "peer",
    ] {
        if let Some(value) = request.get(name) {
            kept[name] = value.clone();
        }
    }
    for name in ["source_ip", "dest_ip"] {
        if let Some(address) = kept.get_mut("peer").and_then(|peer| peer.get_mut(name)) {
            *address = loopback(text(address)).into();
        }
    }
    let kept = kept
        .to_string()
        .replace("${MINT ", &format!("${{{id} MINT "));
    serde_json::from_str(&kept).expect("the request again")
}

/// Addresses of Istio's fixture as addresses that a test can have. Those that a trusted proxy
/// reports stay: they are but text in a header.
fn local(config: &Value) -> Value {
    let is_ours = |name: &str, of: &Map<String, Value>| match name {
        "ipBlocks" | "notIpBlocks" => true,
        "values" | "notValues" => of["key"] == "source.ip" || of["key"] == "destination.ip",
        _ => false,
    };
    match config {
        Value::Array(list) => list.iter().map(local).collect(),
        Value::Object(map) => {
            let members = map.iter().map(|(name, value)| {
                let value = match is_ours(name, map) {
                    true => list(value).map(|ip| loopback(text(ip))).collect(),
                    false => local(value),
                };
                (name.clone(), value)
            });
            members.collect::<Map<_, _>>().into()
        }
        other => other.clone(),
    }
}

fn loopback(address: &str) -> String {
    let rest = address.split_once('.').map(|(_, rest)| rest);
    let fixture = ["10.10.0.", "192.168.10."];
    match rest.filter(|_| fixture.iter().any(|start| address.starts_with(start))) {
        Some(rest) => format!("127.{rest}"),
        None => address.to_owned(),
    }
}

/// What Istio expects, in the words that Envoy was measured to use.
fn istio_expect(case: &Value) -> Value {
    let measured = &case["envoy_1_40"];
    let mut expect = json!({ "status": case["expect"].get("status").unwrap_or(&json!(200)) });
    if measured["status"] == expect["status"] {
        // An unreachable key set is a failed verification in Istio's form of the rule, only.
        if let Some(body) = measured
            .get("body")
            .filter(|body| *body != "Jwt verification fails")
        {
            expect["body"] = body.clone();
        }
        if let Some(challenge) = measured
            .get("www_authenticate")
            .filter(|c| !c.to_string().contains('?'))
        {
            expect["www_authenticate"] = challenge.clone();
        }
    }
    let shadow = &case["expect"]["shadow"];
    if !shadow.is_null() {
        let policy = shadow["policy"].as_str().unwrap_or_default();
        let said = format!("{} {policy}", text(&shadow["result"]));
        expect["filter_state"] = json!({ "dry_run": said.trim_end() });
    }
    for name in ["body", "grpc_status", "upstream_headers"] {
        if let Some(value) = case["expect"].get(name) {
            expect[name] = value.clone();
        }
    }
    expect
}

fn minted_tokens(case: &Value) -> Vec<String> {
    let request = case["request"].to_string();
    request
        .split("${")
        .skip(1)
        .filter_map(|rest| rest.split_once('}'))
        .map(|(name, _)| name.to_owned())
        .filter(|name| name.starts_with("MINT "))
        .collect()
}

/// `MINT iss=... sub=...`, or `MINT samples key: exp=now+5`, whose expiry is in the case's clock.
fn minted_token(
    name: &str,
    keys: &Map<String, Value>,
    documents: &[&Value],
    clock: &Value,
) -> Value {
    let mut claims = json!({ "exp": "${now+3600}" });
    if clock.is_null() {
        for pair in name.split(' ').skip(1) {
            let (claim, value) = pair.split_once('=').expect("claim=value");
            claims[claim] = value.into();
        }
    } else {
        let offset = |name: &str| clock[name].as_i64().expect("seconds");
        let left = offset("token_exp_offset") - offset("request_offset");
        claims = json!({
            "iss": "testing@secure.istio.io",
            "sub": "testing@secure.istio.io",
            "exp": format!("${{now{:+}}}", if left == 0 { -1 } else { left }),
        });
    }
    let uri = documents
        .iter()
        .flat_map(|document| {
            let origins = list(&document["spec"]["origins"]).map(|origin| &origin["jwt"]);
            list(&document["spec"]["jwtRules"]).chain(origins)
        })
        .find(|rule| rule["issuer"] == claims["iss"])
        .map_or("", |rule| text(&rule["jwksUri"]));
    json!({ "kid": keys.get(uri).unwrap_or(&json!("krsa")), "claims": claims })
}

/// Ours answers as Envoy was measured to, but where `tests/probe_differences.json` says why not.
fn probes(file: &Value) -> Suite {
    let differences = read_json("tests/probe_differences.json");
    let mut suite = Suite::new("probes");
    for probe in list(&file["probes"]) {
        let id = text(&probe["name"]);
        let resources: Vec<Value> = list(&probe["policies"])
            .map(|policy| {
                let mut policy = policy.clone();
                policy["apiVersion"] = "security.istio.io/v1".into();
                policy
            })
            .collect();
        suite.add_config(
            id,
            json!({
                "workload": { "name": "httpbin", "namespace": "foo", "labels": { "app": "httpbin" } },
                "resources": resources,
            }),
        );
        let measured = probe_expect(&probe["measured"]);
        let mut case = Case::new(id, id, probe["request"].clone(), measured.clone());
        if let Some(difference) = differences.get(id) {
            case.expect = difference["expect"].clone();
            case.oracle = Oracle::Differs {
                expect: measured,
                reason: text(&difference["reason"]).to_owned(),
            };
        }
        if changed_by_envoy(&probe["request"]) {
            case.tiers = vec!["envoy".to_owned(), "oracle".to_owned()];
        }
        // `status/exp 55s ago`, `status/nbf in 55s`: 55 seconds from when they were measured.
        if id.starts_with("status/") && id.ends_with("s ago") || id == "status/nbf in 55s" {
            case.left_out = Some("token of another time");
        }
        suite.cases.push(case);
    }
    for (name, _) in entries(&differences) {
        assert!(
            suite.has_config(name),
            "probe_differences.json: no probe {name}"
        );
    }
    suite
}

fn probe_expect(measured: &Value) -> Value {
    let mut expect = json!({ "status": measured["status"] });
    for (ours, theirs) in [
        ("body", "body"),
        ("www_authenticate", "www_authenticate"),
        ("upstream_headers", "upstream"),
    ] {
        if let Some(value) = measured.get(theirs) {
            expect[ours] = value.clone();
        }
    }
    expect
}

/// Whether Envoy's connection manager hands the filter something else than what was sent:
/// joined `authorization` lines, or nothing, because it refuses by itself.
fn changed_by_envoy(request: &Value) -> bool {
    let path = text(&request["path"]);
    let path = path.split('?').next().unwrap_or(path);
    let authorizations =
        list(&request["headers"]).filter(|h| text(&h[0]).eq_ignore_ascii_case("authorization"));
    path.contains(['#', '[', ']'])
        || path.contains("%00")
        || !path.is_ascii()
        || text(&request["method"]).contains(char::is_lowercase)
        || authorizations.count() > 1
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}
