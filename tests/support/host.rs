//! A native stand-in for the host of the plugin. Its state is thread-local, as the SDK's
//! dispatcher is, so tests run side by side, each with a host of its own.

mod data;
mod imports;
pub mod maps;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use portcullis::VerifySignature;

use super::boring;
use super::check::Observed;
use super::from_bytes;

pub type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Statuses of the ABI that the stand-in gives by itself.
const OK: u32 = 0;
const NOT_FOUND: u32 = 1;
const BAD_ARGUMENT: u32 = 2;
const SERIALIZATION_FAILURE: u32 = 3;
const CAS_MISMATCH: u32 = 8;
const INTERNAL_FAILURE: u32 = 10;

/// Envoy answers a request, or lets it go on, when the plugin's call has returned, and calls the plugin again
/// meanwhile: each a level deeper on the VM's stack, which ends at some 300.
const MOST_IN_A_CALL: usize = 64;

thread_local! {
    static HOST: RefCell<Host> = RefCell::default();
    static NEXT_CONTEXT: Cell<u32> = const { Cell::new(1) };
    /// As in a VM, no call has a number that another one had.
    static NEXT_CALL: Cell<u32> = const { Cell::new(1) };
}

unsafe extern "C" {
    safe fn proxy_on_context_create(context: u32, root: u32);
    safe fn proxy_on_vm_start(root: u32, size: usize) -> bool;
    safe fn proxy_on_configure(root: u32, size: usize) -> bool;
    safe fn proxy_on_tick(root: u32);
    safe fn proxy_on_request_headers(context: u32, count: usize, end_of_stream: bool) -> u32;
    safe fn proxy_on_request_body(context: u32, size: usize, end_of_stream: bool) -> u32;
    safe fn proxy_on_request_trailers(context: u32, count: usize) -> u32;
    safe fn proxy_on_response_headers(context: u32, count: usize, end_of_stream: bool) -> u32;
    safe fn proxy_on_http_call_response(
        context: u32,
        token: u32,
        headers: usize,
        body: usize,
        trailers: usize,
    );
    safe fn proxy_on_delete(context: u32);
}

/// What the host knows and was told.
#[derive(Default)]
struct Host {
    configuration: Vec<u8>,
    nanoseconds: u64,
    contexts: BTreeSet<u32>,
    effective: u32,
    streams: BTreeMap<u32, Stream>,
    calls_out: Vec<Callout>,
    answer: Option<(Pairs, Vec<u8>)>,
    unknown_clusters: BTreeSet<String>,
    /// Those that take no call now, since they have no host or enough to do.
    shut_clusters: BTreeSet<String>,
    /// Whether only answers without header lines and body are taken.
    takes_plain_replies_only: bool,
    log: Vec<(u32, String)>,
    properties: BTreeMap<Vec<u8>, Vec<u8>>,
    shared: BTreeMap<Vec<u8>, (Vec<u8>, u32)>,
    cas: u32,
    tick_period: u32,
    /// By name: the kind, and what was recorded. Counters and gauges have one value.
    metrics: BTreeMap<String, (u32, Vec<u64>)>,
    /// By number: a name.
    metric_names: Vec<String>,
    calls: BTreeMap<&'static str, usize>,
    forced: BTreeMap<String, u32>,
    verify_signature: Option<VerifySignature>,
    /// How many requests were answered or went on in the present call.
    ended_in_call: usize,
    /// What a real host would crash on, or hang.
    violations: Vec<String>,
}

#[derive(Default)]
struct Stream {
    headers: Pairs,
    /// What is known of its connection, by path; `None`: it isn't handed over.
    properties: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// Filter state, without its `wasm.`.
    state: BTreeMap<String, String>,
    /// While they are in the filter.
    trailers: Option<Pairs>,
    reply: Option<Reply>,
    goes_on: bool,
    /// The upstream's answer, while its header is in the filter.
    response: Option<Pairs>,
}

/// A local response.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u32,
    pub headers: Pairs,
    pub body: Vec<u8>,
    pub details: String,
}

/// An HTTP call that waits for its answer.
#[derive(Clone, Debug)]
pub struct Callout {
    pub token: u32,
    context: u32,
    pub cluster: String,
    pub headers: Pairs,
    pub timeout_ms: u32,
}

impl Callout {
    pub fn header(&self, name: &str) -> String {
        let value = self
            .headers
            .iter()
            .find(|(header, _)| header == name.as_bytes());
        from_bytes(value.map_or(b"", |(_, value)| value))
    }

    /// Host and path of what is fetched.
    pub fn target(&self) -> String {
        format!("{}{}", self.header(":authority"), self.header(":path"))
    }
}

/// Where a request stands.
#[derive(Clone, Debug)]
pub enum State {
    Forwarded(Pairs),
    Replied(Reply),
    Paused,
}

