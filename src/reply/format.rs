//! The body of a refusal: text, or problem details (RFC 9457).

use serde_json::{Map, Value};

use super::Reply;
use super::challenge::Standard;
use crate::config::{Errors, Format};
use crate::outcome::{Fault, Reason};

/// The answer with its body.
pub(super) fn written(
    standard: &Standard,
    status: u16,
    reason: Reason,
    errors: &Errors,
    is_grpc: bool,
) -> Reply {
    let mut reply = Reply {
        status,
        headers: Vec::new(),
        body: standard.text.into(),
        details: String::new(),
    };
    if errors.format == Some(Format::Json) && !is_grpc {
        reply.body = problem(standard.text, status, reason);
        reply.set("content-type", "application/problem+json");
    }
    reply
}

/// The type is `about:blank`, where nothing else is said, so the title is the status's.
fn problem(text: &str, status: u16, reason: Reason) -> Vec<u8> {
    let mut members = Map::new();
    members.insert("status".to_owned(), status.into());
    let title = match status {
        400 => Some("Bad Request"),
        401 => Some("Unauthorized"),
        403 => Some("Forbidden"),
        404 => Some("Not Found"),
        503 => Some("Service Unavailable"),
        _ => None,
    };
    let detail = Some(text).filter(|text| !text.is_empty());
    // Which kind of policy refused is nobody else's business.
    let code = (reason.fault() != Fault::Policy).then(|| reason.code());
    for (name, value) in [("title", title), ("detail", detail), ("code", code)] {
        members.extend(value.map(|value| (name.to_owned(), value.into())));
    }
    Value::Object(members).to_string().into_bytes()
}
