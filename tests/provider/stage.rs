//! Scenes: each has a listener and a host of the provider to itself, and all of a play run at the
//! same time in one Envoy.

use std::panic::resume_unwind;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::case::Request;
use crate::support::envoy::{Envoy, Listener, Setup, cluster, in_vm, plugin};
use crate::support::peer::{Ahead, Peer};
use crate::support::server::{Deed, JwksServer, Response, Server};
use crate::support::tally::Tally;
use crate::support::{mint, now};

pub const ISSUER: &str = "https://issuer.test";
pub const FETCH_FAILED: &str = "Jwks remote fetch is failed";
pub const NO_KEY: &str = "Jwks doesn't have key to match kid or alg from Jwt";

/// Keys to sign with: the one that is always there, and the one that comes or goes.
pub const A: &str = "kp256";
pub const B: &str = "ked25519";

/// Nothing here takes as long, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub struct Scene {
    pub name: String,
    config: Value,
    first: Vec<Deed>,
    held: bool,
    run: fn(&Play<'_>),
}

impl Scene {
    /// A rule whose key set is at this scene's host, where both keys are.
    pub fn new(name: &str, run: fn(&Play<'_>)) -> Self {
        Self {
            name: name.to_owned(),
            config: json!({
                "jwtRules": [{ "issuer": ISSUER, "jwksUri": uri(name) }],
                "jwks": { "cluster": "provider" },
            }),
            first: vec![keys(&[A, B])],
            held: false,
            run,
        }
    }

    /// Sets members of the rule; null leaves one out.
    pub fn rule(mut self, members: &Value) -> Self {
        set(&mut self.config["jwtRules"][0], members);
        self
    }

    pub fn second_rule(mut self, rule: &Value) -> Self {
        let rules = self.config["jwtRules"].as_array_mut();
        rules.expect("rules").push(rule.clone());
        self
    }

    /// Sets members of `jwks`.
    pub fn jwks(mut self, members: &Value) -> Self {
        set(&mut self.config["jwks"], members);
        self
    }

    /// What the provider does first, one deed after the other.
    pub fn provider(mut self, deeds: impl IntoIterator<Item = Deed>) -> Self {
        self.first = deeds.into_iter().collect();
        self
    }

    /// The provider says nothing until it is released.
    pub fn held(mut self) -> Self {
        self.held = true;
        self
    }

    pub fn listener(&self, vm_id: &str) -> Listener {
        Listener::new(
            &self.name,
            vec![in_vm(plugin(&self.name, &self.config), vm_id)],
        )
    }
}

fn set(object: &mut Value, members: &Value) {
    let object = object.as_object_mut().expect("an object");
    for (name, value) in members.as_object().expect("an object") {
        match value {
            Value::Null => object.remove(name),
            value => object.insert(name.clone(), value.clone()),
        };
    }
}

pub fn uri(name: &str) -> String {
    format!("http://{name}.test/keys")
}

/// An answer with the public parts of these keys.
pub fn keys(kids: &[&str]) -> Deed {
    body(&mint::public_set(&json!(kids)))
}

pub fn body(body: &str) -> Deed {
    Deed::Answer(Response::new(200, body))
}

pub fn status(status: u16) -> Deed {
    Deed::Answer(Response::new(status, mint::public_set(&json!([A]))))
}

/// A good token, signed with this key.
pub fn token(kid: &str) -> String {
    token_with(kid, &json!({}))
}

/// One whose header differs in these members.
pub fn token_with(kid: &str, header: &Value) -> String {
    let claims = json!({ "iss": ISSUER, "sub": "alice", "exp": now() + 3600 });
    mint::token(&json!({ "kid": kid, "claims": claims, "header": header }))
}

/// One of a key that nobody has.
pub fn stray() -> String {
    token_with(A, &json!({ "kid": "nobody" }))
}

/// An Envoy, and those it talks to.
pub struct Stage {
    pub envoy: Envoy,
    pub provider: JwksServer,
    /// The provider of other hosts, in another cluster.
    pub other: JwksServer,
    _upstream: Server,
}

impl Stage {
    pub fn start(scenes: &[Scene], vm_id: &str, watches: bool) -> Self {
        let [provider, other] = [(); 2].map(|()| JwksServer::start([].into()));
        for scene in scenes {
            provider.will(&uri(&scene.name), scene.first.clone());
            if scene.held {
                provider.hold(&uri(&scene.name));
            }
        }
        let upstream = Server::echo();
        let listeners: Vec<_> = scenes.iter().map(|scene| scene.listener(vm_id)).collect();
        let envoy = Envoy::start_as(&Setup {
            listeners: &listeners,
            clusters: &[
                cluster("upstream", upstream.address),
                cluster("provider", provider.server.address),
                cluster("other", other.server.address),
            ],
            workers: 2,
            watches,
        });
        Self {
            envoy: envoy.expect("Envoy"),
            provider,
            other,
            _upstream: upstream,
        }
    }
}

/// Plays all scenes at once.
pub fn play(what: &str, vm_id: &str, scenes: &[Scene]) {
    let stage = &Stage::start(scenes, vm_id, false);
    let mut tally = Tally::default();
    thread::scope(|scope| {
        let plays: Vec<_> = scenes
            .iter()
            .map(|scene| {
                let name = &scene.name;
                let thread = thread::Builder::new().name(name.clone());
                let run = move || (scene.run)(&Play { stage, name });
                thread.spawn_scoped(scope, run).expect("a thread")
            })
            .collect();
        for (scene, play) in scenes.iter().zip(plays) {
            let failed = play.join().is_err();
            let failed = failed.then(|| "its thread says why".to_owned());
            tally.ran(&scene.name, failed.into_iter().collect());
        }
    });
    let log = stage.envoy.log();
    for sign in ["panic", "Function: ", "wasm_fail", "Uncaught"] {
        assert!(!log.contains(sign), "{sign} in Envoy's log:\n{log}");
    }
    tally.finish(what);
}

/// A scene that is being played.
#[derive(Clone, Copy)]
pub struct Play<'a> {
    pub stage: &'a Stage,
    pub name: &'a str,
}

