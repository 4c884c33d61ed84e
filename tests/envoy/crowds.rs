//! Many requests that wait at once, on one worker whose plugin stays dead if it traps. Each gets its
//! answer, and the plugin decides on.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::case::{Case, Request, Suite};
use crate::support::crowd::{self, Http2Upstream};
use crate::support::envoy::{self, Envoy, Listener, Setup, cluster};
use crate::support::server::{Deed, JwksServer, Response};

const PATIENCE: Duration = Duration::from_secs(60);

/// A crowd, and what each of it gets.
struct Scene {
    name: String,
    config: Value,
    token: Option<&'static str>,
    count: usize,
    http2: bool,
    /// Whether Envoy answers those that go on by itself, behind other filters of ours.
    direct: bool,
    answer: Deed,
    /// Whether all are there before the answer comes.
    held: bool,
    expect: &'static str,
}

impl Scene {
    fn keys(
        name: &str,
        token: &'static str,
        count: usize,
        answer: Deed,
        expect: &'static str,
    ) -> Self {
        let name = format!("{name}-{count}");
        let uri = format!("http://keys.test/{name}");
        Self {
            config: json!({
                "jwtRules": [{ "issuer": "https://issuer.test", "jwksUri": uri, "timeout": "50s" }],
                "jwks": { "cluster": "service" },
            }),
            name,
            token: Some(token),
            count,
            http2: true,
            direct: false,
            answer,
            held: true,
            expect,
        }
    }

    /// The service is asked about each.
    fn checks(name: &str, count: usize, cluster: &str, answer: Deed, expect: &'static str) -> Self {
        let name = format!("{name}-{count}");
        let http = json!({
            "service": "checks.test",
            "port": 80,
            "cluster": cluster,
            "timeout": if cluster == "full" { "2s" } else { "50s" },
        });
        Self {
            config: json!({
                "extensionProviders": [{ "name": "authz", "envoyExtAuthzHttp": http }],
                "authorizationPolicies": [
                    { "action": "CUSTOM", "provider": { "name": "authz" }, "rules": [{}] },
                ],
            }),
            name,
            token: None,
            count,
            http2: true,
            direct: false,
            answer,
            held: false,
            expect,
        }
    }

    fn over_http1(mut self) -> Self {
        self.name += "-http1";
        self.http2 = false;
        self
    }

    fn answered_by_envoy(mut self) -> Self {
        self.direct = true;
        self
    }

    /// Requests are answered as their service's path is.
    fn uri(&self) -> String {
        match self.token {
            Some(_) => format!("http://keys.test/{}", self.name.trim_end_matches("-http1")),
            None => format!("http://b/{}", self.name),
        }
    }

    fn listener(&self) -> Listener {
        let mut filter = envoy::plugin(&self.name, &self.config);
        filter["typed_config"]["config"]["failure_policy"] = "FAIL_CLOSED".into();
        let mut listener = Listener::new(&self.name, vec![filter]);
        if self.direct {
            // Whatever one of them does calls the others.
            let open = json!({ "authorizationPolicies": [{ "rules": [{}] }] });
            let others = ["first", "second", "third"];
            let others = others.map(|name| envoy::plugin(&format!("{}-{name}", self.name), &open));
            listener.filters.extend(others);
            let answer = json!({ "status": 200, "body": { "inline_string": "direct" } });
            listener.routes =
                vec![json!({ "match": { "prefix": "/" }, "direct_response": answer })];
        }
        listener
    }
}

fn scenes(keys: &Suite) -> Vec<Scene> {
    let set = Deed::Answer(Response::new(200, keys.expand("${keys.idp}")));
    let failure = Deed::Answer(Response::new(500, ""));
    let (allow, deny) = (
        Deed::Answer(Response::new(200, "")),
        Deed::Answer(Response::new(403, "no")),
    );
    let mut scenes = Vec::new();
    for count in [1, 300, 1000, 10_000] {
        scenes.extend([
            Scene::keys("forwarded", "good", count, set.clone(), "200"),
            Scene::keys("direct", "good", count, set.clone(), "200").answered_by_envoy(),
            Scene::keys("no-keys", "good", count, failure.clone(), "401"),
            Scene::keys("no-such-key", "kid", count, set.clone(), "401"),
            Scene::checks("no-cluster", count, "nowhere", deny.clone(), "403"),
            Scene::checks("no-host", count, "hostless", deny.clone(), "403"),
            Scene::checks("full", count.min(1000), "full", Deed::Hang, "403"),
        ]);
    }
    scenes.dedup_by(|one, other| one.name == other.name);
    scenes.extend([
        Scene::keys("direct", "good", 999, set.clone(), "200")
            .answered_by_envoy()
            .over_http1(),
        Scene::keys("no-such-key", "kid", 999, set.clone(), "401").over_http1(),
        Scene::checks("denied", 1000, "service", deny.clone(), "403"),
        Scene::checks("allowed", 1000, "service", allow, "200"),
        Scene::checks("denied", 998, "service", deny, "403").over_http1(),
    ]);
    scenes
}

