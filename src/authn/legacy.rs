//! `Policy` and `MeshPolicy` of `authentication.istio.io/v1alpha1`, decided as the filter of their time did
//! (istio/proxy release-1.5, `src/envoy/http/authn`).

use std::rc::Rc;

use super::presented::{self, Presented, Search};
use super::removal::Removal;
use super::{Authenticated, Halt, Identity, Principal, Rule, Sought, Taken};
use crate::authz::TrustDomains;
use crate::config::Tokens;
use crate::config::legacy::{Binding, Trigger};
use crate::connection::{Connection, Untold};
use crate::evaluate::Known;
use crate::jwt::Verified;
use crate::outcome::{Lack, Reason, Refusal};
use crate::request::Request;
use crate::sorted;

/// The policies that can decide here: of each request one does.
#[derive(Debug, Default)]
pub(crate) struct Policies(pub(crate) Vec<Placed>);

/// A policy and the requests that it is for.
#[derive(Debug)]
pub(crate) struct Placed<P = Rc<Policy>> {
    pub(crate) reach: Reach,
    pub(crate) policy: P,
}

impl<P> Placed<P> {
    /// Those that decide about some request, in the order in which they are tried.
    pub(crate) fn deciding(mut oldest_first: Vec<Self>) -> Vec<Self> {
        sorted::by(&mut oldest_first, |one, other| {
            one.reach.step().cmp(&other.reach.step())
        });
        let is_for_all = |placed: &Self| !matches!(placed.reach, Reach::Ports(_));
        if let Some(last) = oldest_first.iter().position(is_for_all) {
            oldest_first.truncate(last + 1);
        }
        oldest_first
    }
}

/// For what a policy is. What comes first replaces what follows.
#[derive(Debug)]
pub(crate) enum Reach {
    /// Ports of our service, as they are here.
    Ports(Vec<u16>),
    Service,
    Namespace,
    Mesh,
}

impl Reach {
    fn step(&self) -> u8 {
        match self {
            Self::Ports(_) => 0,
            Self::Service => 1,
            Self::Namespace => 2,
            Self::Mesh => 3,
        }
    }
}

/// One policy, compiled.
#[derive(Debug)]
pub(crate) struct Policy {
    /// `ns[foo]-policy[name]`
    pub(crate) name: String,
    pub(crate) peers: Vec<Peer>,
    pub(crate) peer_is_optional: bool,
    pub(crate) origins: Vec<Origin>,
    pub(crate) origin_is_optional: bool,
    pub(crate) binding: Binding,
    pub(crate) trust_domains: Rc<TrustDomains>,
    /// Where its rules look for tokens.
    pub(crate) sought: Sought,
}

/// How a peer tells who it is.
#[derive(Debug)]
pub(crate) enum Peer {
    MutualTls { is_strict: bool },
    Token(Box<Rule>),
}

/// How a request tells whose it is.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) rule: Rule,
    pub(crate) triggers: Vec<Trigger>,
}

/// Who the peer is.
#[derive(Debug, Default)]
struct PeerIdentity {
    /// `source.principal` of that time.
    principal: Option<String>,
    /// The method that told, where it is a token.
    token: Option<usize>,
}

/// What the origins come to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum OriginResult {
    /// None succeeded, or the request is a CORS preflight: there is no principal, and there are no claims.
    Nobody,
    /// None is asked for.
    Pass,
    /// This one succeeded, of those that are asked for and present tokens.
    Win(usize),
}

impl Policies {
    /// The names of the policies, each once.
    pub(crate) fn names(&self) -> Vec<&str> {
        let names = self.0.iter().map(|placed| placed.policy.name.as_str());
        let mut names: Vec<&str> = names.collect();
        sorted::by(&mut names, Ord::cmp);
        names.dedup();
        names
    }

    /// The rules for tokens in them.
    pub(super) fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter().flat_map(|placed| placed.policy.all_rules())
    }

    /// Whether one of them looks for tokens in this header.
    pub(super) fn seek(&self, header: &[u8]) -> bool {
        let mut policies = self.0.iter();
        policies.any(|placed| placed.policy.sought.has_header(header))
    }

    /// The policy that refuses every request to this port without a client certificate, if one does.
    #[cfg(not(target_family = "wasm"))]
    pub(super) fn require_mutual_tls(&self, port: u16) -> Option<&str> {
        let mut placed = self.0.iter();
        let placed = placed.find(|placed| match &placed.reach {
            Reach::Ports(ports) => ports.contains(&port),
            _ => true,
        })?;
        let is_strict = |peer: &Peer| matches!(peer, Peer::MutualTls { is_strict: true });
        let Policy { name, peers, .. } = &*placed.policy;
        let is_required = !peers.is_empty() && peers.iter().all(is_strict);
        (is_required && !placed.policy.peer_is_optional).then_some(name)
    }

    /// The policy that decides about this connection's requests, if one does.
    ///
    /// # Errors
    ///
    /// It depends on the port, which the host doesn't tell.
    pub(super) fn of(&self, connection: &Connection<'_>) -> Result<Option<&Policy>, Reason> {
        for placed in &self.0 {
            if let Reach::Ports(ports) = &placed.reach {
                let port = connection.destination_port();
                if !ports.contains(&port.ok_or(Reason::ProxyUnreadable)?) {
                    continue;
                }
            }
            return Ok(Some(&placed.policy));
        }
        Ok(None)
    }
}

