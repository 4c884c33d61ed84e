//! The shell: the only place that knows Envoy. It turns host calls into the core's data and an
//! [`Outcome`](crate::Outcome) into host calls.
//!
//! A panic here or below would take the VM down for every request on its worker, so host calls go
//! through [`host`] alone, which has none.

mod attributes;
mod host;
mod logger;
mod map;
mod metrics;
mod root;
mod shared;
mod stream;
mod turn;
mod worker;

use proxy_wasm::traits::RootContext;

use self::root::Root;

/// Registers the plugin with the SDK's dispatcher. Any root id is taken.
pub fn start() {
    logger::install();
    proxy_wasm::set_root_context(|context| -> Box<dyn RootContext> {
        Box::new(Root::new(context))
    });
}

/// Twice as fast as the one of wasi-libc.
#[cfg(target_family = "wasm")]
#[global_allocator]
static ALLOCATOR: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();

#[cfg(target_family = "wasm")]
mod entry {
    proxy_wasm::main! {{
        super::start();
    }}
}
