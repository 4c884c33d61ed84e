//! The functions that the plugin imports from its host.

use std::ptr::null_mut;
use std::slice;

use super::maps::deserialized;
use super::{
    BAD_ARGUMENT, Callout, HOST, Host, INTERNAL_FAILURE, NEXT_CALL, NOT_FOUND, OK, Reply,
    from_bytes,
};

const CALL_RESPONSE_BODY: u32 = 4;
const VM_CONFIGURATION: u32 = 6;
const PLUGIN_CONFIGURATION: u32 = 7;

unsafe extern "C" {
    safe fn proxy_on_memory_allocate(size: usize) -> *mut u8;
}

/// Counts the call, and does what the test asked for instead of the work.
pub(super) fn call(name: &'static str, work: impl FnOnce(&mut Host) -> u32) -> u32 {
    HOST.with_borrow_mut(|host| {
        *host.calls.entry(name).or_default() += 1;
        match host.forced.get(name) {
            Some(&status) => status,
            None => work(host),
        }
    })
}

pub(super) unsafe fn bytes<'a>(data: *const u8, size: usize) -> &'a [u8] {
    if data.is_null() {
        &[]
    } else {
        unsafe { slice::from_raw_parts(data, size) }
    }
}

/// Hands over memory that the plugin frees.
pub(super) unsafe fn give(value: &[u8], data: *mut *mut u8, size: *mut usize) -> u32 {
    unsafe {
        *size = value.len();
        *data = null_mut();
        if !value.is_empty() {
            *data = proxy_on_memory_allocate(value.len());
            (*data).copy_from_nonoverlapping(value.as_ptr(), value.len());
        }
    }
    OK
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_log(level: u32, data: *const u8, size: usize) -> u32 {
    let line = String::from_utf8_lossy(unsafe { bytes(data, size) }).into_owned();
    call("proxy_log", |host| {
        host.log.push((level, line));
        OK
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_log_level(level: *mut u32) -> u32 {
    call("proxy_get_log_level", |_| {
        unsafe { *level = 0 };
        OK
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32 {
    call("proxy_get_current_time_nanoseconds", |host| {
        unsafe { *time = host.nanoseconds };
        OK
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_set_tick_period_milliseconds(period: u32) -> u32 {
    call("proxy_set_tick_period_milliseconds", |host| {
        host.tick_period = period;
        OK
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_buffer_bytes(
    buffer: u32,
    start: usize,
    max_size: usize,
    data: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    call("proxy_get_buffer_bytes", |host| {
        let content: &[u8] = match (buffer, &host.answer) {
            (PLUGIN_CONFIGURATION, _) => &host.configuration,
            (VM_CONFIGURATION, _) => &[],
            (CALL_RESPONSE_BODY, Some((_, body))) => body,
            _ => return NOT_FOUND,
        };
        let start = start.min(content.len());
        let end = start.saturating_add(max_size).min(content.len());
        unsafe { give(&content[start..end], data, size) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_continue_stream(_stream_type: u32) -> u32 {
    call("proxy_continue_stream", |host| {
        let Some(stream) = host.streams.get_mut(&host.effective) else {
            return BAD_ARGUMENT;
        };
        if stream.goes_on || stream.reply.is_some() {
            host.violations.push("resumed what had ended".to_owned());
        }
        stream.goes_on = true;
        host.ended_in_call += 1;
        OK
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_send_local_response(
    status: u32,
    details: *const u8,
    details_size: usize,
    body: *const u8,
    body_size: usize,
    headers: *const u8,
    headers_size: usize,
    _grpc_status: i32,
) -> u32 {
    let reply = unsafe {
        Reply {
            status,
            headers: deserialized(bytes(headers, headers_size)),
            body: bytes(body, body_size).to_vec(),
            details: from_bytes(bytes(details, details_size)),
        }
    };
    call("proxy_send_local_response", |host| {
        if host.takes_plain_replies_only && (!reply.headers.is_empty() || !reply.body.is_empty()) {
            return BAD_ARGUMENT;
        }
        let Some(stream) = host.streams.get_mut(&host.effective) else {
            return BAD_ARGUMENT;
        };
        if stream.goes_on || stream.reply.is_some() {
            host.violations.push("answered what had ended".to_owned());
        }
        stream.reply = Some(reply);
        host.ended_in_call += 1;
        OK
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_http_call(
    cluster: *const u8,
    cluster_size: usize,
    headers: *const u8,
    headers_size: usize,
    _body: *const u8,
    _body_size: usize,
    _trailers: *const u8,
    _trailers_size: usize,
    timeout_ms: u32,
    token: *mut u32,
) -> u32 {
    let cluster = from_bytes(unsafe { bytes(cluster, cluster_size) });
    let headers = deserialized(unsafe { bytes(headers, headers_size) });
    call("proxy_http_call", |host| {
        let has = |name: &[u8]| headers.iter().any(|(header, _)| header == name);
        if host.unknown_clusters.contains(&cluster)
            || ![b":method".as_slice(), b":path", b":authority"]
                .into_iter()
                .all(has)
        {
            return BAD_ARGUMENT;
        }
        if host.shut_clusters.contains(&cluster) {
            return INTERNAL_FAILURE;
        }
        let number = NEXT_CALL.replace(NEXT_CALL.get() + 1);
        unsafe { *token = number };
        host.calls_out.push(Callout {
            token: number,
            context: host.effective,
            cluster,
            headers,
            timeout_ms,
        });
        OK
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_set_effective_context(context: u32) -> u32 {
    call("proxy_set_effective_context", |host| {
        if !host.contexts.contains(&context) {
            return BAD_ARGUMENT;
        }
        host.effective = context;
        OK
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_done() -> u32 {
    call("proxy_done", |_| OK)
}

/// What the SDK imports and the plugin has no use for. The linker wants them all the same.
macro_rules! useless {
    ($($name:ident)*) => {
        $(
            #[unsafe(no_mangle)]
            extern "C" fn $name() -> u32 {
                call(stringify!($name), |host| {
                    host.violations.push(concat!("called ", stringify!($name)).to_owned());
                    NOT_FOUND
                })
            }
        )*
    };
}

useless! {
    proxy_close_stream
    proxy_dequeue_shared_queue
    proxy_enqueue_shared_queue
    proxy_get_status
    proxy_grpc_call
    proxy_grpc_cancel
    proxy_grpc_close
    proxy_grpc_send
    proxy_grpc_stream
    proxy_register_shared_queue
    proxy_resolve_shared_queue
    proxy_set_buffer_bytes
}
