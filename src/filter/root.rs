//! The plugin itself: it is configured, and it sends the fetches of key sets.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;

use super::host;
use super::stream::Stream;
use super::worker::Worker;
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
    /// Fetches under way, by the host's token, and the configuration that wanted them.
    calls: BTreeMap<u32, (Rc<Worker>, KeySetId)>,
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
                self.calls
                    .retain(|_, (other, set)| *set != id || !Rc::ptr_eq(other, worker));
                self.calls.insert(token, (Rc::clone(worker), id));
            }
            Err(error) => {
                worker.finish(id, Err(error), now);
            }
        }
    }
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, _: usize, _: usize, _: usize) {
        let Some((worker, id)) = self.calls.remove(&token) else {
            return;
        };
        let now = host::now().unwrap_or_default();
        let headers = host::call_headers().unwrap_or_default();
        let values = |wanted: &str| -> Vec<&[u8]> {
            let lines = headers.iter().filter(|(name, _)| name == wanted);
            lines.map(|(_, value)| value.as_slice()).collect()
        };
        let status = values(":status").concat();
        let status = str::from_utf8(&status).unwrap_or_default().parse();
        let body = match status {
            Ok(200) => host::call_body(MAX_BODY + 1).map_err(|_| FetchError::NoAnswer),
            Ok(status) => Err(FetchError::Status(status)),
            Err(_) => Err(FetchError::NoAnswer),
        };
        let (cache_control, age) = (values("cache-control").join(&b','), values("age").concat());
        let answer = body.as_ref().map_err(Clone::clone).map(|body| Answer {
            body,
            cache_control: &cache_control,
            age: &age,
        });
        if let Some(next) = worker.finish(id, answer, now) {
            self.send(&worker, id, &next, now);
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
        match Policy::load(&configuration, &node()) {
            Ok(policy) => {
                for warning in policy.warnings() {
                    log::warn!("{warning}");
                }
                log::info!(
                    "portcullis {}: {}",
                    env!("CARGO_PKG_VERSION"),
                    policy.summary()
                );
                let worker = Worker::new(self.id, policy, is_private());
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
        self.replaced.retain(|worker| worker.has_waiting());
        let workers: Vec<_> = self.worker.iter().chain(&self.replaced).cloned().collect();
        for worker in &workers {
            self.fetch(worker, now);
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
