//! What is counted, and when Envoy is told.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::fixture::{Fixture, NOW, fetch, is_forwarded, request};
use crate::support::host::{Setup, State, Vm};

const EXPIRED: &str = "decision=deny;reason=jwt_expired;rule_set=authentication;policy=none";
const ALLOWED: &str = "decision=allow;reason=none;rule_set=none;policy=none";

fn vm(config: &Value) -> Vm {
    Vm::start(config.to_string().as_bytes(), NOW).expect("a good configuration")
}

fn ask(vm: &Vm, path: &str) {
    let mut headers = request(&[]);
    headers[1].1 = path.into();
    vm.request(&headers);
}

/// The name of a series, as it is told to Envoy.
fn name(metric: &str, labels: &str) -> String {
    let labels = labels.split_terminator(';').map(|label| {
        let (label, value) = label.split_once('=').expect("a label");
        format!("{label}=.={value};.;")
    });
    format!("{}portcullis_{metric}", labels.collect::<String>())
}

/// The value of a counter or gauge.
fn value(vm: &Vm, metric: &str, labels: &str) -> Option<u64> {
    let values = vm.metric(&name(metric, labels))?;
    assert_eq!(values.len(), 1, "{metric} {labels}");
    Some(values[0])
}

/// The series of this metric that aren't 0, by the labels.
fn values(vm: &Vm, metric: &str) -> BTreeMap<String, u64> {
    let names = vm.metrics().into_iter();
    let labels = names.filter_map(|series| {
        let labels = series.strip_suffix(&name(metric, ""))?;
        let labels = labels.replace("=.=", "=").replace(";.;", ";");
        Some(labels.trim_end_matches(';').to_owned())
    });
    let values = labels.map(|labels| {
        let value = value(vm, metric, &labels);
        (labels, value.expect("a metric"))
    });
    values.filter(|(_, value)| *value > 0).collect()
}

fn counts<const N: usize>(counts: [(&str, u64); N]) -> BTreeMap<String, u64> {
    counts
        .map(|(labels, count)| (labels.to_owned(), count))
        .into()
}

fn policy(name: &str, action: &str, path: &str, dry_run: bool) -> Value {
    json!({
        "name": name,
        "action": action,
        "dryRun": dry_run,
        "rules": [{ "to": [{ "operation": { "paths": [path] } }] }],
    })
}

#[test]
fn requests_by_decision_reason_and_policy() {
    let config = json!({
        "workload": { "namespace": "foo" },
        "ambiguousPaths": "reject",
        "authorizationPolicies": [
            policy("first", "ALLOW", "/1", false),
            policy("second", "ALLOW", "/2*", false),
            policy("d", "DENY", "/2/deny", false),
        ],
    });
    let vm = vm(&config);
    for (path, times) in [("/1", 1), ("/2", 2), ("/2/deny", 3), ("/3", 4), ("/2;a", 5)] {
        (0..times).for_each(|_| ask(&vm, path));
    }
    assert_eq!(values(&vm, "requests_total"), counts([]), "before the tick");
    vm.tick();
    let expected = counts([
        (
            "decision=allow;reason=none;rule_set=allow;policy=ns[foo]-policy[first]",
            1,
        ),
        (
            "decision=allow;reason=none;rule_set=allow;policy=ns[foo]-policy[second]",
            2,
        ),
        (
            "decision=deny;reason=policy_denied;rule_set=deny;policy=ns[foo]-policy[d]",
            3,
        ),
        (
            "decision=deny;reason=policy_none_allows;rule_set=allow;policy=none",
            4,
        ),
        (
            "decision=deny;reason=path_ambiguous;rule_set=path;policy=none",
            5,
        ),
    ]);
    assert_eq!(values(&vm, "requests_total"), expected);
    vm.tick();
    assert_eq!(values(&vm, "requests_total"), expected, "once each");
}

