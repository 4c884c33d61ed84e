//! Authentication: which token of a request is taken, by which rule, and what it writes.

pub(crate) mod legacy;
mod location;
mod metadata;
mod opaque;
mod output;
mod presence;
mod presented;
mod removal;
mod report;
mod scope;
mod sighting;
mod told;

use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;
use smallvec::SmallVec;

use self::location::Locations;
pub(crate) use self::output::Output;
use self::presented::{Miss, Presented, Search};
use self::removal::Removal;
use self::scope::{Asked, Scopes};
pub(crate) use self::sighting::Sought;
use crate::authz::{self, Subject};
use crate::config::jwt_rule::Presence;
use crate::config::text::text;
use crate::config::{Defaults, JwtRule, Tokens};
use crate::connection::{Connection, Untold};
use crate::evaluate::Known;
use crate::jwks::{KeySet, KeySetId, Lookup};
use crate::jwt::{ClaimPath, Expected, Token, Verified, Verifier};
use crate::outcome::{Change, Changes, DryRun, Reason, Refusal};
use crate::request::Request;
use crate::sorted;
use crate::spelling::Names;

/// Envoy's clock tolerance in seconds, which Istio doesn't let anybody change.
const DEFAULT_CLOCK_SKEW: u64 = 60;

/// Claims that Istio always reads as lists separated by spaces.
const SPACE_DELIMITED: [&str; 2] = ["permission", "scope"];

/// The rules of all RequestAuthentications that apply here, or the older policies in place of them.
#[derive(Debug, Default)]
pub(crate) struct Authentication {
    rules: Vec<Rule>,
    /// For which requests they are, if not for all.
    scopes: Option<Box<Scopes>>,
    /// Where these look for tokens.
    sought: Sought,
    legacy: legacy::Policies,
    /// Which of the presented tokens must verify.
    demanded: Tokens,
    /// Whether some rule requires its token.
    requires: bool,
    /// Every header that is written. The client's copies never pass, nor what an upstream may take for one.
    written: Names,
    /// The header that gets the claims for those behind us.
    metadata: Option<String>,
}

/// One compiled `JWTRule`.
#[derive(Debug)]
pub(crate) struct Rule {
    /// Tells it from the other rules of the policy.
    number: usize,
    expected: Expected,
    keys: Keys,
    locations: Rc<Locations>,
    /// For which requests it is, if not for all, until it is among the others.
    scope: Option<authz::Rule>,
    outputs: Vec<Output>,
    forward: bool,
    presence: Presence,
    /// Whether its bad tokens refuse nobody.
    reports_only: bool,
    space_delimited: Vec<String>,
}

/// Where the keys of a rule come from.
#[derive(Debug)]
pub(crate) enum Keys {
    Inline(Rc<KeySet>),
    /// An issuer without `jwks` and `jwksUri`.
    Nowhere,
    Remote(KeySetId),
}

/// Who made the request.
#[derive(Debug)]
pub(crate) struct Identity<'p> {
    token: Option<Taken<'p>>,
    principal: Principal,
}

/// A verified token, by the rule that took it.
#[derive(Debug)]
struct Taken<'p> {
    token: Verified,
    rule: &'p Rule,
}

/// Who `request.auth.principal` is.
#[derive(Debug)]
enum Principal {
    /// The peer, where it told who it is.
    Peer(Option<String>),
    /// `iss/sub` of the token.
    Token,
}

/// A request whose tokens were looked at.
#[derive(Debug)]
pub(crate) struct Authenticated<'p, 'r> {
    /// `None` where no token was presented, and for a CORS preflight, which carries none.
    pub(crate) identity: Option<Identity<'p>>,
    /// The other tokens whose rules write headers.
    beside: Vec<Taken<'p>>,
    /// The tokens that don't reach the upstream.
    removal: Removal<'r>,
    /// What rules that only report would have done.
    pub(crate) would: Option<DryRun>,
}

/// Why a request doesn't go on.
#[derive(Debug)]
pub(crate) enum Halt {
    /// These key sets are needed to tell.
    Await(Vec<KeySetId>),
    Refused(Refusal),
}

impl Rule {
    /// Whether a request without its token is refused.
    fn is_required(&self) -> bool {
        self.presence == Presence::Required && !self.reports_only
    }

    /// Whether this header is one of its outputs.
    pub(crate) fn writes(&self, header: &str) -> bool {
        self.outputs.iter().any(|output| output.header() == header)
    }

    /// Whether its bad tokens refuse nobody.
    pub(crate) fn reports_only(&self) -> bool {
        self.reports_only
    }

