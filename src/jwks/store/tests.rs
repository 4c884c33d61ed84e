use std::time::Duration;

use super::super::source::{ClusterMap, Fetching};
use super::super::{KeySetUri, MAX_BODY};
use super::*;

const ID: KeySetId = KeySetId(0);
const BODY: &[u8] = br#"{"keys":[{"kty":"OKP","crv":"Ed25519",
    "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
const EMPTY: &[u8] = br#"{"keys":[]}"#;
const DAY: u64 = 24 * 3600;
/// When it all begins.
const T: u64 = 1_000_000;

fn store_of(origin: Origin, seed: u64) -> KeyStore {
    let source = KeySetSource {
        origin,
        timeout: Duration::from_secs(5),
        fetching: Rc::new(Fetching {
            clusters: ClusterMap::default(),
            cache_duration: Duration::from_secs(300),
            min_cache_duration: Duration::from_secs(30),
            stale_if_error: Duration::from_secs(DAY),
            refetch_interval: Duration::from_secs(30),
            allow_link_local: false,
        }),
    };
    KeyStore::of(&[Rc::new(source)], seed)
}

fn store() -> KeyStore {
    store_of(Origin::At(KeySetUri::parse("https://a.test/j").unwrap()), 1)
}

fn answer(body: &[u8]) -> Result<Answer<'_>, FetchError> {
    Ok(Answer {
        body,
        ..Answer::default()
    })
}

fn state(store: &KeyStore, now: u64) -> &'static str {
    match store.get(ID, now) {
        Lookup::Pending => "pending",
        Lookup::Ready(keys) if keys.is_empty() => "empty",
        Lookup::Ready(_) => "ready",
        Lookup::Unavailable => "unavailable",
    }
}

/// A whole fetch that brings keys.
fn fetch(store: &mut KeyStore, now: u64) {
    assert!(store.start(ID, true, now).is_some());
    assert!(matches!(
        store.finish(ID, answer(BODY), now),
        Ok(Fetched::Keys { warnings: [], .. })
    ));
}

fn fail(store: &mut KeyStore, now: u64) {
    assert!(store.start(ID, true, now).is_some());
    assert!(store.finish(ID, Err(FetchError::NoAnswer), now).is_err());
}

/// The first second from `now` on in which a condition holds.
fn first(now: u64, condition: impl Fn(u64) -> bool) -> u64 {
    (now..now + 3 * DAY).find(|now| condition(*now)).unwrap()
}

#[test]
fn one_fetch_at_a_time() {
    let mut store = store();
    assert_eq!(state(&store, T), "pending");
    assert!(store.start(ID, true, T).is_some());
    assert!(store.start(ID, true, T).is_none());
    assert_eq!(state(&store, T), "pending");
    store.finish(ID, answer(BODY), T + 1).unwrap();
    assert_eq!(state(&store, T + 1), "ready");
}

#[test]
fn a_fetch_that_nobody_ends_is_given_up() {
    let mut store = store();
    store.start(ID, true, T);
    assert!(store.start(ID, true, T + 6).is_none());
    assert!(store.start(ID, true, T + 7).is_some());
    store.finish(ID, answer(BODY), T + 8).unwrap();
    assert!(matches!(
        store.finish(ID, answer(EMPTY), T + 8),
        Ok(Fetched::Late)
    ));
    assert_eq!(state(&store, T + 8), "ready");
}

#[test]
fn a_failure_is_answered_at_once_and_the_pause_doubles_to_its_bound() {
    let mut store = store();
    let mut now = T;
    for pause in [2, 4, 8, 16, 32, 60, 60, 60] {
        fail(&mut store, now);
        assert_eq!(state(&store, now), "unavailable");
        assert!(store.start(ID, true, now).is_none());
        let again = first(now, |now| state(&store, now) == "pending");
        assert!((now + pause / 2..=now + pause).contains(&again), "{pause}");
        now = again;
    }
    fetch(&mut store, now);
    assert_eq!(state(&store, now), "ready");
}

#[test]
fn a_failure_for_which_nobody_waited_refuses_nobody() {
    let mut store = store();
    store.prefetch();
    assert!(store.start(ID, false, T).is_some());
    let failed = store.finish(ID, Err(FetchError::Status(503)), T);
    assert!(failed.is_err());
    assert_eq!(store.due(T), []);
    assert!(store.start(ID, false, T).is_none());
    assert_eq!(state(&store, T), "pending");
    fail(&mut store, T);
    assert_eq!(state(&store, T), "unavailable");
}

