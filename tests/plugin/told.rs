//! What the log tells of key sets: what is in them, what is wrong with them, and why they can't be had.

use serde_json::{Value, json};

use super::fixture::{Fixture, NOW, fetch, fetch_failed, is_forwarded, reply};
use crate::support::host::Vm;
use crate::support::mint;

/// How often the log says this.
fn told(vm: &Vm, text: &str) -> usize {
    vm.log_text().matches(text).count()
}

#[test]
fn what_is_in_a_set_is_told_when_it_changes() {
    let fixture = Fixture::new();
    let vm = fixture.vm();
    let mut keys: Value = serde_json::from_slice(&fixture.keys()).expect("a key set");
    let list = keys["keys"].as_array_mut().expect("a list");
    let encrypts = json!({ "kty": "RSA", "kid": "enc", "use": "enc", "alg": "RSA-OAEP" });
    let unusable = json!({ "kty": "new", "kid": "line\nbreak" });
    let published = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "d", "x": "", "d": "c2VjcmV0" });
    list.extend([encrypts, unusable, published]);
    let body = keys.to_string();
    fixture.ask(&vm, "good");
    for round in 0..3 {
        vm.answer(fetch(&vm), 200, body.as_bytes());
        let left_out = r#"key "line\nbreak" is left out: its [kty] and [crv] are not supported"#;
        assert_eq!(told(&vm, left_out), 1, "{}", vm.log_text());
        assert_eq!(told(&vm, "publishes its private key"), 1);
        assert_eq!(told(&vm, " has the keys \"krsa\""), 1, "{}", vm.log_text());
        assert_eq!(told(&vm, "enc"), 0, "a key for encryption is no news");
        vm.set_time(NOW + 300 * (round + 1));
    }
    assert_eq!(told(&vm, "c2VjcmV0"), 0);
    vm.answer(fetch(&vm), 200, &fixture.keys());
    vm.set_time(NOW + 1200);
    vm.answer(fetch(&vm), 200, body.as_bytes());
    assert_eq!(told(&vm, "is left out: its [kty]"), 2, "it is wrong again");
    assert_eq!(told(&vm, "has the keys"), 1, "which are the same all along");
}

/// A token that wasn't verified may say anything.
#[test]
fn nothing_of_a_token_is_told() {
    let fixture = Fixture::new();
    let vm = fixture.vm();
    let token = mint::token(&json!({
        "kid": "krsa",
        "header": { "kid": "forged-kid" },
        "claims": { "iss": fixture.config["jwtRules"][0]["issuer"], "sub": "forged-sub", "exp": NOW + 60 },
    }));
    let bearer = format!("Bearer {token}");
    let request = super::fixture::request(&[("authorization", &bearer)]);
    let stream = vm.request(&request);
    vm.answer(fetch(&vm), 200, &fixture.keys());
    assert_eq!(reply(&vm, stream).0, 401);
    assert_eq!(told(&vm, "refused: reason=jwt_key_not_found"), 1);
    assert_eq!(told(&vm, "has the keys \"krsa\""), 1, "{}", vm.log_text());
    assert_eq!(told(&vm, "forged"), 0, "{}", vm.log_text());
}

/// Some servers want a key of their own in it.
#[test]
fn the_query_of_an_address_is_not_told() {
    let mut fixture = Fixture::new();
    let rule = &mut fixture.config["jwtRules"][0];
    let uri = rule["jwksUri"].as_str().expect("an address").to_owned();
    rule["jwksUri"] = format!("{uri}?code=secret").into();
    rule.as_object_mut().expect("a rule").remove("issuer");
    for status in [200, 500] {
        let vm = fixture.vm();
        fixture.ask(&vm, "good");
        let fetch = fetch(&vm);
        assert!(vm.callouts()[0].target().ends_with("?code=secret"));
        vm.answer(fetch, status, &fixture.keys());
        vm.tick();
        assert_eq!(
            told(&vm, &format!("key set {uri} (cluster")),
            1,
            "{}",
            vm.log_text()
        );
        assert_eq!(told(&vm, "secret"), 0, "{}", vm.log_text());
        let names = vm.metrics();
        assert!(names.iter().any(|name| name.contains(&uri)), "{names:?}");
        assert!(
            !names.iter().any(|name| name.contains("secret")),
            "{names:?}"
        );
    }
}

#[test]
fn why_keys_can_not_be_had() {
    let fixture = Fixture::new();
    let moved = [("location", "https://user:secret@new.test/keys?code=secret")];
    let gzip = [0x1f, 0x8b, 8, 0, 0];
    let metadata = r#"{"issuer": "https://a.test", "jwks_uri": "https://a.test/keys"}"#;
    for (status, headers, body, expected) in [
        (
            301,
            &moved[..],
            &b""[..],
            "a redirect to \"new.test/keys\", which isn't followed",
        ),
        (301, &[], b"", "status 301 instead of 200"),
        (403, &[], b"", "the server wants to know who asks"),
        (503, &[], b"", "`/stats?filter=ssl`"),
        (504, &[], b"", "longer than the time-out"),
        (200, &[], &gzip, "it is compressed (gzip)"),
        (200, &[], b"<!DOCTYPE html>", "it is a web page"),
        (200, &[], b"", "it is empty"),
        (
            200,
            &[],
            metadata.as_bytes(),
            "this is an issuer's metadata, not a key set",
        ),
    ] {
        let vm = fixture.vm();
        let stream = fixture.ask(&vm, "good");
        vm.answer_with(fetch(&vm), status, headers, body);
        assert_eq!(reply(&vm, stream), fetch_failed());
        assert_eq!(told(&vm, expected), 1, "{expected}: {}", vm.log_text());
        assert_eq!(told(&vm, "secret"), 0, "{}", vm.log_text());
    }
    // Where an answer begins and doesn't end, Envoy hands over none at all.
    let vm = fixture.vm();
    fixture.ask(&vm, "good");
    vm.fail(fetch(&vm));
    assert_eq!(told(&vm, "or is longer than Envoy holds (32 MB)"), 1);
    vm.set_time(NOW + 60);
    let stream = fixture.ask(&vm, "good");
    vm.answer(fetch(&vm), 200, &fixture.keys());
    assert!(is_forwarded(&vm, stream));
}
