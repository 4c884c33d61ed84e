//! What Istio's form of a RequestAuthentication can't say, by its name.

use super::jwt_rule::{NonJwt, warn_of_reports};
use super::reader::{Input, record};
use super::scope::Scope;
use super::text::{Name, Text};

record! {
    /// What Istio's form of a RequestAuthentication can't say.
    pub(crate) struct Amendment {
        /// The name of a RequestAuthentication in `resources`.
        name: Name,
        /// Its namespace. Default: ours, as for resources without one.
        namespace: Option<Name>,
        /// For its rules with this issuer. Default: for all of its rules.
        issuer: Option<Text>,
        /// As in `jwtRules`. Default: every request.
        match_: Option<Scope>,
        /// As in `jwtRules`. Default: `refuse`.
        non_jwt: Option<NonJwt>,
        /// As in `jwtRules`. Default: `false`.
        report_only: Option<bool>,
    }
    check check_amendment;
}

fn check_amendment(amendment: &Amendment, input: &Input<'_>) {
    let Amendment {
        match_,
        non_jwt,
        report_only,
        ..
    } = amendment;
    warn_of_reports(*report_only, input);
    if match_.is_none() && non_jwt.is_none() && report_only.is_none() {
        input.mistake(
            "nothing is said of the RequestAuthentication: write `match`, `nonJwt` or `reportOnly`",
        );
    }
}
