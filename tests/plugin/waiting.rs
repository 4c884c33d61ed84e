//! Many requests that wait: few of them end in one call of the plugin, and only so many may wait.

use serde_json::{Value, json};

use super::checks::{ask, checks, config, denied, is_paused, vm};
use super::fixture::{Fixture, NOW, fetch, fetch_failed, is_forwarded, reply};
use crate::support::host::{Setup, State, Vm};

const CLUSTER: &str = "outbound|8000||authz.test";

/// Ticks until nothing is left to do at once; how often.
fn settle(vm: &Vm) -> usize {
    let mut ticks = 0;
    while vm.tick_period() == 1 {
        vm.tick();
        ticks += 1;
        assert!(ticks < 10_000, "it never ends");
    }
    ticks
}

fn with(name: &str, value: Value) -> Value {
    let mut config = config();
    config["extensionProviders"][0]["envoyExtAuthzHttp"][name] = value;
    config
}

#[test]
fn those_that_wait_for_keys_go_on_in_several_calls() {
    for (status, expected) in [(200, None), (500, Some(fetch_failed()))] {
        let fixture = Fixture::new();
        let vm = fixture.vm();
        let streams: Vec<_> = (0..1000).map(|_| fixture.ask(&vm, "good")).collect();
        vm.answer(fetch(&vm), status, &fixture.keys());
        let ticks = settle(&vm);
        assert!(ticks > 10, "{ticks} ticks");
        for stream in streams {
            match &expected {
                None => assert!(is_forwarded(&vm, stream)),
                Some(expected) => assert_eq!(reply(&vm, stream), *expected),
            }
        }
    }
}

#[test]
fn whoever_leaves_before_its_turn_is_forgotten() {
    let fixture = Fixture::new();
    let vm = fixture.vm();
    let streams: Vec<_> = (0..500).map(|_| fixture.ask(&vm, "good")).collect();
    vm.answer(fetch(&vm), 200, &fixture.keys());
    let (gone, rest): (Vec<_>, Vec<_>) = streams.into_iter().partition(|stream| stream % 2 == 0);
    gone.iter().for_each(|stream| vm.disconnect(*stream));
    assert!(settle(&vm) < 10, "those that left take no turn");
    assert!(rest.iter().all(|stream| is_forwarded(&vm, *stream)));
}

#[test]
fn those_that_cant_be_asked_about_are_refused_in_several_calls() {
    let vm = vm(&config());
    vm.forget_cluster(CLUSTER);
    let streams: Vec<_> = (0..1000).map(|_| ask(&vm, "/x")).collect();
    settle(&vm);
    for stream in streams {
        assert_eq!(reply(&vm, stream), denied(""));
    }
}

#[test]
fn more_than_may_wait_are_turned_away() {
    let mut fixture = Fixture::new();
    fixture.config["maxWaitingRequests"] = 3.into();
    let vm = fixture.vm();
    let waiting: Vec<_> = (0..3).map(|_| fixture.ask(&vm, "good")).collect();
    let late = fixture.ask(&vm, "good");
    let State::Replied(answer) = vm.state(late) else {
        panic!("it waits, too");
    };
    assert_eq!(
        (answer.status, &*answer.body),
        (503, &b"Too many requests wait"[..])
    );
    assert!(
        answer
            .headers
            .contains(&(b"retry-after".to_vec(), b"5".to_vec()))
    );
    assert!(is_forwarded(&vm, vm.request(&super::fixture::request(&[]))));

    vm.disconnect(waiting[0]);
    let next = fixture.ask(&vm, "good");
    vm.answer(fetch(&vm), 200, &fixture.keys());
    for stream in waiting[1..].iter().chain([&next]) {
        assert!(is_forwarded(&vm, *stream));
    }
}

/// What is to be sent is kept until then, and a client's address can be long.
#[test]
fn fewer_wait_if_they_are_large() {
    let vm = vm(&with("maxRequests", 1.into()));
    let path = format!("/{}", "x".repeat(1 << 20));
    let streams: Vec<_> = (0..100).map(|_| ask(&vm, &path)).collect();
    let (waiting, turned_away): (Vec<u32>, Vec<u32>) = streams
        .into_iter()
        .partition(|stream| is_paused(&vm, *stream));
    assert_eq!((waiting.len(), turned_away.len()), (64, 36));
    assert_eq!(reply(&vm, turned_away[0]).0, 503);
    waiting[..10]
        .iter()
        .for_each(|stream| vm.disconnect(*stream));
    assert!(is_paused(&vm, ask(&vm, &path)), "there is room again");
}

