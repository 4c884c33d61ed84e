//! `explain`: what it says of every case is what the case expects, which a real Envoy does, too.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::case::{Case, Play, Suite, server_key, text};
use crate::support::check::{Observed, differences};
use crate::support::tally::Tally;
use crate::support::{project, scenarios, shared, to_bytes};
use crate::{portcullis, said};

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

fn utf8(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn our_cases() {
    let mut tally = Tally::default();
    for suite in Suite::all() {
        run(&suite, &mut tally);
    }
    tally.finish("explain, our cases");
}

#[test]
fn shared_cases() {
    let mut tally = Tally::default();
    let (mut suites, missing) = shared::suites();
    tally.missing(missing);
    suites.push(scenarios::authorization());
    suites.iter().for_each(|suite| run(suite, &mut tally));
    tally.finish("explain, shared cases");
}

fn run(suite: &Suite, tally: &mut Tally) {
    let folder = folder(&format!("explain-{}", suite.name));
    let mut keys = Vec::new();
    for (index, (uri, answer)) in suite.servers.iter().enumerate() {
        let file = folder.join(format!("keys-{index}.json"));
        fs::write(&file, &answer.body).expect("a file");
        keys.push((uri.as_str(), answer, file));
    }
    for case in &suite.cases {
        if let Some(reason) = left_out(suite, case) {
            tally.leave_out(reason);
            continue;
        }
        let configuration = suite.config(case).to_string();
        let file = folder.join("configuration.json");
        fs::write(&file, &configuration).expect("a file");
        let play = suite.play(case, &case.expect);
        let request = folder.join("request.json");
        fs::write(&request, written(&play).to_string()).expect("a file");
        let now = play.now.to_string();
        let mut arguments = vec!["explain", utf8(&file), "--format", "json", "--now", &now];
        arguments.extend(["--request", utf8(&request)]);
        let served = keys.iter().flat_map(|(key, _, file)| {
            // The server knows neither scheme nor default port.
            let uris = configuration.split('"').filter(|uri| uri.contains("://"));
            let uris = uris.filter(|uri| server_key(uri) == *key);
            uris.map(|uri| format!("{uri}={}", utf8(file)))
                .collect::<Vec<_>>()
        });
        let served: Vec<String> = served.collect();
        arguments.extend(served.iter().flat_map(|keys| ["--keys", keys]));
        let (printed, status) = portcullis(&arguments);
        let id = format!("{}: {}", suite.name, case.id);
        match status {
            2 => tally.ran(&id, vec![format!("couldn't tell: {printed}")]),
            _ => {
                let told: Value = serde_json::from_str(&printed).expect("JSON");
                let mut found = differences(&play.expect, &observed(&told));
                let decision = if status == 0 { "forward" } else { "refuse" };
                if told["decision"] != decision {
                    found.push(format!("exit status {status} for {}", told["decision"]));
                }
                tally.ran(&id, found);
            }
        }
    }
}

/// Why a case can't be written on a command line.
fn left_out(suite: &Suite, case: &Case) -> Option<&'static str> {
    if case.left_out.is_some() {
        return case.left_out;
    }
    let config = suite.config(case);
    let has = |name: &str| config.to_string().contains(&format!("\"{name}\""));
    let play = suite.play(case, &case.expect);
    let request = &play.request;
    let is_plain = |text: &str| text.is_ascii();
    let headers = request.headers.iter();
    let certificate = request
        .peer
        .tls
        .iter()
        .find_map(|tls| tls.certificate.as_ref());
    let is_spiffe = |names: &[String]| matches!(names, [name] if !name.is_empty());
    if !case.runs_in("core") {
        Some("other tiers")
    } else if case.expect.get("refused").is_some() {
        Some("configurations that are refused")
    } else if request.path.is_none() || request.authority.is_none() {
        Some("no path or host")
    } else if !headers.clone().all(|(_, value)| is_plain(value))
        || !is_plain(request.path.as_deref().unwrap_or_default())
        || !is_plain(request.authority.as_deref().unwrap_or_default())
    {
        Some("bytes that are no ASCII")
    } else if has("extensionProviders") {
        Some("services that are asked")
    } else if !request.untold.is_empty() || !request.ahead.metadata.is_empty() {
        Some("what filters ahead of us tell")
    } else if certificate
        .is_some_and(|certificate| !is_spiffe(&certificate.uris) || !certificate.trusted)
    {
        Some("certificates without a SPIFFE ID")
    } else if request.peer.tls.as_ref().is_some_and(|tls| tls.resumed) {
        Some("resumed sessions")
    } else if needs_failures(suite, &config) {
        Some("key sets that can't be had")
    } else {
        None
    }
}

