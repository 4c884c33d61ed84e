//! What comes out where it is read: terminals, workflow logs, JUnit's readers, narrow windows, and codes.

use std::fs;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::support::{now, project};
use crate::{folder, portcullis, said};

/// What steers a terminal or turns text around, and nobody sees.
const HOSTILE: &str = "x\u{1b}[31m\u{9b}2J\r\u{202e}\u{2066}\u{200b}\u{feff}\u{2028}\u{7}y";

fn is_clean(printed: &str) -> bool {
    let allowed = |letter: char| letter == '\n' || !letter.is_control();
    let formats = ['\u{202e}', '\u{2066}', '\u{200b}', '\u{feff}', '\u{2028}'];
    printed
        .chars()
        .all(|letter| allowed(letter) && !formats.contains(&letter))
}

/// Text that isn't ours reaches no output as it is: of configurations, of tests, of tokens, of arguments.
#[test]
fn nothing_steers_a_terminal() {
    let folder = folder("output-hostile");
    let path = |name: &str| folder.join(name).to_str().expect("UTF-8").to_owned();
    let quoted = Value::from(HOSTILE).to_string();
    let config = format!(
        r#"{{"jwtRules": [{{"issuer": {quoted}, "jwksUri": "http://a.test/k", "audiences": ["a"]}}],
          "authorizationPolicies": [
          {{"name": {quoted}, "action": "DENY", "rules": [{{}}]}},
          {{"name": "b", "action": "DENY", "rules": [{{"to": [{{"operation": {{"paths": ["/a"], "hosts": [{quoted}], "methods": [{quoted}]}}}}]}}]}}]}}"#
    );
    fs::write(path("config.json"), &config).expect("a file");
    fs::write(path("wrong.json"), config.replace("DENY", HOSTILE_ACTION)).expect("a file");
    // YAML takes most of it in names as it is.
    let raw = "\u{9b}2J\u{202e}\u{200b}z";
    fs::write(
        path("raw.yaml"),
        format!("jwtRules:\n- issuer: a\n  {raw}: b\n  jwksUri: {raw}\nx: \"{raw}\n"),
    )
    .expect("a file");
    fs::write(
        path("raw2.yaml"),
        format!("jwtRules:\n- issuer: a\n  \"{raw}\": b\n  jwksUri: {raw}\n---\nkind: \"{raw}\"\n"),
    )
    .expect("a file");
    let parts = [
        r#"{"alg":"ES256","kid":QUOTED}"#,
        r#"{"iss":QUOTED,"sub":QUOTED,"exp":QUOTED,"nbf":QUOTED}"#,
    ];
    // Within JSON these may stand as they are.
    let within = "\u{9b}2J\u{202e}\u{2066}\u{200b}\u{2028}y";
    let parts =
        parts.map(|part| URL_SAFE_NO_PAD.encode(part.replace("QUOTED", &format!("\"{within}\""))));
    let token = format!("{}.{}.AAAA", parts[0], parts[1]);
    fs::write(path("token"), &token).expect("a file");
    let suite = format!(
        "configuration: config.json\ntokens: [{{ name: t, literal: {token} }}]\ntests:\n- {{ name: {quoted}, token: t, request: {{ path: {quoted} }}, expect: {{ decision: allow, body: {quoted}, headers: {{ {quoted}: {quoted} }} }} }}\n"
    );
    fs::write(path("suite.yaml"), suite).expect("a file");
    let strange = path(HOSTILE);
    fs::write(&strange, "jwtRules: [\n").expect("a file");
    for arguments in [
        &["check", &path("config.json")][..],
        &["check", "--format=json", &path("config.json")],
        &["check", "--format=sarif", &path("config.json")],
        &["check", "--format=github", &path("config.json")],
        &["check", &path("wrong.json")],
        &["check", "--format=github", &path("wrong.json")],
        &["check", &path("raw.yaml")],
        &["check", &path("raw2.yaml")],
        &["check", "--format=github", &path("raw2.yaml")],
        &["check", &strange],
        &["check", "--format=json", &strange],
        &["check", "--format=github", &strange],
        &["check", &path("nowhere\u{1b}[31m")],
        &[
            "explain",
            &path("config.json"),
            "--token",
            &path("token"),
            "--",
            "https://a.test/",
        ],
        &[
            "explain",
            &path("config.json"),
            "--format=json",
            "--token",
            &path("token"),
            "--",
            "https://a.test/",
        ],
        &["explain", &path("wrong.json"), "--", "https://a.test/"],
        &[
            "explain",
            &path("config.json"),
            "--",
            &format!("https://a.test/{HOSTILE}"),
            "-H",
            &format!("x: {HOSTILE}"),
        ],
        &[
            "explain",
            &path("config.json"),
            "--check",
            HOSTILE,
            "--",
            "https://a.test/",
        ],
        &["explain", &strange, "--", "https://a.test/"],
        &["test", &path("suite.yaml")],
        &["test", "--format=junit", &path("suite.yaml")],
        &["test", &strange],
        &["token", "decode", &token],
        &["token", "decode", HOSTILE],
        &["token", "--key", HOSTILE],
        &["keys", "public", &strange],
        &[HOSTILE],
    ] {
        let (out, errors, _) = said(arguments);
        assert!(is_clean(&out), "{arguments:?}\n{out:?}");
        assert!(is_clean(&errors), "{arguments:?}\n{errors:?}");
        assert!(!(out + &errors).is_empty(), "{arguments:?}");
    }
}

