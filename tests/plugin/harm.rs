//! What a log must not tell, and what a host may do that none should.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::fixture::{Fixture, NOW, fetch, is_forwarded, request};
use crate::support::case::Suite;
use crate::support::host::{Setup, State, Vm};

/// Long after everything else.
const LATER: u64 = NOW + 3600;

#[test]
fn no_token_is_logged() {
    let fixture = Fixture::new();
    let vm = fixture.vm();
    let errors = Suite::load("tests/cases/errors.json");
    let mut secrets = Vec::new();
    for case in &errors.cases {
        let sent = errors.play(case, &case.expect).request;
        vm.set_time(vm_time(secrets.len()));
        vm.request(&sent.pairs());
        for (_, value) in &sent.headers {
            let parts = value.split([' ', '.']).map(str::to_owned);
            secrets.extend(parts.filter(|part| part.len() >= 16));
        }
    }
    fixture.ask(&vm, "good");
    vm.answer(fetch(&vm), 200, &fixture.keys());
    let log = vm.log_text();
    assert!(log.lines().count() > 10, "refusals are logged:\n{log}");
    assert!(secrets.len() > 50);
    for secret in secrets
        .iter()
        .map(String::as_str)
        .chain(["alice", "issuer.test"])
    {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

/// Far enough apart that no line is withheld.
fn vm_time(step: usize) -> u64 {
    NOW + u64::try_from(step).expect("a small number")
}

#[test]
fn a_flood_of_refusals_is_no_flood_of_lines() {
    let fixture = Fixture::new();
    let vm = fixture.vm();
    let before = vm.log().len();
    for _ in 0..1000 {
        vm.disconnect(fixture.ask(&vm, "expired"));
    }
    let lines = vm.log().len() - before;
    assert!((1..=50).contains(&lines), "{lines} lines");

    vm.set_time(LATER);
    fixture.ask(&vm, "expired");
    let log = vm.log();
    assert!(log.len() > before + lines, "lines are written again later");
    let withheld = 1000 - lines;
    let (_, last) = &log[log.len() - 1];
    assert!(last.contains(&withheld.to_string()), "{last}");
}

#[test]
fn claims_that_are_withheld_leave_a_line_without_them() {
    let suite = Suite::load("tests/cases/dynamic_metadata.json");
    let case = suite.case("too long for header_to_metadata");
    let play = suite.play(case, &case.expect);
    let vm = Vm::start(suite.config(case).to_string().as_bytes(), NOW).expect("a configuration");
    let before = vm.log().len();
    for _ in 0..1000 {
        vm.disconnect(vm.request(&play.request.pairs()));
    }
    let log = vm.log().split_off(before);
    assert!((1..=50).contains(&log.len()), "{} lines", log.len());
    for (_, line) in log {
        let told = "claims that are too long or too deep were not written to `x-jwt-claims`";
        assert_eq!(line, told);
    }
}

/// A status that the ABI doesn't have must be no panic (which ends this process: an
/// `extern "C"` function can't unwind), and must open no door.
#[test]
fn an_unknown_status_lets_nothing_through() {
    let closed = json!([{
        "name": "token",
        "rules": [{ "from": [{ "source": { "requestPrincipals": ["*"] } }] }],
    }]);
    let asked = json!([{
        "name": "asked",
        "action": "CUSTOM",
        "provider": { "name": "authz" },
        "rules": [{}],
    }]);
    let policies = [
        (closed, &["good"][..]),
        (json!([]), &["good", "none", "spoof"]),
        (asked, &["good", "none", "spoof"]),
    ];
    for (policies, may_pass) in policies {
        let fixture = Fixture::new();
        let mut config = fixture.config.clone();
        let output = json!([{ "header": "x-sub", "claim": "sub" }]);
        config["jwtRules"][0]["outputClaimToHeaders"] = output;
        config["authorizationPolicies"] = policies;
        config["extensionProviders"] = json!([{
            "name": "authz",
            "envoyExtAuthzHttp": {
                "service": "authz.test",
                "port": 80,
                "headersToUpstreamOnAllow": ["x-user"],
            },
        }]);
        config["filterState"] = json!(["decision"]);

        let (passed, functions) = story(&fixture, &config, BTreeMap::new());
        assert_eq!(passed, may_pass);
        assert!(functions.len() > 8, "{functions:?}");
        for function in functions {
            // The SDK itself can't take these: it must know a call's token, and it sets the
            // context of an answer. Envoy never gives them such a status.
            if ["proxy_http_call", "proxy_set_effective_context"].contains(&function) {
                continue;
            }
            let forced = BTreeMap::from([(function.to_owned(), 12)]);
            for name in story(&fixture, &config, forced).0 {
                assert!(may_pass.contains(&name), "{function}: {name} got through");
                // Native RBAC behind us may rely on it.
                assert_ne!(function, "proxy_set_property", "{name} got through untold");
            }
        }
    }
}

/// An older policy may let a request pass whose token is none; one that can't be told to be none is no such.
#[test]
fn a_token_of_unknown_age_is_not_looked_past() {
    let fixture = Fixture::new();
    let keys = String::from_utf8(fixture.keys()).expect("JSON");
    let jwt = json!({ "issuer": fixture.config["jwtRules"][0]["issuer"], "jwks": keys });
    let config = json!({ "resources": [{
        "apiVersion": "authentication.istio.io/v1alpha1",
        "kind": "Policy",
        "metadata": { "name": "default" },
        "spec": { "origins": [{ "jwt": jwt }], "originIsOptional": true, "principalBinding": "USE_ORIGIN" },
    }] });
    for (forced, status) in [
        (None, None),
        (
            Some(("proxy_get_current_time_nanoseconds".to_owned(), 12)),
            Some(503),
        ),
    ] {
        let setup = Setup {
            now: NOW,
            forced: forced.into_iter().collect(),
            ..Setup::default()
        };
        let (vm, _) = Vm::boot(config.to_string().as_bytes(), setup);
        let got = match vm.state(fixture.ask(&vm, "expired")) {
            State::Replied(reply) => Some(reply.status),
            _ => None,
        };
        assert_eq!(got, status);
        assert!(is_forwarded(&vm, vm.request(&request(&[]))));
    }
}

/// Which of all kinds of requests pass, and which host functions it took. What passes has neither
/// the client's copy of a written header nor a token.
fn story(
    fixture: &Fixture,
    config: &Value,
    forced: BTreeMap<String, u32>,
) -> (Vec<&'static str>, Vec<&'static str>) {
    let setup = Setup {
        now: NOW,
        forced,
        ..Setup::default()
    };
    let (vm, _) = Vm::boot(config.to_string().as_bytes(), setup);
    let mut streams = vec![
        ("bad", fixture.ask(&vm, "bad")),
        ("expired", fixture.ask(&vm, "expired")),
        ("good", fixture.ask(&vm, "good")),
        ("none", vm.request(&request(&[]))),
        (
            "spoof",
            vm.request(&request(&[("x-sub", "spoof"), ("x-user", "spoof")])),
        ),
    ];
    // Checks and then keys.
    for _ in 0..2 {
        vm.tick();
        for callout in vm.callouts() {
            vm.answer(callout.token, 200, &fixture.keys());
        }
    }
    streams.push(("bad again", fixture.ask(&vm, "bad")));

    // A service has its header to itself where a policy names it.
    let asks = config.to_string().contains("CUSTOM");
    let mut passed = Vec::new();
    for (name, stream) in streams {
        if let State::Forwarded(headers) = vm.state(stream) {
            let harmful = |(name, value): &(Vec<u8>, Vec<u8>)| {
                name == b"authorization" || value == b"spoof" && (name == b"x-sub" || asks)
            };
            assert!(!headers.iter().any(harmful), "{name}: {headers:?}");
            passed.push(name);
        }
    }
    (passed, vm.host_calls().into_keys().collect())
}
