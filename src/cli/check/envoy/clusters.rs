//! The clusters through which key sets are fetched and services asked.

use std::net::IpAddr;

use super::super::advice::{field, list};
use super::around::{Around, below, is_true, of_type, text};
use super::facts::{Asked, Facts};
use super::peers::{context, has_trust, validations};
use super::seen::Seen;
use crate::cli::codes::Code;
use crate::cli::source::Node;

pub(super) fn check(around: &Around<'_>, facts: &Facts, seen: &mut Seen) {
    for asked in &facts.asked {
        let at = facts.spoken(&asked.written).or(facts.node.as_ref());
        let Some(at) = at else { continue };
        match around.clusters.get(asked.cluster.as_str()) {
            None if around.has_all_clusters => missing(around, asked, at, seen),
            Some(cluster) if asked.is_key_set => key_sets(around, cluster, asked, at, seen),
            None | Some(_) => {}
        }
    }
}

fn missing(around: &Around<'_>, asked: &Asked, at: &Node, seen: &mut Seen) {
    let leads_there = |node: &&Node| {
        let mut leads = false;
        below(node, &mut |node| {
            leads |= text(node, "address").is_some_and(|own| own == asked.host);
        });
        leads
    };
    let there = around.clusters.iter().find(|(_, node)| leads_there(node));
    let (what, cluster) = (&asked.what, &asked.cluster);
    let setting = |name: &str| match asked.is_key_set {
        true => format!("write `jwks: {{cluster: {name}}}`"),
        false => format!("write `cluster: {name}` in its `envoyExtAuthzHttp`"),
    };
    let help = match there {
        Some((name, _)) => format!("{}, or call that cluster so", setting(name)),
        None => format!(
            "add it to `clusters`; if it has another name there, {}",
            setting("NAME")
        ),
    };
    let message = format!("{what} is asked for at the cluster `{cluster}`, and there is none");
    seen.at(Code::NoCluster, at, message, help);
}

fn key_sets<'n>(around: &Around<'n>, cluster: &'n Node, asked: &Asked, at: &Node, seen: &mut Seen) {
    let named = field(cluster, "name").unwrap_or(cluster);
    let socket = field(cluster, "transportSocket").or(field(cluster, "transportSocketMatches"));
    let Some(tls) = socket.and_then(|socket| of_type(socket, "UpstreamTlsContext")) else {
        if asked.is_https && socket.is_none() && !is_of_machine(cluster) {
            seen.at(
                Code::ClusterNoTls,
                named,
                format!(
                    "{} is fetched through this cluster without TLS, whatever its address says: whoever can change \
                     it on its way can make tokens",
                    asked.what
                ),
                "give it a `transport_socket` with an `UpstreamTlsContext` (docs/operations.md, \"Where keys come \
                 from\")",
            );
        }
        return;
    };
    seen.encrypted.insert(at.span.start);
    let contexts = validations(tls);
    // Of a secret that is fetched nothing is known.
    let known: Option<Vec<&Node>> = contexts.iter().map(|own| context(around, own)).collect();
    let Some(known) = known else { return };
    let message = if !known.iter().any(|own| has_trust(own)) {
        "this cluster takes any certificate: whoever answers in the provider's place can make tokens"
    } else if !known.iter().any(|own| names_somebody(own)) && !names_itself(cluster, tls) {
        "this cluster takes a certificate for any name: whoever has one of the same authority can answer in the \
         provider's place, and make tokens"
    } else {
        return;
    };
    seen.at(
        Code::ClusterNoValidation,
        named,
        message,
        format!(
            "write a `validation_context` with `trusted_ca`, and `match_typed_subject_alt_names: [{{san_type: DNS, \
             matcher: {{exact: {}}}}}]`",
            asked.host
        ),
    );
}

/// Whether certificates have to be for some name or key.
fn names_somebody(context: &Node) -> bool {
    let lists = [
        "matchTypedSubjectAltNames",
        "matchSubjectAltNames",
        "verifyCertificateHash",
        "verifyCertificateSpki",
    ];
    lists.iter().any(|name| !list(context, name).is_empty())
        || field(context, "customValidatorConfig").is_some()
}

/// Whether the name is that of the request or of SNI.
fn names_itself(cluster: &Node, tls: &Node) -> bool {
    let mut is_set = is_true(tls, "autoSniSanValidation");
    below(cluster, &mut |node| {
        is_set |= is_true(node, "autoSanValidation");
    });
    is_set
}

/// Whether all that it leads to is on this machine.
fn is_of_machine(cluster: &Node) -> bool {
    let (mut here, mut elsewhere) = (false, false);
    below(cluster, &mut |node| {
        if field(node, "pipe").is_some() {
            here = true;
        }
        if let Some(address) = text(node, "address") {
            let address = address.parse::<IpAddr>();
            match address.is_ok_and(|address| address.is_loopback()) {
                true => here = true,
                false => elsewhere = true,
            }
        }
    });
    here && !elsewhere
}