const HOSTILE_ACTION: &str = "D\\u001b\\u009b\\u202e\\r\\nENY";

/// GitHub's runner ends lines at carriage returns, too, and takes what follows for a command.
#[test]
fn nobody_else_writes_workflow_commands() {
    let file = folder("output-github").join("a.json");
    let name =
        "x\\r::stop-commands::pause\\r::error file=README.md,line=1::forged\\n::error::forged";
    let config = format!(
        r#"{{"authorizationPolicies": [{{"name": "{name}", "action": "DENY", "rules": [{{}}]}},
          {{"name": "b", "action": "DENY", "rules": [{{"to": [{{"operation": {{"paths": ["/a"], "hosts": ["{name}"]}}}}]}}]}}, {{"x%25{name}": 1}}]}}"#
    );
    fs::write(&file, config).expect("a file");
    let (printed, _) = portcullis(&["check", "--format=github", file.to_str().expect("UTF-8")]);
    assert!(printed.contains("forged"), "{printed}");
    let lines: Vec<&str> = printed
        .split(['\r', '\n'])
        .filter(|line| !line.is_empty())
        .collect();
    for line in lines {
        let (command, _) = line.split_once(" file=").unwrap_or_default();
        assert!(["::error", "::notice"].contains(&command), "{line:?}");
        assert!(line.contains("a.json,line="), "{line:?}");
    }
}

/// XML 1.0 section 2.2 forbids more than control characters.
#[test]
fn junit_is_xml() {
    let folder = folder("output-junit");
    let file = folder.join("suite.yaml");
    let name = r#""a\ufffe\uffff\u0001b<&>\"c""#;
    let suite = format!(
        "configuration: {{ authorizationPolicies: [] }}\ntests: [{{ name: {name}, expect: deny }}]\n"
    );
    fs::write(&file, suite).expect("a file");
    let (printed, status) = portcullis(&["test", "--format=junit", file.to_str().expect("UTF-8")]);
    assert_eq!(status, 1, "{printed}");
    let is_forbidden = |letter: char| {
        matches!(letter, '\u{fffe}' | '\u{ffff}') || letter.is_control() && letter != '\n'
    };
    assert!(!printed.contains(is_forbidden), "{printed:?}");
    assert!(
        printed.contains("name=\"a\u{fffd}\u{fffd}\u{fffd}b&lt;&amp;&gt;&quot;c\""),
        "{printed}"
    );
}

/// Who reads only the start of an output isn't told that the rest can't be written.
#[test]
fn a_reader_that_has_enough() {
    let advice = project("tests/cli/check/advice.yaml");
    for arguments in [
        &["schema"][..],
        &["completions", "bash"],
        &["check", advice.to_str().expect("UTF-8")],
    ] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command line runs");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("an output");
        let errors = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(
            (errors.as_str(), output.status.code()),
            ("", Some(0)),
            "{arguments:?}"
        );
    }
}

