//! Every host call, each once, in bytes and `Result`s.
//!
//! The functions are declared again here because the SDK's wrappers panic on any status that they
//! don't list, and some on values that aren't UTF-8. The exception is the HTTP call: the SDK must
//! know its token to hand over the answer.

#![expect(
    unsafe_code,
    reason = "the host is reached through C functions; each is called in one place"
)]

use std::ptr::{null, null_mut};
use std::time::Duration;

use proxy_wasm::hostcalls;

use super::map::{lines, pairs, serialised};
use crate::check::Check;
use crate::jwks::{Fetch, FetchError};
use crate::metrics::Kind;
use crate::reply::Reply;
use crate::request::Request;

/// The host refused a call: the status of the Proxy-Wasm ABI 0.2.1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Status(u32);

impl Status {
    /// What was asked for isn't there.
    pub(crate) const NOT_FOUND: Self = Self(1);
    /// What was to be replaced has changed meanwhile.
    pub(crate) const VERSION_MISMATCH: Self = Self(8);
}

const PLUGIN_CONFIGURATION: u32 = 7;
const CALL_RESPONSE_BODY: u32 = 4;
const REQUEST_HEADERS: u32 = 0;
const REQUEST_TRAILERS: u32 = 1;
const RESPONSE_HEADERS: u32 = 2;
const CALL_RESPONSE_HEADERS: u32 = 6;
const REQUEST_STREAM: u32 = 0;
/// Envoy finds the gRPC status that belongs to the HTTP status by itself.
const NO_GRPC_STATUS: i32 = -1;