    pub(crate) fn new(
        number: usize,
        rule: JwtRule,
        scope: Option<authz::Rule>,
        keys: Keys,
        defaults: Option<&Defaults>,
    ) -> Self {
        let seconds = |duration: Option<Duration>| duration.map(|duration| duration.as_secs());
        let mut space_delimited: Vec<String> = SPACE_DELIMITED
            .iter()
            .map(|&name| name.to_owned())
            .collect();
        space_delimited.extend(
            rule.space_delimited_claims
                .iter()
                .map(|claim| claim.0.clone()),
        );
        Self {
            number,
            expected: Expected {
                issuer: rule.issuer().map(str::to_owned),
                foreign: Vec::new(),
                audiences: rule.audiences.iter().map(|text| text.0.clone()).collect(),
                clock_skew: seconds(rule.clock_skew)
                    .or_else(|| seconds(defaults?.clock_skew))
                    .unwrap_or(DEFAULT_CLOCK_SKEW),
                require_expiration: rule
                    .require_expiration
                    .or_else(|| defaults?.require_expiration)
                    .unwrap_or_default(),
                max_lifetime: seconds(rule.max_token_lifetime)
                    .or_else(|| seconds(defaults?.max_token_lifetime)),
                media_type: text(&rule.required_type).or_else(|| text(&defaults?.required_type)),
            },
            keys,
            scope,
            outputs: Output::of(&rule),
            forward: rule.forward_original_token,
            presence: rule.presence.unwrap_or_default(),
            reports_only: rule.report_only.unwrap_or_default(),
            space_delimited,
            locations: Rc::new(
                Locations::new(rule.from_headers, rule.from_params, rule.from_cookies)
                    .treating(rule.non_jwt.unwrap_or_default()),
            ),
        }
    }

    fn verify(&self, token: &Token, known: Known<'_>) -> Result<Verified, Miss> {
        let now = time(known)?;
        token.validate(&self.expected, now).map_err(Miss::Refused)?;
        self.verify_signature(token, known)
    }

    /// Verifies what was validated.
    fn verify_signature(&self, token: &Token, known: Known<'_>) -> Result<Verified, Miss> {
        let Known {
            keys,
            waited,
            verifier,
            ..
        } = known;
        let now = time(known)?;
        let id = match &self.keys {
            Keys::Inline(keys) => return token.verify(keys, verifier).map_err(Miss::Refused),
            Keys::Nowhere => return Err(Miss::Refused(Reason::KeysUnavailable)),
            Keys::Remote(id) => *id,
        };
        let may_wait = !waited.contains(&id);
        match keys.get(id, now) {
            Lookup::Pending if may_wait => Err(Miss::Pending(id)),
            Lookup::Pending | Lookup::Unavailable => Err(Miss::Refused(Reason::KeysUnavailable)),
            Lookup::Ready(fetched) => {
                token
                    .verify(fetched, verifier)
                    .map_err(|reason| match reason {
                        // The issuer may have added a key since.
                        Reason::KeyNotFound if may_wait && keys.may_bring_another(id, now) => {
                            Miss::Stale(id)
                        }
                        reason => Miss::Refused(reason),
                    })
            }
        }
    }
}

fn time(known: Known<'_>) -> Result<u64, Miss> {
    let now = known.now.now();
    now.map_err(|Untold| Miss::Refused(Reason::ProxyUnreadable))
}

impl Authentication {
    /// Rules are tried in the order of their issuers, as Istio sorts them.
    pub(crate) fn new(
        mut rules: Vec<Rule>,
        legacy: legacy::Policies,
        demanded: Tokens,
        metadata: Option<String>,
    ) -> Self {
        sorted::by(&mut rules, |a, b| a.expected.issuer.cmp(&b.expected.issuer));
        // No rule speaks for another's issuer: each has its own keys (RFC 8725 section 3.8).
        let issuers = rules.iter().filter_map(|rule| rule.expected.issuer.clone());
        let issuers: Vec<String> = issuers.collect();
        let open = rules
            .iter_mut()
            .filter(|rule| rule.expected.issuer.is_none());
        open.for_each(|rule| rule.expected.foreign.clone_from(&issuers));
        // Rules that look at the same places share them, so no request has to compare them.
        let mut known: Vec<Rc<Locations>> = Vec::new();
        for Rule { locations, .. } in &mut rules {
            match known.iter().find(|known| *known == locations) {
                Some(same) => *locations = Rc::clone(same),
                None => known.push(Rc::clone(locations)),
            }
        }
        let scopes = Scopes::of(&mut rules).map(Box::new);
        let outputs = rules.iter().flat_map(|rule| &rule.outputs);
        let written = outputs.map(Output::header).chain(metadata.as_deref());
        Self {
            written: Names::new(written),
            sought: Sought::of(rules.iter()),
            demanded,
            requires: rules.iter().any(|rule| rule.presence == Presence::Required),
            legacy,
            scopes,
            rules,
            metadata,
        }
    }

