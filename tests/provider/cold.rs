//! The first fetch, and those who wait for it.

use std::io::Write;
use std::net::TcpStream;

use serde_json::json;

use super::stage::{
    A, FETCH_FAILED, Play, Said, Scene, body, keys, passed, refused, status, token,
};
use super::vectors::html;
use crate::support::server::Deed;

/// Longer than anybody holds the provider.
const PATIENT: &str = "60s";

pub fn scenes() -> Vec<Scene> {
    vec![
        Scene::new("keys-are-there-before-anybody-asks", |play| {
            play.until("the provider is asked", || play.fetches() == 1);
            play.provider_will([Deed::Close]);
            assert_eq!(play.ask(&token(A)), passed());
            assert_eq!(play.fetches(), 1);
        }),
        Scene::new("a-hundred-cold-requests", |play| {
            assert_eq!(hundred_cold_requests(play), 1);
        })
        .rule(&json!({ "timeout": PATIENT }))
        .held(),
        Scene::new("a-failure-answers-all-who-wait", all_fail)
            .rule(&json!({ "timeout": PATIENT }))
            .provider([status(503)])
            .held(),
        Scene::new("a-page-answers-all-who-wait", all_fail)
            .rule(&json!({ "timeout": PATIENT }))
            .provider([html()])
            .held(),
        Scene::new("a-closed-connection-answers-all-who-wait", all_fail)
            .rule(&json!({ "timeout": PATIENT }))
            .provider([Deed::Close])
            .held(),
        Scene::new("silence-answers-all-who-wait", |play| {
            let said = play.ask_at_once(20, &token(A), || {});
            assert!(
                said.iter().all(|said| *said == refused(FETCH_FAILED)),
                "{said:?}"
            );
        })
        .rule(&json!({ "timeout": "1s" }))
        .provider([Deed::Hang]),
        Scene::new("who-waits-may-leave", |play| {
            let leaving: Vec<_> = (0..10).map(|_| ask_and_leave(play)).collect();
            play.until("all wait", || play.active() == 10);
            drop(leaving);
            play.until("all have left", || play.active() == 0);
            let said = all_waiting(play, 10);
            assert!(said.iter().all(|said| *said == passed()), "{said:?}");
            assert_eq!(play.fetches(), 1);
        })
        .rule(&json!({ "timeout": PATIENT }))
        .held(),
        Scene::new("who-waits-may-leave-alone", |play| {
            let leaving = ask_and_leave(play);
            play.until("it waits", || play.active() == 1);
            drop(leaving);
            play.until("it has left", || play.active() == 0);
            play.release();
            assert_eq!(play.ask(&token(A)), passed());
            assert_eq!(play.fetches(), 1);
        })
        .rule(&json!({ "timeout": PATIENT }))
        .held(),
        Scene::new("after-an-outage-at-the-start", recovers).provider([Deed::Close]),
        Scene::new("after-an-empty-set-at-the-start", recovers).provider([body("{\"keys\":[]}")]),
    ]
}

/// Where the plugin's VM is one that everybody has.
pub fn scenes_apart() -> Vec<Scene> {
    vec![
        Scene::new("a-hundred-cold-requests-of-two-workers", |play| {
            let fetches = hundred_cold_requests(play);
            assert!((1..=2).contains(&fetches), "{fetches} fetches");
        })
        .rule(&json!({ "timeout": PATIENT }))
        .held(),
        Scene::new("keys-of-each-worker", |play| {
            play.while_fetched(5, &token(A), &passed());
        })
        .jwks(&json!({ "cacheDuration": "1s" })),
        Scene::new("nobody-asks", |play| {
            play.until("there were ticks", || {
                let asked = play.stage.provider.fetches();
                asked.get("keys-of-each-worker.test/keys") >= Some(&5)
            });
            assert_eq!(play.fetches(), 0);
        }),
        Scene::new("a-hundred-cold-requests-of-all-modules", |play| {
            assert_eq!(hundred_cold_requests(play), 1);
        })
        .rule(&json!({ "timeout": PATIENT }))
        .jwks(&json!({ "shared": true }))
        .held(),
    ]
}

/// How many fetches it takes until all are served.
fn hundred_cold_requests(play: &Play<'_>) -> usize {
    let said = all_waiting(play, 100);
    assert!(said.iter().all(|said| *said == passed()), "{said:?}");
    assert!((0..20).all(|_| play.ask(&token(A)) == passed()));
    play.fetches()
}

fn all_fail(play: &Play<'_>) {
    let said = all_waiting(play, 20);
    assert!(
        said.iter().all(|said| *said == refused(FETCH_FAILED)),
        "{said:?}"
    );
}

fn recovers(play: &Play<'_>) {
    assert_eq!(play.ask(&token(A)), refused(FETCH_FAILED));
    play.provider_will([keys(&[A])]);
    play.until("the keys are there", || play.ask(&token(A)) == passed());
}

/// Lets the provider answer when so many wait.
fn all_waiting(play: &Play<'_>, count: usize) -> Vec<Said> {
    play.ask_at_once(count, &token(A), || {
        play.until("all wait", || play.active() == count as u64);
        play.release();
    })
}

/// Sends a request, and closes the connection when it is dropped.
fn ask_and_leave(play: &Play<'_>) -> TcpStream {
    let address = play.stage.envoy.address(play.name);
    let mut stream = TcpStream::connect(address).expect("a connection");
    let token = token(A);
    let request = format!("GET / HTTP/1.1\r\nhost: b\r\nauthorization: Bearer {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a request");
    stream
}
