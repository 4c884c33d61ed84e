//! Key sets: fetched once, for all who wait, and never a reason to hang.

use serde_json::json;

use super::fixture::{Fixture, NOW, fetch, fetch_failed, is_forwarded, reply, request};
use crate::support::host::{Setup, State, Vm};
use crate::support::mint;

const MAX_BODY: usize = 256 * 1024;

#[test]
fn many_requests_wait_for_one_fetch() {
    let fixture = Fixture::new();
    let vm = fixture.vm();
    let waiting: Vec<u32> = (0..20).map(|_| fixture.ask(&vm, "good")).collect();
    let callout = fetch(&vm);
    assert_eq!(fetch(&vm), callout, "fetched again while under way");
    assert!(
        waiting
            .iter()
            .all(|stream| matches!(vm.state(*stream), State::Paused))
    );

    vm.answer(callout, 200, &fixture.keys());
    assert!(waiting.iter().all(|stream| is_forwarded(&vm, *stream)));
    let later = fixture.ask(&vm, "good");
    assert!(is_forwarded(&vm, later));
    assert_eq!(vm.host_calls()["proxy_http_call"], 1);
}

#[test]
fn a_fetch_says_what_it_wants() {
    let fixture = Fixture::new();
    let vm = fixture.vm();
    fixture.ask(&vm, "good");
    vm.tick();
    let callout = &vm.callouts()[0];
    assert_eq!(callout.cluster, "jwks");
    assert_eq!(callout.header(":method"), "GET");
    assert_eq!(callout.target(), "remote.test/good");
    assert_eq!(callout.timeout_ms, 5000);
    assert_eq!(
        callout.header("authorization"),
        "",
        "a client's token goes nowhere"
    );
}

#[test]
fn a_request_that_needs_no_key_waits_for_none() {
    let fixture = Fixture::new();
    let vm = fixture.vm();
    let without = vm.request(&request(&[]));
    let expired = fixture.ask(&vm, "expired");
    assert!(is_forwarded(&vm, without));
    assert_eq!(reply(&vm, expired), (401, "Jwt is expired".to_owned()));
}

#[test]
fn a_worker_that_serves_fetches_its_key_sets_and_one_that_does_not_does_not() {
    let fixture = Fixture::new();
    let vm = fixture.vm();
    vm.tick();
    assert!(
        vm.callouts().is_empty(),
        "Envoy's main thread serves nothing"
    );
    vm.request(&request(&[]));
    vm.answer(fetch(&vm), 200, &fixture.keys());
    let stream = fixture.ask(&vm, "good");
    assert!(is_forwarded(&vm, stream));
}

#[test]
fn a_failed_fetch_answers_all_at_once_and_pauses() {
    let fixture = Fixture::new();
    let vm = fixture.vm();
    let waiting = [fixture.ask(&vm, "good"), fixture.ask(&vm, "good")];
    vm.fail(fetch(&vm));
    for stream in waiting {
        assert_eq!(reply(&vm, stream), fetch_failed());
    }

    let next = fixture.ask(&vm, "good");
    assert_eq!(reply(&vm, next), fetch_failed());
    vm.tick();
    assert!(vm.callouts().is_empty(), "fetched during the pause");

    vm.set_time(NOW + 60);
    let after = fixture.ask(&vm, "good");
    vm.answer(fetch(&vm), 200, &fixture.keys());
    assert!(is_forwarded(&vm, after));
}

#[test]
fn what_is_no_key_set_is_refused() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let too_long = [keys.clone(), vec![b' '; MAX_BODY + 1 - keys.len()]].concat();
    let answers: [(u16, &[u8]); 12] = [
        (200, &too_long),
        (200, b""),
        (200, b"<html></html>"),
        (200, b"{\"keys\":["),
        (200, b"{\"keys\":{}}"),
        (200, b"[]"),
        (200, b"null"),
        (200, b"\xff\xfe"),
        (200, &[b'['; 10_000]),
        (204, b""),
        (302, &keys),
        (500, &keys),
    ];
    for (status, body) in answers {
        let vm = fixture.vm();
        let stream = fixture.ask(&vm, "good");
        vm.answer(fetch(&vm), status, body);
        let start = String::from_utf8_lossy(&body[..body.len().min(20)]).into_owned();
        assert_eq!(reply(&vm, stream), fetch_failed(), "{status} {start}");
    }
}

