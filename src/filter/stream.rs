//! One request.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use super::host;
use super::worker::{Ruling, Verdict, Worker, answer};
use crate::outcome::Reason;
use crate::request::Request;

/// The context of one HTTP stream.
#[derive(Debug)]
pub(crate) struct Stream {
    id: u32,
    /// `None` where the configuration was refused and the host asks all the same.
    worker: Option<Rc<Worker>>,
    ruling: Rc<Ruling>,
    /// Whether the host handed over the header of the request. Envoy doesn't if `capability_restriction_config`
    /// leaves `proxy_on_request_headers` out, and lets the request go on.
    is_seen: bool,
}

impl Stream {
    pub(crate) fn new(id: u32, worker: Option<Rc<Worker>>) -> Self {
        Self {
            id,
            worker,
            ruling: Rc::default(),
            is_seen: false,
        }
    }

    /// The request has passed us. What can be done is to keep its answer from the client, and to say so.
    fn answer_unseen(&mut self) {
        self.is_seen = true;
        if let Some(worker) = &self.worker {
            worker.missed();
        }
        self.give_up();
    }

    fn give_up(&self) {
        let refusal = Reason::ProxyUnreadable.into();
        let verdict = answer(&refusal, None, &Request::default());
        self.ruling.verdict.set(verdict);
    }

    /// Only a request that was decided upon goes on. A host may hand over the body of one that is
    /// paused (Envoy's `allow_on_headers_stop_iteration`), and would take a yes for the whole.
    fn action(&self) -> Action {
        match self.ruling.verdict.get() {
            Verdict::Forward => Action::Continue,
            Verdict::Answered | Verdict::Wait => Action::Pause,
        }
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        self.is_seen = true;
        match &self.worker {
            Some(worker) => worker.decide(self.id, &self.ruling),
            None => {
                let refusal = Reason::ProxyUnconfigured.into();
                self.ruling
                    .verdict
                    .set(answer(&refusal, None, &Request::default()));
            }
        }
        self.action()
    }

    fn on_http_request_body(&mut self, _: usize, _: bool) -> Action {
        self.action()
    }

    fn on_http_request_trailers(&mut self, count: usize) -> Action {
        // Also of a request that waits: a host may not ask again when that goes on.
        if let Some(worker) = &self.worker
            && count > 0
            && worker.strip_trailers().is_err()
        {
            if self.ruling.verdict.get() == Verdict::Wait {
                worker.forget(self.id);
                self.give_up();
            }
            return Action::Pause;
        }
        self.action()
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        if !self.is_seen {
            self.answer_unseen();
            return Action::Pause;
        }
        let lines = self.ruling.response.take().into_iter();
        for (name, value) in lines.filter(|_| self.ruling.verdict.get() == Verdict::Forward) {
            // The request is answered: all that is lost is a line that was promised to the client.
            let _ = host::add_response_header(&name, &value);
        }
        Action::Continue
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let Some(worker) = &self.worker else {
            return;
        };
        if !self.is_seen {
            worker.missed();
        } else if self.ruling.verdict.get() == Verdict::Wait {
            worker.forget(self.id);
        }
    }
}