#[test]
fn each_gets_its_answer() {
    let mut suite = Suite::load("tests/cases/remote.json");
    suite.clock = None;
    let scenes = scenes(&suite);
    let upstream = Http2Upstream::start();
    let service = JwksServer::start(BTreeMap::new());
    for scene in &scenes {
        service.will(&scene.uri(), [scene.answer.clone()]);
        if scene.held {
            service.hold(&scene.uri());
        }
    }
    let listeners: Vec<_> = scenes.iter().map(Scene::listener).collect();
    let envoy = Envoy::start_as(&Setup {
        listeners: &listeners,
        clusters: &clusters(&upstream, &service),
        workers: 1,
        watches: false,
    });
    let envoy = envoy.expect("Envoy");
    for scene in &scenes {
        let answers = gather(&envoy, &suite, scene, &service);
        let expected = BTreeMap::from([(scene.expect.to_owned(), scene.count)]);
        assert_eq!(answers, expected, "{}", scene.name);
    }
    assert_no_trap(&envoy);
}

/// All of them fail at once, in each way.
#[test]
fn many_key_sets_are_fetched() {
    let upstream = Http2Upstream::start();
    let service = JwksServer::start(BTreeMap::new());
    let ways = ["nowhere", "hostless", "full", "service"];
    let listeners = ways.map(|cluster| {
        let rules = (0..1000).map(|index| {
            let issuer = format!("https://issuer-{index}.test");
            json!({ "issuer": issuer, "jwksUri": format!("http://{cluster}.test/{index}") })
        });
        let config =
            json!({ "jwtRules": rules.collect::<Vec<_>>(), "jwks": { "cluster": cluster } });
        let mut filter = envoy::plugin(cluster, &config);
        filter["typed_config"]["config"]["failure_policy"] = "FAIL_CLOSED".into();
        Listener::new(cluster, vec![filter])
    });
    let envoy = Envoy::start_as(&Setup {
        listeners: &listeners,
        clusters: &clusters(&upstream, &service),
        workers: 1,
        watches: false,
    });
    let envoy = envoy.expect("Envoy");
    let suite = Suite::load("tests/cases/remote.json");
    let case = Case::new("", "good", json!({}), json!({}));
    let request = suite.play(&case, &case.expect).request;
    // Some are fetched again after one second, and all by two.
    for _ in 0..3 {
        for way in ways {
            assert_eq!(
                envoy.ask(way, &request).expect("an answer").status,
                200,
                "{way}"
            );
        }
        thread::sleep(Duration::from_secs(1));
    }
    assert_no_trap(&envoy);
}

fn assert_no_trap(envoy: &Envoy) {
    let log = envoy.log();
    for sign in ["Function: ", "Uncaught", "RangeError", "wasm_fail"] {
        assert!(!log.contains(sign), "{sign} in Envoy's log:\n{log}");
    }
}

fn clusters(upstream: &Http2Upstream, service: &JwksServer) -> Vec<Value> {
    let wide =
        json!({ "thresholds": [{ "max_requests": 100_000, "max_pending_requests": 100_000 }] });
    let narrow = json!({ "thresholds": [{ "max_requests": 1, "max_connections": 1, "max_pending_requests": 1 }] });
    let with = |name: &str, address, breakers: &Value| {
        let mut cluster = cluster(name, address);
        cluster["circuit_breakers"] = breakers.clone();
        cluster
    };
    let mut http2 = upstream.cluster();
    http2["circuit_breakers"] = wide;
    let service = service.server.address;
    vec![
        http2,
        cluster("service", service),
        with("full", service, &narrow),
        json!({ "name": "hostless", "type": "STATIC" }),
    ]
}

/// Sends the crowd, and lets the service answer when all are there.
fn gather(envoy: &Envoy, suite: &Suite, scene: &Scene, service: &JwksServer) -> crowd::Answers {
    let request = &request(suite, scene);
    let address = envoy.address(&scene.name);
    thread::scope(|scope| {
        let crowd = scope.spawn(move || crowd::ask(address, request, scene.count));
        if scene.held {
            let active = format!("http.{}.downstream_rq_active", scene.name);
            let deadline = Instant::now() + PATIENCE;
            let count = u64::try_from(scene.count).expect("a count");
            while envoy.stat(&active) < count && Instant::now() < deadline && !crowd.is_finished() {
                thread::sleep(Duration::from_millis(20));
            }
            service.release(&scene.uri());
        }
        crowd.join().expect("the crowd")
    })
}

fn request(suite: &Suite, scene: &Scene) -> Request {
    let bearer = scene
        .token
        .map(|token| json!(["authorization", format!("Bearer ${{{token}}}")]));
    let headers: Vec<_> = bearer.into_iter().collect();
    let row = json!({ "path": format!("/{}", scene.name), "headers": headers });
    let case = Case::new("", "good", row, json!({}));
    let mut request = suite.play(&case, &case.expect).request;
    request.http2 = scene.http2;
    if !scene.http2 {
        request
            .headers
            .push(("connection".to_owned(), "close".to_owned()));
    }
    request
}