    /// Decides whose request this is, and which tokens it keeps.
    ///
    /// # Errors
    ///
    /// Why the request doesn't go on.
    pub(crate) fn authenticate<'r>(
        &self,
        request: &'r Request,
        connection: &Connection<'_>,
        known: Known<'_>,
    ) -> Result<Authenticated<'_, 'r>, Halt> {
        match self.legacy.of(connection) {
            Ok(None) => self.by_rules(request, connection, known),
            Ok(Some(policy)) => policy.authenticate(request, connection, known, self.demanded),
            Err(reason) => Err(Halt::Refused(reason.into())),
        }
    }

    fn by_rules<'r>(
        &self,
        request: &'r Request,
        connection: &Connection<'_>,
        known: Known<'_>,
    ) -> Result<Authenticated<'_, 'r>, Halt> {
        let mut removal = Removal::new(request);
        let asked = self.asked(request, connection)?;
        let search = self.search(&asked, &mut removal, known.verifier);
        let mut presented: SmallVec<[Presented<'_, '_>; 1]> = asked
            .rules()
            .filter_map(|rule| Presented::find(rule, &search))
            .collect();
        // Few requests need this to be known.
        let is_preflight = || request.is_cors_preflight();
        let mut would = None;
        if self.requires && !is_preflight() {
            would = presence::missing_reported(asked.rules(), &presented);
            if asked.rules().any(Rule::is_required) {
                let judge = |presented: &_| presence::all_verify(asked.rules(), presented, known);
                let ((), excused) = report::judged(&mut presented, &mut removal, known, judge)?;
                let would = would.or(excused);
                return Ok(presence::authenticated(presented, removal, would));
            }
        }
        if presented.is_empty() || is_preflight() {
            search.places().for_each(|place| removal.add(place));
            return Ok(Authenticated {
                identity: None,
                beside: Vec::new(),
                removal,
                would,
            });
        }
        let judge = |presented: &[_]| self.winner(presented, known);
        let (winner, excused) = report::judged(&mut presented, &mut removal, known, judge)?;
        would = would.or(excused);
        let Some(winner) = winner else {
            return Ok(Authenticated {
                identity: None,
                beside: Vec::new(),
                removal,
                would,
            });
        };
        let winner = presented.remove(winner);
        let others = presented;
        let kept = presented::kept(&winner, &others, known)?;
        let stays = |place| match winner.is_at(place) {
            true => winner.rule.forward,
            false => kept.contains(&place),
        };
        let places = others.iter().chain([&winner]).flat_map(Presented::places);
        places
            .filter(|place| !stays(*place))
            .for_each(|place| removal.add(place));
        Ok(Authenticated {
            identity: Taken::of(winner).map(Identity::from),
            beside: Vec::new(),
            removal,
            would,
        })
    }

    /// The place of the rule that wins, if the request presents what is demanded. `None`: it presents nothing.
    fn winner(
        &self,
        presented: &[Presented<'_, '_>],
        known: Known<'_>,
    ) -> Result<Option<usize>, Halt> {
        if presented.is_empty() {
            return Ok(None);
        }
        let place = presented::winner(presented, known)?;
        if self.demanded == Tokens::All
            && let Some(winner) = presented.get(place)
        {
            presented::all_verify(winner, presented, known)?;
        }
        Ok(Some(place))
    }

    /// The rules that are for this request.
    fn asked(&self, request: &Request, connection: &Connection<'_>) -> Result<Asked<'_>, Halt> {
        match &self.scopes {
            None => Ok(Asked::All(&self.rules)),
            Some(scopes) => scopes.asked(&self.rules, request, connection),
        }
    }

    fn search<'p>(
        &'p self,
        asked: &Asked<'p>,
        removal: &mut Removal<'_>,
        verifier: &Verifier,
    ) -> Search<'p> {
        match &self.scopes {
            None => Search::new(removal, verifier, &self.sought, self.rules.iter()),
            Some(scopes) => Search::among(removal, verifier, scopes.places(asked)),
        }
    }

    /// The key sets that are fetched, with the issuers that they are for; any where `None`.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn key_sets(&self) -> impl Iterator<Item = (Option<&str>, KeySetId)> {
        self.all_rules().filter_map(|rule| match rule.keys {
            Keys::Remote(id) => Some((rule.expected.issuer.as_deref(), id)),
            Keys::Inline(_) | Keys::Nowhere => None,
        })
    }

    /// The issuers that rules name.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn issuers(&self) -> impl Iterator<Item = &str> {
        self.all_rules()
            .filter_map(|rule| rule.expected.issuer.as_deref())
    }

    /// The headers that rules write.
    pub(crate) fn written(&self) -> &Names {
        &self.written
    }

    /// Whether rules write this header or look for tokens in it.
    pub(crate) fn sets_or_seeks(&self, header: &[u8]) -> bool {
        self.written.have(header) || self.sought.has_header(header) || self.legacy.seek(header)
    }

    /// Whether a token can tell whose this request is.
    pub(crate) fn takes_tokens(&self, subject: Subject<'_>) -> bool {
        let mut older = self.legacy.rules();
        let asked = self.asked(subject.request, subject.connection);
        older.next().is_some() || asked.is_ok_and(|asked| asked.rules().next().is_some())
    }

    /// The older policy that refuses every request to this port without a client certificate.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn requires_mutual_tls(&self, port: u16) -> Option<&str> {
        self.legacy.require_mutual_tls(port)
    }

    /// Those of older policies among them.
    fn all_rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().chain(self.legacy.rules())
    }

    /// What takes every token out of the request, and what looks like one.
    pub(crate) fn without_tokens(&self, request: &Request) -> Changes {
        let default = Locations::new(Vec::new(), Vec::new(), Vec::new());
        let locations = self.all_rules().map(|rule| &*rule.locations);
        let sought = Sought::new(locations.chain([&default]));
        let mut removal = Removal::new(request);
        for seen in sought.find(request) {
            removal.add(seen.place);
        }
        Changes(removal.changes())
    }

    /// What a request that goes on looks like: the client's copies of written headers gone, tokens
    /// taken out, and the outputs of the rule that won written.
    pub(crate) fn changes(
        &self,
        request: &Request,
        authenticated: &Authenticated<'_, '_>,
    ) -> Changes {
        let identity = authenticated.identity.as_ref();
        let taken = identity.and_then(|identity| identity.token.as_ref());
        let mut changes = authenticated.removal.changes();
        if !self.written.is_empty() {
            changes.extend(request.removed(|name| self.written.have(name.as_bytes())));
        }
        for beside in &authenticated.beside {
            changes.extend(beside.written());
        }
        if let Some(taken) = taken {
            let outputs = || self.outputs(taken);
            changes.extend(taken.token.outputs(taken.rule.number, outputs));
        }
        Changes(changes)
    }

    fn outputs(&self, taken: &Taken<'_>) -> Vec<Change> {
        let metadata = self.metadata.as_ref();
        let metadata = metadata.map(|header| metadata::change(header, taken));
        taken.written().chain(metadata).collect()
    }
}