#[test]
fn no_more_checks_are_under_way_than_may_be() {
    let vm = vm(&with("maxRequests", 2.into()));
    let streams: Vec<_> = (0..5).map(|_| ask(&vm, "/x")).collect();
    let first = checks(&vm);
    assert_eq!(first.len(), 2);
    // A client that has gone holds its place, since its call goes on; one that wasn't asked about, none.
    vm.disconnect(streams[0]);
    vm.disconnect(streams[2]);
    vm.tick();
    assert_eq!(vm.callouts().len(), 2);
    vm.answer(first[0].token, 200, b"");
    settle(&vm);
    let second = vm.callouts();
    assert_eq!(second.len(), 2);
    second
        .iter()
        .for_each(|check| vm.answer(check.token, 200, b""));
    settle(&vm);
    vm.answer(vm.callouts()[0].token, 200, b"");
    for stream in [1, 3, 4] {
        assert!(is_forwarded(&vm, streams[stream]), "{stream}");
    }
}

/// Neither our own bound nor Envoy's is a service that is down, whatever it fails to.
#[test]
fn what_is_never_asked_is_refused_in_the_end() {
    for fail_open in [false, true] {
        let mut config = with("maxRequests", 1.into());
        config["extensionProviders"][0]["envoyExtAuthzHttp"]["failOpen"] = fail_open.into();
        let vm = vm(&config);
        let (held, waits) = (ask(&vm, "/held"), ask(&vm, "/x"));
        let check = checks(&vm);
        vm.set_time(NOW + 1);
        vm.tick();
        assert!(is_paused(&vm, waits), "{fail_open}");
        vm.set_time(NOW + 2);
        vm.tick();
        assert_eq!(reply(&vm, waits), denied(""), "{fail_open}");
        assert!(vm.log_text().contains("reason=check_overloaded"));
        vm.answer(check[0].token, 200, b"");
        assert!(is_forwarded(&vm, held));
    }
}

#[test]
fn a_full_circuit_breaker_is_no_service_that_is_down() {
    let vm = vm(&with("failOpen", true.into()));
    ask(&vm, "/first");
    checks(&vm);
    vm.shut_cluster(CLUSTER, true);
    let second = ask(&vm, "/second");
    vm.tick();
    vm.tick();
    assert!(is_paused(&vm, second), "it may be full of the first one");
    vm.shut_cluster(CLUSTER, false);
    vm.set_time(NOW + 1);
    vm.tick();
    assert_eq!(vm.callouts().len(), 2, "it is tried again");

    vm.shut_cluster(CLUSTER, true);
    let late = ask(&vm, "/late");
    vm.set_time(NOW + 3);
    vm.tick();
    assert_eq!(reply(&vm, late), denied(""), "nor when time is up");

    // When no check can be under way any more, nothing is left but that no host is there.
    vm.set_time(NOW + 10);
    let third = ask(&vm, "/third");
    vm.callouts()
        .iter()
        .for_each(|check| vm.answer(check.token, 403, b""));
    settle(&vm);
    assert!(is_forwarded(&vm, third));
}

/// Its proxy says so (`x-envoy-overloaded`). Asking again would make it worse, and Envoy's retries don't.
#[test]
fn a_service_that_has_enough_to_do_is_asked_once() {
    let vm = vm(&with("failOpen", true.into()));
    let stream = ask(&vm, "/x");
    let check = checks(&vm);
    let overloaded = [("x-envoy-overloaded", "true")];
    vm.answer_with(check[0].token, 503, &overloaded, b"");
    assert_eq!(reply(&vm, stream), denied(""));
    assert!(vm.log_text().contains("reason=check_overloaded"));
    vm.tick();
    assert!(vm.callouts().is_empty());
}

/// As many as one call may answer, though each of these comes in a call of its own.
#[test]
fn answers_that_come_together_wait_for_their_turn() {
    let vm = vm(&config());
    let streams: Vec<_> = (0..100).map(|_| ask(&vm, "/x")).collect();
    settle(&vm);
    let checks = vm.callouts();
    assert_eq!(checks.len(), 100);
    checks
        .iter()
        .for_each(|check| vm.answer(check.token, 200, b""));
    let paused = |vm: &Vm| streams.iter().filter(|it| is_paused(vm, **it)).count();
    assert!(paused(&vm) > 50, "{} wait", paused(&vm));
    settle(&vm);
    assert_eq!(paused(&vm), 0);
}