impl Policy {
    /// The same, once its rules are there.
    pub(crate) fn seeking(mut self) -> Self {
        self.sought = Sought::of(self.all_rules());
        self
    }

    /// Peers first, then origins. Every token that verifies goes on, asked for or not.
    pub(super) fn authenticate<'r>(
        &self,
        request: &'r Request,
        connection: &Connection<'_>,
        known: Known<'_>,
        demanded: Tokens,
    ) -> Result<Authenticated<'_, 'r>, Halt> {
        let rules = self.all_rules();
        let mut removal = Removal::new(request);
        let search = Search::new(&mut removal, known.verifier, &self.sought, rules);
        let mut of_peers: Vec<_> = self.peers.iter().map(|peer| peer.find(&search)).collect();
        let peer = self.peer(&of_peers, connection, known)?;
        let (asked, others): (Vec<&Origin>, Vec<&Origin>) = self
            .origins
            .iter()
            .partition(|origin| origin.is_asked_for(request));
        let is_open = asked.is_empty();
        let mut asked = Origin::find(&asked, &search);
        let others = Origin::find(&others, &search);
        let origin = match request.is_cors_preflight() && self.origins_can_succeed() {
            true => OriginResult::Nobody,
            false => self.origin(&asked, is_open, known)?,
        };

        let presented = || of_peers.iter().flatten().chain(&asked).chain(&others);
        let kept = presented::verified(presented(), known)?;
        for place in presented().flat_map(Presented::places) {
            if !kept.contains(&place) {
                if demanded == Tokens::All {
                    return Err(self.refused(Reason::OriginFailed));
                }
                removal.add(place);
            }
        }

        let token = match origin {
            OriginResult::Nobody => None,
            // Without origins, the peer's token tells of the request, too.
            OriginResult::Pass => peer.token.and_then(|index| of_peers.get_mut(index)?.take()),
            OriginResult::Win(index) => Some(asked.swap_remove(index)),
        };
        let principal = match self.binding {
            Binding::Origin => Principal::Token,
            Binding::Peer if origin == OriginResult::Nobody => Principal::Peer(None),
            Binding::Peer => Principal::Peer(peer.principal),
        };
        Ok(Authenticated {
            identity: Some(Identity {
                token: token.and_then(Taken::of),
                principal,
            }),
            beside: Vec::new(),
            removal,
            would: None,
        })
    }

    /// The rules that are asked about this request.
    pub(super) fn rules(&self, request: &Request) -> impl Iterator<Item = &Rule> {
        let asked = self.origins.iter();
        let asked = asked.filter(|origin| origin.is_asked_for(request));
        self.peer_rules().chain(asked.map(|origin| &origin.rule))
    }

    fn all_rules(&self) -> impl Iterator<Item = &Rule> {
        let origins = self.origins.iter().map(|origin| &origin.rule);
        self.peer_rules().chain(origins)
    }

    fn peer_rules(&self) -> impl Iterator<Item = &Rule> {
        self.peers.iter().filter_map(|peer| match peer {
            Peer::MutualTls { .. } => None,
            Peer::Token(rule) => Some(&**rule),
        })
    }

    fn refused(&self, reason: Reason) -> Halt {
        Halt::Refused(Refusal {
            policy: Some(self.name.clone()),
            ..reason.into()
        })
    }

    /// The first method that succeeds. None has to where there is none.
    fn peer(
        &self,
        presented: &[Option<Presented<'_, '_>>],
        connection: &Connection<'_>,
        known: Known<'_>,
    ) -> Result<PeerIdentity, Halt> {
        for (index, (peer, presented)) in self.peers.iter().zip(presented).enumerate() {
            match (peer, presented) {
                (Peer::MutualTls { is_strict }, _) => match self.certified(connection)? {
                    Certified::Ours(id) => {
                        return Ok(PeerIdentity {
                            principal: Some(id.to_owned()),
                            token: None,
                        });
                    }
                    Certified::Nobody if !is_strict => return Ok(PeerIdentity::default()),
                    Certified::Nobody | Certified::Stranger => {}
                },
                (Peer::Token(_), Some(presented)) => match presented.verify(known) {
                    Ok(()) => {
                        return Ok(PeerIdentity {
                            principal: presented.first().and_then(Verified::principal),
                            token: Some(index),
                        });
                    }
                    Err(miss) => presented::none_awaited(miss.awaited().into_iter().collect())?,
                },
                (Peer::Token(_), None) => {}
            }
        }
        match self.peers.is_empty() || self.peer_is_optional {
            true => Ok(PeerIdentity::default()),
            false => Err(self.refused(Reason::PeerFailed)),
        }
    }

    /// Who the peer is by its certificate, whose trust domain has to be ours.
    fn certified<'c>(&self, connection: &'c Connection<'_>) -> Result<Certified<'c>, Halt> {
        let peer = connection.peer();
        let peer = peer.map_err(|Untold| match connection.is_unconfirmed() {
            true => self.refused(Reason::PeerFailed),
            false => Halt::Refused(Reason::ProxyUnreadable.into()),
        })?;
        Ok(match peer.and_then(|id| id.strip_prefix("spiffe://")) {
            None => Certified::Nobody,
            Some(id) => match id.split_once('/') {
                Some((domain, _)) if self.trust_domains.has(domain) => Certified::Ours(id),
                _ => Certified::Stranger,
            },
        })
    }

    /// The first of the origins that are asked for which succeeds.
    fn origin(
        &self,
        asked: &[Presented<'_, '_>],
        is_open: bool,
        known: Known<'_>,
    ) -> Result<OriginResult, Halt> {
        let result = if !self.origins_can_succeed() {
            OriginResult::Nobody
        } else if is_open {
            OriginResult::Pass
        } else {
            match presented::winner(asked, known) {
                Ok(index) => OriginResult::Win(index),
                Err(Halt::Refused(_)) => OriginResult::Nobody,
                Err(waits) => return Err(waits),
            }
        };
        match result == OriginResult::Nobody && !self.origin_is_optional {
            true => Err(Halt::Refused(Refusal {
                policy: Some(self.name.clone()),
                lack: match asked.is_empty() {
                    true => Lack::Token,
                    false => Lack::Nothing,
                },
                ..Reason::OriginFailed.into()
            })),
            false => Ok(result),
        }
    }

    /// A principal from nowhere can't be told, not even of a preflight.
    fn origins_can_succeed(&self) -> bool {
        !self.origins.is_empty() || self.binding == Binding::Peer
    }
}

