//! Trailers, of which servers may make headers.

use serde_json::json;

use super::fixture::{Fixture, NOW, fetch, is_forwarded, reply, request};
use crate::support::host::{Setup, Vm};

const SENT: [(&str, &str); 4] = [
    ("x-sub", "root"),
    ("x.sub", "root"),
    ("authorization", "Bearer x"),
    ("x-checksum", "1"),
];

fn fixture() -> Fixture {
    let mut fixture = Fixture::new();
    let output = json!([{ "header": "x-sub", "claim": "sub" }]);
    fixture.config["jwtRules"][0]["outputClaimToHeaders"] = output;
    fixture
}

#[test]
fn what_only_we_write_is_no_trailer() {
    let fixture = fixture();
    let vm = fixture.vm();
    let anonymous = vm.request(&request(&[]));
    assert_eq!(
        vm.trailers(anonymous, &SENT),
        (vec!["x-checksum".to_owned()], false)
    );

    // Whoever waits may not be asked again.
    let waiting = fixture.ask(&vm, "good");
    assert_eq!(
        vm.trailers(waiting, &SENT),
        (vec!["x-checksum".to_owned()], true)
    );
    vm.answer(fetch(&vm), 200, &fixture.keys());
    assert!(is_forwarded(&vm, waiting));
}

#[test]
fn trailers_that_cant_be_changed_are_held() {
    for call in [
        "proxy_get_header_map_pairs",
        "proxy_remove_header_map_value",
    ] {
        let setup = Setup {
            now: NOW,
            forced: [(call.to_owned(), 2)].into(),
            ..Setup::default()
        };
        let (vm, accepted) = Vm::boot(fixture().config.to_string().as_bytes(), setup);
        assert!(accepted);
        let stream = vm.request(&request(&[]));
        assert!(vm.trailers(stream, &SENT).1, "{call}");
    }
}

/// Nor does their request go on when it has what it waited for.
#[test]
fn a_request_whose_trailers_cant_be_changed_waits_for_nothing() {
    let setup = Setup {
        now: NOW,
        forced: [("proxy_remove_header_map_value".to_owned(), 2)].into(),
        ..Setup::default()
    };
    // The header has nothing to be taken out.
    let mut fixture = fixture();
    fixture.config["jwtRules"][0]["forwardOriginalToken"] = true.into();
    let (vm, accepted) = Vm::boot(fixture.config.to_string().as_bytes(), setup);
    assert!(accepted);
    let good = fixture.ask(&vm, "good");
    let waiting = fixture.ask(&vm, "good");
    assert!(vm.trailers(waiting, &SENT).1);
    vm.answer(fetch(&vm), 200, &fixture.keys());
    assert!(is_forwarded(&vm, good));
    assert_eq!(reply(&vm, waiting).0, 503);
}