impl<'p> Taken<'p> {
    fn of(presented: Presented<'p, '_>) -> Option<Self> {
        let rule = presented.rule;
        let token = presented.into_first()?;
        Some(Self { token, rule })
    }

    /// The headers that its rule writes.
    fn written(&self) -> impl Iterator<Item = Change> {
        let outputs = self.rule.outputs.iter();
        outputs.filter_map(|output| output.change(&self.token))
    }
}

impl<'p> From<Taken<'p>> for Identity<'p> {
    fn from(token: Taken<'p>) -> Self {
        Self {
            token: Some(token),
            principal: Principal::Token,
        }
    }
}

impl Identity<'_> {
    pub(crate) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// `request.auth.principal` of a token, in what Istio's policies compare.
    pub(crate) fn issuer_and_subject(&self) -> Option<(&str, &str)> {
        match &self.principal {
            Principal::Peer(_) => None,
            Principal::Token => self.token.as_ref()?.token.issuer_and_subject(),
        }
    }

    /// `request.auth.principal` where it is the peer's.
    pub(crate) fn peer(&self) -> Option<&str> {
        match &self.principal {
            Principal::Peer(peer) => peer.as_deref(),
            Principal::Token => None,
        }
    }

    /// `request.auth.principal`. `None` where it is unknown, or where it would break the lines of a
    /// log.
    pub(crate) fn principal(&self) -> Option<String> {
        let principal = match &self.principal {
            Principal::Peer(peer) => peer.clone()?,
            Principal::Token => self.token.as_ref()?.token.principal()?,
        };
        (!principal.contains(char::is_control)).then_some(principal)
    }

    pub(crate) fn claim(&self, path: &ClaimPath) -> Option<&Value> {
        self.token.as_ref()?.token.claim(path)
    }

    /// Whether the claim, as a string, is a list separated by spaces.
    pub(crate) fn is_spaced(&self, path: &ClaimPath) -> bool {
        let rule = self.token.as_ref().map(|taken| taken.rule);
        rule.is_some_and(|rule| path.is_one_of(&rule.space_delimited))
    }

    /// Whether the claim is a string that passes, or a list with one. Nothing else ever does, as
    /// in Istio.
    pub(crate) fn any_text(&self, path: &ClaimPath, passes: impl Fn(&str) -> bool) -> bool {
        match self.claim(path) {
            Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).any(passes),
            Some(Value::String(text)) if self.is_spaced(path) => {
                text.split(' ').filter(|word| !word.is_empty()).any(passes)
            }
            Some(Value::String(text)) => passes(text),
            _ => false,
        }
    }
}