#[test]
fn audits_and_dry_runs() {
    let config = json!({
        "workload": { "namespace": "foo" },
        "authorizationPolicies": [
            policy("audited", "AUDIT", "/a*", false),
            policy("tried", "DENY", "/a/b", true),
        ],
    });
    let vm = vm(&config);
    ["/a", "/a/b", "/c"].iter().for_each(|path| ask(&vm, path));
    vm.tick();
    assert_eq!(
        values(&vm, "audited_requests_total"),
        counts([("policy=ns[foo]-policy[audited]", 2)])
    );
    assert_eq!(
        values(&vm, "dry_runs_total"),
        counts([
            ("decision=deny;policy=ns[foo]-policy[tried]", 1),
            ("decision=allow;policy=none", 2),
        ])
    );
    assert_eq!(value(&vm, "requests_total", ALLOWED), Some(3));
}

#[test]
fn tokens_that_are_only_reported() {
    let mut fixture = Fixture::new();
    let issuer = fixture.config["jwtRules"][0]["issuer"].clone();
    fixture.config["jwtRules"][0]["reportOnly"] = true.into();
    let vm = fixture.vm();
    let reported = || values(&vm, "dry_run_tokens_total");
    let none = value(&vm, "dry_run_tokens_total", "reason=jwt_expired");
    assert_eq!(none, Some(0), "it begins at 0");

    // It waits for keys, once.
    let expired = fixture.ask(&vm, "expired");
    assert!(is_forwarded(&vm, expired), "no keys are needed to tell");
    let waits = fixture.ask(&vm, "good");
    assert!(!is_forwarded(&vm, waits));
    vm.fail(fetch(&vm));
    assert!(is_forwarded(&vm, waits));
    vm.tick();
    assert_eq!(
        reported(),
        counts([("reason=jwt_expired", 1), ("reason=jwks_unavailable", 1)])
    );
    for code in ["jwt_expired", "jwks_unavailable"] {
        let line = format!(
            "dry run: denied reason={code} issuer={}",
            issuer.as_str().expect("a name")
        );
        let told = vm.log().iter().filter(|(_, own)| *own == line).count();
        assert_eq!(told, 1, "{line}: {}", vm.log_text());
    }
    assert_eq!(value(&vm, "requests_total", ALLOWED), Some(2));
    assert_eq!(value(&vm, "requests_total", EXPIRED), Some(0));

    let plain = Fixture::new().vm();
    let all = plain.metrics();
    let has_any = all.iter().any(|name| name.contains("dry_run_tokens"));
    assert!(!has_any, "no rule of it reports");
}

#[test]
fn fetches_of_key_sets_and_who_waits_for_them() {
    let fixture = Fixture::new();
    let vm = fixture.vm();
    let issuer = fixture.config["jwtRules"][0]["issuer"].as_str();
    let issuer = issuer.expect("an issuer");
    let uri = fixture.config["jwtRules"][0]["jwksUri"].as_str();
    let uri = uri.expect("an address");
    let key_set = format!("issuer={issuer};address={uri};jwks_cluster=jwks");
    let fetched = |result: &str| {
        value(
            &vm,
            "key_set_fetches_total",
            &format!("result={result};{key_set}"),
        )
    };
    let fetched_at = || value(&vm, "key_set_fetched_timestamp_seconds", &key_set);
    let waits = || vm.metric(&name("key_wait_milliseconds", ""));
    assert_eq!((fetched("keys"), fetched("no_answer")), (Some(0), Some(0)));

    fixture.ask(&vm, "good");
    let first = fetch(&vm);
    vm.set_time(NOW + 2);
    vm.fail(first);
    vm.tick();
    assert_eq!((fetched("no_answer"), fetched_at()), (Some(1), Some(0)));
    assert_eq!(waits(), Some(vec![2000]));

    vm.set_time(NOW + 60);
    fixture.ask(&vm, "good");
    fixture.ask(&vm, "good");
    let second = fetch(&vm);
    vm.set_time(NOW + 61);
    vm.answer(second, 200, &fixture.keys());
    vm.tick();
    assert_eq!((fetched("keys"), fetched_at()), (Some(1), Some(NOW + 61)));
    assert_eq!(waits(), Some(vec![2000, 1000, 1000]));
}

