//! Configurations: right, wrong, replaced, and in either of their forms.

use serde_json::json;

use super::fixture::{Fixture, NOW, fetch, is_forwarded, reply, request};
use crate::support::host::maps::serialized;
use crate::support::host::{Setup, State, Vm};

#[test]
fn a_new_configuration_replaces_the_old_one() {
    let fixture = Fixture::new();
    let mut vm = fixture.vm();
    let waiting = fixture.ask(&vm, "good");
    let closed = json!({ "authorizationPolicies": [{ "name": "closed" }] });
    assert!(vm.reload(closed.to_string().as_bytes()));
    let new = vm.request(&request(&[]));
    assert_eq!(reply(&vm, new), (403, "RBAC: access denied".to_owned()));

    vm.answer(fetch(&vm), 200, &fixture.keys());
    assert!(
        is_forwarded(&vm, waiting),
        "who waits under the old configuration is answered"
    );
}

#[test]
fn a_plugin_may_be_configured_again() {
    let fixture = Fixture::new();
    let vm = fixture.vm();
    let waiting = fixture.ask(&vm, "good");
    let closed = json!({ "authorizationPolicies": [{ "name": "closed" }] });
    assert!(vm.reconfigure(closed.to_string().as_bytes()));
    let new = vm.request(&request(&[]));
    assert_eq!(reply(&vm, new), (403, "RBAC: access denied".to_owned()));

    vm.answer(fetch(&vm), 200, &fixture.keys());
    assert!(is_forwarded(&vm, waiting));
}

#[test]
fn a_reply_tells_the_access_log_who_decided() {
    let closed = json!({
        "workload": { "name": "shop", "namespace": "foo" },
        "authorizationPolicies": [{ "name": "closed", "action": "DENY", "rules": [{}] }],
    });
    let vm = Vm::start(closed.to_string().as_bytes(), NOW).expect("a good configuration");
    let stream = vm.request(&request(&[]));
    let State::Replied(reply) = vm.state(stream) else {
        panic!("no reply");
    };
    assert_eq!(
        reply.details,
        "rbac_access_denied_matched_policy[ns[foo]-policy[closed]-rule[0]]"
    );
}

#[test]
fn a_wrong_new_configuration_changes_nothing() {
    let closed = json!({ "authorizationPolicies": [{ "name": "closed" }] });
    let mut vm = Vm::start(closed.to_string().as_bytes(), NOW).expect("a good configuration");
    assert!(!vm.reload(b"{\"resource\": []}"));
    let stream = vm.request(&request(&[]));
    assert_eq!(reply(&vm, stream).0, 403);
}

#[test]
fn every_mistake_is_logged_with_its_path() {
    let wrong = json!({
        "jwtRules": [
            { "audiences": ["a"] },
            { "issuer": "a", "jwks": "{\"keys\":[]}" },
            { "issuer": "a", "jwks": "{}", "jwksUri": "https://a.test/jwks" },
        ],
        "authorizationPolicies": [{
            "name": "p",
            "action": "PERMIT",
            "rules": [{ "when": [{ "key": "request.colour", "values": ["red"] }] }],
        }],
        "surprise": true,
    });
    let setup = || Setup {
        now: NOW,
        ..Setup::default()
    };
    let (vm, accepted) = Vm::boot(wrong.to_string().as_bytes(), setup());
    assert!(!accepted);
    let log = vm.log_text();
    let paths = [
        "jwtRules[0]",
        "jwtRules[1].jwks",
        "jwtRules[2]",
        "authorizationPolicies[0].action",
        "authorizationPolicies[0].rules[0].when[0].key",
        "surprise",
    ];
    for path in paths {
        assert!(log.contains(path), "{path} is not in:\n{log}");
    }
    let stream = vm.request(&request(&[]));
    assert_eq!(
        reply(&vm, stream).0,
        503,
        "a refused configuration lets nothing through"
    );
    drop(vm);

    for nonsense in [&b""[..], b"null", b"[]", b"{", b"\xff", b"{}"] {
        let (vm, accepted) = Vm::boot(nonsense, setup());
        assert!(!accepted, "{nonsense:?}");
        let stream = vm.request(&request(&[]));
        assert!(!is_forwarded(&vm, stream), "{nonsense:?}");
    }
}

#[test]
fn the_node_says_who_we_are() {
    let policy = json!({
        "resources": [{
            "apiVersion": "security.istio.io/v1",
            "kind": "AuthorizationPolicy",
            "metadata": { "name": "closed", "namespace": "foo" },
            "spec": { "selector": { "matchLabels": { "app": "shop" } } },
        }],
    });
    let boot = |namespace: Option<&str>, app: Option<&str>| {
        let mut setup = Setup {
            now: NOW,
            ..Setup::default()
        };
        let node = "xds.node.metadata";
        if let Some(namespace) = namespace {
            setup
                .properties
                .insert(format!("{node}.NAMESPACE"), namespace.into());
        }
        if let Some(app) = app {
            let labels = serialized(&[(b"app".to_vec(), app.into())]);
            setup.properties.insert(format!("{node}.LABELS"), labels);
        }
        let (vm, accepted) = Vm::boot(policy.to_string().as_bytes(), setup);
        let stream = vm.request(&request(&[]));
        (accepted, is_forwarded(&vm, stream))
    };
    assert_eq!(boot(Some("foo"), Some("shop")), (true, false), "it is ours");
    assert_eq!(
        boot(Some("bar"), Some("shop")),
        (true, true),
        "another namespace's"
    );
    assert_eq!(
        boot(Some("foo"), Some("cart")),
        (true, true),
        "another workload's"
    );
    assert_eq!(boot(None, None), (false, false), "who can tell");
}

#[test]
fn a_configuration_may_be_a_serialised_struct() {
    // {"authorizationPolicies": [{"name": "closed"}]}, as google.protobuf.Struct
    let closed = [
        &b"\x0a\x31\x0a\x15authorizationPolicies\x12\x18\x32\x16\x0a\x14\x2a\x12\x0a\x10"[..],
        b"\x0a\x04name\x12\x08\x1a\x06closed",
    ]
    .concat();
    let vm = Vm::start(&closed, NOW).expect("a good configuration");
    let stream = vm.request(&request(&[]));
    assert_eq!(reply(&vm, stream).0, 403);
}
