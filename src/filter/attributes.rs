//! What Envoy knows of a request besides its header.

use super::host;
use crate::connection::{Attribute, Host, Metadata};

/// The request that host calls are about now.
#[derive(Debug)]
pub(crate) struct CurrentRequest;

impl Host for CurrentRequest {
    fn attribute(&self, attribute: Attribute) -> Option<Vec<u8>> {
        host::property(path(attribute)).ok()
    }

    fn metadata(&self, filter: &str, key: &str) -> Option<Metadata> {
        let value = host::property(&["metadata", "filter_metadata", filter, key]).ok()?;
        // Envoy writes a list as a map whose names are the items.
        Some(match host::pairs(&value).filter(|_| !value.is_empty()) {
            Some(items) => Metadata::List(items.into_iter().map(|(name, _)| name.into()).collect()),
            None => Metadata::Text(value),
        })
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
