//! Durations as people write them.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Input, Read};
use crate::config::schema::Schemas;

impl Read for Duration {
    fn read(input: &Input<'_>) -> Option<Self> {
        let duration = input.value.as_str().and_then(parse_duration);
        if duration.is_none() {
            input.mistake("not a duration; write for example \"5s\", \"1m30s\" or \"500ms\"");
        }
        duration
    }

    fn schema(_: &mut Schemas) -> Value {
        json!({
            "title": "duration",
            "type": "string",
            "pattern": "^([0-9.]+(h|m|s|ms|us|µs|ns))+$",
        })
    }
}

/// A duration as Go and protobuf write it: decimal numbers, each with a unit.
fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| c != '.' && !c.is_ascii_digit())?);
        let (unit, tail) = tail.split_at(
            tail.find(|c: char| c == '.' || c.is_ascii_digit())
                .unwrap_or(tail.len()),
        );
        let nanoseconds = match unit {
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "us" | "µs" => 1_000,
            "ns" => 1,
            _ => return None,
        };
        total = total.checked_add(times(number, nanoseconds)?)?;
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
}

/// So many of these; what is left of a nanosecond is cut off.
fn times(number: &str, nanoseconds: u64) -> Option<Duration> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut total = match whole {
        "" => 0,
        whole => whole.parse::<u64>().ok()?.checked_mul(nanoseconds)?,
    };
    let mut place = nanoseconds;
    for digit in fraction.chars() {
        place /= 10;
        total = total.checked_add(u64::from(digit.to_digit(10)?) * place)?;
    }
    Some(Duration::from_nanos(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("5s", Some(5_000)),
            ("1m30s", Some(90_000)),
            ("0.5s", Some(500)),
            (".5s", Some(500)),
            ("1.s", Some(1_000)),
            ("0.25h1.5m", Some(990_000)),
            (".s", None),
            ("0s", Some(0)),
            ("1h", Some(3_600_000)),
            ("250ms", Some(250)),
            ("", None),
            ("5", None),
            ("s", None),
            ("-5s", None),
            ("5 s", None),
            ("1e3s", None),
            ("1..5s", None),
            ("999999999999999999999999h", None),
        ] {
            assert_eq!(
                parse_duration(text),
                millis.map(Duration::from_millis),
                "{text}"
            );
        }
    }
}