/// Whether a key set is fetched that isn't served, or slowly, or in two steps.
fn needs_failures(suite: &Suite, config: &Value) -> bool {
    match config {
        Value::Array(items) => items.iter().any(|item| needs_failures(suite, item)),
        Value::Object(members) => {
            let is_rule = members.contains_key("issuer") && !members.contains_key("jwks");
            let uri = members.get("jwksUri").or(members.get("jwks_uri"));
            let is_served = || {
                let uri = text(uri?);
                let answer = suite.servers.get(&server_key(uri))?;
                Some(answer.status == 200 && answer.delay_ms == 0)
            };
            (is_rule || uri.is_some()) && is_served() != Some(true)
                || members.iter().any(|(name, member)| match name.as_str() {
                    // Another cluster doesn't lead anywhere.
                    "jwks" => member.is_object() && *member != json!({ "cluster": "jwks" }),
                    _ => needs_failures(suite, member),
                })
        }
        _ => false,
    }
}

/// A request for `--request`.
fn written(play: &Play) -> Value {
    let request = &play.request;
    let pairs = request.pairs();
    let headers = pairs.iter().filter(|(name, _)| !name.starts_with(':'));
    let headers = headers.map(|(name, value)| json!([name, String::from_utf8_lossy(value)]));
    let tls = request.peer.tls.as_ref();
    let certificate = tls.and_then(|tls| tls.certificate.as_ref());
    let tells_source = request.remote_ip.is_none() || request.ahead.direct_address;
    json!({
        "method": request.method,
        "path": request.path,
        "host": request.authority,
        "scheme": "http",
        "headers": headers.collect::<Vec<_>>(),
        "peer": certificate.and_then(|certificate| certificate.uris.first()),
        "sni": tls.and_then(|tls| tls.server_name.clone()),
        "sourceIp": tells_source.then_some(request.peer.source_ip),
        "remoteIp": request.remote_ip,
        "destinationIp": request.peer.dest_ip,
        "destinationPort": request.peer.dest_port,
    })
}

fn observed(told: &Value) -> Observed {
    let lines = |value: &Value| -> Vec<(String, String)> {
        let lines = value.as_array().expect("lines").iter();
        lines
            .map(|line| (text(&line[0]).to_owned(), text(&line[1]).to_owned()))
            .collect()
    };
    if told["decision"] == "forward" {
        let headers = lines(&told["headers"]).into_iter();
        return Observed::forwarded(
            headers
                .map(|(name, value)| (name, to_bytes(&value)))
                .collect(),
        );
    }
    let reply = &told["reply"];
    let status = reply["status"].as_u64().expect("a status");
    Observed {
        status: status.try_into().expect("a status"),
        body: text(&reply["body"]).to_owned(),
        headers: lines(&reply["headers"]),
        decision: Some((
            text(&told["reason"]).to_owned(),
            told["policy"].as_str().map(str::to_owned),
        )),
        ..Observed::default()
    }
}

const POLICY: &str = r#"{
  "jwtRules": [{"issuer": "https://idp.test", "jwksUri": "https://idp.test/keys"}],
  "authorizationPolicies": [{"name": "p", "rules": [
    {"from": [{"source": {"requestPrincipals": ["*"]}}], "to": [{"operation": {"methods": ["POST"]}}]}
  ]}]
}"#;

/// A configuration and the arguments behind it.
fn explain(name: &str, configuration: &str, arguments: &[&str]) -> (String, i32) {
    let file = folder(name).join("configuration.json");
    fs::write(&file, configuration).expect("a file");
    portcullis(&[&["explain", utf8(&file)], arguments].concat())
}

