//! Key sets that the workers of an Envoy share.

use serde_json::json;

use super::fixture::{Fixture, NOW, fetch, fetch_failed, is_forwarded, reply};
use crate::support::host::{Setup, State, Vm};
use crate::support::mint;

fn fetches(vm: &Vm) -> usize {
    let calls = vm.host_calls();
    calls.get("proxy_http_call").copied().unwrap_or_default()
}

#[test]
fn keys_are_fetched_before_anybody_asks() {
    let fixture = Fixture::new();
    let vm = fixture.sharing_vm();
    assert!(vm.tick_period() <= 100, "{} ms", vm.tick_period());
    vm.answer(fetch(&vm), 200, &fixture.keys());
    let stream = fixture.ask(&vm, "good");
    assert!(is_forwarded(&vm, stream));
}

#[test]
fn many_requests_on_two_workers_wait_for_one_fetch() {
    let fixture = Fixture::new();
    let one = fixture.sharing_vm();
    let other = fixture.beside(&one);
    let waiting: Vec<u32> = (0..100)
        .map(|index| fixture.ask(if index % 2 == 0 { &one } else { &other }, "good"))
        .collect();
    one.tick();
    other.tick();
    assert!(
        other.tick_period() <= 100,
        "it looks soon whether the first has the keys: {} ms",
        other.tick_period()
    );
    let callout = fetch(&other);
    one.answer(callout, 200, &fixture.keys());
    assert_eq!(one.tick_period(), 1, "the others go on soon");
    for _ in 0..2 {
        one.tick();
        other.tick();
    }
    assert!(waiting.iter().all(|stream| is_forwarded(&one, *stream)));
    assert_eq!(fetches(&one), 1);
    assert!(other.tick_period() >= 1000, "nothing waits any more");
}

/// An update replaces the plugin that fetches, and its call goes with it.
#[test]
fn a_fetch_that_is_lost_is_made_by_another() {
    for asks_first in [false, true] {
        let fixture = Fixture::new();
        let one = fixture.sharing_vm();
        let other = fixture.beside(&one);
        one.tick();
        let early = asks_first.then(|| fixture.ask(&other, "good"));
        other.tick();
        let lost = one.callouts();
        assert_eq!(lost.len(), 1);
        one.replaced();
        let stream = early.unwrap_or_else(|| fixture.ask(&other, "good"));
        other.tick();
        let callouts = other.callouts();
        assert_eq!(callouts.len(), 1, "it doesn't wait for what is lost");
        assert_ne!(callouts[0].token, lost[0].token);
        other.answer(callouts[0].token, 200, &fixture.keys());
        assert!(is_forwarded(&other, stream));
    }
}

#[test]
fn who_starts_later_starts_with_the_shared_keys() {
    let fixture = Fixture::new();
    let one = fixture.sharing_vm();
    one.answer(fetch(&one), 200, &fixture.keys());

    let new = fixture.beside(&one);
    let stream = fixture.ask(&new, "good");
    new.tick();
    assert!(is_forwarded(&new, stream));
    assert_eq!(fetches(&one), 1);
}

#[test]
fn a_new_key_is_fetched_for_a_worker_that_had_no_keys_yet() {
    for knows_of_the_fetch in [false, true] {
        let fixture = Fixture::new();
        let one = fixture.sharing_vm();
        let callout = fetch(&one);
        let new = fixture.beside(&one);
        if knows_of_the_fetch {
            new.tick();
        }
        let old = json!({ "keys": [mint::public_key("kp384")] });
        one.answer(callout, 200, old.to_string().as_bytes());

        let stream = fixture.ask(&new, "good");
        new.tick();
        assert!(
            matches!(new.state(stream), State::Paused),
            "the shared keys are older than the request"
        );
        new.answer(fetch(&new), 200, &fixture.keys());
        assert!(is_forwarded(&new, stream));
    }
}

#[test]
fn shared_keys_serve_a_new_worker_while_fresh_ones_are_fetched() {
    let fixture = Fixture::new();
    let one = fixture.sharing_vm();
    one.answer(fetch(&one), 200, &fixture.keys());
    one.set_time(NOW + 300);
    fetch(&one);

    let new = fixture.beside(&one);
    let stream = fixture.ask(&new, "good");
    new.tick();
    assert!(is_forwarded(&new, stream));
}