/// The host's clock is the wall's, which may be set while requests wait.
#[test]
fn a_clock_that_is_set_makes_no_waiting_time() {
    let fixture = Fixture::new();
    for (step, expected) in [(7200, None), (-7200, None), (3, Some(3000))] {
        let vm = fixture.vm();
        fixture.ask(&vm, "good");
        let fetch = fetch(&vm);
        vm.set_time(NOW.checked_add_signed(step).expect("a time"));
        vm.answer(fetch, 200, &fixture.keys());
        let waits = vm.metric(&name("key_wait_milliseconds", ""));
        assert_eq!(waits, Some(Vec::from_iter(expected)), "{step}");
    }
}

#[test]
fn remembered_tokens_and_signatures() {
    let fixture = Fixture::new();
    let vm = fixture.vm();
    fixture.ask(&vm, "good");
    vm.answer(fetch(&vm), 200, &fixture.keys());
    fixture.ask(&vm, "good");
    fixture.ask(&vm, "bad");
    vm.tick();
    let of = |metric: &str, labels: &str| value(&vm, metric, labels).expect("a metric");
    let lookups = |result: &str| of("token_cache_lookups_total", &format!("result={result}"));
    let signatures = |verifier: &str| of("signatures_total", &format!("verifier={verifier}"));
    let remembered = || of("token_cache_tokens", "");
    assert_eq!(lookups("hit"), 1);
    let misses = lookups("miss");
    assert!(misses >= 2, "good and bad are new once: {misses}");
    assert_eq!(signatures("host") + signatures("wasm"), 2);
    assert_eq!(remembered(), 1);

    // A second worker adds to it, and takes away what was its own.
    let worker = fixture.beside(&vm);
    fixture.ask(&worker, "good");
    worker.tick();
    vm.answer(vm.callouts()[0].token, 200, &fixture.keys());
    worker.tick();
    assert_eq!(remembered(), 2);
    drop(worker);
    assert_eq!(remembered(), 1);
    assert!(vm.reconfigure(fixture.config.to_string().as_bytes()));
    vm.tick();
    assert_eq!(remembered(), 0);
}

#[test]
fn external_checks() {
    let provider = |name: &str, fail_open: bool| {
        let http = json!({ "service": format!("{name}.test"), "port": 80, "failOpen": fail_open });
        json!({ "name": name, "envoyExtAuthzHttp": http })
    };
    let custom = |name: &str, path: &str| {
        let mut policy = policy(name, "CUSTOM", path, false);
        policy["provider"] = json!({ "name": name });
        policy
    };
    let config = json!({
        "extensionProviders": [provider("strict", false), provider("lax", true)],
        "authorizationPolicies": [custom("strict", "/strict"), custom("lax", "/lax")],
    });
    let vm = vm(&config);
    for (path, status) in [
        ("/strict", Some(200)),
        ("/strict", Some(403)),
        ("/strict", None),
        ("/lax", Some(503)),
    ] {
        ask(&vm, path);
        let token = fetch(&vm);
        match status {
            Some(status) => vm.answer(token, status, b""),
            None => vm.unreachable(token),
        }
    }
    vm.tick();
    assert_eq!(
        values(&vm, "checks_total"),
        counts([
            ("result=allowed;service=strict", 1),
            ("result=denied;service=strict", 1),
            ("result=failed;service=strict", 1),
            ("result=failed;service=lax", 1),
        ])
    );
    assert_eq!(
        values(&vm, "unchecked_requests_total"),
        counts([("service=lax", 1)])
    );
    let times = |service| vm.metric(&name("check_milliseconds", &format!("service={service}")));
    assert_eq!(
        (times("strict"), times("lax")),
        (Some(vec![0; 3]), Some(vec![0]))
    );
    let denied = |reason: &str| {
        format!("decision=deny;reason={reason};rule_set=custom;policy=ns[]-policy[strict]")
    };
    let requests = values(&vm, "requests_total");
    assert_eq!(requests[&denied("check_denied")], 1);
    assert_eq!(requests[&denied("check_failed")], 1);
}

