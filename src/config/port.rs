//! Ports, as numbers.

use serde_json::Value;

use super::reader::{Input, Read};
use super::schema::{Schemas, a, any_of};

/// A port that something can listen on.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct PortNumber(pub(crate) u16);

impl PortNumber {
    pub(crate) const RANGE: &str = "a port is a number from 1 to 65535";

    /// Reads the name of a member, which is all that JSON has for the key of a map.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        text.parse().ok().filter(|port| *port != 0).map(Self)
    }
}

impl Read for PortNumber {
    fn read(input: &Input<'_>) -> Option<Self> {
        let port = match input.value() {
            Value::Number(_) => input.whole().filter(|port| *port != 0).map(Self),
            // Protobuf's JSON takes numbers in quotes, too.
            Value::String(text) => Self::parse(text),
            _ => return input.expected("a number"),
        };
        if port.is_none() {
            input.mistake(Self::RANGE);
        }
        port
    }

    fn schema(_: &mut Schemas) -> Value {
        any_of([a("integer"), a("string")])
    }
}