#[test]
fn the_tree_names_conditions() {
    let arguments = ["--", "-sX", "PUT", "https://a.test/x?y"];
    let (printed, status) = explain("explain-tree", POLICY, &arguments);
    assert_eq!(status, 1, "{printed}");
    for line in [
        "✗ refused (policy_none_allows): no ALLOW policy matches. Nearest: p (",
        "PUT https://a.test/x",
        "no token that a rule looks at",
        "✗ from[0] requestPrincipals: *; the request has none",
        "✗ to[0] methods: POST; the request has PUT",
        "answered with 403",
    ] {
        assert!(printed.contains(line), "{line}: {printed}");
    }
    assert!(!printed.contains('\u{1b}'), "{printed}");
}

#[test]
fn what_is_no_jwt_is_left_to_others() {
    let policy = POLICY.replace("/keys\"", "/keys\", \"nonJwt\": \"ignore\"");
    let token = "2YotnFZFEjr1zCsicMWpAA";
    let header = format!("authorization: Bearer {token}");
    let request = ["--", "-H", &header, "https://a.test/"];
    let (printed, status) = explain("explain-opaque", &policy, &request);
    assert_eq!(status, 1, "{printed}");
    let lines = "├─ no JWT in header authorization\n\
                 │  └─ rule for https://idp.test: leaves it as it is, since it can't be a JWT\n";
    assert!(printed.contains(lines), "{printed}");
    assert!(!printed.contains(token), "{printed}");

    let request = [&["--format", "json"][..], &request].concat();
    let (printed, _) = explain("explain-opaque", &policy, &request);
    let printed: Value = serde_json::from_str(&printed).expect("JSON");
    assert_eq!(printed["tokens"][0]["verdict"], "ignored");
    assert!(!printed.to_string().contains(token), "{printed}");
}

#[test]
fn items_of_a_header_are_named() {
    let policy = r#"{"authorizationPolicies": [{"name": "p", "rules": [{"when": [
        {"key": "request.headers[x-groups]", "separator": ",", "values": ["admin"], "notValues": ["out"]}
    ]}]}]}"#;
    for (groups, expected, lines) in [
        (
            "x-groups: a, admin",
            0,
            [
                "✓ when an item of request.headers[x-groups]: admin; the request has a, admin",
                "✓ when an item of request.headers[x-groups] not: out; the request has a, admin",
            ],
        ),
        (
            "x-groups: \"a,admin\", out",
            1,
            [
                "? when an item of request.headers[x-groups]: admin; can't be told",
                "? when an item of request.headers[x-groups] not: out; can't be told",
            ],
        ),
    ] {
        let request = ["--", "-H", groups, "https://a.test/"];
        let (printed, status) = explain("explain-items", policy, &request);
        assert_eq!(status, expected, "{printed}");
        for line in lines {
            assert!(printed.contains(line), "{line}: {printed}");
        }
    }
}

#[test]
fn rules_that_miss_their_token_or_are_for_other_requests() {
    let configuration = r#"{ "jwtRules": [
        { "issuer": "https://a.test", "jwksUri": "https://a.test/keys", "presence": "REQUIRED" },
        { "issuer": "https://b.test", "jwksUri": "https://b.test/keys",
          "match": [{ "paths": ["/b", "/b/*"], "methods": ["GET"] }, { "hosts": ["b.test"] }] }
    ] }"#;
    let arguments = ["--", "https://a.test/a"];
    let (printed, status) = explain("explain-match", configuration, &arguments);
    assert_eq!(status, 1, "{printed}");
    let lines = [
        "✗ refused (jwt_missing): Jwt is missing",
        "├─ GET https://a.test/a",
        "├─ no token that a rule looks at",
        "├─ ✗ rule for https://a.test: requires a token, and there is none",
        "├─ rule for https://b.test: isn't for this request",
        "│  ├─ ✗ match[0] paths: /b, /b/*; the request has /a",
        "│  └─ ✗ match[1] hosts: b.test; the request has a.test",
    ];
    assert!(printed.starts_with(&lines.join("\n")), "{printed}");
    let arguments = ["--format", "json", "--", "https://a.test/a"];
    let (printed, _) = explain("explain-match", configuration, &arguments);
    let told: Value = serde_json::from_str(&printed).expect("JSON");
    assert_eq!(told["missing"], serde_json::json!(["https://a.test"]));
    assert_eq!(told["unasked"][0]["issuer"], "https://b.test");
    assert_eq!(told["unasked"][0]["conditions"][0]["holds"], true);
}

