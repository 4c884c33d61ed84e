//! The plugin itself: it is configured, and it fetches key sets.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;

use super::host;
use super::stream::Stream;
use super::worker::Worker;
use crate::jwks::{FetchError, KeySetId, MAX_BODY};
use crate::policy::{Node, Policy};

/// How often key sets that have become old are looked for.
const WATCH: Duration = Duration::from_secs(1);

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
            let fetch = worker.keys.borrow_mut().start(id, now);
            let Some(fetch) = fetch else {
                // If it can't be fetched now, whoever waits for it is told so.
                if worker.keys.borrow().is_idle(id) {
                    self.wake(worker, id);
                }
                continue;
            };
            log::debug!("fetching {}", fetch.uri());
            match host::send_fetch(&fetch) {
                Ok(token) => {
                    self.calls.insert(token, (Rc::clone(worker), id));
                }
                Err(error) => self.finish(worker, id, Err(error), now),
            }
        }
    }

    fn finish(&self, worker: &Worker, id: KeySetId, answer: Result<&[u8], FetchError>, now: u64) {
        let key_set = worker.policy.describe_key_set(id);
        match worker.keys.borrow_mut().finish(id, answer, now) {
            Ok(warnings) => {
                for warning in warnings {
                    log::warn!("{key_set}: {warning}");
                }
            }
            Err(error) => log::warn!("{key_set} could not be fetched: {error}"),
        }
        self.wake(worker, id);
    }

    fn wake(&self, worker: &Worker, id: KeySetId) {
        worker.wake(id);
        // Calls that follow must be this context's again.
        let _ = host::set_effective_context(self.id);
    }
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, _: usize, _: usize, _: usize) {
        let Some((worker, id)) = self.calls.remove(&token) else {
            return;
        };
        let answer = match host::call_status() {
            None => Err(FetchError::NoAnswer),
            Some(200) => host::call_body(MAX_BODY + 1).map_err(|_| FetchError::NoAnswer),
            Some(status) => Err(FetchError::Status(status)),
        };
        let answer = answer.as_deref().map_err(Clone::clone);
        self.finish(&worker, id, answer, host::now().unwrap_or_default());
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
                self.worker = Some(Rc::new(Worker::new(policy)));
                let _ = host::set_tick_period(WATCH);
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
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream::new(id, self.worker.clone())))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// Istio's proxies tell who they are in their node's metadata.
fn node() -> Node {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).ok();
    let labels = host::property_map(&["xds", "node", "metadata", "LABELS"]);
    Node {
        namespace: host::property(&["xds", "node", "metadata", "NAMESPACE"])
            .ok()
            .and_then(text)
            .filter(|namespace| !namespace.is_empty()),
        labels: labels.map(|labels| {
            let labels = labels.into_iter();
            labels
                .filter_map(|(name, value)| Some((name, text(value)?)))
                .collect()
        }),
    }
}