/// Times may have a fraction (RFC 7519 section 2).
#[test]
fn times_with_fractions() {
    let folder = folder("output-times");
    let file = folder.join("config.json");
    fs::write(
        &file,
        r#"{"jwtRules": [{"issuer": "a", "jwksUri": "https://a.test/k"}]}"#,
    )
    .expect("a file");
    let path = file.to_str().expect("UTF-8");
    let life = |claims: &str| {
        let parts = [r#"{"alg":"ES256"}"#, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
        let token = format!("{}.{}.AAAA", parts[0], parts[1]);
        let now = now().to_string();
        let arguments = [
            "explain",
            path,
            "--now",
            &now,
            "--token",
            &token,
            "--",
            "https://a.test/",
        ];
        portcullis(&arguments).0
    };
    for (claims, says) in [
        (r#"{"iss":"a","exp":4000000000.0}"#, "at 2096-10-02"),
        (r#"{"iss":"a","exp":4000000000.75}"#, "at 2096-10-02"),
        (r#"{"iss":"a","exp":4e9}"#, "at 2096-10-02"),
        (r#"{"iss":"a","nbf":4e9}"#, "begins in"),
        (r#"{"iss":"a","exp":1.5}"#, "ended"),
        (r#"{"iss":"a"}"#, "never ends"),
    ] {
        let printed = life(claims);
        assert!(printed.contains(says), "{claims}: {printed}");
    }
    for claims in [
        r#"{"iss":"a","exp":"soon"}"#,
        r#"{"iss":"a","exp":-1}"#,
        r#"{"iss":"a","exp":1e300}"#,
    ] {
        let printed = life(claims);
        assert!(!printed.contains("never ends"), "{claims}: {printed}");
    }
}

/// Runs on a terminal of this width, which `script` makes.
fn on_a_terminal(width: usize, command: &str) -> Option<String> {
    let exists = Command::new("script").arg("--version").output().is_ok();
    let command = format!(
        "stty cols {width} rows 50; {} {command}",
        env!("CARGO_BIN_EXE_portcullis")
    );
    let output = exists.then(|| {
        Command::new("script")
            .args(["-qec", &command, "/dev/null"])
            .env("NO_COLOR", "1")
            .env("TERM", "xterm")
            .stdin(Stdio::null())
            .output()
            .expect("script runs")
    })?;
    Some(
        String::from_utf8(output.stdout)
            .expect("UTF-8")
            .replace('\r', ""),
    )
}

#[test]
fn lines_fit() {
    let folder = folder("output-width");
    let file = folder.join("wide.yaml");
    let keys = "A".repeat(1500);
    let config = format!(
        "jwtRules:\n- issuer: https://idp.example.com\n  audience: shop\n  jwks: '{{\"keys\": [{{\"kty\": \"XX\", \"x\": \"{keys}\"}}]}}'\nauthorizationPolicies:\n- name: a\n  rules: [{{ to: [{{ operation: {{ hosts: [a], paths: [/{keys}, internal] }} }}] }}]\n"
    );
    fs::write(&file, config).expect("a file");
    for width in [60, 80, 132] {
        let Some(printed) = on_a_terminal(width, &format!("check {}", file.display())) else {
            println!("there is no `script` here");
            return;
        };
        assert!(printed.contains("internal"), "{printed}");
        for line in printed.lines() {
            // A path is as long as it is.
            let is_path = line.contains("--> ") || line.contains(" file: ");
            assert!(
                is_path || line.chars().count() <= width,
                "{width}: {line}\n{printed}"
            );
        }
        // Words stay whole.
        let words: Vec<&str> = printed.split_whitespace().collect();
        assert!(words.contains(&"`outputPayloadToHeader`,"), "{printed}");
        let marked: Vec<&str> = printed.lines().filter(|line| line.contains('^')).collect();
        assert!(marked.len() >= 3, "{printed}");
    }
    // Elsewhere a message is a line, to be searched.
    let (printed, _) = portcullis(&["check", file.to_str().expect("UTF-8")]);
    assert!(
        printed
            .lines()
            .any(|line| line.contains("`outputPayloadToHeader`") && line.contains("`issuer`")),
        "{printed}"
    );
}

/// More than fifty of a code are counted, for people.
#[test]
fn fifty_of_a_code() {
    let file = folder("output-fifty").join("a.yaml");
    let policies: String = (0..70)
        .map(|i| format!("- {{ name: p{i}, action: DENY, rules: [{{}}] }}\n"))
        .collect();
    fs::write(&file, format!("authorizationPolicies:\n{policies}")).expect("a file");
    let path = file.to_str().expect("UTF-8");
    let (printed, _) = portcullis(&["check", path]);
    assert_eq!(printed.matches("advice[shadowed]").count(), 50, "{printed}");
    assert!(printed.contains("and 19 more of `shadowed`"), "{printed}");
    assert!(printed.contains("69 pieces of advice"), "{printed}");
    let (printed, _) = portcullis(&["check", "--format=github", path]);
    assert_eq!(printed.matches("title=shadowed::").count(), 51, "{printed}");
    let (printed, _) = portcullis(&["check", "--format=json", path]);
    let found: Value = serde_json::from_str(&printed).expect("JSON");
    assert_eq!(found.as_array().map(Vec::len), Some(69));
}

#[test]
fn codes_are_chosen() {
    let advice = project("tests/cli/check/advice.yaml");
    let path = advice.to_str().expect("UTF-8");
    let codes = |arguments: &[&str]| {
        let (printed, status) =
            portcullis(&[&["check", "--format=json", path], arguments].concat());
        let found: Value = serde_json::from_str(&printed).expect("JSON");
        let codes = found.as_array().expect("findings").iter();
        let codes: Vec<String> = codes
            .map(|one| one["code"].as_str().expect("a code").to_owned())
            .collect();
        (codes, status)
    };
    let (all, status) = codes(&[]);
    assert!(all.contains(&"any-audience".to_owned()), "{all:?}");
    assert_eq!(status, 0);
    let (some, status) = codes(&["--allow", "any-audience", "--allow=plain-http"]);
    assert_eq!(status, 0);
    assert_eq!(some.len() + 2, all.len(), "{some:?}");
    assert!(!some.contains(&"any-audience".to_owned()), "{some:?}");
    for (arguments, expected) in [
        (&["--deny=plain-http"][..], 1),
        (&["--deny", "all"], 1),
        (&["--deny", "no-keys"], 0),
        (&["--deny=plain-http", "--allow=plain-http"], 0),
    ] {
        assert_eq!(codes(arguments).1, expected, "{arguments:?}");
    }
    let reports = folder("codes-chosen").join("configuration.json");
    let rule =
        r#"{"issuer": "a", "jwksUri": "https://a.test/", "audiences": ["b"], "reportOnly": true}"#;
    std::fs::write(&reports, format!(r#"{{"jwtRules": [{rule}]}}"#)).expect("a file");
    let reports = reports.to_str().expect("UTF-8");
    for (arguments, expected) in [
        (&["--deny=report-only"][..], 1),
        (&["--deny=report-only", "--allow=report-only"], 0),
        (&["--deny=plain-http"], 0),
    ] {
        let (printed, status) = portcullis(&[&["check", reports], arguments].concat());
        assert_eq!(status, expected, "{printed}");
    }
    let wrong = project("tests/cli/check/resources.yaml");
    let wrong = wrong.to_str().expect("UTF-8");
    for arguments in [
        &["--allow=mistake"][..],
        &["--allow=nothing"],
        &["--deny=nothing"],
        &["--explain=nothing"],
    ] {
        let (printed, status) = portcullis(&[&["check", wrong], arguments].concat());
        assert_eq!((printed.as_str(), status), ("", 2), "{arguments:?}");
    }
    let (printed, status) = portcullis(&["check", "--explain", "plain-http"]);
    assert_eq!(status, 0);
    assert!(
        printed.starts_with("plain-http\n") && printed.contains("http://"),
        "{printed}"
    );
    let (printed, _) = portcullis(&["check", "--format=sarif", path]);
    let sarif: Value = serde_json::from_str(&printed).expect("JSON");
    for rule in sarif["runs"][0]["tool"]["driver"]["rules"]
        .as_array()
        .expect("rules")
    {
        let (id, uri) = (
            rule["id"].as_str().expect("a code"),
            rule["helpUri"].as_str().expect("a URI"),
        );
        assert!(uri.ends_with(&format!("docs/advice.md#{id}")), "{uri}");
        assert!(
            rule["help"]["text"]
                .as_str()
                .is_some_and(|text| text.contains("**Mend.**")),
            "{rule}"
        );
    }
}

/// Each rule of a file lacks the same, which is said once.
#[test]
fn any_audience_once_a_file() {
    let folder = folder("output-audience");
    let rule =
        |issuer: &str| format!("- {{ issuer: {issuer}, jwksUri: 'https://{issuer}.test/k' }}\n");
    let rules: String = ["a", "b", "c"].map(rule).concat();
    let policy = "authorizationPolicies: [{ name: p, rules: [{ from: [{ source: { requestPrincipals: ['*'] } }] }] }]\n";
    fs::write(folder.join("a.yaml"), format!("{policy}jwtRules:\n{rules}")).expect("a file");
    fs::write(
        folder.join("b.yaml"),
        format!("{policy}jwtRules:\n{}", rule("d")),
    )
    .expect("a file");
    let (printed, status) = portcullis(&["check", folder.to_str().expect("UTF-8")]);
    assert_eq!(status, 0);
    assert_eq!(
        printed.matches("advice[any-audience]").count(),
        2,
        "{printed}"
    );
    assert!(printed.contains("2 more rules"), "{printed}");
    assert!(printed.contains("2 pieces of advice"), "{printed}");
}

/// What the plugin says when it loads a configuration has codes, too.
#[test]
fn warnings_have_codes() {
    let file = folder("output-warnings").join("a.yaml");
    for (content, code) in [
        (
            "jwtRules: [{ issuer: nowhere, audiences: [a] }]\n",
            "no-keys",
        ),
        (
            "jwtRules: [{ issuer: a, jwksUri: 'https://a.test/.well-known/openid-configuration' }]\n",
            "metadata-address",
        ),
        (
            "jwtRules: [{ issuer: a, jwks: '{\"keys\": [{\"kty\": \"XX\"}, {\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}' }]\n",
            "key-left-out",
        ),
        (
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nspec: { selector: { matchLabels: {} } }\n",
            "empty-selector",
        ),
    ] {
        fs::write(&file, content).expect("a file");
        let (printed, _) = portcullis(&["check", "--format=json", file.to_str().expect("UTF-8")]);
        let found: Value = serde_json::from_str(&printed).expect("JSON");
        let found = found.as_array().expect("findings");
        assert!(found.iter().any(|one| one["code"] == code), "{printed}");
        assert!(!printed.contains("\"warning\""), "{printed}");
    }
}

/// A host with a star can't have another one for the port: that would be a star of its own.
#[test]
fn advice_that_would_open() {
    let file = folder("output-hosts").join("a.yaml");
    let policy = "authorizationPolicies: [{ name: a, action: DENY, rules: [{ to: [{ operation: { hosts: ['*.example.int'] } }] }] }]\n";
    fs::write(&file, policy).expect("a file");
    let (printed, _) = portcullis(&["check", file.to_str().expect("UTF-8")]);
    assert!(printed.contains("advice[host-without-port]"), "{printed}");
    assert!(
        printed.contains("`ignoreHostPort: true`") && !printed.contains(":*"),
        "{printed}"
    );
}

/// Go's ParseBool decides what is a dry run, as in the plugin.
#[test]
fn values_of_dry_run() {
    let file = folder("output-dry-run").join("a.yaml");
    let policy = |name: &str, annotation: &str| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{ name: {name}, annotations: {{ istio.io/dry-run: \"{annotation}\" }} }}\nspec: {{ action: DENY, rules: [{{}}] }}\n"
        )
    };
    for (value, is_dry_run) in [
        ("1", true),
        ("t", true),
        ("T", true),
        ("true", true),
        ("TRUE", true),
        ("True", true),
        ("0", false),
        ("f", false),
        ("F", false),
        ("false", false),
        ("FALSE", false),
        ("False", false),
    ] {
        fs::write(
            &file,
            format!("{}---\n{}", policy("a", value), policy("b", "false")),
        )
        .expect("a file");
        let (printed, status) = portcullis(&["check", file.to_str().expect("UTF-8")]);
        assert_eq!(status, 0, "{printed}");
        assert_eq!(
            printed.contains("advice[shadowed]"),
            !is_dry_run,
            "{value}: {printed}"
        );
    }
}

/// Who waits on a terminal is told for what.
#[test]
fn what_takes_long_is_told() {
    let folder = folder("output-progress");
    let command = |program: &str, wait: u8| {
        format!("sh -c '(sleep {wait}; echo jwtRules: [])' | {program} check -")
    };
    let Ok(output) = Command::new("script")
        .args([
            "-qec",
            &command(env!("CARGO_BIN_EXE_portcullis"), 4),
            "/dev/null",
        ])
        .current_dir(&folder)
        .stdin(Stdio::null())
        .output()
    else {
        println!("there is no `script` here");
        return;
    };
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(printed.contains("reading 1 of 1: -"), "{printed:?}");
    // Where nobody looks, nothing is told.
    let child = Command::new("sh")
        .args(["-c", &command(env!("CARGO_BIN_EXE_portcullis"), 2)])
        .output()
        .expect("a shell");
    assert_eq!(String::from_utf8(child.stderr).expect("UTF-8"), "");
}