#[test]
fn resources_for_other_workloads_are_named() {
    let file = project("tests/cli/check/elsewhere.yaml");
    let explained = |format| {
        let arguments = [
            "explain",
            utf8(&file),
            "--format",
            format,
            "--",
            "https://a.test/",
        ];
        portcullis(&arguments)
    };
    let names = "AuthorizationPolicy shop/staff, AuthorizationPolicy shopp/others";
    let (tree, status) = explained("human");
    assert!(
        tree.contains(&format!("for other workloads: {names}\n")),
        "{tree}"
    );
    assert_eq!(status, 0, "{tree}");
    let (json, _) = explained("json");
    let told: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(told["elsewhere"], names);
}

#[test]
fn without_keys_nothing_is_decided() {
    // {"alg":"ES256"} {"iss":"https://idp.test"}
    let token = "authorization: Bearer eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lkcC50ZXN0In0.AA";
    let arguments = ["--", "-H", token, "-d", "x", "https://a.test/"];
    let (printed, status) = explain("explain-undecided", POLICY, &arguments);
    assert_eq!(status, 2, "{printed}");
    assert!(printed.contains("claims, NOT VERIFIED"), "{printed}");
    assert!(printed.contains("never ends: there is no exp"), "{printed}");
}

/// Keys of an issuer without `jwksUri`, named by the issuer, do without its metadata.
#[test]
fn services_and_issuers_are_assumed() {
    let configuration = r#"{
      "extensionProviders": [{"name": "own", "envoyExtAuthzHttp": {"service": "a.test", "port": 80}}],
      "authorizationPolicies": [{"name": "p", "action": "CUSTOM", "provider": {"name": "own"}, "rules": [{}]}]
    }"#;
    for (answer, expected) in [(None, 2), (Some("own=allow"), 0), (Some("own=deny"), 1)] {
        let check = answer.into_iter().flat_map(|answer| ["--check", answer]);
        let arguments: Vec<&str> = check.chain(["--", "https://a.test/"]).collect();
        let (printed, status) = explain("explain-check", configuration, &arguments);
        assert_eq!(status, expected, "{printed}");
    }
}

#[test]
fn requests_of_browsers() {
    let har = json!({ "log": { "entries": [
        { "request": { "method": "GET", "url": "https://a.test/", "headers": [] } },
        { "request": { "method": "POST", "url": "https://b.test/x#y", "headers": [
            { "name": ":authority", "value": "b.test" }, { "name": "Origin", "value": "null" },
        ] } },
    ] } });
    let file = folder("explain-har").join("requests.har");
    fs::write(&file, har.to_string()).expect("a file");
    let file = utf8(&file).to_owned();
    for (entry, expected) in [("1", "GET https://a.test/"), ("2", "POST https://b.test/x")] {
        let arguments = ["--har", &file, "--entry", entry];
        let (printed, status) = explain("explain-entry", POLICY, &arguments);
        assert_eq!(status, 1, "{printed}");
        assert!(printed.contains(expected), "{printed}");
    }
    let (_, status) = explain("explain-entry", POLICY, &["--har", &file, "--entry", "3"]);
    assert_eq!(status, 2);
}

#[test]
fn files_and_arguments_that_are_wrong() {
    for arguments in [
        &["--"][..],
        &["--", "--unknown", "https://a.test/"],
        &["--", "-H", "no colon", "https://a.test/"],
        &["--keys", "nothing", "--", "https://a.test/"],
        &["--now", "yesterday", "--", "https://a.test/"],
    ] {
        let (printed, status) = explain("explain-wrong", POLICY, arguments);
        assert_eq!((printed.as_str(), status), ("", 2), "{arguments:?}");
    }
    let (printed, status) = explain("explain-wrong", "{}", &["--", "https://a.test/"]);
    assert_eq!((printed.as_str(), status), ("", 2));
    let several = project("envoy/envoy.yaml");
    let (printed, status) = portcullis(&["explain", utf8(&several), "--", "http://a.test/"]);
    assert_eq!((printed.as_str(), status), ("", 2));
}