/// Those that came while it was under way waited for it as well.
#[test]
fn a_failure_for_which_others_came_to_wait_is_one_for_those_behind_them() {
    let mut store = store();
    store.prefetch();
    assert!(store.start(ID, false, T).is_some());
    assert!(store.start(ID, true, T + 1).is_none(), "it waits for that");
    store.is_awaited_now(ID);
    assert!(store.finish(ID, Err(FetchError::NoAnswer), T + 5).is_err());
    assert_eq!(state(&store, T + 5), "unavailable");
    assert!(store.start(ID, true, T + 5).is_none());
}

#[test]
fn so_is_another_workers() {
    let (mut one, mut other) = workers();
    assert!(one.start(ID, false, T).is_some());
    share(&one, &mut other);
    one.finish(ID, Err(FetchError::NoAnswer), T + 5)
        .unwrap_err();
    assert_eq!(state(&one, T + 5), "pending", "nobody waited here");
    share(&one, &mut other);
    assert!(other.refuse(ID), "somebody did there");
    assert!(!other.refuse(ID), "which is no news any more");
    assert_eq!(state(&other, T + 5), "unavailable");
    share(&other, &mut one);
    assert_eq!(state(&one, T + 5), "unavailable");
    let again = first(T + 5, |now| state(&one, now) == "pending");
    assert!((T + 6..=T + 7).contains(&again), "{again}");
    assert!(one.start(ID, true, again).is_some());
    one.finish(ID, answer(BODY), again).unwrap();
    share(&one, &mut other);
    assert!(!other.refuse(ID), "the last one wasn't");
}

