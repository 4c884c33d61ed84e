//! External checks: who waits for what, and what a log tells.

use serde_json::{Value, json};

use super::fixture::{NOW, is_forwarded, reply, request};
use crate::support::case::Suite;
use crate::support::from_bytes;
use crate::support::host::{Callout, State, Vm};

const SECRET: &str = "Basic c2VjcmV0OnNlY3JldA==";

/// Every request is asked about; the service may write `x-user`.
pub fn config() -> Value {
    json!({
        "extensionProviders": [{
            "name": "authz",
            "envoyExtAuthzHttp": {
                "service": "foo/authz.test",
                "port": 8000,
                "timeout": "1.5s",
                "headersToUpstreamOnAllow": ["x-user"],
            },
        }],
        "authorizationPolicies": [{
            "name": "c",
            "action": "CUSTOM",
            "provider": { "name": "authz" },
            "rules": [{}],
        }],
    })
}

pub fn vm(config: &Value) -> Vm {
    Vm::start(config.to_string().as_bytes(), NOW).expect("a good configuration")
}

pub fn ask(vm: &Vm, path: &str) -> u32 {
    vm.request(&[
        (":method".to_owned(), b"GET".to_vec()),
        (":path".to_owned(), path.as_bytes().to_vec()),
        (":authority".to_owned(), b"b".to_vec()),
        ("authorization".to_owned(), SECRET.as_bytes().to_vec()),
    ])
}

/// The checks that wait for an answer, which the plugin sends at its next tick.
pub fn checks(vm: &Vm) -> Vec<Callout> {
    vm.tick();
    vm.callouts()
}

pub fn denied(body: &str) -> (u32, String) {
    (403, body.to_owned())
}

pub fn is_paused(vm: &Vm, stream: u32) -> bool {
    matches!(vm.state(stream), State::Paused)
}

#[test]
fn a_request_waits_for_its_answer() {
    let vm = vm(&config());
    let stream = ask(&vm, "/x");
    assert_eq!(vm.tick_period(), 1, "a check is sent soon");
    let checks = checks(&vm);
    assert_eq!(checks.len(), 1);
    assert_eq!(checks[0].cluster, "outbound|8000||authz.test");
    assert_eq!(checks[0].timeout_ms, 1500);
    assert_eq!(checks[0].header("authorization"), SECRET);
    assert!(vm.holds_body(stream), "nothing goes on before the answer");
    vm.tick();
    assert_eq!(vm.callouts().len(), 1, "it is asked once");

    vm.answer_with(checks[0].token, 200, &[("x-user", "alice")], b"");
    let State::Forwarded(headers) = vm.state(stream) else {
        panic!("not forwarded: {:?}", vm.state(stream));
    };
    let user = headers.iter().find(|(name, _)| name == b"x-user");
    assert_eq!(from_bytes(&user.expect("x-user").1), "alice");
    assert!(!vm.holds_body(stream));
}

#[test]
fn each_gets_its_own_answer() {
    let vm = vm(&config());
    let streams = [ask(&vm, "/a"), ask(&vm, "/b"), ask(&vm, "/c")];
    let checks = checks(&vm);
    let paths: Vec<_> = checks.iter().map(|check| check.header(":path")).collect();
    assert_eq!(paths, ["/a", "/b", "/c"]);
    vm.answer(checks[2].token, 200, b"");
    vm.answer(checks[0].token, 403, b"not a");
    assert!(is_paused(&vm, streams[1]));
    vm.unreachable(checks[1].token);
    assert_eq!(reply(&vm, streams[0]), denied("not a"));
    assert_eq!(reply(&vm, streams[1]), denied(""));
    assert!(is_forwarded(&vm, streams[2]));
}

#[test]
fn who_leaves_is_forgotten() {
    let vm = vm(&config());
    vm.disconnect(ask(&vm, "/early"));
    assert_eq!(checks(&vm).len(), 0, "nobody waits for that");

    let (gone, stays) = (ask(&vm, "/gone"), ask(&vm, "/stays"));
    let checks = checks(&vm);
    vm.disconnect(gone);
    vm.answer(checks[0].token, 200, b"");
    assert!(is_paused(&vm, stays));
    vm.answer(checks[1].token, 200, b"");
    assert!(is_forwarded(&vm, stays));
}

