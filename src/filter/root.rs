//! The plugin itself: it is configured, and it makes the calls, fetches of key sets and external checks.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;

use super::host;
use super::stream::Stream;
use super::worker::Worker;
use crate::check::{CheckAnswer, CheckId};
use crate::config::reader::Mistakes;
use crate::jwks::{Answer, Fetch, FetchError, KeySetId, MAX_BODY};
use crate::policy::{Node, Policy};

/// How often key sets that have become old are looked for.
const WATCH: Duration = Duration::from_secs(1);

/// How often a worker looks whether another one's fetch, for which its requests wait, has ended.
const POLL: Duration = Duration::from_millis(10);

/// The plugin's context.
#[derive(Debug)]
pub(crate) struct Root {
    id: u32,
    worker: Option<Rc<Worker>>,
    /// Configurations that were replaced while requests waited under them.
    replaced: Vec<Rc<Worker>>,
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
        Worker::new(self.id, policy, is_private())
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
        log::debug!("fetching {}", fetch.uri());
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
        for (stream, check) in worker.unsent() {
            match host::send_check(&check) {
                Ok(token) => {
                    let call = Call::Check(stream, check.id);
                    self.calls.insert(token, (Rc::clone(worker), call));
                }
                Err(error) => {
                    worker.warn(|| format!("`{}` can't be asked: {error}", check.provider));
                    worker.answered(stream, check.id, None);
                }
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
            Some(status) => Err(FetchError::Status(status)),
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
        for worker in self.worker.iter().chain(&self.replaced) {
            worker.retire(now);
        }
    }
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, _: usize, _: usize, _: usize) {
        match self.calls.remove(&token) {
            Some((worker, Call::Fetch(id))) => self.fetched(&worker, id),
            Some((worker, Call::Check(stream, id))) => {
                worker.answered(stream, id, check_answer());
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
        // First, so that a request that comes to wait meanwhile can ask for a sooner tick.
        let _ = host::set_tick_period(WATCH);
        let Ok(now) = host::now() else {
            return;
        };
        let (replaced, over) = std::mem::take(&mut self.replaced)
            .into_iter()
            .partition(|worker| worker.has_waiting());
        self.replaced = replaced;
        over.iter()
            .for_each(|worker: &Rc<Worker>| worker.retire(now));
        let workers: Vec<_> = self.worker.iter().chain(&self.replaced).cloned().collect();
        for worker in &workers {
            worker.report(now);
            self.fetch(worker, now);
            self.ask(worker);
        }
        if workers.iter().any(|worker| worker.polls()) {
            let _ = host::set_tick_period(POLL);
        }
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

/// What a service answered to a check. One that is too long to go on whole is none.
fn check_answer() -> Option<CheckAnswer> {
    let headers = host::call_headers().ok()?;
    let status = status(&headers)?;
    let body = host::call_body(MAX_BODY + 1).ok()?;
    (body.len() <= MAX_BODY).then_some(CheckAnswer {
        status,
        headers,
        body,
    })
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
