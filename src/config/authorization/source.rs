//! Whom a rule is for.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::conditions;
use crate::authz::{Condition, PeerPattern, PrincipalMatch, Test};
use crate::config::reader::{Input, Read, record};
use crate::config::schema::{Schemas, a};
use crate::config::text::Text;

/// All of these must hold.
#[derive(Debug)]
pub(crate) struct Source(pub(super) Vec<Condition<PeerPattern>>);

record! {
    /// Istio's `Source`.
    pub(crate) struct SourceFields {
        /// Addresses of TCP peers: `10.1.2.3`, `10.0.0.0/8`, `fd00::/8`. Behind a proxy they need a
        /// filter ahead.
        ip_blocks: Vec<IpNet>,
        /// Addresses that don't match.
        not_ip_blocks: Vec<IpNet>,
        /// Namespaces of peers, by their certificates; a `*` anywhere is any text.
        namespaces: Vec<Text>,
        /// Namespaces that don't match.
        not_namespaces: Vec<Text>,
        /// Identities of peers by their certificates, without `spiffe://`:
        /// `cluster.local/ns/foo/sa/web`. A trust domain of ours means ours under all of its names.
        principals: Vec<Text>,
        /// Identities that don't match.
        not_principals: Vec<Text>,
        /// Addresses of clients, as trusted proxies report them.
        remote_ip_blocks: Vec<IpNet>,
        /// Addresses that don't match.
        not_remote_ip_blocks: Vec<IpNet>,
        /// Identities of tokens: `issuer/subject`.
        request_principals: Vec<PrincipalMatch>,
        /// Identities of tokens that don't match.
        not_request_principals: Vec<PrincipalMatch>,
        /// Service accounts of peers: `namespace/name`, or a name in the namespace of the policy;
        /// at most 16, without `*`, and not beside `principals` or `namespaces`.
        service_accounts: Vec<ServiceAccount>,
        /// Service accounts that don't match.
        not_service_accounts: Vec<ServiceAccount>,
        /// Trust domains of peers, with at most one `*`, at an end.
        trust_domains: Vec<TrustDomain>,
        /// Trust domains that don't match.
        not_trust_domains: Vec<TrustDomain>,
    }
    check check_source;
}

/// As Istio's webhook says it.
fn check_source(source: &SourceFields, input: &Input<'_>) {
    let accounts = [&source.service_accounts, &source.not_service_accounts];
    let others = [
        &source.principals,
        &source.not_principals,
        &source.namespaces,
        &source.not_namespaces,
    ];
    if accounts.iter().any(|list| !list.is_empty()) && others.iter().any(|list| !list.is_empty()) {
        input.mistake(
            "`serviceAccounts` can't stand beside `principals` and `namespaces`: write two sources",
        );
    }
    if accounts.iter().any(|list| list.len() > MAX_ACCOUNTS) {
        input.mistake(format!(
            "`serviceAccounts` may not have more than {MAX_ACCOUNTS} values: write two sources"
        ));
    }
}

impl Read for Source {
    fn read(input: &Input<'_>) -> Option<Self> {
        let fields = SourceFields::read(input)?;
        let peers = |texts: Vec<Text>, pattern: fn(String) -> PeerPattern| {
            Test::Peer(texts.into_iter().map(|text| pattern(text.0)).collect())
        };
        let accounts = |accounts: Vec<ServiceAccount>| {
            Test::Peer(accounts.into_iter().map(|account| account.0).collect())
        };
        let domains = |domains: Vec<TrustDomain>| {
            Test::Peer(domains.into_iter().map(|domain| domain.0).collect())
        };
        let conditions = conditions([
            (false, Test::RequestPrincipal(fields.request_principals)),
            (true, Test::RequestPrincipal(fields.not_request_principals)),
            (false, peers(fields.principals, PeerPattern::Principal)),
            (true, peers(fields.not_principals, PeerPattern::Principal)),
            (false, peers(fields.namespaces, PeerPattern::Namespace)),
            (true, peers(fields.not_namespaces, PeerPattern::Namespace)),
            (false, accounts(fields.service_accounts)),
            (true, accounts(fields.not_service_accounts)),
            (false, domains(fields.trust_domains)),
            (true, domains(fields.not_trust_domains)),
            (false, Test::DirectIp(fields.ip_blocks)),
            (true, Test::DirectIp(fields.not_ip_blocks)),
            (false, Test::RemoteIp(fields.remote_ip_blocks)),
            (true, Test::RemoteIp(fields.not_remote_ip_blocks)),
        ]);
        if conditions.is_empty() {
            input.mistake("`source` must not be empty: remove `from` to match any source");
        }
        Some(Self(conditions))
    }

    fn schema(schemas: &mut Schemas) -> Value {
        SourceFields::schema(schemas)
    }
}

impl Read for IpNet {
    fn read(input: &Input<'_>) -> Option<Self> {
        let text = input.text()?;
        let single = || text.parse::<IpAddr>().ok().map(Self::from);
        let block = text.parse().ok().or_else(single);
        if block.is_none() {
            input.mistake(
                "not an address: write for example `10.1.2.3`, `10.0.0.0/8` or `fd00::/8`",
            );
        }
        block
    }

    fn schema(_: &mut Schemas) -> Value {
        a("string")
    }
}

/// Istio's limits on `serviceAccounts`.
const MAX_ACCOUNTS: usize = 16;
const MAX_ACCOUNT_LENGTH: usize = 320;

/// `namespace/name`, or a name.
#[derive(Debug)]
pub(crate) struct ServiceAccount(pub(super) PeerPattern);

impl Read for ServiceAccount {
    fn read(input: &Input<'_>) -> Option<Self> {
        let Text(account) = Text::read(input)?;
        let parts: Vec<&str> = account.split('/').collect();
        if account.contains('*') {
            input.mistake("a service account can't have wildcards: write it whole");
        } else if parts.len() > 2 || parts.contains(&"") {
            input.mistake("not a service account: write `name` or `namespace/name`");
        } else if account.len() > MAX_ACCOUNT_LENGTH {
            input.mistake(format!(
                "a service account can't be longer than {MAX_ACCOUNT_LENGTH} characters"
            ));
        } else {
            return Some(Self(PeerPattern::ServiceAccount(account)));
        }
        None
    }

    fn schema(_: &mut Schemas) -> Value {
        a("string")
    }
}

/// A trust domain, with at most one `*` at an end.
#[derive(Debug)]
pub(crate) struct TrustDomain(pub(super) PeerPattern);

impl Read for TrustDomain {
    fn read(input: &Input<'_>) -> Option<Self> {
        let Text(domain) = Text::read(input)?;
        let inner = domain
            .strip_prefix('*')
            .or_else(|| domain.strip_suffix('*'));
        if inner.unwrap_or(&domain).contains('*') {
            input.mistake("a trust domain has at most one `*`, at its start or end");
        } else if domain.contains('/') {
            input.mistake("a trust domain has no `/`: write only the domain");
        } else {
            return Some(Self(PeerPattern::TrustDomain(domain)));
        }
        None
    }

    fn schema(_: &mut Schemas) -> Value {
        a("string")
    }
}

impl Read for PrincipalMatch {
    fn read(input: &Input<'_>) -> Option<Self> {
        Text::read(input).map(|Text(text)| Self::parse(&text))
    }

    fn schema(_: &mut Schemas) -> Value {
        a("string")
    }
}
