//! Whatever is put into files and arguments: no secret of it comes out again, in no output of any command.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::{folder, portcullis, said};

const PRIVATE: [&str; 9] = ["d", "p", "q", "dp", "dq", "qi", "k", "priv", "oth"];

/// Keys as they are made, with all that is secret of them.
struct Keys {
    sets: Vec<String>,
    secrets: Vec<String>,
}

impl Keys {
    fn new() -> Self {
        let (mut sets, mut secrets) = (Vec::new(), Vec::new());
        for algorithm in ["ES256", "EdDSA", "RS256", "HS256", "ML-DSA-44"] {
            let (set, status) = portcullis(&["keys", "generate", "--alg", algorithm, "--kid=k1"]);
            assert_eq!(status, 0);
            let parsed: Value = serde_json::from_str(&set).expect("JSON");
            for name in PRIVATE {
                secrets.extend(parsed["keys"][0][name].as_str().map(str::to_owned));
            }
            sets.push(parsed.to_string());
        }
        // What nobody should have, and people do.
        let short = json!({ "keys": [{ "kty": "oct", "alg": "XX", "k": "c2hvcnQx" }] });
        let further = json!({ "keys": [{ "kty": "RSA", "n": "AQAB", "e": "AQAB", "oth": [
            { "r": "cmVhbGx5LXNlY3JldC1y", "d": "cmVhbGx5LXNlY3JldC1k", "t": "cmVhbGx5LXNlY3JldC10" },
        ] }] });
        sets.extend([short.to_string(), further.to_string()]);
        let more = [
            "c2hvcnQx",
            "cmVhbGx5LXNlY3JldC1y",
            "cmVhbGx5LXNlY3JldC1k",
            "cmVhbGx5LXNlY3JldC10",
        ];
        secrets.extend(more.map(str::to_owned));
        assert!(secrets.len() > 12, "{secrets:?}");
        Self { sets, secrets }
    }
}

/// As much of a secret as gives it away.
fn part(secret: &str) -> &str {
    &secret[..secret.len().min(16)]
}

const PEM: &str = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgSECRETSECRETSEC\nRETSECRETSECRETSECRETSECRETSECRETSECRET\n-----END PRIVATE KEY-----\n";
const PEM_SECRETS: [&str; 3] = ["MIGHAgEAMBMGByqG", "wawIBAQQgSECRETS", "RETSECRETSECRETS"];

/// Every way to print what is wrong with a file, and all that it prints.
fn everything(folder: &Path, file: &Path) -> String {
    let path = file.to_str().expect("UTF-8");
    let suite = folder.join("suite.yaml");
    let tests = format!(
        "configuration: {path}\ntests: [{{ name: t, request: {{ path: / }}, expect: deny }}]\n"
    );
    fs::write(&suite, tests).expect("a file");
    let suite = suite.to_str().expect("UTF-8");
    let mut printed = String::new();
    for arguments in [
        &["check", path][..],
        &["check", "--format=json", path],
        &["check", "--format=sarif", path],
        &["check", "--format=github", path],
        &["explain", path, "--namespace=n", "--", "https://a.test/"],
        &["explain", path, "--format=json", "--", "https://a.test/"],
        &[
            "explain",
            "envoy/envoy.yaml",
            "--plugin=1",
            "--keys",
            &format!("issuer-foo={path}"),
            "--",
            "https://a.test/",
        ],
        &[
            "explain",
            "envoy/envoy.yaml",
            "--plugin=1",
            "--request",
            path,
        ],
        &["explain", "envoy/envoy.yaml", "--plugin=1", "--har", path],
        &["test", suite],
        &["test", "--format=junit", suite],
        &["test", path],
        &["token", "--key", path, "--alg=ES384", "--kid=other"],
        &["token", "--key", path, "--alg=HS512"],
    ] {
        let (out, errors, _) = said(arguments);
        printed += &format!("$ {arguments:?}\n{out}{errors}");
    }
    // What it makes is a configuration, in which a shared secret has its place.
    for target in ["plugin-config", "envoy"] {
        let arguments = ["import", path, "--to", target];
        let (_, errors, _) = said(&arguments);
        printed += &format!("$ {arguments:?}\n{errors}");
    }
    printed
}

