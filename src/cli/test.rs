//! `test`: whether policies decide as their authors expect.

mod found;
mod issuers;
mod report;
mod suite;

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::Value;

use self::found::{Tests, suites};
use self::issuers::Issuers;
pub(super) use self::suite::Suite;
use self::suite::{Expected, Number};
use super::configuration::Workload;
use super::decision::{Decision, Outside, Wanted, decide, metadata};
use super::explain::{now, told::Told};
use super::files::Files;
use super::tally::Tally;
use super::{Failure, Status};
use crate::explain::Stage;
use crate::jwks::FetchError;
use crate::outcome::{Note, Outcome, Told as ToldOf};
use crate::reply::reply;

/// Try policies with requests, and compare what becomes of them with what is expected.
///
/// A file names a configuration, tokens by their claims, and tests: requests and what is expected of
/// them. Keys are made for it, in the place of the issuers' own, so that no real token is needed and
/// nothing is fetched. Of a folder every file is run that has `configuration` and `tests`. For example: portcullis
/// test envoy/tests.yaml
///
/// Exit status: 0 if all is as expected, 1 if something isn't, 2 if a file can't be run.
#[derive(Args, Debug)]
pub(super) struct Test {
    /// Files of tests, in YAML or JSON, and folders.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// How to print what came of them.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// The form of what is printed.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Format {
    /// A table; what isn't as expected is explained.
    #[default]
    Human,
    /// JUnit's XML, which CI services read.
    Junit,
}

/// What came of a file.
struct Ran {
    file: String,
    results: Vec<Outcomes>,
    /// The rules that no test reaches.
    unreached: Vec<String>,
}

/// What came of a test.
struct Outcomes {
    name: String,
    /// In a few words.
    got: String,
    /// Where that isn't what is expected.
    differences: Vec<String>,
    /// Why it is so, as `explain` shows it.
    explanation: String,
}

impl Test {
    pub(super) fn run(&self) -> Result<Status, Failure> {
        let mut tally = Tally::default();
        let mut files = Files::of(&self.files);
        files.charts.iter().for_each(|chart| tally.chart(chart));
        let mut failures = std::mem::take(&mut files.failures);
        let (suites, unread) = suites(&files, &mut tally);
        failures.extend(unread);
        let mut ran = Vec::new();
        for suite in &suites {
            match suite.run(&mut tally) {
                Ok(suite) => ran.push(suite),
                Err(failure) => failures.push(failure),
            }
        }
        let is_whole = failures.is_empty();
        match Failure::all(failures) {
            Some(failure) if ran.is_empty() => return Err(failure),
            Some(Failure(failure)) => super::tell(&failure),
            None if ran.is_empty() => {
                return Err(Failure(format!("there are no tests in it: {tally}")));
            }
            None => {}
        }
        super::print(&match self.format {
            Format::Human => report::table(&ran),
            Format::Junit => report::junit(&ran),
        })?;
        super::tell(&tally.to_string());
        let mut results = ran.iter().flat_map(|ran| &ran.results);
        Ok(match results.all(|result| result.differences.is_empty()) {
            _ if !is_whole => Status::Unread,
            true => Status::Right,
            false => Status::Wrong,
        })
    }
}

impl Tests<'_> {
    fn run(&self, tally: &mut Tally) -> Result<Ran, Failure> {
        let suite = self.read()?;
        let workload = Workload {
            plugin: suite
                .plugin
                .and_then(|Number(number)| number.try_into().ok()),
            namespace: suite.namespace.clone(),
            labels: suite.labels.clone().into_iter().collect(),
        };
        let mut configuration = self.configuration(&suite, &workload, tally)?;
        // With the keys that are made for it a mistake in its own wouldn't be seen.
        configuration.compile()?;
        let issuers = Issuers::of(&mut configuration.document)?;
        let policy = configuration.compile()?;
        let now = now()?;
        let mut reached = BTreeSet::new();
        let mut results = Vec::new();
        for test in &suite.tests {
            let mut written = test.request.clone().unwrap_or_default();
            for token in &suite.tokens {
                let text = issuers.token(token, now)?;
                let place = format!("${{{}}}", token.name);
                let fields = written.path.iter_mut();
                let headers = written.headers.0.iter_mut().map(|(_, value)| value);
                fields
                    .chain(headers)
                    .for_each(|field| *field = field.replace(&place, &text));
                if test.token.as_ref() == Some(&token.name) {
                    written.header("authorization", &format!("Bearer {text}"));
                }
            }
            let outside = Assumed {
                suite: &suite,
                test,
                issuers: &issuers,
            };
            let request = written.request();
            let decision = decide(&policy, &request, &written, now, &outside)?;
            let told = Told {
                policy: &policy,
                request: &request,
                decision: &decision,
                now,
                elsewhere: configuration.elsewhere(),
            };
            let rules = decision.explanation.rules.iter();
            let matched = rules.filter(|rule| rule.matched);
            reached.extend(matched.map(|rule| (rule.stage, rule.rule.clone())));
            let got = Got::of(&told)?;
            results.push(Outcomes {
                name: test.name.clone(),
                differences: got.differences(&test.expect),
                got: got.to_string(),
                explanation: told.tree().to_string(),
            });
        }
        let rules = policy.rules().into_iter();
        let unreached = rules.filter(|rule| !reached.contains(rule));
        Ok(Ran {
            file: self.path.display().to_string(),
            results,
            unreached: unreached.map(|(_, name)| name).collect(),
        })
    }
}