#[test]
fn a_check_that_the_host_doesnt_take_is_tried_again_soon() {
    let vm = vm(&config());
    ask(&vm, "/held");
    let held = checks(&vm);
    vm.shut_cluster(CLUSTER, true);
    ask(&vm, "/x");
    vm.tick();
    assert_eq!(vm.tick_period(), 10);
    vm.shut_cluster(CLUSTER, false);
    vm.answer(held[0].token, 200, b"");
    assert_eq!(vm.tick_period(), 1, "there is room now");
    vm.tick();
    assert_eq!(vm.callouts().len(), 1);
}

/// What one worker has under way fills the circuit breaker for the other, too.
#[test]
fn workers_tell_each_other_that_a_service_is_in_use() {
    let config = with("failOpen", true.into());
    let one = vm(&config);
    let other = one.beside(config.to_string().as_bytes());
    ask(&one, "/held");
    one.tick();
    one.shut_cluster(CLUSTER, true);
    let stream = ask(&other, "/x");
    other.tick();
    assert!(is_paused(&other, stream));
    other.set_time(NOW + 2);
    other.tick();
    assert_eq!(reply(&other, stream), denied(""));
}

#[test]
fn a_refusal_that_the_host_doesnt_take_is_made_plain() {
    for fail_open in [false, true] {
        let vm = vm(&with("failOpen", fail_open.into()));
        vm.take_plain_replies_only();
        let stream = ask(&vm, "/x");
        vm.answer_with(
            checks(&vm)[0].token,
            401,
            &[("x-why", "because")],
            b"not you",
        );
        assert_eq!(reply(&vm, stream), (401, String::new()));
    }
}

/// Where nothing is taken, nothing goes on.
#[test]
fn a_refusal_that_the_host_never_takes_lets_nothing_through() {
    let setup = Setup {
        now: NOW,
        forced: [("proxy_send_local_response".to_owned(), 2)].into(),
        ..Setup::default()
    };
    let (vm, accepted) = Vm::boot(with("failOpen", true.into()).to_string().as_bytes(), setup);
    assert!(accepted);
    let stream = ask(&vm, "/x");
    vm.answer(checks(&vm)[0].token, 403, b"no");
    assert!(is_paused(&vm, stream));
    assert!(vm.holds_body(stream));
}

#[test]
fn a_line_of_an_answer_that_would_break_another_message_is_dropped() {
    let vm = vm(&config());
    let stream = ask(&vm, "/x");
    let lines = [
        ("x-a", "1\r\nx-b: 2"),
        ("x-c", "1\0"),
        ("x-e", "1\x7f"),
        ("x-d", "4"),
    ];
    vm.answer_with(checks(&vm)[0].token, 403, &lines, b"no");
    let State::Replied(answer) = vm.state(stream) else {
        panic!("no answer");
    };
    let names: Vec<_> = answer
        .headers
        .iter()
        .map(|(name, _)| name.as_slice())
        .collect();
    assert_eq!(names, [b"x-d"]);
}

#[test]
fn how_many_wait_is_told() {
    let vm = vm(&config());
    let gauge = || vm.metric("portcullis_waiting_requests").expect("a gauge");
    let streams: Vec<_> = (0..3).map(|_| ask(&vm, "/x")).collect();
    vm.tick();
    assert_eq!(gauge(), [3]);
    vm.disconnect(streams[0]);
    vm.answer(vm.callouts()[1].token, 200, b"");
    vm.tick();
    assert_eq!(gauge(), [1]);
}

/// `capability_restriction_config` without `proxy_on_request_headers`.
#[test]
fn a_request_that_the_plugin_isnt_called_for_is_told_loudly() {
    let vm = vm(&json!({ "authorizationPolicies": [{ "rules": [] }] }));
    let answered = vm.unseen();
    assert!(vm.holds_body(answered));
    assert!(vm.holds_response(answered));
    assert_eq!(
        reply(&vm, answered),
        (503, "Portcullis could not read the request".to_owned())
    );
    vm.disconnect(answered);
    vm.disconnect(vm.unseen());
    vm.tick();
    assert_eq!(vm.metric("portcullis_unseen_requests_total"), Some(vec![2]));
    let (level, line) = vm
        .log()
        .into_iter()
        .rfind(|(_, line)| line.contains("UNCHECKED"))
        .expect("a line");
    assert_eq!(level, 4);
    assert!(line.contains("proxy_on_request_headers"), "{line}");
}