#[test]
fn without_a_cluster_nobody_waits() {
    let vm = vm(&config());
    vm.forget_cluster("outbound|8000||authz.test");
    let stream = ask(&vm, "/x");
    assert_eq!(checks(&vm).len(), 0);
    assert_eq!(reply(&vm, stream), denied(""));
    let log = vm.log_text();
    let line = "`authz` can't be asked at the cluster `outbound|8000||authz.test`: Envoy has no such cluster";
    assert!(log.contains(line), "{log}");
}

#[test]
fn a_refusal_that_is_too_long_is_one_without_its_body() {
    let vm = vm(&config());
    let long = ask(&vm, "/x");
    vm.answer(checks(&vm)[0].token, 401, &[b'x'; 256 * 1024 + 1]);
    assert_eq!(reply(&vm, long), (401, String::new()));
}

#[test]
fn a_reload_leaves_no_request_behind() {
    let mut vm = vm(&config());
    let (sent, unsent) = (ask(&vm, "/sent"), {
        vm.tick();
        ask(&vm, "/unsent")
    });
    let open = json!({ "authorizationPolicies": [{ "rules": [{}] }] });
    assert!(vm.reload(open.to_string().as_bytes()));
    assert!(is_forwarded(&vm, ask(&vm, "/new")));
    let checks = checks(&vm);
    assert_eq!(checks.len(), 2, "the old configuration still asks");
    vm.answer(checks[0].token, 200, b"");
    vm.answer(checks[1].token, 403, b"no");
    assert!(is_forwarded(&vm, sent));
    assert_eq!(reply(&vm, unsent), denied("no"));

    drop(vm);
    let own = self::vm(&config());
    let stream = ask(&own, "/x");
    assert!(own.reconfigure(open.to_string().as_bytes()));
    own.answer(self::checks(&own)[0].token, 403, b"no");
    assert_eq!(reply(&own, stream), denied("no"));
}

#[test]
fn keys_are_waited_for_after_the_answer() {
    let mut suite = Suite::load("tests/cases/remote.json");
    suite.clock = Some(NOW);
    let mut both = suite.config(suite.case("good"));
    both["extensionProviders"] = config()["extensionProviders"].clone();
    both["authorizationPolicies"] = config()["authorizationPolicies"].clone();
    let vm = vm(&both);
    let bearer = suite.expand("Bearer ${good}");
    let stream = vm.request(&request(&[("authorization", &bearer)]));
    let calls = checks(&vm);
    let (keys, check): (Vec<_>, Vec<_>) = calls.iter().partition(|call| call.cluster == "jwks");
    vm.answer(check[0].token, 200, b"");
    assert!(is_paused(&vm, stream), "it has no keys yet");
    let set = suite.expand("${keys.idp}");
    vm.answer(keys[0].token, 200, set.as_bytes());
    assert!(is_forwarded(&vm, stream));
    vm.tick();
    assert_eq!(vm.callouts().len(), 0, "the service isn't asked again");
}

#[test]
fn what_is_told() {
    let mut config = config();
    config["extensionProviders"][0]["envoyExtAuthzHttp"]["failOpen"] = true.into();
    let dry_run = |name: &str, action: &str, rules: Value| json!({ "name": name, "action": action, "dryRun": true, "rules": rules });
    let path = |path: &str| json!([{ "to": [{ "operation": { "paths": [path] } }] }]);
    config["authorizationPolicies"]
        .as_array_mut()
        .expect("a list")
        .extend([
            json!({ "name": "a", "action": "AUDIT", "rules": [{}] }),
            dry_run("d", "DENY", path("/denied")),
            dry_run("e", "ALLOW", path("/allowed")),
        ]);
    let vm = vm(&config);
    for (path, would) in [
        ("/denied", "denied policy=ns[]-policy[d]-rule[0]"),
        ("/allowed", "allowed policy=ns[]-policy[e]-rule[0]"),
        ("/neither", "denied policy=none"),
    ] {
        let before = vm.log().len();
        let stream = ask(&vm, path);
        vm.unreachable(checks(&vm)[0].token);
        assert!(is_forwarded(&vm, stream));
        let lines = vm.log().split_off(before);
        assert_eq!(
            lines,
            [
                (
                    3,
                    "unchecked: `authz` doesn't answer, and fails open".to_owned()
                ),
                (2, "audit: policy=ns[]-policy[a]-rule[0]".to_owned()),
                (2, format!("dry run: {would}")),
            ]
        );
    }
    let log = vm.log_text();
    assert!(!log.contains("c2VjcmV0"), "{log}");
}