impl State {
    /// What the client and the upstream would see, where the request has ended.
    pub fn observed(&self) -> Option<Observed> {
        match self {
            Self::Forwarded(headers) => Some(Observed::forwarded(
                headers
                    .iter()
                    .map(|(name, value)| (from_bytes(name), value.clone()))
                    .collect(),
            )),
            Self::Replied(reply) => Some(Observed {
                status: u16::try_from(reply.status).expect("an HTTP status"),
                body: from_bytes(&reply.body),
                headers: reply
                    .headers
                    .iter()
                    .map(|(name, value)| (from_bytes(name), from_bytes(value)))
                    .collect(),
                ..Observed::default()
            }),
            Self::Paused => None,
        }
    }
}

/// What the host is like before the plugin is loaded.
#[derive(Default)]
pub struct Setup {
    pub now: u64,
    /// Host functions that answer with this status, whatever they are asked.
    pub forced: BTreeMap<String, u32>,
    pub properties: BTreeMap<String, Vec<u8>>,
    /// The foreign function, where the host has it.
    pub verify_signature: Option<VerifySignature>,
}

/// The plugin in its host, as one worker of Envoy has it.
pub struct Vm {
    root: u32,
    /// Those of older configurations, which stay while streams of theirs may.
    retired: Vec<u32>,
}

impl Vm {
    /// Loads the plugin; what it logged where it refused its configuration.
    pub fn start(configuration: &[u8], now: u64) -> Result<Self, String> {
        let setup = Setup {
            now,
            verify_signature: Some(boring::verify_signature),
            ..Setup::default()
        };
        let (vm, accepted) = Self::boot(configuration, setup);
        if accepted { Ok(vm) } else { Err(vm.log_text()) }
    }

    /// Loads the plugin and keeps it, even where it refused its configuration.
    pub fn boot(configuration: &[u8], setup: Setup) -> (Self, bool) {
        let properties = setup.properties.into_iter();
        HOST.set(Host {
            nanoseconds: setup.now * 1_000_000_000,
            forced: setup.forced,
            verify_signature: setup.verify_signature,
            properties: properties
                .map(|(path, value)| (property_path(&path), value))
                .collect(),
            ..Host::default()
        });
        portcullis::start();
        let (root, accepted) = new_root(configuration);
        let retired = Vec::new();
        (Self { root, retired }, accepted)
    }

    /// Loads the plugin once more, as another worker of the same Envoy does.
    pub fn beside(&self, configuration: &[u8]) -> Self {
        let (root, accepted) = new_root(configuration);
        assert!(accepted, "{}", self.log_text());
        Self {
            root,
            retired: Vec::new(),
        }
    }

    /// Replaces the configuration, as a listener update does: the old one stays where the new one
    /// is refused.
    pub fn reload(&mut self, configuration: &[u8]) -> bool {
        let (root, accepted) = new_root(configuration);
        if accepted {
            self.retired.push(std::mem::replace(&mut self.root, root));
        } else {
            delete(root);
        }
        accepted
    }

    /// Takes this worker's plugin away, which has no requests, and its calls with it.
    pub fn replaced(self) {
        delete(self.root);
        with(|host| {
            host.calls_out
                .retain(|callout| callout.context != self.root)
        });
        std::mem::forget(self);
    }

    /// Hands the same plugin another configuration.
    pub fn reconfigure(&self, configuration: &[u8]) -> bool {
        configure(self.root, configuration)
    }

    /// Sends a request's headers through the filter.
    pub fn request(&self, headers: &[(String, Vec<u8>)]) -> u32 {
        self.request_over(Vec::new(), headers)
    }

    /// The same, over a connection of which this is known.
    pub fn request_over(
        &self,
        known: Vec<(Vec<u8>, Option<Vec<u8>>)>,
        headers: &[(String, Vec<u8>)],
    ) -> u32 {
        let context = next_context();
        let pairs: Pairs = headers
            .iter()
            .map(|(n, v)| (n.as_bytes().to_vec(), v.clone()))
            .collect();
        let count = pairs.len();
        with(|host| {
            host.streams.insert(
                context,
                Stream {
                    headers: pairs,
                    properties: known.into_iter().collect(),
                    ..Stream::default()
                },
            );
            host.effective = context;
        });
        create(context, self.root);
        let pauses = proxy_on_request_headers(context, count, true) == 1;
        with(|host| {
            let stream = host.streams.get_mut(&context).expect("the stream");
            if stream.goes_on {
                host.violations
                    .push("resumed inside of its own header callback".to_owned());
            }
            match (pauses, &stream.reply) {
                (false, Some(_)) => host.violations.push("goes on after a reply".to_owned()),
                (false, None) => stream.goes_on = true,
                (true, _) => {}
            }
        });
        self.check();
        context
    }

