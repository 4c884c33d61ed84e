//! Client certificates: policies on peers are as good as the listener's validation.

use super::super::advice::field;
use super::around::{Around, Chain, Listener, dig, is_true, text};
use super::facts::Facts;
use super::seen::Seen;
use crate::cli::codes::Code;
use crate::cli::source::Node;

pub(super) fn check(
    around: &Around<'_>,
    listener: &Listener<'_>,
    guarded: &[(&Chain<'_>, Facts)],
    seen: &mut Seen,
) {
    let concerned = guarded.iter().filter(|(_, facts)| facts.uses_peers);
    let mut concerned = concerned.peekable();
    if concerned.peek().is_none() {
        return;
    }
    let asking: Vec<(&Node, &Facts)> = concerned
        .filter_map(|(chain, facts)| Some((chain.tls().filter(|tls| asks(tls))?, facts)))
        .collect();
    if asking.is_empty() {
        seen.at(
            Code::NoPeerCertificates,
            listener.named(),
            "policies are about who the peer is, and this listener asks nobody for a certificate: ALLOW never matches \
             by it, and mutual TLS is never there",
            "give it a TLS `transport_socket` with a `validation_context` that has `trusted_ca`, and \
             `require_client_certificate: true` unless plain clients come, too",
        );
    }
    for (tls, facts) in asking {
        if let Some(at) = untrusted(around, tls).filter(|_| !facts.takes_untrusted) {
            seen.at(
                Code::UntrustedPeerCertificates,
                at,
                "anybody can write any name into a certificate that isn't validated, and policies believe it",
                "write a `validation_context` with `trusted_ca`, and no `ACCEPT_UNTRUSTED`; if such certificates must \
                 be taken, `workload: {untrustedCertificates: true}` in the plugin's configuration",
            );
        }
    }
}

/// Whether clients are asked for a certificate.
fn asks(tls: &Node) -> bool {
    is_true(tls, "requireClientCertificate") || !validations(tls).is_empty()
}

/// What is said of validation.
pub(super) fn validations(tls: &Node) -> Vec<&Node> {
    let common = ["commonTlsContext"];
    let places: [&[&str]; 4] = [
        &["validationContext"],
        &["validationContextSdsSecretConfig"],
        &["combinedValidationContext", "defaultValidationContext"],
        &[
            "combinedValidationContext",
            "validationContextSdsSecretConfig",
        ],
    ];
    let places = places.iter();
    let places = places.filter_map(|place| dig(tls, &[&common[..], place].concat()));
    places.collect()
}

/// The validation that a context or a secret with it has.
pub(super) fn context<'n>(around: &Around<'n>, context: &'n Node) -> Option<&'n Node> {
    if field(context, "sdsConfig").is_none() && text(context, "name").is_none() {
        return Some(context);
    }
    let secret = around.secrets.get(text(context, "name")?)?;
    field(secret, "validationContext")
}

/// Whether something says by what certificates are validated.
pub(super) fn has_trust(context: &Node) -> bool {
    let names = [
        "trustedCa",
        "caCertificateProviderInstance",
        "customValidatorConfig",
        "systemRootCerts",
        "verifyCertificateHash",
        "verifyCertificateSpki",
    ];
    names.iter().any(|name| field(context, name).is_some())
}

/// What makes a listener take certificates that it can't validate.
fn untrusted<'n>(around: &Around<'n>, tls: &'n Node) -> Option<&'n Node> {
    let all = validations(tls);
    let known = all.iter().map(|own| context(around, own));
    let known: Vec<Option<&Node>> = known.collect();
    let accepting = known.iter().flatten().find_map(|own| {
        let accepts = text(own, "trustChainVerification") == Some("ACCEPT_UNTRUSTED");
        field(own, "trustChainVerification").filter(|_| accepts)
    });
    // Of a secret that is fetched nothing is known.
    let is_trusted = known.iter().any(|own| own.is_none_or(has_trust));
    accepting.or_else(|| (!is_trusted).then(|| all.first().copied().unwrap_or(tls)))
}