#[test]
fn what_is_wrong_is_said_with_what_helps() {
    let bare = project("tests/cli/check/resources.yaml");
    let several = project("envoy/envoy.yaml");
    for (arguments, help) in [
        (&[utf8(&several), "https://a.test/"][..], "behind `--`"),
        (&[utf8(&several), "--", "https://a.test/"], "2 at "),
        (
            &[utf8(&bare), "--", "https://a.test/"],
            "`portcullis check` shows where",
        ),
    ] {
        let (_, said, status) = said(&[&["explain"], arguments].concat());
        assert!(said.contains(help), "{said}");
        assert_eq!(status, 2, "{said}");
    }
}

/// A private key's file and the public set's, and a token of the issuer with these claims.
struct Provider(PathBuf);

impl Provider {
    fn new(name: &str) -> Self {
        let folder = folder(name);
        let (keys, _) = portcullis(&["keys", "generate", "--kid", "k1"]);
        fs::write(folder.join("keys.json"), keys).expect("a file");
        let (public, _) = portcullis(&["keys", "public", utf8(&folder.join("keys.json"))]);
        fs::write(folder.join("public.json"), public).expect("a file");
        Self(folder)
    }

    fn token(&self, arguments: &[&str]) -> String {
        let key = self.0.join("keys.json");
        let (token, _) = portcullis(&[&["token", "--key", utf8(&key)], arguments].concat());
        token.trim().to_owned()
    }

    fn keys(&self, name: &str) -> String {
        format!("{name}={}", utf8(&self.0.join("public.json")))
    }

    /// What is explained of a token, and what is said beside it.
    fn explain(&self, configuration: &str, keys: &str, token: &str) -> (String, String) {
        let (config, file) = (self.0.join("c.json"), self.0.join("token"));
        fs::write(&config, configuration).expect("a file");
        fs::write(&file, token).expect("a file");
        let keys = self.keys(keys);
        let arguments = [
            "explain",
            utf8(&config),
            "--keys",
            &keys,
            "--token",
            utf8(&file),
        ];
        let (printed, said, _) = said(&[&arguments[..], &["--", "/orders"]].concat());
        (printed, said)
    }
}

const ONE_RULE: &str = r#"{ "jwtRules": [
    { "issuer": "https://idp.test/", "audiences": ["shop"], "jwksUri": "https://idp.test/keys" }
] }"#;

#[test]
fn what_else_is_wrong_with_a_token_is_told() {
    let provider = Provider::new("explain-rest");
    for (arguments, lines) in [
        (
            &["--iss=https://idp.test", "--aud=shop"][..],
            &[
                "│  ├─ the token has  https://idp.test\n",
                "│  ├─ the rule wants https://idp.test/\n",
                "they differ in a slash at the end",
                "✓ else it would be good: type, times, audience, key, signature",
            ][..],
        ),
        (
            &["--iss=https://idp.test/", "--aud=web", "--expire=-5m"],
            &[
                "✗ times: Jwt is expired",
                "✗ audience, too: Audiences in Jwt are not allowed (jwt_audience_not_allowed)",
                "✓ else it would be good: key, signature",
            ],
        ),
        (
            &["--iss=https://idp.test/", "--aud=web"],
            &["; the token has web, the rule wants shop"],
        ),
        (
            &["--iss=https://other.test", "--aud=shop"],
            &[
                "; the token has https://other.test\n",
                "✓ else it would be good: type, times, audience, key, signature",
            ],
        ),
        (
            &[
                "--iss=https://idp.test/",
                "--aud=shop",
                "--expire=never",
                "--claim=exp=1795931759000",
            ],
            &["? `exp` is in milliseconds"],
        ),
    ] {
        let token = provider.token(arguments);
        let (printed, _) = provider.explain(ONE_RULE, "https://idp.test/", &token);
        for line in lines {
            assert!(printed.contains(line), "{line}: {printed}");
        }
    }
    let token = provider.token(&["--iss=https://idp.test/", "--aud=shop"]);
    let other = Provider::new("explain-other-keys");
    let (keys, _) = portcullis(&["keys", "generate", "--kid", "k2"]);
    fs::write(other.0.join("keys.json"), keys).expect("a file");
    let (public, _) = portcullis(&["keys", "public", utf8(&other.0.join("keys.json"))]);
    fs::write(other.0.join("public.json"), public).expect("a file");
    let (printed, _) = other.explain(ONE_RULE, "https://idp.test/keys", &token);
    let line = "the token has kid k1 and alg ES256, the set has the key \"k2\"";
    assert!(printed.contains(line), "{printed}");
}