    /// Whether the filter holds the body of a request that is handed to it now.
    pub fn holds_body(&self, stream: u32) -> bool {
        with(|host| host.effective = stream);
        proxy_on_request_body(stream, 0, true) == 1
    }

    /// Sends a request's trailers through the filter; what is left of them, and whether it holds them.
    pub fn trailers(&self, stream: u32, trailers: &[(&str, &str)]) -> (Vec<String>, bool) {
        let owned =
            |(name, value): &(&str, &str)| (name.as_bytes().into(), value.as_bytes().into());
        with(|host| {
            host.effective = stream;
            let trailers = trailers.iter().map(owned).collect();
            host.streams.get_mut(&stream).expect("the stream").trailers = Some(trailers);
        });
        let held = proxy_on_request_trailers(stream, trailers.len()) == 1;
        self.check();
        let left = with(|host| host.streams.get_mut(&stream)?.trailers.take());
        let left = left.into_iter().flatten();
        (left.map(|(name, _)| from_bytes(&name)).collect(), held)
    }

    pub fn state(&self, stream: u32) -> State {
        with(|host| {
            let stream = &host.streams[&stream];
            match &stream.reply {
                Some(reply) => State::Replied(reply.clone()),
                None if stream.goes_on => State::Forwarded(stream.headers.clone()),
                None => State::Paused,
            }
        })
    }

    /// Sends the header of the upstream's answer through the filter; what the client sees of it.
    pub fn respond(&self, stream: u32, headers: &[(&str, &str)]) -> Pairs {
        let owned =
            |(name, value): &(&str, &str)| (name.as_bytes().into(), value.as_bytes().into());
        let headers: Pairs = headers.iter().map(owned).collect();
        let count = headers.len();
        with(|host| {
            host.effective = stream;
            host.streams.get_mut(&stream).expect("the stream").response = Some(headers);
        });
        assert_eq!(
            proxy_on_response_headers(stream, count, true),
            0,
            "an answer is held"
        );
        let answer = with(|host| host.streams.get_mut(&stream)?.response.take());
        answer.expect("the answer")
    }

    /// What was written to the filter state of a request.
    pub fn filter_state(&self, stream: u32) -> BTreeMap<String, String> {
        with(|host| host.streams[&stream].state.clone())
    }

    /// Ends a stream, whether it was answered or its client went away.
    pub fn disconnect(&self, stream: u32) {
        delete(stream);
        with(|host| host.streams.remove(&stream));
        self.check();
    }

    /// The HTTP calls that wait for an answer.
    pub fn callouts(&self) -> Vec<Callout> {
        with(|host| host.calls_out.clone())
    }

    pub fn answer(&self, token: u32, status: u16, body: &[u8]) {
        self.answer_with(token, status, &[], body);
    }

    pub fn answer_with(&self, token: u32, status: u16, headers: &[(&str, &str)], body: &[u8]) {
        let status = status.to_string();
        let headers = [&[(":status", status.as_str())], headers].concat();
        let owned =
            |(name, value): &(&str, &str)| (name.as_bytes().into(), value.as_bytes().into());
        self.finish_callout(token, headers.iter().map(owned).collect(), body);
    }

    /// No connection: Envoy answers itself.
    pub fn unreachable(&self, token: u32) {
        let body =
            b"upstream connect error or disconnect/reset before headers. reset reason: remote \
                     connection failure";
        self.answer_with(token, 503, &[("content-type", "text/plain")], body);
    }

    /// An answer that Envoy can't read.
    pub fn garble(&self, token: u32) {
        let body =
            b"upstream connect error or disconnect/reset before headers. reset reason: protocol error";
        self.answer_with(token, 502, &[("content-type", "text/plain")], body);
    }

    /// An answer that breaks off: the host tells it by one without headers.
    pub fn fail(&self, token: u32) {
        self.finish_callout(token, Vec::new(), b"");
    }

    fn finish_callout(&self, token: u32, headers: Pairs, body: &[u8]) {
        let count = headers.len();
        let root = with(|host| {
            let place = host
                .calls_out
                .iter()
                .position(|callout| callout.token == token);
            let callout = host.calls_out.remove(place.expect("a callout that waits"));
            host.answer = Some((headers, body.to_vec()));
            host.effective = callout.context;
            callout.context
        });
        proxy_on_http_call_response(root, token, count, body.len(), 0);
        with(|host| host.answer = None);
        self.check();
    }

    pub fn tick(&self) {
        for &root in self.retired.iter().chain([&self.root]) {
            with(|host| host.effective = root);
            proxy_on_tick(root);
            self.check();
        }
    }

    pub fn set_time(&self, now: u64) {
        with(|host| host.nanoseconds = now * 1_000_000_000);
    }