#[test]
fn a_body_of_256_kb_is_taken() {
    let fixture = Fixture::new();
    let vm = fixture.vm();
    let stream = fixture.ask(&vm, "good");
    let mut keys = fixture.keys();
    keys.resize(MAX_BODY, b' ');
    vm.answer(fetch(&vm), 200, &keys);
    assert!(is_forwarded(&vm, stream));
}

#[test]
fn an_unknown_cluster_answers_at_once() {
    let fixture = Fixture::new();
    let vm = fixture.vm();
    vm.forget_cluster("jwks");
    let stream = fixture.ask(&vm, "good");
    vm.tick();
    assert_eq!(reply(&vm, stream), fetch_failed());
    assert!(vm.log_text().contains("cluster"), "{}", vm.log_text());
}

#[test]
fn who_disconnects_is_not_answered() {
    let fixture = Fixture::new();
    let vm = fixture.vm();
    let (gone, stays) = (fixture.ask(&vm, "good"), fixture.ask(&vm, "good"));
    let callout = fetch(&vm);
    vm.disconnect(gone);
    vm.answer(callout, 200, &fixture.keys());
    assert!(is_forwarded(&vm, stays));
}

#[test]
fn keys_are_kept_when_all_have_disconnected() {
    let fixture = Fixture::new();
    let vm = fixture.vm();
    let gone = fixture.ask(&vm, "good");
    let callout = fetch(&vm);
    vm.disconnect(gone);
    vm.answer(callout, 200, &fixture.keys());
    let next = fixture.ask(&vm, "good");
    assert!(is_forwarded(&vm, next));
    assert_eq!(vm.host_calls()["proxy_http_call"], 1);
}

#[test]
fn who_disconnects_before_the_fetch_is_forgotten() {
    let fixture = Fixture::new();
    let vm = fixture.vm();
    vm.disconnect(fixture.ask(&vm, "good"));
    vm.fail(fetch(&vm));
    assert_eq!(vm.host_calls().get("proxy_send_local_response"), None);
}

#[test]
fn a_body_waits_with_its_request() {
    let fixture = Fixture::new();
    let vm = fixture.vm();
    let (good, bad) = (fixture.ask(&vm, "good"), fixture.ask(&vm, "bad"));
    assert!(vm.holds_body(good) && vm.holds_body(bad));
    vm.answer(fetch(&vm), 200, &fixture.keys());
    assert!(!vm.holds_body(good));
    assert!(vm.holds_body(bad), "its request was refused");
}

#[test]
fn a_tick_refreshes_old_keys() {
    let fixture = Fixture::new();
    let vm = fixture.vm();
    let first = fixture.ask(&vm, "good");
    vm.answer(fetch(&vm), 200, &fixture.keys());
    assert!(is_forwarded(&vm, first));
    vm.tick();
    assert!(vm.callouts().is_empty(), "the keys are fresh");

    vm.set_time(NOW + 301);
    let callout = fetch(&vm);
    let removed = json!({ "keys": [mint::public_key("kp384")] });
    vm.answer(callout, 200, removed.to_string().as_bytes());
    let after = fixture.ask(&vm, "good");
    vm.answer(fetch(&vm), 200, removed.to_string().as_bytes());
    assert_eq!(reply(&vm, after), no_key(), "a removed key is still in use");
}

fn no_key() -> (u32, String) {
    let text = "Jwks doesn't have key to match kid or alg from Jwt";
    (401, text.to_owned())
}

#[test]
fn a_new_key_is_fetched_for_the_first_token_it_signed() {
    let fixture = Fixture::new();
    let vm = fixture.vm();
    let old = json!({ "keys": [mint::public_key("kp384")] }).to_string();
    let first = fixture.ask(&vm, "good");
    vm.answer(fetch(&vm), 200, old.as_bytes());
    assert_eq!(reply(&vm, first), no_key(), "it has waited for these keys");

    let waiting: Vec<u32> = (0..10).map(|_| fixture.ask(&vm, "good")).collect();
    vm.answer(fetch(&vm), 200, old.as_bytes());
    assert!(waiting.iter().all(|stream| reply(&vm, *stream) == no_key()));
    for second in [1, 29] {
        vm.set_time(NOW + second);
        let soon = fixture.ask(&vm, "good");
        assert_eq!(reply(&vm, soon), no_key(), "such a fetch was too short ago");
        vm.tick();
        assert!(vm.callouts().is_empty());
    }

    vm.set_time(NOW + 33);
    let waiting: Vec<u32> = (0..10).map(|_| fixture.ask(&vm, "good")).collect();
    vm.answer(fetch(&vm), 200, &fixture.keys());
    assert!(waiting.iter().all(|stream| is_forwarded(&vm, *stream)));
}

