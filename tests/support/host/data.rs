//! What a host keeps for the plugin: attributes, shared data, metrics.

use super::imports::{bytes, call, give};
use super::{CAS_MISMATCH, HOST, NOT_FOUND, OK, SERIALIZATION_FAILURE, from_bytes};

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_property(
    path: *const u8,
    path_size: usize,
    data: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    let path = unsafe { bytes(path, path_size) };
    call("proxy_get_property", |host| {
        let stream = host.streams.get(&host.effective);
        match stream.and_then(|stream| stream.properties.get(path)) {
            Some(Some(value)) => unsafe { give(value, data, size) },
            Some(None) => SERIALIZATION_FAILURE,
            None => match host.properties.get(path) {
                Some(value) => unsafe { give(value, data, size) },
                None => NOT_FOUND,
            },
        }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_set_property(
    path: *const u8,
    path_size: usize,
    value: *const u8,
    value_size: usize,
) -> u32 {
    let (path, value) = unsafe { (bytes(path, path_size), bytes(value, value_size)) };
    call("proxy_set_property", |host| {
        let Some(stream) = host.streams.get_mut(&host.effective) else {
            return NOT_FOUND;
        };
        if stream.goes_on || stream.reply.is_some() {
            host.violations.push("told of what had ended".to_owned());
        }
        stream.state.insert(from_bytes(path), from_bytes(value));
        OK
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_shared_data(
    key: *const u8,
    key_size: usize,
    data: *mut *mut u8,
    size: *mut usize,
    cas: *mut u32,
) -> u32 {
    let key = unsafe { bytes(key, key_size) };
    call("proxy_get_shared_data", |host| match host.shared.get(key) {
        Some((value, version)) => unsafe {
            *cas = *version;
            give(value, data, size)
        },
        None => NOT_FOUND,
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_set_shared_data(
    key: *const u8,
    key_size: usize,
    value: *const u8,
    value_size: usize,
    cas: u32,
) -> u32 {
    let (key, value) = unsafe { (bytes(key, key_size), bytes(value, value_size)) };
    call("proxy_set_shared_data", |host| {
        if host
            .shared
            .get(key)
            .is_some_and(|(_, version)| cas != 0 && cas != *version)
        {
            return CAS_MISMATCH;
        }
        host.cas += 1;
        host.shared.insert(key.to_vec(), (value.to_vec(), host.cas));
        OK
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_call_foreign_function(
    name: *const u8,
    name_size: usize,
    argument: *const u8,
    argument_size: usize,
    data: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    let (name, argument) = unsafe { (bytes(name, name_size), bytes(argument, argument_size)) };
    let answer = HOST.with_borrow_mut(|host| host.verify_signature);
    call("proxy_call_foreign_function", |_| {
        let answer = answer.filter(|_| name == b"verify_signature");
        match answer.and_then(|answer| answer(argument)) {
            Some(answer) => unsafe { give(&answer, data, size) },
            None => NOT_FOUND,
        }
    })
}

const COUNTER: u32 = 0;
const GAUGE: u32 = 1;
const HISTOGRAM: u32 = 2;

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_define_metric(
    kind: u32,
    name: *const u8,
    name_size: usize,
    id: *mut u32,
) -> u32 {
    let name = from_bytes(unsafe { bytes(name, name_size) });
    call("proxy_define_metric", |host| {
        let values = match kind {
            COUNTER | GAUGE => vec![0],
            _ => Vec::new(),
        };
        let (known, _) = host.metrics.entry(name.clone()).or_insert((kind, values));
        if *known != kind {
            host.violations.push(format!("{name} is of two kinds"));
        }
        unsafe { *id = u32::try_from(host.metric_names.len()).expect("few metrics") };
        host.metric_names.push(name);
        OK
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_metric(id: u32, value: *mut u64) -> u32 {
    metric("proxy_get_metric", id, |_, values| {
        unsafe { *value = values.last().copied().unwrap_or_default() };
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_record_metric(id: u32, value: u64) -> u32 {
    metric("proxy_record_metric", id, |kind, values| match kind {
        HISTOGRAM => values.push(value),
        GAUGE => *values = vec![value],
        _ => panic!("a counter is no gauge"),
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_increment_metric(id: u32, offset: i64) -> u32 {
    metric("proxy_increment_metric", id, |kind, values| {
        assert!(kind == GAUGE || kind == COUNTER && offset > 0, "{offset}");
        values[0] = values[0]
            .checked_add_signed(offset)
            .expect("no more than was added");
    })
}

fn metric(name: &'static str, id: u32, work: impl FnOnce(u32, &mut Vec<u64>)) -> u32 {
    call(name, |host| {
        let metric = host.metric_names.get(id as usize);
        match metric.and_then(|metric| host.metrics.get_mut(metric)) {
            Some((kind, values)) => {
                work(*kind, values);
                OK
            }
            None => NOT_FOUND,
        }
    })
}
