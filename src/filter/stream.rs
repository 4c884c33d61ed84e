//! One request.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use super::worker::{Verdict, Worker, answer};
use crate::outcome::Reason;
use crate::request::Request;

/// The context of one HTTP stream.
#[derive(Debug)]
pub(crate) struct Stream {
    id: u32,
    /// `None` where the configuration was refused and the host asks all the same.
    worker: Option<Rc<Worker>>,
}

impl Stream {
    pub(crate) fn new(id: u32, worker: Option<Rc<Worker>>) -> Self {
        Self { id, worker }
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let verdict = match &self.worker {
            Some(worker) => worker.decide(self.id),
            None => answer(&Reason::ProxyUnconfigured.into(), None, &Request::default()),
        };
        match verdict {
            Verdict::Answered | Verdict::Wait => Action::Pause,
            Verdict::Forward => Action::Continue,
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(worker) = &self.worker {
            worker.forget(self.id);
        }
    }
}