#[test]
fn a_request_that_goes_on_pays_for_no_count() {
    let vm = vm(&json!({ "authorizationPolicies": [policy("a", "ALLOW", "/1", false)] }));
    let of_metrics = || {
        let calls = vm.host_calls().into_iter();
        let calls = calls.filter(|(function, _)| function.ends_with("_metric"));
        calls.map(|(_, count)| count).sum::<usize>()
    };
    let before = of_metrics();
    (0..100).for_each(|_| ask(&vm, "/1"));
    assert_eq!(of_metrics(), before);
    vm.tick();
    assert_eq!(of_metrics(), before + 1, "one call for all of them");
}

#[test]
fn nothing_is_lost_when_a_configuration_goes() {
    let fixture = Fixture::new();
    let vm = fixture.vm();
    fixture.ask(&vm, "good");
    let waiting = fetch(&vm);
    fixture.ask(&vm, "expired");
    assert!(vm.reconfigure(fixture.config.to_string().as_bytes()));
    vm.answer(waiting, 200, &fixture.keys());
    fixture.ask(&vm, "expired");
    vm.tick();
    assert_eq!(
        (
            value(&vm, "requests_total", EXPIRED),
            value(&vm, "requests_total", ALLOWED)
        ),
        (Some(2), Some(1))
    );

    let open = json!({ "authorizationPolicies": [] });
    let worker = vm.beside(open.to_string().as_bytes());
    ask(&worker, "/");
    drop(worker);
    assert_eq!(value(&vm, "requests_total", ALLOWED), Some(2));
}

/// Metrics are worth no request.
#[test]
fn a_host_without_metrics_decides_as_ever() {
    for function in [
        "proxy_define_metric",
        "proxy_increment_metric",
        "proxy_record_metric",
    ] {
        let fixture = Fixture::new();
        let setup = Setup {
            now: NOW,
            forced: [(function.to_owned(), 12)].into(),
            ..Setup::default()
        };
        let (vm, accepted) = Vm::boot(fixture.config.to_string().as_bytes(), setup);
        assert!(accepted);
        let good = fixture.ask(&vm, "good");
        vm.answer(fetch(&vm), 200, &fixture.keys());
        vm.tick();
        assert!(matches!(vm.state(good), State::Forwarded(_)), "{function}");
    }
}

#[test]
fn names_hold_no_data_of_requests() {
    let fixture = Fixture::new();
    let vm = fixture.vm();
    fixture.ask(&vm, "good");
    vm.answer(fetch(&vm), 200, &fixture.keys());
    vm.tick();
    let defined = vm.metrics();
    for token in ["good", "expired", "bad"] {
        fixture.ask(&vm, token);
    }
    (0..100).for_each(|index| ask(&vm, &format!("/{index}")));
    vm.tick();
    assert_eq!(vm.metrics(), defined, "all series are there from the start");
}

#[test]
fn what_a_flood_left_out_of_the_log_is_told_when_it_is_over() {
    for (requests, text) in [
        (11, "1 more line was left out"),
        (1000, "990 more lines were left out"),
    ] {
        let fixture = Fixture::new();
        let vm = fixture.vm();
        (0..requests).for_each(|_| vm.disconnect(fixture.ask(&vm, "expired")));
        vm.tick();
        let before = vm.log();
        vm.set_time(NOW + 1);
        vm.tick();
        let told = vm.log().split_off(before.len());
        assert!(told.iter().any(|(_, line)| *line == text), "{told:?}");
    }
}