/// What a connection's certificate tells.
enum Certified<'c> {
    /// There is none, or it has no SPIFFE identity.
    Nobody,
    /// The identity, without `spiffe://`.
    Ours(&'c str),
    /// One of another trust domain.
    Stranger,
}

impl Peer {
    fn find<'p, 's>(&'p self, search: &'s Search<'_>) -> Option<Presented<'p, 's>> {
        match self {
            Self::MutualTls { .. } => None,
            Self::Token(rule) => Presented::find(rule, search),
        }
    }
}

impl Origin {
    fn find<'p, 's>(origins: &[&'p Self], search: &'s Search<'_>) -> Vec<Presented<'p, 's>> {
        let rules = origins.iter().map(|origin| &origin.rule);
        rules
            .filter_map(|rule| Presented::find(rule, search))
            .collect()
    }

    /// A path that can't be read is one on which the token is asked for.
    fn is_asked_for(&self, request: &Request) -> bool {
        let path = request.path().and_then(|path| str::from_utf8(path).ok());
        match path.filter(|path| !path.is_empty()) {
            Some(path) if !self.triggers.is_empty() => {
                self.triggers.iter().any(|trigger| trigger.asks_on(path))
            }
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::connection::NoHost;
    use crate::jwks::KeyStore;
    use crate::jwt::Verifier;
    use crate::outcome::{Outcome, Reason};
    use crate::policy::{Node, Policy};
    use crate::request::Request;
    use crate::{Known, evaluate};

    #[test]
    fn a_port_that_cant_be_told_is_no_way_around_a_policy() {
        let policy = |ports| {
            json!({
                "apiVersion": "authentication.istio.io/v1alpha1",
                "kind": "Policy",
                "metadata": { "name": "p" },
                "spec": { "targets": [{ "name": "a", "ports": ports }] },
            })
        };
        for (ports, passes) in [(json!([{ "number": 80 }]), false), (json!([]), true)] {
            let configuration = json!({
                "workload": { "namespace": "foo", "serviceName": "a", "ports": [{ "number": 80 }] },
                "resources": [policy(ports)],
            });
            let policy = Policy::load(configuration.to_string().as_bytes(), &Node::default());
            let policy = policy.unwrap();
            let known = Known {
                keys: &KeyStore::new(&policy, 0),
                waited: &[],
                checked: &[],
                verifier: &Verifier::default(),
                host: &NoHost,
                now: &0,
            };
            match evaluate(&policy, known, &Request::default()) {
                Outcome::Forward(..) => assert!(passes),
                Outcome::Refuse(refusal, _) => {
                    assert!(!passes);
                    assert_eq!(refusal.reason, Reason::ProxyUnreadable);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