#[test]
fn secrets_of_files_stay_there() {
    let folder = folder("secrets");
    let keys = Keys::new();
    let file = folder.join("file.yaml");
    let mut contents = Vec::new();
    for set in &keys.sets {
        let quoted = Value::from(set.as_str()).to_string();
        let pretty = format!("{:#}", serde_json::from_str::<Value>(set).expect("JSON"));
        let block = |margin: &str| -> String {
            pretty
                .lines()
                .map(|line| format!("{margin}{line}\n"))
                .collect()
        };
        let broken = set.replacen("}]", "]", 1);
        for jwks in [
            format!("'{set}'"),
            quoted.clone(),
            set.clone(),
            format!("|\n{}", block("      ")),
            format!(">-\n{}", block("      ")),
            format!("'{broken}'"),
            format!("'{set}' oops: ["),
        ] {
            let rules = match jwks.starts_with(['|', '>', '{']) {
                true => &["jwks"][..],
                false => &["jwks", "jwksUri", "jwk"],
            };
            for rule in rules {
                contents.push(format!(
                    "jwtRules:\n  - audiences: [a]\n    {rule}: {jwks}\n    fromHeader: x\n"
                ));
            }
            if jwks != quoted {
                continue;
            }
            contents.push(format!("authorizationPolicies:\n- rules:\n  - to:\n    - operation:\n        paths: [{quoted}]\n        hosts: [{quoted}]\n"));
            contents.push(format!("apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {{ name: {quoted} }}\nspec:\n  jwtRules:\n  - jwks: {jwks}\n    unknown: {quoted}\n"));
            contents.push(format!("apiVersion: v1\nkind: ConfigMap\ndata:\n  config.json: |\n    {{\"jwtRules\": [{{\"jwks\": {quoted}, \"x\": 1}}]}}\n"));
        }
        contents.push(set.clone());
        contents.push(pretty.clone());
        contents.push(format!("{set}\n{{"));
    }
    for content in contents {
        fs::write(&file, &content).expect("a file");
        let printed = everything(&folder, &file);
        for secret in &keys.secrets {
            assert!(
                !printed.contains(part(secret)),
                "{content}\n{secret}\n{printed}"
            );
        }
    }
}

#[test]
fn pem_stays_where_it_is() {
    let folder = folder("secrets-pem");
    let file = folder.join("file.yaml");
    let block: String = PEM.lines().map(|line| format!("      {line}\n")).collect();
    let quoted = Value::from(PEM).to_string();
    for content in [
        format!("jwtRules:\n- issuer: a\n  audiences: [a]\n  jwks: |\n{block}"),
        format!("jwtRules:\n- issuer: a\n  audiences: [a]\n  jwks: {quoted}\n"),
        format!("jwtRules:\n- issuer: a\n  jwksUri: {quoted}\n  unknown: {quoted}\n"),
        format!("jwtRules:\n- issuer: a\n  jwks: |\n{PEM}"),
        format!("{{\"jwtRules\": [{{\"issuer\": \"a\", \"jwks\": {quoted}, }}]}}"),
        PEM.to_owned(),
    ] {
        fs::write(&file, &content).expect("a file");
        let printed = everything(&folder, &file);
        for secret in PEM_SECRETS {
            assert!(!printed.contains(secret), "{content}\n{secret}\n{printed}");
        }
    }
}

/// A secret that isn't a key set, in the place of one.
#[test]
fn bare_secrets_are_not_printed() {
    let folder = folder("secrets-bare");
    let file = folder.join("file.yaml");
    for name in ["jwks", "jwksUri"] {
        for content in [
            format!("jwtRules:\n- issuer: a\n  {name}: hush-hush-nobody-knows\n"),
            format!("jwtRules:\n- issuer: a\n  {name}: \"hush-hush-nobody-knows\"\n"),
            format!(
                "{{\"jwtRules\": [{{\"issuer\": \"a\", \"{name}\": \"hush-hush-nobody-knows\"}}]}}"
            ),
        ] {
            fs::write(&file, &content).expect("a file");
            let printed = everything(&folder, &file);
            assert!(!printed.contains("hush-hush-nobody"), "{content}{printed}");
            assert!(printed.contains("******"), "{content}{printed}");
        }
    }
    fs::write(
        &file,
        "jwtRules:\n- issuer: a\n  jwksUri: ftp://me:hunter22@a.test/keys\n",
    )
    .expect("a file");
    let printed = everything(&folder, &file);
    assert!(!printed.contains("hunter22"), "{printed}");
}