/// The fetch began at load, when nobody waited.
#[test]
fn a_prefetch_that_fails_for_a_request_holds_no_other() {
    for waits_here in [true, false] {
        let fixture = Fixture::new();
        let one = fixture.sharing_vm();
        let other = fixture.beside(&one);
        let callout = fetch(&one);
        let waits = if waits_here { &one } else { &other };
        let waiting = fixture.ask(waits, "good");
        other.tick();
        one.fail(callout);
        other.tick();
        assert_eq!(reply(waits, waiting), fetch_failed());
        let next = fixture.ask(waits, "good");
        assert_eq!(reply(waits, next), fetch_failed(), "at once");
        // Another worker asks what became of it, and is told so.
        let elsewhere = if waits_here { &other } else { &one };
        let next = fixture.ask(elsewhere, "good");
        elsewhere.tick();
        assert_eq!(reply(elsewhere, next), fetch_failed());
        assert_eq!(fetches(&one), 1, "the pause is every worker's");
    }
}

#[test]
fn a_failure_answers_the_requests_of_every_worker() {
    let fixture = Fixture::new();
    let one = fixture.sharing_vm();
    let other = fixture.beside(&one);
    let waiting = fixture.ask(&other, "good");
    let callout = fetch(&one);
    other.tick();
    assert!(matches!(other.state(waiting), State::Paused));
    one.fail(callout);
    other.tick();
    assert_eq!(reply(&other, waiting), fetch_failed());
    assert_eq!(fetches(&one), 1, "the pause is every worker's");
}

#[test]
fn a_refresh_is_for_all() {
    let fixture = Fixture::new();
    let one = fixture.sharing_vm();
    let other = fixture.beside(&one);
    one.answer(fetch(&one), 200, &fixture.keys());
    other.tick();

    one.set_time(NOW + 300);
    let removed = json!({ "keys": [mint::public_key("kp384")] });
    one.answer(fetch(&one), 200, removed.to_string().as_bytes());
    other.tick();
    other.tick();
    assert!(other.callouts().is_empty());
    assert_eq!(fetches(&one), 2);
    let stream = fixture.ask(&other, "good");
    other.fail(fetch(&other));
    assert_eq!(
        reply(&other, stream).0,
        401,
        "a removed key is still in use"
    );
}

#[test]
fn a_worker_that_dies_while_it_fetches_is_replaced() {
    let fixture = Fixture::new();
    let one = fixture.sharing_vm();
    let other = fixture.beside(&one);
    let lost = fetch(&one);
    let waiting = fixture.ask(&other, "good");
    other.tick();
    assert_eq!(other.callouts().len(), 1);

    other.set_time(NOW + 10);
    other.tick();
    let again = other.callouts().into_iter().map(|callout| callout.token);
    let again = again.max().expect("a second fetch");
    assert_ne!(again, lost);
    other.answer(again, 200, &fixture.keys());
    assert!(is_forwarded(&other, waiting));
}

#[test]
fn nothing_is_shared_with_every_module_unless_that_is_allowed() {
    let fixture = Fixture::new();
    let vm = fixture.vm();
    let stream = fixture.ask(&vm, "good");
    vm.answer(fetch(&vm), 200, &fixture.keys());
    assert!(is_forwarded(&vm, stream));
    assert_eq!(vm.shared(), []);
    drop(vm);

    for (shared, vm_id, expected) in [(true, "", true), (false, "own", false)] {
        let mut config = fixture.config.clone();
        config["jwks"]["shared"] = json!(shared);
        let setup = Setup {
            now: NOW,
            properties: [("plugin_vm_id".to_owned(), vm_id.into())].into(),
            ..Setup::default()
        };
        let (vm, accepted) = Vm::boot(config.to_string().as_bytes(), setup);
        assert!(accepted);
        fixture.ask(&vm, "good");
        vm.answer(fetch(&vm), 200, &fixture.keys());
        assert_eq!(!vm.shared().is_empty(), expected);
    }
}