#[test]
fn tokens_as_they_are_pasted() {
    let provider = Provider::new("explain-pasted");
    let token = provider.token(&["--iss=https://idp.test/", "--aud=shop"]);
    let (start, end) = token.split_at(20);
    for (text, note) in [
        (
            format!("{{\"access_token\": \"{token}\"}}"),
            "its `access_token` is taken",
        ),
        (format!("\"{token}\""), "quotes around the token"),
        (format!("{start}\n{end}"), "blanks or line breaks"),
    ] {
        let (printed, said) = provider.explain(ONE_RULE, "https://idp.test/", &text);
        assert!(printed.starts_with("✓ forwarded"), "{printed}");
        assert!(said.contains(note), "{said}");
        assert!(!said.contains(start), "{said}");
    }
    let encrypted = "eyJlbmMiOiJBMjU2R0NNIn0.AA.BB.CC.DD";
    let (printed, _) = provider.explain(ONE_RULE, "https://idp.test/", encrypted);
    assert!(printed.contains("encrypted (JWE"), "{printed}");
    assert!(printed.contains("claims that can't be read"), "{printed}");
}

#[test]
fn patterns_that_are_cut_in_a_subject_are_told_with_what_to_write() {
    let provider = Provider::new("explain-slash");
    let subject = "repo:org/repo:ref:refs/heads/main";
    let configuration = |pattern: &str| {
        json!({
            "jwtRules": [{ "issuer": "https://idp.test", "jwksUri": "https://idp.test/keys" }],
            "authorizationPolicies": [{ "name": "repo", "rules": [
                { "from": [{ "source": { "requestPrincipals": [pattern] } }] },
            ] }],
        })
        .to_string()
    };
    let token = provider.token(&["--iss=https://idp.test", "--sub", subject, "--claim=x=1"]);
    for (end, written) in [(subject, subject), ("repo:org/repo:*", "repo:org/repo:*")] {
        let configuration = configuration(&format!("https://idp.test/{end}"));
        let (printed, _) = provider.explain(&configuration, "https://idp.test", &token);
        let help = format!(
            "write `requestPrincipals: [\"https://idp.test/*\"]`, and under `when` \
             `{{ key: \"request.auth.claims[sub]\", values: [\"{written}\"] }}`"
        );
        assert!(printed.contains(&help), "{printed}");
        assert!(printed.contains("is cut at its last `/`"), "{printed}");
        assert!(
            printed.contains("} and 1 more: `explain --claims`"),
            "{printed}"
        );
    }
    let (printed, _) = provider.explain(
        &configuration("https://idp.test/other"),
        "https://idp.test",
        &token,
    );
    assert!(!printed.contains("is cut at"), "{printed}");
}

#[test]
fn the_nearest_rules_are_shown_with_their_lines() {
    let mut text = String::from("authorizationPolicies:\n");
    for name in ["a", "b", "c", "d", "e"] {
        text += &format!(
            "- name: {name}\n  rules:\n  - to: [{{ operation: {{ paths: [/{name}] }} }}]\n"
        );
    }
    text += "- name: near\n  rules:\n  - to: [{ operation: { paths: [/x] } }]\n    \
             from: [{ source: { namespaces: [foo], notIpBlocks: [10.0.0.0/8] } }]\n";
    let file = folder("explain-nearest").join("policies.yaml");
    fs::write(&file, &text).expect("a file");
    let explained = |more: &[&str]| {
        let arguments = ["explain", utf8(&file), "--source-ip", "11.0.0.1"];
        portcullis(&[&arguments[..], more, &["--", "/x"]].concat()).0
    };
    let printed = explained(&[]);
    let near = format!("near ({}:19)", utf8(&file));
    let first = format!(
        "✗ refused (policy_none_allows): no ALLOW policy matches. Nearest: {near}, all but one condition: \
         from[0] namespaces: foo; "
    );
    assert!(printed.starts_with(&first), "{printed}");
    assert!(
        printed.contains("3 more: `explain --all` shows them"),
        "{printed}"
    );
    assert_eq!(printed.matches("doesn't match").count(), 3, "{printed}");
    let place = format!(
        "ns[]-policy[near]-rule[0] ({}:19): doesn't match",
        utf8(&file)
    );
    assert!(printed.contains(&place), "{printed}");
    assert_eq!(explained(&["--all"]).matches("doesn't match").count(), 6);
}

