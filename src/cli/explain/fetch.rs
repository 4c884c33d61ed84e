//! Key sets from where they are.

use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig};

use crate::jwks::{Fetch, FetchError, MAX_BODY};

/// Fetches as the plugin does: no redirect is followed. It trusts whom the system trusts.
pub(super) struct Fetcher(Agent);

impl Default for Fetcher {
    fn default() -> Self {
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier);
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .tls_config(tls.build());
        Self(config.build().into())
    }
}

impl Fetcher {
    pub(super) fn get(&self, fetch: &Fetch) -> Result<Vec<u8>, FetchError> {
        let request = self.0.get(fetch.uri());
        let request = request
            .config()
            .timeout_global(Some(fetch.timeout()))
            .build();
        let unusable = |error: ureq::Error| FetchError::Unusable(error.to_string());
        let mut answer = request.call().map_err(unusable)?;
        let status = answer.status().as_u16();
        if status != 200 {
            let location = answer.headers().get("location");
            let location = location.map_or(&[][..], |location| location.as_bytes());
            return Err(FetchError::of(status, location));
        }
        let limit = MAX_BODY as u64 + 1;
        let body = answer.body_mut().with_config().limit(limit).read_to_vec();
        body.map_err(unusable)
    }
}