#[test]
fn tokens_of_no_key_do_not_wait_for_a_provider_that_is_down() {
    let fixture = Fixture::new();
    let vm = fixture.vm();
    let old = json!({ "keys": [mint::public_key("kp384")] }).to_string();
    fixture.ask(&vm, "good");
    vm.answer(fetch(&vm), 200, old.as_bytes());

    let waiting = fixture.ask(&vm, "good");
    vm.fail(fetch(&vm));
    assert_eq!(reply(&vm, waiting).0, 401);
    for second in 0..30 {
        vm.set_time(NOW + second);
        let refused = fixture.ask(&vm, "good");
        assert_eq!(reply(&vm, refused).0, 401);
        vm.tick();
        assert!(vm.callouts().is_empty(), "fetched after {second} seconds");
    }
}

#[test]
fn a_pause_after_failures_outlasts_the_interval_for_new_keys() {
    let fixture = Fixture::new();
    let vm = fixture.vm();
    let old = json!({ "keys": [mint::public_key("kp384")] }).to_string();
    fixture.ask(&vm, "good");
    vm.answer(fetch(&vm), 200, old.as_bytes());

    // Old keys are fetched again and again in vain, until the pause is a minute.
    let mut now = NOW + 300;
    for _ in 0..8 {
        vm.set_time(now);
        vm.fail(fetch(&vm));
        now += 60;
    }
    vm.set_time(now - 60 + 29);
    let refused = fixture.ask(&vm, "good");
    assert_eq!(
        reply(&vm, refused).0,
        401,
        "it waits for a fetch that can't start"
    );
}

#[test]
fn another_rules_keys_are_no_reason_to_wait() {
    let fixture = Fixture::new();
    let mut config = fixture.config.clone();
    let inline = fixture.suite.expand("${keys.idp}");
    let rules = config["jwtRules"].as_array_mut().expect("rules");
    let second = json!({ "issuer": rules[0]["issuer"], "jwks": inline });
    rules.push(second);
    let vm = Vm::start(config.to_string().as_bytes(), NOW).expect("a good configuration");

    let first = fixture.ask(&vm, "good");
    assert!(
        matches!(vm.state(first), State::Paused),
        "which rule wins must not depend on whose keys come first"
    );
    let other = json!({ "keys": [mint::public_key("kp384")] }).to_string();
    vm.answer(fetch(&vm), 200, other.as_bytes());
    assert!(is_forwarded(&vm, first));

    vm.set_time(NOW + 31);
    let later = fixture.ask(&vm, "good");
    assert!(
        is_forwarded(&vm, later),
        "the first rule's keys are there and don't fit"
    );
    vm.tick();
    assert!(vm.callouts().is_empty());
}

#[test]
fn a_flood_does_not_put_the_fetch_off() {
    let fixture = Fixture::new();
    let vm = fixture.vm();
    let calls = || vm.host_calls()["proxy_set_tick_period_milliseconds"];
    let before = calls();
    for _ in 0..20 {
        fixture.ask(&vm, "good");
    }
    assert_eq!(calls(), before + 1, "asking again would put the tick off");
    vm.fail(fetch(&vm));
    let between = calls();
    vm.set_time(NOW + 60);
    fixture.ask(&vm, "good");
    assert_eq!(calls(), between + 1, "the next wait needs a tick, too");
}

#[test]
fn a_plugin_asks_for_ticks() {
    let fixture = Fixture::new();
    let vm = fixture.vm();
    assert!(vm.tick_period() > 0);
    let waiting = fixture.ask(&vm, "good");
    assert!(
        (1..=100).contains(&vm.tick_period()),
        "a request waits: {} ms",
        vm.tick_period()
    );
    vm.answer(fetch(&vm), 200, &fixture.keys());
    assert!(is_forwarded(&vm, waiting));
    assert!(
        vm.tick_period() >= 1000,
        "nothing waits: {} ms",
        vm.tick_period()
    );
}

#[test]
fn a_host_that_refuses_calls_is_a_failed_fetch() {
    for status in [2, 10] {
        let fixture = Fixture::new();
        let forced = [("proxy_http_call".to_owned(), status)].into();
        let setup = Setup {
            now: NOW,
            forced,
            ..Setup::default()
        };
        let (vm, _) = Vm::boot(fixture.config.to_string().as_bytes(), setup);
        let stream = fixture.ask(&vm, "good");
        vm.tick();
        assert_eq!(reply(&vm, stream), fetch_failed());
    }
}