#[test]
fn what_is_wrong_in_a_set_is_told_when_it_changes() {
    let with = |keys: &str| format!(r#"{{"keys":[{keys}]}}"#);
    let good = r#"{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let bad = r#"{"kty":"new","kid":"b"}"#;
    let mut store = store();
    let mut now = T;
    for (keys, expected, told) in [
        (format!("{good},{bad}"), Some(r#"the key "a""#), 1),
        (format!("{good},{bad}"), None, 0),
        (format!("{good}, {bad}"), None, 0),
        (good.to_owned(), None, 0),
        (format!("{good},{bad}"), None, 1),
        (good.replace(r#""a""#, r#""c""#), Some(r#"the key "c""#), 0),
        (
            format!("{good},{}", good.replace(r#""kid":"a","#, "")),
            Some(r#"the keys "a", one without"#),
            0,
        ),
    ] {
        assert!(store.start(ID, true, now).is_some());
        let body = with(&keys);
        let Ok(Fetched::Keys { ids, warnings }) = store.finish(ID, answer(body.as_bytes()), now)
        else {
            panic!("{keys} are keys");
        };
        assert_eq!((ids.as_deref(), warnings.len()), (expected, told), "{keys}");
        now += 300;
    }
}

#[test]
fn old_keys_serve_while_fresh_ones_are_fetched_but_not_for_ever() {
    let mut store = store();
    fetch(&mut store, T);
    let due = first(T, |now| store.due(now) == [ID]);
    assert!((T + 225..=T + 285).contains(&due), "{due}");
    assert!(store.start(ID, true, due).is_some());
    assert_eq!(state(&store, due), "ready");
    store
        .finish(ID, Err(FetchError::NoAnswer), due + 5)
        .unwrap_err();
    assert_eq!(state(&store, due + 5), "ready");
    assert!(store.start(ID, true, due + 5).is_none());
    assert_eq!(state(&store, T + 300 + DAY - 1), "ready");
    assert_eq!(state(&store, T + 300 + DAY), "pending");
    fetch(&mut store, T + 300 + DAY);
    assert_eq!(store.due(T + 300 + DAY), []);
}

#[test]
fn proxies_do_not_all_refresh_at_once() {
    let due = |seed| {
        let mut store = store();
        store.random = Rng::with_seed(seed);
        fetch(&mut store, T);
        first(T, |now| store.due(now) == [ID])
    };
    let mut times: Vec<u64> = (0..50).map(due).collect();
    times.sort_unstable();
    times.dedup();
    assert!(times.len() > 20, "{times:?}");
}

#[test]
fn an_answer_says_how_long_it_is_good_for_within_bounds() {
    for (cache_control, age, lifetime) in [
        ("", "", 300),
        ("max-age=100", "", 100),
        ("max-age=100", "40", 60),
        ("max-age=100", "?", 100),
        ("max-age=5", "", 30),
        ("no-store", "", 300),
        ("no-cache", "100", 300),
        ("no-cache, max-age=100", "", 30),
        ("max-age=86400", "", 300),
    ] {
        let mut store = store();
        store.start(ID, true, T);
        let told = Answer {
            body: BODY,
            cache_control: cache_control.as_bytes(),
            age: age.as_bytes(),
        };
        store.finish(ID, Ok(told), T).unwrap();
        let due = first(T, |now| store.due(now) == [ID]);
        let expected = T + lifetime - lifetime / 4..=T + lifetime - lifetime / 20;
        assert!(expected.contains(&due), "{cache_control} {age}: {due}");
        let gone = first(due, |now| state(&store, now) != "ready");
        assert_eq!(gone, T + lifetime + DAY, "{cache_control} {age}");
    }
}

#[test]
fn tokens_that_no_key_fits_cause_a_fetch_now_and_then() {
    let mut store = store();
    fetch(&mut store, T);
    assert!(store.may_bring_another(ID, T), "the first time, at once");
    assert!(store.start(ID, true, T).is_some());
    assert!(store.may_bring_another(ID, T), "it is under way");
    store.finish(ID, answer(BODY), T).unwrap();
    assert!(store.start(ID, true, T).is_none());

    // One in vain counts, too.
    let next = first(T, |now| store.may_bring_another(ID, now));
    assert!((T + 30..=T + 33).contains(&next), "{next}");
    fail(&mut store, next);
    assert_eq!(state(&store, next), "ready");
    let after = first(next, |now| store.may_bring_another(ID, now));
    assert!((next + 30..=next + 33).contains(&after), "{after}");
}

#[test]
fn a_body_that_is_no_key_set_replaces_nothing() {
    let mut store = store();
    fetch(&mut store, T);
    let huge = vec![b' '; MAX_BODY + 1];
    let mut now = T;
    for body in [&b"<html>"[..], b"{\"keys\":[", b"[]", b"{}", &huge] {
        now = first(now + 100, |now| !store.due(now).is_empty());
        assert!(store.start(ID, true, now).is_some());
        assert!(store.finish(ID, answer(body), now).is_err());
        assert_eq!(state(&store, now), "ready");
    }
}

#[test]
fn a_withdrawal_is_confirmed() {
    for empty in [EMPTY, br#"{"keys":[{"kty":"future"}]}"#] {
        let mut store = store();
        fetch(&mut store, T);
        let ask = |store: &mut KeyStore, body, now| {
            assert_eq!(store.due(now), [ID]);
            assert!(store.start(ID, true, now).is_some());
            matches!(store.finish(ID, answer(body), now), Ok(Fetched::Withdrawn))
        };
        // A slip: the next answer has keys again.
        assert!(ask(&mut store, empty, T + 300));
        assert_eq!(state(&store, T + 300), "ready");
        assert_eq!(store.due(T + 300), []);
        assert!(!ask(&mut store, BODY, T + 301));
        assert_eq!(state(&store, T + 301), "ready");

        // It is meant.
        assert!(ask(&mut store, empty, T + 700));
        assert!(!ask(&mut store, empty, T + 701));
        assert_eq!(state(&store, T + 701), "empty");
        assert_eq!(store.due(T + 702), []);
        assert!(!ask(&mut store, BODY, T + 1100));
        assert_eq!(state(&store, T + 1100), "ready");
    }
}

#[test]
fn an_empty_set_is_no_start() {
    let mut store = store();
    store.start(ID, true, T);
    let error = store.finish(ID, answer(EMPTY), T).unwrap_err();
    assert_eq!(error.to_string(), "the key set is empty");
    assert_eq!(state(&store, T), "unavailable");
}

#[test]
fn what_is_prefetched() {
    let mut store = store();
    assert_eq!(store.due(T), []);
    store.prefetch();
    assert_eq!(store.due(T), [ID]);
    fail(&mut store, T);
    assert_eq!(store.due(T), []);
    assert_eq!(store.due(T + 2), [ID]);
}

fn discovered() -> KeyStore {
    store_of(Origin::of_issuer("https://a.test/b").unwrap(), 1)
}

#[test]
fn an_issuer_tells_where_its_keys_are() {
    let mut store = discovered();
    let fetch = store.start(ID, true, T).unwrap();
    assert_eq!(
        (fetch.authority(), fetch.path()),
        ("a.test", "/b/.well-known/openid-configuration")
    );
    let metadata = br#"{"issuer":"https://a.test/b","jwks_uri":"https://k.test/j"}"#;
    let Ok(Fetched::Next(fetch)) = store.finish(ID, answer(metadata), T) else {
        panic!("the key set is to be fetched");
    };
    assert_eq!(
        (fetch.cluster(), fetch.path()),
        ("outbound|443||k.test", "/j")
    );
    assert_eq!(state(&store, T), "pending");
    assert!(store.start(ID, true, T).is_none());
    assert!(matches!(
        store.finish(ID, answer(BODY), T),
        Ok(Fetched::Keys { .. })
    ));
    assert_eq!(state(&store, T), "ready");
}

#[test]
fn metadata_that_can_not_be_relied_on() {
    for (metadata, error) in [
        ("<html>", "metadata that can't be read: it is a web page"),
        (
            "\u{feff}{}",
            "metadata that can't be read: it begins with a byte",
        ),
        (
            "{}",
            "metadata whose `issuer` is \"\" instead of \"https://a.test/b\"",
        ),
        (
            r#"{"issuer":"https://a.test/b/","jwks_uri":"https://k.test/j"}"#,
            "metadata whose `issuer` is \"https://a.test/b/\" instead of \"https://a.test/b\": they differ \
             in a slash at the end only; write `issuer` as the provider does",
        ),
        (
            r#"{"issuer":"http://a.test:8080/b","jwks_uri":"https://k.test/j"}"#,
            "metadata whose `issuer` is \"http://a.test:8080/b\" instead of \"https://a.test/b\"",
        ),
        (
            r#"{"issuer":"https://a.test/{tenantid}/v2.0","jwks_uri":"https://k.test/j"}"#,
            "metadata whose `issuer` is \"https://a.test/{tenantid}/v2.0\" instead of \
             \"https://a.test/b\": that is a template for many tenants",
        ),
        (
            r#"{"issuer":"https://a.test/b"}"#,
            "metadata without `jwks_uri`",
        ),
        (
            r#"{"issuer":"https://a.test/b","jwks_uri":"file:///j"}"#,
            "bad `jwks_uri`",
        ),
        (
            r#"{"issuer":"https://a.test/b","jwks_uri":"http://169.254.169.254/j"}"#,
            "a `jwks_uri` at a link-local address or metadata service",
        ),
    ] {
        let mut store = discovered();
        store.start(ID, true, T);
        let found = store.finish(ID, answer(metadata.as_bytes()), T);
        let found = found.unwrap_err().to_string();
        assert!(found.starts_with(error), "{metadata}: {found}");
        assert_eq!(state(&store, T), "unavailable");
    }
}

/// Two of one Envoy: chance differs.
fn workers() -> (KeyStore, KeyStore) {
    let mut other = store();
    other.random = Rng::with_seed(2);
    (store(), other)
}

/// Hands what one worker knows to another.
fn share(from: &KeyStore, to: &mut KeyStore) -> bool {
    to.adopt(ID, &from.record(ID).unwrap(), || from.bodies(ID))
}

#[test]
fn a_worker_goes_on_from_what_another_knows() {
    let (mut one, mut other) = (discovered(), discovered());
    one.start(ID, true, T);
    assert!(!share(&one, &mut other));
    assert!(other.start(ID, true, T).is_none(), "the other one fetches");
    assert!(other.is_busy(ID, T) && !other.is_fetching(ID));

    let metadata = br#"{"issuer":"https://a.test/b","jwks_uri":"https://k.test/j"}"#;
    one.finish(ID, answer(metadata), T).unwrap();
    one.finish(ID, answer(BODY), T).unwrap();
    assert!(share(&one, &mut other));
    assert_eq!(state(&other, T), "ready");
    assert!(!share(&one, &mut other), "nothing new");
    let due = first(T, |now| one.due(now) == [ID]);
    assert_eq!(other.due(due - 1), []);
    assert_eq!(other.due(due), [ID]);

    // A failure is every worker's.
    fail(&mut other, due);
    share(&other, &mut one);
    assert!(one.start(ID, true, due).is_none());
    assert_eq!(state(&one, due), "ready");
}

#[test]
fn workers_that_fetched_at_the_same_time_come_to_the_same_keys() {
    let (mut one, mut other) = workers();
    fetch(&mut one, T);
    share(&one, &mut other);
    one.start(ID, false, T + 300);
    // It takes so long that another worker doesn't wait for it.
    other.start(ID, false, T + 307);
    one.finish(ID, answer(BODY), T + 307).unwrap();
    let rotated = String::from_utf8_lossy(BODY).replacen('{', r#"{"rotated":1,"#, 1);
    other
        .finish(ID, answer(rotated.as_bytes()), T + 307)
        .unwrap();
    assert!(share(&other, &mut one));
    assert_eq!(one.bodies(ID), other.bodies(ID));
}

#[test]
fn an_empty_set_is_confirmed_by_any_worker() {
    let (mut one, mut other) = workers();
    fetch(&mut one, T);
    share(&one, &mut other);
    one.start(ID, true, T + 300);
    one.finish(ID, answer(EMPTY), T + 300).unwrap();
    share(&one, &mut other);
    assert!(other.start(ID, true, T + 301).is_some());
    other.finish(ID, answer(EMPTY), T + 301).unwrap();
    assert_eq!(state(&other, T + 301), "empty");
    assert!(share(&other, &mut one));
    assert_eq!(state(&one, T + 301), "empty");
}

#[test]
fn what_others_wrote_is_checked() {
    let mut one = store();
    fetch(&mut one, T);
    let record = one.record(ID).unwrap();
    let bodies = one.bodies(ID).unwrap();
    let with = |body: &[u8]| {
        let mut bytes = bodies[..16].to_vec();
        bytes.extend(body);
        bytes
    };
    for (record, bodies) in [
        (&record[..], None),
        (&record, Some(Vec::new())),
        (&record, Some(bodies[1..].to_vec())),
        (&record, Some(with(b"<html>"))),
        (&record[1..], Some(bodies.clone())),
        (b"", Some(bodies.clone())),
    ] {
        let mut other = store();
        assert!(!other.adopt(ID, record, || bodies));
        assert!(other.start(ID, true, T).is_some(), "it fetches for itself");
    }

    // No time that is out of reach puts a fetch off, or makes keys serve.
    let mut far = record.clone();
    far[8..].fill(0xff);
    for version in [record[..8].to_vec(), vec![0; 8]] {
        let mut other = store();
        far[..8].copy_from_slice(&version);
        other.adopt(ID, &far, || Some(bodies.clone()));
        assert_eq!(state(&other, T), "pending");
        assert!(other.start(ID, true, T).is_some());
    }
}

#[test]
fn keys_serve_as_long_as_each_configuration_says() {
    let mut one = store();
    fetch(&mut one, T);
    let mut other = store();
    let source = &other.slots[0].source;
    other.slots[0].source = Rc::new(KeySetSource {
        origin: source.origin.clone(),
        timeout: source.timeout,
        fetching: Rc::new(Fetching {
            clusters: ClusterMap::default(),
            cache_duration: Duration::from_secs(100),
            min_cache_duration: Duration::from_secs(30),
            stale_if_error: Duration::ZERO,
            refetch_interval: Duration::from_secs(30),
            allow_link_local: false,
        }),
    });
    assert!(share(&one, &mut other));
    for now in [T, T + 50, T + 99] {
        share(&one, &mut other);
        assert_eq!(state(&other, now), "ready");
    }
    assert_eq!(other.due(T), [ID], "it wants them fresher");
    assert_eq!(state(&other, T + 100), "pending");
    assert_eq!(state(&one, T + 100), "ready");
}

#[test]
fn a_clock_that_is_set_back_keeps_nobody_waiting() {
    let mut store = store();
    fail(&mut store, T);
    assert_eq!(state(&store, T), "unavailable");
    assert_eq!(state(&store, T - 3600), "pending");
    fetch(&mut store, T - 3600);
    assert_eq!(state(&store, T - 3600), "ready");
    assert_eq!(state(&store, T - 7200), "ready");
    assert_eq!(store.due(T - 7200), [ID]);
}