    pub fn set_property(&self, path: &str, value: &[u8]) {
        with(|host| {
            host.properties
                .insert(path.replace('.', "\0").into_bytes(), value.to_vec())
        });
    }

    /// What workers have told each other.
    pub fn shared(&self) -> Vec<(String, Vec<u8>)> {
        with(|host| {
            let entries = host.shared.iter();
            entries
                .map(|(name, (value, _))| (from_bytes(name), value.clone()))
                .collect()
        })
    }

    /// Writes to what workers share, as any module with the same `vm_id` can.
    pub fn overwrite_shared(&self, name: &str, value: &[u8]) {
        with(|host| {
            host.cas += 1;
            let entry = (value.to_vec(), host.cas);
            host.shared.insert(name.as_bytes().to_vec(), entry);
        });
    }

    /// Makes a cluster one that Envoy doesn't know.
    pub fn forget_cluster(&self, name: &str) {
        with(|host| host.unknown_clusters.insert(name.to_owned()));
    }

    /// From now on, or no longer, calls to a cluster fail at once: it has no host, or its circuit breaker is
    /// full.
    pub fn shut_cluster(&self, name: &str, is_shut: bool) {
        with(|host| match is_shut {
            true => host.shut_clusters.insert(name.to_owned()),
            false => host.shut_clusters.remove(name),
        });
    }

    /// From now on, the host takes only answers without header lines and body.
    pub fn take_plain_replies_only(&self) {
        with(|host| host.takes_plain_replies_only = true);
    }

    /// A request that the plugin isn't called for, as without the capability `proxy_on_request_headers`.
    pub fn unseen(&self) -> u32 {
        let context = next_context();
        with(|host| host.streams.insert(context, Stream::default()));
        create(context, self.root);
        context
    }

    /// Sends the header of the upstream's answer through the filter; whether it holds it.
    pub fn holds_response(&self, stream: u32) -> bool {
        with(|host| {
            host.effective = stream;
            host.streams.get_mut(&stream).expect("the stream").response = Some(Vec::new());
        });
        let held = proxy_on_response_headers(stream, 0, true) == 1;
        self.check();
        held
    }

    pub fn tick_period(&self) -> u32 {
        with(|host| host.tick_period)
    }

    /// What a counter, gauge or histogram holds, by the name that the plugin gave it.
    pub fn metric(&self, name: &str) -> Option<Vec<u64>> {
        with(|host| Some(host.metrics.get(name)?.1.clone()))
    }

    /// The names of all metrics.
    pub fn metrics(&self) -> Vec<String> {
        with(|host| host.metrics.keys().cloned().collect())
    }

    /// How often each host function was called.
    pub fn host_calls(&self) -> BTreeMap<&'static str, usize> {
        with(|host| host.calls.clone())
    }

    pub fn log(&self) -> Vec<(u32, String)> {
        with(|host| host.log.clone())
    }

    pub fn log_text(&self) -> String {
        let lines = self.log();
        lines
            .iter()
            .map(|(_, line)| line.as_str())
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn check(&self) {
        with(|host| {
            let ended = std::mem::take(&mut host.ended_in_call);
            if ended > MOST_IN_A_CALL {
                host.violations
                    .push(format!("{ended} requests ended in one call"));
            }
        });
        let violations = with(|host| std::mem::take(&mut host.violations));
        assert!(violations.is_empty(), "{}", violations.join("; "));
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        let streams: Vec<u32> = with(|host| host.streams.keys().copied().collect());
        for stream in streams {
            self.disconnect(stream);
        }
        self.retired.iter().for_each(|root| delete(*root));
        delete(self.root);
    }
}

fn new_root(configuration: &[u8]) -> (u32, bool) {
    let root = next_context();
    create(root, 0);
    (
        root,
        proxy_on_vm_start(root, 0) && configure(root, configuration),
    )
}

fn configure(root: u32, configuration: &[u8]) -> bool {
    with(|host| {
        host.configuration = configuration.to_vec();
        host.effective = root;
    });
    proxy_on_configure(root, configuration.len())
}

fn create(context: u32, root: u32) {
    with(|host| {
        host.contexts.insert(context);
        host.effective = context;
    });
    proxy_on_context_create(context, root);
}

/// Without `proxy_on_done` and `proxy_on_log`, which the shipped module doesn't export.
fn delete(context: u32) {
    with(|host| host.effective = context);
    proxy_on_delete(context);
    with(|host| host.contexts.remove(&context));
}

/// `a.b` names the attribute `b` of `a`.
fn property_path(path: &str) -> Vec<u8> {
    path.replace('.', "\0").into_bytes()
}

fn next_context() -> u32 {
    NEXT_CONTEXT.replace(NEXT_CONTEXT.get() + 1)
}

fn with<T>(work: impl FnOnce(&mut Host) -> T) -> T {
    HOST.with_borrow_mut(work)
}