/// As `capability_restriction_config` may have it.
#[test]
fn workers_that_cant_read_what_is_shared_fetch_for_themselves() {
    let fixture = Fixture::new();
    let setup = Setup {
        now: NOW,
        forced: [("proxy_get_shared_data".to_owned(), 10)].into(),
        properties: [("plugin_vm_id".to_owned(), b"own".to_vec())].into(),
        ..Setup::default()
    };
    let (one, accepted) = Vm::boot(fixture.config.to_string().as_bytes(), setup);
    assert!(accepted);
    let other = fixture.beside(&one);
    let streams = [fixture.ask(&one, "good"), fixture.ask(&other, "good")];
    one.tick();
    other.tick();
    for callout in one.callouts() {
        one.answer(callout.token, 200, &fixture.keys());
    }
    for stream in streams {
        assert!(is_forwarded(&one, stream));
    }
}

#[test]
fn what_is_shared_is_checked_like_an_answer() {
    let fixture = Fixture::new();
    let one = fixture.sharing_vm();
    one.answer(fetch(&one), 200, &fixture.keys());
    for (name, value) in one.shared() {
        for garbage in [&b""[..], b"x", &[0xff; 64], &vec![b'['; 300_000]] {
            one.overwrite_shared(&name, garbage);
            let new = fixture.beside(&one);
            let stream = fixture.ask(&new, "good");
            new.tick();
            // It may believe that another worker is fetching, but not for long.
            new.set_time(NOW + 120);
            new.tick();
            for callout in new.callouts() {
                new.answer(callout.token, 200, &fixture.keys());
            }
            assert!(is_forwarded(&new, stream), "{name}");
            new.set_time(NOW);
            one.overwrite_shared(&name, &value);
        }
    }
}

#[test]
fn no_time_that_others_wrote_puts_a_fetch_off_for_ever() {
    let fixture = Fixture::new();
    let one = fixture.sharing_vm();
    one.fail(fetch(&one));
    let shared = one.shared();
    let (name, record) = shared.first().expect("a record");
    let (no_version, times) = ([0; 8], vec![0xff; record.len() - 8]);
    one.overwrite_shared(name, &[&no_version[..], &times].concat());
    let new = fixture.beside(&one);
    let stream = fixture.ask(&new, "good");
    for second in 0..120 {
        new.set_time(NOW + second);
        new.tick();
        for callout in new.callouts() {
            new.answer(callout.token, 200, &fixture.keys());
        }
    }
    assert!(is_forwarded(&new, stream));
}

#[test]
fn an_empty_set_is_confirmed_by_one_worker_for_all() {
    let fixture = Fixture::new();
    let one = fixture.sharing_vm();
    let other = fixture.beside(&one);
    one.answer(fetch(&one), 200, &fixture.keys());
    other.tick();

    one.set_time(NOW + 300);
    one.answer(fetch(&one), 200, b"{\"keys\":[]}");
    other.tick();
    assert!(other.callouts().is_empty(), "not before a second is over");
    other.set_time(NOW + 301);
    other.answer(fetch(&other), 200, b"{\"keys\":[]}");
    one.tick();
    assert_eq!(fetches(&one), 3);
}

#[test]
fn a_host_that_shares_nothing_lets_each_worker_fetch() {
    for status in [1, 2, 10, 12] {
        let fixture = Fixture::new();
        let setup = Setup {
            now: NOW,
            properties: [("plugin_vm_id".to_owned(), b"own".to_vec())].into(),
            forced: [
                ("proxy_get_shared_data".to_owned(), status),
                ("proxy_set_shared_data".to_owned(), status),
            ]
            .into(),
            ..Setup::default()
        };
        let (vm, accepted) = Vm::boot(fixture.config.to_string().as_bytes(), setup);
        assert!(accepted);
        let stream = fixture.ask(&vm, "good");
        vm.answer(fetch(&vm), 200, &fixture.keys());
        assert!(is_forwarded(&vm, stream));
    }
}

#[test]
fn two_that_start_at_the_same_moment_do_not_both_fetch() {
    let fixture = Fixture::new();
    let setup = Setup {
        now: NOW,
        properties: [("plugin_vm_id".to_owned(), b"own".to_vec())].into(),
        // Another worker writes between our reading and our writing.
        forced: [("proxy_set_shared_data".to_owned(), 8)].into(),
        ..Setup::default()
    };
    let (vm, _) = Vm::boot(fixture.config.to_string().as_bytes(), setup);
    let stream = fixture.ask(&vm, "good");
    vm.tick();
    assert!(vm.callouts().is_empty());
    assert!(matches!(vm.state(stream), State::Paused));
}
