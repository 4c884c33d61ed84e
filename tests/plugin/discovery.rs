//! Issuers that tell where their keys are.

use serde_json::{Value, json};

use super::fixture::{Fixture, NOW, fetch, fetch_failed, is_forwarded, reply, request};
use crate::support::host::Vm;

const ISSUER: &str = "https://issuer.test";

/// A rule that names no key set.
fn start(fixture: &Fixture) -> Vm {
    let config = json!({
        "jwtRules": [{ "issuer": ISSUER }],
        "jwks": { "clusters": [{ "host": "issuer.test", "cluster": "idp" }, { "host": "keys.test", "cluster": "cdn" }] },
    });
    assert_eq!(fixture.config["jwtRules"][0]["issuer"], ISSUER);
    Vm::start(config.to_string().as_bytes(), NOW).expect("a good configuration")
}

fn metadata(vm: &Vm, metadata: &Value) {
    vm.answer(fetch(vm), 200, metadata.to_string().as_bytes());
}

fn good() -> Value {
    json!({ "issuer": ISSUER, "jwks_uri": "https://keys.test/j?k=1" })
}

#[test]
fn metadata_lead_to_the_keys() {
    let fixture = Fixture::new();
    let vm = start(&fixture);
    let waiting = [fixture.ask(&vm, "good"), fixture.ask(&vm, "good")];
    vm.tick();
    let callout = &vm.callouts()[0];
    assert_eq!(callout.cluster, "idp");
    assert_eq!(
        callout.target(),
        "issuer.test/.well-known/openid-configuration"
    );

    metadata(&vm, &good());
    let callouts = vm.callouts();
    assert_eq!(callouts.len(), 1);
    assert_eq!(callouts[0].cluster, "cdn");
    assert_eq!(callouts[0].target(), "keys.test/j?k=1");
    vm.answer(callouts[0].token, 200, &fixture.keys());
    assert!(waiting.iter().all(|stream| is_forwarded(&vm, *stream)));

    let later = fixture.ask(&vm, "good");
    assert!(is_forwarded(&vm, later));
    vm.tick();
    assert!(vm.callouts().is_empty());
}

#[test]
fn metadata_of_another_issuer_are_refused() {
    for wrong in [
        json!({ "issuer": "https://issuer.test/", "jwks_uri": "https://keys.test/j" }),
        json!({ "jwks_uri": "https://keys.test/j" }),
        json!({ "issuer": ISSUER }),
        json!({ "issuer": ISSUER, "jwks_uri": "http://169.254.169.254/latest" }),
        json!({ "issuer": ISSUER, "jwks_uri": "ftp://keys.test/j" }),
        json!([]),
    ] {
        let fixture = Fixture::new();
        let vm = start(&fixture);
        let stream = fixture.ask(&vm, "good");
        metadata(&vm, &wrong);
        assert!(vm.callouts().is_empty(), "{wrong}");
        assert_eq!(reply(&vm, stream), fetch_failed(), "{wrong}");
    }
}

#[test]
fn a_failure_of_either_request_is_one_of_both() {
    let fixture = Fixture::new();
    let vm = start(&fixture);
    let stream = fixture.ask(&vm, "good");
    vm.fail(fetch(&vm));
    assert_eq!(reply(&vm, stream), fetch_failed());

    vm.set_time(NOW + 60);
    let stream = fixture.ask(&vm, "good");
    metadata(&vm, &good());
    vm.fail(fetch(&vm));
    assert_eq!(reply(&vm, stream), fetch_failed());

    vm.set_time(NOW + 120);
    let stream = fixture.ask(&vm, "good");
    metadata(&vm, &good());
    vm.answer(fetch(&vm), 200, &fixture.keys());
    assert!(is_forwarded(&vm, stream));
}

#[test]
fn old_keys_serve_while_the_issuer_is_away() {
    let fixture = Fixture::new();
    let vm = start(&fixture);
    fixture.ask(&vm, "good");
    metadata(&vm, &good());
    vm.answer(fetch(&vm), 200, &fixture.keys());

    vm.set_time(NOW + 300);
    vm.fail(fetch(&vm));
    let stream = fixture.ask(&vm, "good");
    assert!(is_forwarded(&vm, stream));
}

#[test]
fn an_issuer_of_which_no_address_can_be_made_has_no_keys() {
    let config = json!({ "jwtRules": [{ "issuer": "issuer-foo" }] });
    let vm = Vm::start(config.to_string().as_bytes(), NOW).expect("a good configuration");
    assert!(vm.log_text().contains("doesn't tell"), "{}", vm.log_text());
    let open = vm.request(&request(&[]));
    assert!(is_forwarded(&vm, open));
    vm.tick();
    assert!(vm.callouts().is_empty());
}

#[test]
fn an_account_of_a_known_provider_has_its_key_set_there() {
    let config = json!({
        "jwtRules": [{ "issuer": "a-b@c.iam.gserviceaccount.com" }],
        "jwks": { "shared": true },
    });
    let vm = Vm::start(config.to_string().as_bytes(), NOW).expect("a good configuration");
    vm.tick();
    let callout = &vm.callouts()[0];
    assert_eq!(callout.cluster, "outbound|443||www.googleapis.com");
    assert_eq!(
        callout.target(),
        "www.googleapis.com/service_accounts/v1/jwk/a-b@c.iam.gserviceaccount.com"
    );
}
