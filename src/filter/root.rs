//! The plugin itself: it is configured, and it makes the calls, fetches of key sets and external checks.

use std::collections::BTreeMap;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;

use super::host;
use super::stream::Stream;
use super::turn::Turn;
use super::worker::{POLL, WATCH, Worker};
use crate::check::{CheckAnswer, CheckId, CheckReply};
use crate::config::reader::Mistakes;
use crate::jwks::{Answer, Fetch, FetchError, KeySetId, MAX_BODY};
use crate::policy::{Node, Policy};

/// The plugin's context.
#[derive(Debug)]
pub(crate) struct Root {
    id: u32,
    worker: Option<Rc<Worker>>,
    /// Configurations that were replaced while requests waited under them.
    replaced: Vec<Rc<Worker>>,
    turn: Rc<Turn>,
    /// Calls under way, by the host's token, and the configuration that wanted them.
    calls: BTreeMap<u32, (Rc<Worker>, Call)>,
}

/// What is called for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Call {
    /// By the request of this stream.
    Check(u32, CheckId),
    Fetch(KeySetId),
}

impl Root {
    pub(crate) fn new(id: u32) -> Self {
        Self {
            id,
            worker: None,
            replaced: Vec::new(),
            turn: Rc::default(),
            calls: BTreeMap::new(),
        }
    }

    fn load(&self, configuration: &[u8]) -> Result<Worker, Mistakes> {
        let policy = Policy::load(configuration, &node())?;
        for warning in policy.warnings() {
            log::warn!("{warning}");
        }
        log::info!(
            "portcullis {}: {}",
            env!("CARGO_PKG_VERSION"),
            policy.summary()
        );
        Worker::new(self.id, policy, is_private(), Rc::clone(&self.turn))
    }

    /// Sends the fetches that are wanted now.
    fn fetch(&mut self, worker: &Rc<Worker>, now: u64) {
        for id in worker.wanted(now) {
            if let Some(fetch) = worker.start(id, now) {
                self.send(worker, id, &fetch, now);
            }
        }
    }

    fn send(&mut self, worker: &Rc<Worker>, id: KeySetId, fetch: &Fetch, now: u64) {
        log::debug!("fetching {}", fetch.address());
        match host::send_fetch(fetch) {
            Ok(token) => {
                // An answer to an older fetch of the set would be taken for one to this.
                let call = Call::Fetch(id);
                self.calls
                    .retain(|_, (other, older)| *older != call || !Rc::ptr_eq(other, worker));
                self.calls.insert(token, (Rc::clone(worker), call));
            }
            Err(error) => {
                worker.finish(id, Err(error), now);
            }
        }
    }

    /// Has services asked about the requests that wait for that.
    fn ask(&mut self, worker: &Rc<Worker>) {
        let now = host::clock().unwrap_or_default();
        while let Some((stream, check)) = worker.next_check(now) {
            match host::send_check(&check) {
                Ok(token) => {
                    worker.sent(&check, now);
                    let call = Call::Check(stream, check.id);
                    self.calls.insert(token, (Rc::clone(worker), call));
                }
                Err(error) => worker.unsent(stream, &check, &error, now),
            }
        }
    }

    fn fetched(&mut self, worker: &Rc<Worker>, id: KeySetId) {
        let now = host::now().unwrap_or_default();
        let headers = host::call_headers().unwrap_or_default();
        let values = |wanted: &str| -> Vec<&[u8]> {
            let lines = headers.iter().filter(|(name, _)| name == wanted);
            lines.map(|(_, value)| value.as_slice()).collect()
        };
        let body = match status(&headers) {
            Some(200) => host::call_body(MAX_BODY + 1).map_err(|_| FetchError::NoAnswer),
            Some(status) => Err(FetchError::of(status, &values("location").concat())),
            None => Err(FetchError::NoAnswer),
        };
        let (cache_control, age) = (values("cache-control").join(&b','), values("age").concat());
        let answer = body.as_ref().map_err(Clone::clone).map(|body| Answer {
            body,
            cache_control: &cache_control,
            age: &age,
        });
        if let Some(next) = worker.finish(id, answer, now) {
            self.send(worker, id, &next, now);
        }
    }
}