/// The signature is enough of a token to tell whether it was printed.
#[test]
fn tokens_are_not_printed() {
    let folder = folder("secrets-tokens");
    let keys = folder.join("keys.json");
    let path = |name: &str| folder.join(name).to_str().expect("UTF-8").to_owned();
    let (set, _) = portcullis(&["keys", "generate", "--kid=k"]);
    fs::write(&keys, &set).expect("a file");
    let mint = [
        "token",
        "--key",
        &path("keys.json"),
        "--iss=issuer-foo",
        "--sub=s",
        "--aud=httpbin",
    ];
    let (token, _) = portcullis(&mint);
    let token = token.trim();
    let signature = part(token.rsplit('.').next().expect("a signature"));
    let bearer = format!("authorization: Bearer {token}");
    let answer = json!({ "access_token": token, "token_type": "Bearer" }).to_string();
    fs::write(path("answer.json"), &answer).expect("a file");
    fs::write(path("token"), token).expect("a file");
    let config = format!(
        "jwtRules:\n- issuer: {token}\n  jwksUri: {token}\n  audiences: [{token}]\n  x: {token}\n"
    );
    fs::write(path("config.yaml"), config).expect("a file");
    let suite = format!(
        "configuration: {{ jwtRules: [{{ issuer: a, jwksUri: 'https://a.test/k' }}] }}\ntokens: [{{ name: t, literal: {token} }}]\ntests:\n- name: {token}\n  request: {{ headers: {{ x: {token} }} }}\n  token: t\n  expect: {{ decision: deny, headers: {{ x: no }}, body: {token} }}\n"
    );
    fs::write(path("suite.yaml"), suite).expect("a file");
    let config = "envoy/envoy.yaml";
    let url = format!("https://a.test/?access_token={token}");
    let file = path("config.yaml");
    let answers = path("answer.json");
    let suite = path("suite.yaml");
    let tokens = path("token");
    for arguments in [
        &[
            "explain",
            config,
            "--plugin=1",
            "--token",
            token,
            "--",
            "https://a.test/",
        ][..],
        &[
            "explain",
            config,
            "--plugin=1",
            "--token",
            &bearer,
            "--",
            "https://a.test/",
        ],
        &[
            "explain",
            config,
            "--plugin=1",
            "--token",
            &answer,
            "--",
            "https://a.test/",
        ],
        &[
            "explain",
            config,
            "--plugin=1",
            "--token",
            &answers,
            "--",
            "https://a.test/",
        ],
        &[
            "explain",
            config,
            "--plugin=1",
            "--token",
            &tokens,
            "--",
            &url,
        ],
        &["explain", config, "--plugin=1", "--keys", token, "--", &url],
        &[
            "explain",
            config,
            "--plugin=1",
            "--keys",
            &format!("a={token}"),
            "--",
            &url,
        ],
        &["explain", config, "--plugin=1", "--request", token],
        &["explain", config, "--plugin=1", "--request", &answers],
        &["explain", config, "--plugin=1", "--", &format!("--{token}")],
        &[
            "explain",
            config,
            "--plugin=1",
            "--",
            "-H",
            token,
            "https://a.test",
        ],
        &["explain", config, "--plugin=1", token],
        &["explain", token, "--", "https://a.test/"],
        &["explain", config, token, "--", "https://a.test/"],
        &["explain", &file, "--", "https://a.test/"],
        &[
            "explain",
            config,
            "--plugin",
            token,
            "--",
            "https://a.test/",
        ],
        &["check", token],
        &["check", &file],
        &["check", "--format=github", &file],
        &["check", "--format=json", &file],
        &["check", "--format=sarif", &file],
        &["check", "--allow", token, config],
        &["test", token],
        &["test", &suite],
        &["test", "--format=junit", &suite],
        &["token", "--key", token],
        &["token", "--key", &tokens],
        &["token", "decode", token],
        &["token", "decode", &format!("x{token}")],
        &["token", "decode", &answer],
        &["token", token],
        &["keys", "public", token],
        &["keys", "public", &tokens],
        &["keys", "public", &set],
        &["keys", token],
        &["schema", token],
        &["completions", token],
        &[token],
    ] {
        let (out, errors, _) = said(arguments);
        assert!(!out.contains(signature), "{arguments:?}\n{out}");
        assert!(!errors.contains(signature), "{arguments:?}\n{errors}");
        let secret = serde_json::from_str::<Value>(&set).expect("JSON")["keys"][0]["d"].clone();
        let secret = part(secret.as_str().expect("a key")).to_owned();
        assert!(
            !out.contains(&secret) && !errors.contains(&secret),
            "{arguments:?}\n{errors}"
        );
    }
}