#[cfg_attr(target_family = "wasm", link(wasm_import_module = "env"))]
unsafe extern "C" {
    fn proxy_log(level: u32, message: *const u8, size: usize) -> u32;
    fn proxy_get_log_level(level: *mut u32) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, offset: i64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
    fn proxy_get_buffer_bytes(
        buffer: u32,
        start: usize,
        max_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_add_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize) -> u32;
    fn proxy_get_property(
        path: *const u8,
        path_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
        version: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
        version: u32,
    ) -> u32;
    fn proxy_set_property(
        path: *const u8,
        path_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_call_foreign_function(
        name: *const u8,
        name_size: usize,
        argument: *const u8,
        argument_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_set_effective_context(context: u32) -> u32;
    fn proxy_continue_stream(stream: u32) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
}

fn check(status: u32) -> Result<(), Status> {
    match status {
        0 => Ok(()),
        status => Err(Status(status)),
    }
}

/// Calls a function that leaves bytes behind.
fn bytes(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Vec<u8>, Status> {
    let (mut data, mut size) = (null_mut(), 0);
    check(call(&raw mut data, &raw mut size))?;
    if data.is_null() {
        return Ok(Vec::new());
    }
    // SAFETY: the host got this memory from `proxy_on_memory_allocate`, which makes it a boxed
    // slice of exactly this size, and hands it over.
    Ok(unsafe { Vec::from_raw_parts(data, size, size) })
}

/// Writes a line to Envoy's log.
pub(crate) fn log(level: log::Level, message: &str) {
    let level = match level {
        log::Level::Trace => 0,
        log::Level::Debug => 1,
        log::Level::Info => 2,
        log::Level::Warn => 3,
        log::Level::Error => 4,
    };
    // SAFETY: the bytes outlive the call. What can't be logged can't be reported either.
    let _ = unsafe { proxy_log(level, message.as_ptr(), message.len()) };
}

/// What Envoy's log takes, so that nothing is put together for nothing.
pub(crate) fn log_level() -> log::LevelFilter {
    let mut level = 2;
    // SAFETY: the host writes one u32.
    let status = unsafe { proxy_get_log_level(&raw mut level) };
    match (status, level) {
        (0, 0) => log::LevelFilter::Trace,
        (0, 1) => log::LevelFilter::Debug,
        (0, 3) => log::LevelFilter::Warn,
        (0, 4) => log::LevelFilter::Error,
        (0, 5..) => log::LevelFilter::Off,
        _ => log::LevelFilter::Info,
    }
}

/// Seconds since the Unix epoch.
pub(crate) fn now() -> Result<u64, Status> {
    Ok(clock()?.as_secs())
}

/// The time since the Unix epoch.
pub(crate) fn clock() -> Result<Duration, Status> {
    let mut nanoseconds = 0;
    // SAFETY: the host writes one u64.
    check(unsafe { proxy_get_current_time_nanoseconds(&raw mut nanoseconds) })?;
    Ok(Duration::from_nanos(nanoseconds))
}

/// Finds a metric by its name, or makes it; its number is for the calls below.
pub(crate) fn define_metric(kind: Kind, name: &str) -> Result<u32, Status> {
    let kind = match kind {
        Kind::Counter => 0,
        Kind::Gauge => 1,
        Kind::Histogram => 2,
    };
    let mut id = 0;
    // SAFETY: the bytes outlive the call, and the host writes one u32.
    check(unsafe { proxy_define_metric(kind, name.as_ptr(), name.len(), &raw mut id) })?;
    Ok(id)
}

/// Adds to a counter or gauge.
pub(crate) fn increment_metric(id: u32, by: i64) -> Result<(), Status> {
    // SAFETY: no memory is involved.
    check(unsafe { proxy_increment_metric(id, by) })
}

/// Sets a gauge, or adds a value to a histogram.
pub(crate) fn record_metric(id: u32, value: u64) -> Result<(), Status> {
    // SAFETY: no memory is involved.
    check(unsafe { proxy_record_metric(id, value) })
}

/// Asks for ticks from now on.
pub(crate) fn set_tick_period(period: Duration) -> Result<(), Status> {
    let period = u32::try_from(period.as_millis()).unwrap_or(u32::MAX);
    // SAFETY: no memory is involved.
    check(unsafe { proxy_set_tick_period_milliseconds(period) })
}

/// The plugin's configuration as Envoy has it.
pub(crate) fn plugin_configuration(size: usize) -> Result<Vec<u8>, Status> {
    buffer(PLUGIN_CONFIGURATION, size)
}

/// At most `max_size` bytes of the body that answered an HTTP call.
pub(crate) fn call_body(max_size: usize) -> Result<Vec<u8>, Status> {
    buffer(CALL_RESPONSE_BODY, max_size)
}

fn buffer(buffer: u32, max_size: usize) -> Result<Vec<u8>, Status> {
    // SAFETY: the pointers are valid during the call.
    bytes(|data, size| unsafe { proxy_get_buffer_bytes(buffer, 0, max_size, data, size) })
}

/// The trailers of the request.
pub(crate) fn request_trailers() -> Result<Vec<(String, Vec<u8>)>, Status> {
    headers(REQUEST_TRAILERS)
}

/// The header of the answer to an HTTP call; empty where there was no answer.
pub(crate) fn call_headers() -> Result<Vec<(String, Vec<u8>)>, Status> {
    headers(CALL_RESPONSE_HEADERS)
}

/// The request, whose lines are left where the host put them.
pub(crate) fn request() -> Result<Request, Status> {
    let map = header_map(REQUEST_HEADERS)?;
    let lines = lines(&map).ok_or(PARSE_FAILURE)?;
    Ok(Request::within(map, lines))
}

fn headers(map: u32) -> Result<Vec<(String, Vec<u8>)>, Status> {
    pairs(&header_map(map)?).ok_or(PARSE_FAILURE)
}

/// The ABI's status for what can't be parsed.
const PARSE_FAILURE: Status = Status(4);

fn header_map(map: u32) -> Result<Vec<u8>, Status> {
    // SAFETY: the pointers are valid during the call.
    bytes(|data, size| unsafe { proxy_get_header_map_pairs(map, data, size) })
}

/// Puts one line behind those of the request.
pub(crate) fn add_request_header(name: &str, value: &[u8]) -> Result<(), Status> {
    add_header(REQUEST_HEADERS, name, value)
}

/// Puts one line behind those of the answer.
pub(crate) fn add_response_header(name: &str, value: &[u8]) -> Result<(), Status> {
    add_header(RESPONSE_HEADERS, name, value)
}

fn add_header(map: u32, name: &str, value: &[u8]) -> Result<(), Status> {
    let (size, value_size) = (name.len(), value.len());
    // SAFETY: the bytes outlive the call.
    check(unsafe {
        proxy_add_header_map_value(map, name.as_ptr(), size, value.as_ptr(), value_size)
    })
}

/// Makes this the only line with its name.
pub(crate) fn set_request_header(name: &str, value: &[u8]) -> Result<(), Status> {
    let (size, value_size) = (name.len(), value.len());
    // SAFETY: the bytes outlive the call.
    check(unsafe {
        proxy_replace_header_map_value(
            REQUEST_HEADERS,
            name.as_ptr(),
            size,
            value.as_ptr(),
            value_size,
        )
    })
}

/// Removes every line with this name.
pub(crate) fn remove_request_header(name: &str) -> Result<(), Status> {
    remove_header(REQUEST_HEADERS, name)
}

/// Removes every trailer with this name.
pub(crate) fn remove_request_trailer(name: &str) -> Result<(), Status> {
    remove_header(REQUEST_TRAILERS, name)
}

fn remove_header(map: u32, name: &str) -> Result<(), Status> {
    // SAFETY: the bytes outlive the call.
    check(unsafe { proxy_remove_header_map_value(map, name.as_ptr(), name.len()) })
}

/// An attribute of Envoy; the parts of its path may hold dots.
pub(crate) fn property(path: &[&str]) -> Result<Vec<u8>, Status> {
    let path = path.join("\0");
    // SAFETY: the pointers are valid during the call.
    bytes(|data, size| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) })
}

/// An attribute that is a map of strings.
pub(crate) fn property_map(path: &[&str]) -> Option<Vec<(String, Vec<u8>)>> {
    pairs(&property(path).ok()?)
}

/// What is shared under this name by all threads that have the same `vm_id`, and its version.
pub(crate) fn shared_data(name: &str) -> Result<(Vec<u8>, u32), Status> {
    let mut version = 0;
    // SAFETY: the pointers are valid during the call.
    let value = bytes(|data, size| unsafe {
        proxy_get_shared_data(name.as_ptr(), name.len(), data, size, &raw mut version)
    })?;
    Ok((value, version))
}

/// Shares a value under this name. With a version, only if that is still the one there, or there is
/// none.
pub(crate) fn share(name: &str, value: &[u8], version: Option<u32>) -> Result<(), Status> {
    /// The ABI's word for any version.
    const ANY: u32 = 0;
    // SAFETY: the bytes outlive the call.
    check(unsafe {
        proxy_set_shared_data(
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
            version.unwrap_or(ANY),
        )
    })
}

/// Writes to the request's filter state, where `wasm.` is put before the name.
pub(crate) fn set_property(name: &str, value: &str) -> Result<(), Status> {
    let (size, value_size) = (name.len(), value.len());
    // SAFETY: the bytes outlive the call.
    check(unsafe { proxy_set_property(name.as_ptr(), size, value.as_ptr(), value_size) })
}

/// Asks Envoy about a signature. `None` where it has no such function, or doesn't let us call it.
pub(crate) fn verify_signature(question: &[u8]) -> Option<Vec<u8>> {
    const NAME: &str = "verify_signature";
    // SAFETY: the bytes outlive the call, and the pointers are valid during it.
    let answer = bytes(|data, size| unsafe {
        let (argument, argument_size) = (question.as_ptr(), question.len());
        proxy_call_foreign_function(
            NAME.as_ptr(),
            NAME.len(),
            argument,
            argument_size,
            data,
            size,
        )
    });
    answer.ok()
}

/// Makes the calls that follow be about another stream (or the plugin itself).
pub(crate) fn set_effective_context(context: u32) -> Result<(), Status> {
    // SAFETY: no memory is involved.
    check(unsafe { proxy_set_effective_context(context) })
}

/// Lets the paused request go on.
pub(crate) fn resume_request() -> Result<(), Status> {
    // SAFETY: no memory is involved.
    check(unsafe { proxy_continue_stream(REQUEST_STREAM) })
}

/// Answers the request here.
pub(crate) fn send(reply: &Reply) -> Result<(), Status> {
    let headers = serialised(&reply.headers);
    // SAFETY: the bytes outlive the call.
    check(unsafe {
        proxy_send_local_response(
            u32::from(reply.status),
            reply.details.as_ptr(),
            reply.details.len(),
            reply.body.as_ptr(),
            reply.body.len(),
            match headers.is_empty() {
                true => null(),
                false => headers.as_ptr(),
            },
            headers.len(),
            NO_GRPC_STATUS,
        )
    })
}

/// Sends a fetch; the answer comes to the context whose callback is running. Its status is one
/// that the SDK lists: Envoy answers `Ok`, `BadArgument` or `InternalFailure`.
pub(crate) fn send_fetch(fetch: &Fetch) -> Result<u32, FetchError> {
    let headers = vec![
        (":method", "GET"),
        (":scheme", fetch.scheme()),
        (":authority", fetch.authority()),
        (":path", fetch.path()),
        // RFC 7517 section 8.5.1, and what most providers call it.
        ("accept", "application/jwk-set+json, application/json"),
        (
            "user-agent",
            concat!("portcullis/", env!("CARGO_PKG_VERSION")),
        ),
    ];
    call(fetch.cluster(), headers, fetch.timeout())
}

/// Asks a service about a request; the answer comes as that of a fetch does.
pub(crate) fn send_check(check: &Check) -> Result<u32, FetchError> {
    let headers = check.headers.iter();
    let headers = headers.map(|(name, value)| (name.as_str(), value.as_str()));
    call(&check.cluster, headers.collect(), check.timeout)
}

fn call(cluster: &str, headers: Vec<(&str, &str)>, timeout: Duration) -> Result<u32, FetchError> {
    hostcalls::dispatch_http_call(cluster, headers, None, vec![], timeout).map_err(|status| {
        match status {
            proxy_wasm::types::Status::BadArgument => FetchError::Undeliverable(cluster.to_owned()),
            _ => FetchError::NoAnswer,
        }
    })
}