/// What a file of tests says of the world.
struct Assumed<'a> {
    suite: &'a Suite,
    test: &'a suite::Test,
    issuers: &'a Issuers,
}

impl Outside for Assumed<'_> {
    fn keys(&self, wanted: &Wanted<'_>) -> Option<Result<Vec<u8>, FetchError>> {
        Some(Ok(match wanted.is_metadata {
            true => metadata(wanted),
            false => self.issuers.all().into_bytes(),
        }))
    }

    fn check(&self, service: &str) -> Option<bool> {
        let (own, common) = (&self.test.checks, &self.suite.checks);
        let answer = own.get(service).or_else(|| common.get(service))?;
        Some(answer == "allow")
    }
}

/// What became of a request, as far as tests can expect something of it.
struct Got {
    is_forwarded: bool,
    status: Option<u16>,
    reason: Option<&'static str>,
    rule: Option<String>,
    body: String,
    dry_run: Option<String>,
    headers: Vec<(String, String)>,
}

impl Got {
    fn of(told: &Told<'_>) -> Result<Self, Failure> {
        let Decision { explanation, .. } = told.decision;
        let owned = |(name, value): (&str, &[u8])| {
            (name.to_owned(), String::from_utf8_lossy(value).into_owned())
        };
        // As in filter state, where a token comes before policies.
        let dry_run = |told: &ToldOf| {
            let mut notes = told.notes.iter();
            notes.find_map(|note| match note {
                Note::DryRun(answer) => Some(answer.to_string()),
                Note::Audit(_) | Note::Unchecked(_) => None,
            })
        };
        match &explanation.outcome {
            Outcome::Forward(changes, of) => {
                let rules = explanation.rules.iter();
                let mut allowing = rules.filter(|rule| rule.stage == Stage::Allow && rule.matched);
                Ok(Self {
                    is_forwarded: true,
                    status: None,
                    reason: None,
                    rule: allowing.next().map(|rule| rule.rule.clone()),
                    body: String::new(),
                    dry_run: dry_run(of),
                    headers: told.request.changed(changes).headers().map(owned).collect(),
                })
            }
            Outcome::Refuse(refusal, of) => {
                let reply = reply(refusal, Some(told.policy), told.request);
                let headers = reply.headers.iter();
                Ok(Self {
                    is_forwarded: false,
                    status: Some(reply.status),
                    reason: Some(refusal.reason.code()),
                    rule: refusal.policy.clone(),
                    body: String::from_utf8_lossy(&reply.body).into_owned(),
                    dry_run: dry_run(of),
                    headers: headers.map(|(name, value)| owned((name, value))).collect(),
                })
            }
            Outcome::Ask(check) => Err(Failure(format!(
                "what `{}` answers isn't known: write it in `checks`",
                check.provider
            ))),
            Outcome::Await(_) => Err(Failure("keys are needed that can't be made".to_owned())),
        }
    }

    fn differences(&self, expected: &Expected) -> Vec<String> {
        let mut found = Vec::new();
        let mut compare = |what: &str, expected: Option<String>, got: Option<String>| {
            if let Some(expected) = expected
                && got.as_ref() != Some(&expected)
            {
                let got = got.unwrap_or_else(|| "none".to_owned());
                found.push(format!("{what}: expected {expected}, got {got}"));
            }
        };
        let decision = |allows| Some(if allows { "allow" } else { "deny" }.to_owned());
        compare(
            "decision",
            decision(expected.allows),
            decision(self.is_forwarded),
        );
        let number = |number: u64| number.to_string();
        let status = self.status.map(|status| status.to_string());
        compare("status", expected.status.map(number), status);
        compare(
            "reason",
            expected.reason.clone(),
            self.reason.map(str::to_owned),
        );
        compare("rule", expected.rule.clone(), self.rule.clone());
        compare("body", expected.body.clone(), Some(self.body.clone()));
        compare("dryRun", expected.dry_run.clone(), self.dry_run.clone());
        for (name, value) in &expected.headers {
            let lines = self.headers.iter();
            let lines = lines.filter(|(own, _)| own.eq_ignore_ascii_case(name));
            let lines: Vec<&str> = lines.map(|(_, value)| value.as_str()).collect();
            let wanted = match value {
                Value::Null => "none".to_owned(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let got = (!lines.is_empty()).then(|| lines.join(", "));
            compare(name, Some(wanted), got.or(Some("none".to_owned())));
        }
        found
    }
}

impl std::fmt::Display for Got {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.status, self.reason) {
            (Some(status), Some(reason)) => write!(formatter, "deny {status} {reason}"),
            _ => formatter.write_str("allow"),
        }
    }
}
