//! A Wasm filter that only sets one header: what any Wasm filter costs, for the benchmark to compare with.

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

struct Filter;

impl Context for Filter {}

impl RootContext for Filter {
    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Filter))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl HttpContext for Filter {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        self.set_http_request_header("x-bench", Some("1"));
        Action::Continue
    }
}

fn start() {
    proxy_wasm::set_root_context(|_| -> Box<dyn RootContext> { Box::new(Filter) });
}

mod entry {
    proxy_wasm::main! {{
        super::start();
    }}
}