/// The last word of a plugin that another one replaces. `on_done` would do as well, but Envoy calls that
/// for every stream, too, where the module exports it.
impl Drop for Root {
    fn drop(&mut self) {
        let now = host::now().unwrap_or_default();
        for (worker, call) in self.calls.values() {
            if let Call::Fetch(id) = call {
                worker.abandon(*id);
            }
        }
        for worker in self.worker.iter().chain(&self.replaced) {
            worker.retire(now);
        }
    }
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, _: usize, body: usize, _: usize) {
        match self.calls.remove(&token) {
            Some((worker, Call::Fetch(id))) => self.fetched(&worker, id),
            Some((worker, Call::Check(stream, id))) => {
                worker.answered(stream, id, check_reply(body));
            }
            None => {}
        }
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        log::set_max_level(host::log_level());
        self.replaced.extend(self.worker.take());
        let configuration = match host::plugin_configuration(size) {
            Ok(configuration) => configuration,
            Err(status) => {
                log::error!("the plugin configuration can't be read: {status:?}");
                return false;
            }
        };
        match self.load(&configuration) {
            Ok(worker) => {
                // Key sets are fetched at once where one fetch is for all.
                let _ = host::set_tick_period(if worker.shares_keys() { POLL } else { WATCH });
                self.worker = Some(Rc::new(worker));
                true
            }
            Err(mistakes) => {
                log::error!("the configuration is refused, and nothing is let through:");
                for mistake in mistakes.iter() {
                    log::error!("  {mistake}");
                }
                false
            }
        }
    }

    fn on_tick(&mut self) {
        let Ok(now) = host::now() else {
            let _ = host::set_tick_period(WATCH);
            return;
        };
        let (replaced, over) = std::mem::take(&mut self.replaced)
            .into_iter()
            .partition(|worker| worker.has_waiting());
        self.replaced = replaced;
        over.iter()
            .for_each(|worker: &Rc<Worker>| worker.retire(now));
        let workers: Vec<_> = self.worker.iter().chain(&self.replaced).cloned().collect();
        self.turn.begin();
        workers.iter().for_each(|worker| worker.begin_tick());
        for worker in &workers {
            worker.report(now);
            self.fetch(worker, now);
            self.ask(worker);
            worker.settle();
        }
        let now = host::clock().unwrap_or_default();
        let next = workers.iter().map(|worker| worker.end_tick(now)).min();
        let _ = host::set_tick_period(next.unwrap_or(WATCH));
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream::new(id, self.worker.clone())))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// The status of an answer; `None` where there was none.
fn status(headers: &[(String, Vec<u8>)]) -> Option<u16> {
    let (_, status) = headers.iter().find(|(name, _)| name == ":status")?;
    str::from_utf8(status).ok()?.parse().ok()
}

/// What a service answered to a check, with a body of this size.
fn check_reply(size: usize) -> CheckReply {
    // Envoy answers itself if nobody else does. It has no header only if a service's answer broke off.
    let Ok(headers) = host::call_headers() else {
        return CheckReply::Unreadable;
    };
    let Some(status) = status(&headers) else {
        return CheckReply::Unreadable;
    };
    let has = |name: &str, value: &[u8]| headers.iter().any(|(n, v)| n == name && v == value);
    if status == 503 && has("x-envoy-overloaded", b"true") {
        return CheckReply::Overloaded;
    }
    if matches!(status, 502 | 503) && is_protocol_error(size) {
        return CheckReply::Unreadable;
    }
    let body = (size <= MAX_BODY).then(|| host::call_body(MAX_BODY).unwrap_or_default());
    CheckReply::Answer(CheckAnswer {
        status,
        headers,
        body,
    })
}

/// Whether Envoy says that a service answered what isn't HTTP, or more header than Envoy takes.
fn is_protocol_error(size: usize) -> bool {
    const SIGN: &[u8] = b"reset reason: protocol error";
    let body = host::call_body(size.min(MAX_BODY)).unwrap_or_default();
    body.windows(SIGN.len()).any(|part| part == SIGN)
}

/// Whether only plugins with our own `vm_id` can write to our shared data.
fn is_private() -> bool {
    host::property(&["plugin_vm_id"]).is_ok_and(|id| !id.is_empty())
}

/// Istio's proxies tell who they are in their node's metadata.
fn node() -> Node {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).ok();
    let labels = host::property_map(&["xds", "node", "metadata", "LABELS"]);
    let member = |name| {
        let value = host::property(&["xds", "node", "metadata", name]).ok();
        value.and_then(text).filter(|value| !value.is_empty())
    };
    Node {
        namespace: member("NAMESPACE"),
        trust_domain: member("TRUST_DOMAIN"),
        labels: labels.map(|labels| {
            let labels = labels.into_iter();
            labels
                .filter_map(|(name, value)| Some((name, text(value)?)))
                .collect()
        }),
    }
}