#[test]
fn where_the_proxy_is_follows_from_bare_resources() {
    let policy = |name: &str, namespace: &str, app: &str| {
        json!({
            "apiVersion": "security.istio.io/v1",
            "kind": "AuthorizationPolicy",
            "metadata": { "name": name, "namespace": namespace },
            "spec": {
                "action": "DENY",
                "selector": { "matchLabels": { "app": app } },
                "rules": [{ "to": [{ "operation": { "paths": ["/admin"] } }] }],
            },
        })
    };
    let file = folder("explain-guess").join("resources.yaml");
    let explained = |policies: &[Value], more: &[&str]| {
        let documents: Vec<String> = policies.iter().map(Value::to_string).collect();
        fs::write(&file, documents.join("\n---\n")).expect("a file");
        said(&[&["explain", utf8(&file)][..], more, &["--", "/admin"]].concat())
    };
    let one = [policy("p", "shop", "web")];
    let (printed, _, status) = explained(&one, &[]);
    assert_eq!(status, 1, "{printed}");
    let told = "the proxy is taken to be in the namespace `shop` with the labels app=web";
    assert!(printed.contains(told), "{printed}");
    let (printed, _, _) = explained(&one, &["--format", "json"]);
    let object: Value = serde_json::from_str(&printed).expect("JSON");
    assert!(text(&object["proxy"]).starts_with(told), "{printed}");
    let place = format!("{}:1", utf8(&file));
    assert_eq!(object["rules"][0]["written"], place, "{printed}");
    let (printed, _, status) = explained(&one, &["--namespace", "shop", "--labels", "app=other"]);
    assert_eq!(status, 0, "{printed}");
    assert!(!printed.contains("is taken to be"), "{printed}");
    let mut nowhere = policy("p", "", "web");
    nowhere["metadata"] = serde_json::json!({ "name": "p" });
    let (printed, _, status) = explained(&[nowhere], &[]);
    assert_eq!(status, 1, "{printed}");
    let told = "the proxy is taken to be in the namespace `default` with the labels app=web";
    assert!(printed.contains(told), "{printed}");
    for (other, help) in [
        (policy("q", "web", "web"), "--namespace"),
        (policy("q", "shop", "api"), "--labels"),
    ] {
        let (_, said, status) = explained(&[policy("p", "shop", "web"), other], &[]);
        assert!(said.contains(help), "{said}");
        assert_eq!(status, 2, "{said}");
    }
}

#[test]
fn arguments_that_mean_nothing_are_refused() {
    let provider = Provider::new("explain-arguments");
    let keys = ["https://idp.test/", "https://other.test"].map(|name| provider.keys(name));
    for (arguments, help) in [
        (
            &["--keys", &keys[0], "--", "/x"][..],
            "there is `https://idp.test`",
        ),
        (
            &["--keys", &keys[1], "--", "/x"],
            "there are https://idp.test",
        ),
        (&["--check", "nosuch=allow", "--", "/x"], "asks `nosuch`"),
        (&["--peer", "foo", "--", "/x"], "begins with `spiffe://`"),
        (&["--", "curl https://a.test/x"], "leave out the quotes"),
        (
            &["--", "https://a.test/", "https://b.test/"],
            "two addresses",
        ),
        (&["--", "grpcurl", "a.test"], "grpcurl isn't known"),
        (&["--", "http:///x"], "there is no host"),
        (&["--", "https://a.test/a b"], "has no blanks"),
    ] {
        let file = provider.0.join("c.json");
        fs::write(&file, POLICY).expect("a file");
        let (_, said, status) = said(&[&["explain", utf8(&file)], arguments].concat());
        assert!(said.contains(help), "{said}");
        assert_eq!(status, 2, "{said}");
    }
    let (printed, _) = explain("explain-path", POLICY, &["--", "/x"]);
    assert!(printed.contains("GET https://localhost/x\n"), "{printed}");
    let token = "x-token: Bearer eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lkcC50ZXN0In0.AA";
    let (printed, _) = explain("explain-place", POLICY, &["--", "/x", "-H", token]);
    let line = "? header x-token has a token behind `Bearer `, where no rule looks";
    assert!(printed.contains(line), "{printed}");
}
