//! Header maps, of requests and of answers, and the form in which they cross the border.

use super::imports::{bytes, call, give};
use super::{BAD_ARGUMENT, Host, NOT_FOUND, OK, Pairs};

const REQUEST_HEADERS: u32 = 0;
const REQUEST_TRAILERS: u32 = 1;
const RESPONSE_HEADERS: u32 = 2;
const CALL_RESPONSE_HEADERS: u32 = 6;

fn headers(host: &mut Host, map: u32) -> Option<&mut Pairs> {
    match map {
        REQUEST_HEADERS => {
            let stream = host.streams.get_mut(&host.effective)?;
            // What has left the filter can't be read or changed any more.
            (!stream.goes_on).then_some(&mut stream.headers)
        }
        REQUEST_TRAILERS => host.streams.get_mut(&host.effective)?.trailers.as_mut(),
        RESPONSE_HEADERS => host.streams.get_mut(&host.effective)?.response.as_mut(),
        CALL_RESPONSE_HEADERS => host.answer.as_mut().map(|(headers, _)| headers),
        _ => None,
    }
}

/// The form in which maps cross the border.
pub fn serialized(pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let length = |bytes: &[u8]| {
        u32::try_from(bytes.len())
            .expect("a short value")
            .to_le_bytes()
    };
    let count = u32::try_from(pairs.len())
        .expect("few headers")
        .to_le_bytes();
    let mut out = count.to_vec();
    for (name, value) in pairs {
        out.extend(length(name));
        out.extend(length(value));
    }
    for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
        out.extend(text);
        out.push(0);
    }
    out
}

pub(super) fn deserialized(map: &[u8]) -> Pairs {
    let number = |at: usize| {
        let bytes = map[at..at + 4].try_into().expect("four bytes");
        u32::from_le_bytes(bytes) as usize
    };
    if map.is_empty() {
        return Vec::new();
    }
    let count = number(0);
    let mut at = 4 + count * 8;
    let mut take = |size: usize| {
        let text = map[at..at + size].to_vec();
        at += size + 1;
        text
    };
    (0..count)
        .map(|i| (take(number(4 + i * 8)), take(number(8 + i * 8))))
        .collect()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_header_map_pairs(
    map: u32,
    data: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    call("proxy_get_header_map_pairs", |host| {
        match headers(host, map) {
            Some(pairs) => unsafe { give(&serialized(pairs), data, size) },
            None => BAD_ARGUMENT,
        }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_set_header_map_pairs(map: u32, data: *const u8, size: usize) -> u32 {
    let new = deserialized(unsafe { bytes(data, size) });
    call("proxy_set_header_map_pairs", |host| {
        match headers(host, map) {
            Some(pairs) => {
                *pairs = new;
                OK
            }
            None => BAD_ARGUMENT,
        }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_header_map_value(
    map: u32,
    name: *const u8,
    name_size: usize,
    data: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    let name = unsafe { bytes(name, name_size) };
    call("proxy_get_header_map_value", |host| {
        match headers(host, map) {
            Some(pairs) => match pairs.iter().find(|(header, _)| header == name) {
                Some((_, value)) => unsafe { give(value, data, size) },
                None => NOT_FOUND,
            },
            None => BAD_ARGUMENT,
        }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_remove_header_map_value(
    map: u32,
    name: *const u8,
    name_size: usize,
) -> u32 {
    let name = unsafe { bytes(name, name_size) };
    call("proxy_remove_header_map_value", |host| {
        match headers(host, map) {
            Some(pairs) => {
                pairs.retain(|(header, _)| header != name);
                OK
            }
            None => BAD_ARGUMENT,
        }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_replace_header_map_value(
    map: u32,
    name: *const u8,
    name_size: usize,
    value: *const u8,
    value_size: usize,
) -> u32 {
    let (name, value) = unsafe { (bytes(name, name_size), bytes(value, value_size)) };
    call("proxy_replace_header_map_value", |host| {
        match headers(host, map) {
            Some(pairs) => {
                let place = pairs
                    .iter()
                    .position(|(header, _)| header == name)
                    .unwrap_or(pairs.len());
                pairs.retain(|(header, _)| header != name);
                pairs.insert(place.min(pairs.len()), (name.to_vec(), value.to_vec()));
                OK
            }
            None => BAD_ARGUMENT,
        }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_add_header_map_value(
    map: u32,
    name: *const u8,
    name_size: usize,
    value: *const u8,
    value_size: usize,
) -> u32 {
    let (name, value) = unsafe { (bytes(name, name_size), bytes(value, value_size)) };
    call("proxy_add_header_map_value", |host| {
        match headers(host, map) {
            Some(pairs) => {
                pairs.push((name.to_vec(), value.to_vec()));
                OK
            }
            None => BAD_ARGUMENT,
        }
    })
}