/// A token where its file is expected is meant as the file is.
#[test]
fn a_token_in_the_place_of_its_file() {
    let folder = folder("token-as-file");
    let path = |name: &str| folder.join(name).to_str().expect("UTF-8").to_owned();
    let (set, _) = portcullis(&["keys", "generate", "--kid=k"]);
    fs::write(path("keys.json"), &set).expect("a file");
    let (public, _) = portcullis(&["keys", "public", &path("keys.json")]);
    fs::write(path("public.json"), public).expect("a file");
    let configuration = "{jwtRules: [{issuer: i, jwksUri: 'https://i.test/k'}], authorizationPolicies: [{name: p, rules: [{from: [{source: {requestPrincipals: ['i/s']}}]}]}]}";
    fs::write(path("config.yaml"), configuration).expect("a file");
    let (token, _) = portcullis(&["token", "--key", &path("keys.json"), "--iss=i", "--sub=s"]);
    fs::write(path("token"), &token).expect("a file");
    for given in [
        path("token"),
        token.trim().to_owned(),
        format!("Bearer {token}"),
        format!(" {token}"),
        format!("{{\"access_token\": \"{}\"}}", token.trim()),
    ] {
        let keys = format!("i={}", path("public.json"));
        let arguments = [
            "explain",
            &path("config.yaml"),
            "--keys",
            &keys,
            "--token",
            &given,
            "--",
            "https://a.test/",
        ];
        let (printed, status) = portcullis(&arguments);
        assert_eq!(status, 0, "{given}: {printed}");
    }
}

/// The caret stays under what is meant, and names of keys can be read.
#[test]
fn masks_are_as_long_as_secrets() {
    let folder = folder("secrets-caret");
    let file = folder.join("file.yaml");
    let line = "  jwks: { keys: [{ kty: oct, k: c2VjcmV0c2VjcmV0, kid: one }] }\n";
    fs::write(
        &file,
        format!("jwtRules:\n- issuer: a\n{line}  jwksUri: nowhere\n"),
    )
    .expect("a file");
    let content = format!(
        "authorizationPolicies: [{{ name: a, k: c2VjcmV0c2VjcmV0c2VjcmV0, actoin: DENY }}]\n{}",
        "# jwks\n"
    );
    fs::write(&file, content).expect("a file");
    let (printed, _) = portcullis(&["check", file.to_str().expect("UTF-8")]);
    let lines: Vec<&str> = printed.lines().collect();
    let at = lines
        .iter()
        .position(|line| line.contains("actoin:"))
        .expect("the line");
    let caret = lines[at..]
        .iter()
        .find(|line| line.contains("^^^"))
        .expect("a caret");
    let of_name = |name: &str| lines[at].find(name).expect("the name");
    assert!(
        lines[at].contains("k: ************************,"),
        "{printed}"
    );
    let carets: Vec<usize> = lines[at..]
        .iter()
        .filter(|line| line.contains('^'))
        .map(|line| line.find('^').expect("a caret"))
        .collect();
    assert!(
        carets.contains(&of_name("actoin")) || carets.contains(&of_name("k:")),
        "{caret}\n{printed}"
    );
}
