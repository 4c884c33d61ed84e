//! What the rows of this tier start from.

use serde_json::Value;

use crate::support::case::Suite;
use crate::support::host::{Setup, State, Vm};

pub const NOW: u64 = 1_760_000_000;
const FETCH_FAILED: &str = "Jwks remote fetch is failed";

/// Tokens and keys, and a policy whose keys are fetched.
pub struct Fixture {
    pub suite: Suite,
    pub config: Value,
}

impl Fixture {
    pub fn new() -> Self {
        let mut suite = Suite::load("tests/cases/remote.json");
        suite.clock = Some(NOW);
        let config = suite.config(suite.case("good"));
        Self { suite, config }
    }

    pub fn vm(&self) -> Vm {
        Vm::start(self.config.to_string().as_bytes(), NOW).expect("a good configuration")
    }

    /// One worker of an Envoy that gives the plugin a `vm_id` of its own.
    pub fn sharing_vm(&self) -> Vm {
        let setup = Setup {
            now: NOW,
            properties: [("plugin_vm_id".to_owned(), b"own".to_vec())].into(),
            ..Setup::default()
        };
        let (vm, accepted) = Vm::boot(self.config.to_string().as_bytes(), setup);
        assert!(accepted, "{}", vm.log_text());
        vm
    }

    /// Another worker of the same Envoy.
    pub fn beside(&self, vm: &Vm) -> Vm {
        vm.beside(self.config.to_string().as_bytes())
    }

    pub fn ask(&self, vm: &Vm, token: &str) -> u32 {
        let bearer = self.suite.expand(&format!("Bearer ${{{token}}}"));
        vm.request(&request(&[("authorization", &bearer)]))
    }

    pub fn keys(&self) -> Vec<u8> {
        self.suite.expand("${keys.idp}").into_bytes()
    }
}

pub fn request(headers: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
    [
        (":method", "GET"),
        (":path", "/x"),
        (":authority", "b"),
        (":scheme", "http"),
    ]
    .iter()
    .chain(headers)
    .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
    .collect()
}

/// The token of the only fetch that waits, which the plugin sends at its next tick.
pub fn fetch(vm: &Vm) -> u32 {
    vm.tick();
    let callouts = vm.callouts();
    assert_eq!(callouts.len(), 1, "{callouts:?}");
    callouts[0].token
}

pub fn is_forwarded(vm: &Vm, stream: u32) -> bool {
    matches!(vm.state(stream), State::Forwarded(_))
}

/// Status and body of the answer.
pub fn reply(vm: &Vm, stream: u32) -> (u32, String) {
    match vm.state(stream) {
        State::Replied(reply) => (
            reply.status,
            String::from_utf8(reply.body).expect("a UTF-8 body"),
        ),
        other => panic!("no reply: {other:?}"),
    }
}

pub fn fetch_failed() -> (u32, String) {
    (401, FETCH_FAILED.to_owned())
}
