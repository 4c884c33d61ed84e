//! Who verifies signatures, what is remembered, and how many host calls a request takes.

use std::collections::BTreeMap;

use portcullis::VerifySignature;
use serde_json::{Value, json};

use super::fixture::{Fixture, NOW, is_forwarded, reply, request};
use crate::support::boring::verify_signature;
use crate::support::host::{Setup, Vm};

/// A plugin whose keys are in its configuration.
fn config(fixture: &Fixture, more: &Value) -> Value {
    let mut config = fixture.config.clone();
    let rule = config["jwtRules"][0].as_object_mut().expect("a rule");
    rule.remove("jwksUri");
    rule.insert(
        "jwks".to_owned(),
        serde_json::from_slice(&fixture.keys()).expect("keys"),
    );
    for (name, value) in more.as_object().expect("fields") {
        config[name] = value.clone();
    }
    config
}

fn boot(config: &Value, host: Option<VerifySignature>) -> (Vm, bool) {
    let setup = Setup {
        now: NOW,
        verify_signature: host,
        ..Setup::default()
    };
    Vm::boot(config.to_string().as_bytes(), setup)
}

/// How often each host function was called by this.
fn calls(vm: &Vm, work: impl FnOnce() -> u32) -> BTreeMap<&'static str, usize> {
    let before = vm.host_calls();
    let stream = work();
    let after = vm.host_calls();
    vm.disconnect(stream);
    let calls = after.into_iter();
    let new = calls.map(|(name, count)| (name, count - before.get(name).copied().unwrap_or(0)));
    new.filter(|(_, count)| *count > 0).collect()
}

#[test]
fn whoever_verifies_the_answers_are_the_same() {
    let fixture = Fixture::new();
    let always: VerifySignature = |_| Some(vec![0x08, 0x01]);
    for (verification, host) in [
        ("auto", Some(verify_signature as VerifySignature)),
        ("host", Some(verify_signature)),
        ("wasm", Some(verify_signature)),
        ("wasm", Some(always)),
        ("auto", Some(always)),
        ("auto", None),
    ] {
        let config = config(&fixture, &json!({ "verification": verification }));
        let (vm, accepted) = boot(&config, host);
        assert!(accepted, "{}", vm.log_text());
        for _ in 0..2 {
            assert!(is_forwarded(&vm, fixture.ask(&vm, "good")));
            let (status, body) = reply(&vm, fixture.ask(&vm, "bad"));
            assert_eq!((status, body.as_str()), (401, "Jwt verification fails"));
        }
    }
}

#[test]
fn a_host_that_is_wanted_and_cannot_verify_is_a_mistake() {
    let fixture = Fixture::new();
    let config = config(&fixture, &json!({ "verification": "host" }));
    let (vm, accepted) = boot(&config, None);
    assert!(!accepted);
    let log = vm.log_text();
    assert!(
        log.contains("verification: the host doesn't verify signatures"),
        "{log}"
    );
    let (status, _) = reply(&vm, fixture.ask(&vm, "good"));
    assert_eq!(status, 503);
}

#[test]
fn the_host_is_asked_once_for_a_token_that_comes_again() {
    let fixture = Fixture::new();
    let (vm, _) = boot(&config(&fixture, &json!({})), Some(verify_signature));
    let asked = |token| calls(&vm, || fixture.ask(&vm, token));
    assert_eq!(asked("good")["proxy_call_foreign_function"], 1);
    assert_eq!(asked("good").get("proxy_call_foreign_function"), None);
    for _ in 0..2 {
        assert_eq!(
            asked("bad")["proxy_call_foreign_function"],
            1,
            "it isn't remembered"
        );
    }
}

#[test]
fn a_remembered_token_ends_when_it_ends() {
    let fixture = Fixture::new();
    let (vm, _) = boot(&config(&fixture, &json!({})), Some(verify_signature));
    assert!(is_forwarded(&vm, fixture.ask(&vm, "good")));
    vm.set_time(NOW + 3600 + 60);
    assert!(is_forwarded(&vm, fixture.ask(&vm, "good")));
    vm.set_time(NOW + 3600 + 61);
    let (status, body) = reply(&vm, fixture.ask(&vm, "good"));
    assert_eq!((status, body.as_str()), (401, "Jwt is expired"));
}

/// Every host call costs about a microsecond on every request.
#[test]
fn what_a_common_request_costs() {
    let fixture = Fixture::new();
    let policies = json!([{ "name": "p", "rules": [
        { "from": [{ "source": { "requestPrincipals": ["*"] } }] },
        { "to": [{ "operation": { "paths": ["/x"] } }] },
    ] }]);
    let closed = config(&fixture, &json!({ "authorizationPolicies": policies }));
    let (vm, _) = boot(&closed, Some(verify_signature));
    fixture.ask(&vm, "good");
    let looks = [("proxy_get_header_map_pairs", 1)];
    let without = calls(&vm, || vm.request(&request(&[])));
    assert_eq!(without, looks.into());
    let with = calls(&vm, || fixture.ask(&vm, "good"));
    let dates = [("proxy_get_current_time_nanoseconds", 1)];
    let takes_out = [("proxy_remove_header_map_value", 1)];
    let verifies: BTreeMap<_, _> = looks.into_iter().chain(dates).collect();
    let all = verifies.clone().into_iter().chain(takes_out);
    assert_eq!(with, all.collect());

    let mut forwarding = closed.clone();
    forwarding["jwtRules"][0]["forwardOriginalToken"] = json!(true);
    let (vm, _) = boot(&forwarding, Some(verify_signature));
    fixture.ask(&vm, "good");
    assert_eq!(calls(&vm, || fixture.ask(&vm, "good")), verifies);
}
