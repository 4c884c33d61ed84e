//! What Envoy knows of a request besides its header.

use std::cell::OnceCell;

use super::host::{self, Status};
use super::map;
use crate::connection::{Attribute, Host, Metadata, Untold};
use crate::evaluate::Clock;

/// The request that host calls are about now.
#[derive(Debug)]
pub(crate) struct CurrentRequest;

impl Host for CurrentRequest {
    fn attribute(&self, attribute: Attribute) -> Result<Option<Vec<u8>>, Untold> {
        property(path(attribute))
    }

    fn metadata(&self, filter: &str, key: &str) -> Result<Option<Metadata>, Untold> {
        let value = property(&["metadata", "filter_metadata", filter, key])?;
        // Envoy writes a list as a map whose names are the items.
        Ok(value.map(
            |value| match map::pairs(&value).filter(|_| !value.is_empty()) {
                Some(items) => {
                    Metadata::List(items.into_iter().map(|(name, _)| name.into()).collect())
                }
                None => Metadata::Text(value),
            },
        ))
    }
}

/// The host's clock, asked once at most.
#[derive(Debug, Default)]
pub(crate) struct HostClock(OnceCell<Result<u64, Untold>>);

impl HostClock {
    /// Whether it was asked, and didn't tell.
    pub(crate) fn has_failed(&self) -> bool {
        self.0.get().is_some_and(Result::is_err)
    }
}

impl Clock for HostClock {
    fn now(&self) -> Result<u64, Untold> {
        *self.0.get_or_init(|| host::now().map_err(|_| Untold))
    }
}

/// What isn't there is not found; any other status means that Envoy has something it can't hand over.
fn property(path: &[&str]) -> Result<Option<Vec<u8>>, Untold> {
    match host::property(path) {
        Ok(value) => Ok(Some(value)),
        Err(Status::NOT_FOUND) => Ok(None),
        Err(_) => Err(Untold),
    }
}

/// Envoy's name of an attribute.
fn path(attribute: Attribute) -> &'static [&'static str] {
    match attribute {
        Attribute::CertificateValid => &["connection", "peer_certificate_valid"],
        Attribute::DestinationAddress => &["destination", "address"],
        Attribute::DirectAddress => &["filter_state", "portcullis.direct_remote_address"],
        Attribute::DnsSan => &["connection", "dns_san_peer_certificate"],
        Attribute::Mtls => &["connection", "mtls"],
        Attribute::ServerName => &["connection", "requested_server_name"],
        Attribute::SourceAddress => &["source", "address"],
        Attribute::Subject => &["connection", "subject_peer_certificate"],
        Attribute::UriSan => &["connection", "uri_san_peer_certificate"],
    }
}