/// What became of a request: the status, and what was said where it was refused.
pub type Said = (u16, String);

pub fn passed() -> Said {
    (200, String::new())
}

pub fn refused(text: &str) -> Said {
    (401, text.to_owned())
}

impl Play<'_> {
    pub fn provider_will(&self, deeds: impl IntoIterator<Item = Deed>) {
        self.stage.provider.will(&uri(self.name), deeds);
    }

    pub fn hold(&self) {
        self.stage.provider.hold(&uri(self.name));
    }

    pub fn release(&self) {
        self.stage.provider.release(&uri(self.name));
    }

    /// How often this scene's key set was asked for.
    pub fn fetches(&self) -> usize {
        let key = format!("{}.test/keys", self.name);
        let fetches = self.stage.provider.fetches();
        fetches.get(&key).copied().unwrap_or_default()
    }

    pub fn ask(&self, token: &str) -> Said {
        let request = Request {
            method: "GET".to_owned(),
            path: Some("/".to_owned()),
            authority: Some("b".to_owned()),
            headers: vec![("authorization".to_owned(), format!("Bearer {token}"))],
            remote_ip: None,
            http2: false,
            peer: Peer::default(),
            ahead: Ahead::default(),
            untold: Vec::new(),
        };
        let observed = self.stage.envoy.ask(self.name, &request);
        let observed = observed.unwrap_or_else(|error| panic!("{error}"));
        match observed.upstream {
            Some(_) => passed(),
            None => (observed.status, observed.body),
        }
    }

    /// Asks so many times at once, and does something meanwhile.
    pub fn ask_at_once(&self, count: usize, token: &str, meanwhile: impl FnOnce()) -> Vec<Said> {
        thread::scope(|scope| {
            let asks: Vec<_> = (0..count)
                .map(|_| scope.spawn(|| self.ask(token)))
                .collect();
            meanwhile();
            asks.into_iter()
                .map(|ask| ask.join().unwrap_or_else(|panic| resume_unwind(panic)))
                .collect()
        })
    }

    /// How many requests Envoy is busy with.
    pub fn active(&self) -> u64 {
        let name = format!("http.{}.downstream_rq_active", self.name);
        self.stage.envoy.stat(&name)
    }

    /// Waits for something that must become true.
    pub fn until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition() {
            assert!(Instant::now() < deadline, "never: {what}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the provider was asked so many times more, while this token gets only this.
    pub fn while_fetched(&self, more: usize, token: &str, said: &Said) {
        let before = self.fetches();
        self.until("the provider is asked", || {
            assert_eq!(self.ask(token), *said);
            self.fetches() >= before + more
        });
        assert_eq!(self.ask(token), *said);
    }
}
