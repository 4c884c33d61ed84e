//! YAML that costs little to write and much to read, and what is said of text that is none.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::folders::merge_keys;
use crate::{folder, portcullis};

/// What is wrong with a file: where, and what is said with what helps.
fn mistake(name: &str, content: &str) -> (u64, u64, String) {
    let file = folder(&format!("yaml-{name}")).join(name);
    fs::write(&file, content).expect("a file");
    let (printed, status) = portcullis(&["check", "--format=json", file.to_str().expect("UTF-8")]);
    let found: Value = serde_json::from_str(&printed).expect("JSON");
    let first = found
        .as_array()
        .and_then(|found| found.iter().find(|one| one["severity"] == "mistake"));
    let first = first.unwrap_or_else(|| panic!("{content}{printed}"));
    assert_eq!(status, 1, "{content}{printed}");
    let number = |name: &str| first[name].as_u64().expect("a number");
    (
        number("line"),
        number("column"),
        format!("{} {}", first["message"], first["help"]),
    )
}

/// Work is counted, so that no file keeps a machine busy: these end by the limits, and long before a minute.
#[test]
fn work_is_bounded() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let deep_block: String = (0..2000)
        .map(|level| format!("{}a:\n", " ".repeat(level)))
        .collect();
    let many: String = (1..10).fold(
        "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned(),
        |text, i| {
            let below = vec![format!("*a{}", i - 1); 10].join(", ");
            text + &format!("a{i}: &a{i} [{below}]\n")
        },
    );
    let wide = {
        let members: Vec<String> = (0..1000).map(|i| format!("x{i}: 1")).collect();
        let uses: String = (0..3000).map(|i| format!("k{i}: {{ <<: *a }}\n")).collect();
        format!("a: &a {{ {} }}\n{uses}", members.join(", "))
    };
    let lists: String = (1..400).fold("m0: &m0 { x: 1 }\n".to_owned(), |text, i| {
        let all: Vec<String> = (0..i).map(|j| format!("*m{j}")).collect();
        text + &format!("m{i}: &m{i} {{ <<: [{}], y{i}: 1 }}\n", all.join(", "))
    });
    let within = |text: &str| {
        let lines: String = text.lines().map(|line| format!("    {line}\n")).collect();
        let one = |i: usize| format!("  a{i}.yaml: |\n{lines}");
        let all: String = (0..50).map(one).collect();
        format!("apiVersion: v1\nkind: ConfigMap\ndata:\n{all}  jwtRules.yaml: \"jwtRules: [\"\n")
    };
    for (content, says) in [
        (within(&merge_keys(39)), "bracket"),
        (within(&many), "bracket"),
        (merge_keys(100), "merge keys"),
        (merge_keys(400), "merge keys"),
        (merge_keys(2000), "merge keys"),
        (wide, "merge keys"),
        (lists, "merge keys"),
        (many, "aliases"),
        (deep, "nested too deep"),
        (deep_block, "nested too deep"),
    ] {
        let (_, _, said) = mistake("bounds.yaml", &content);
        assert!(said.contains(says), "{says}: {said}");
    }
}

/// What people do write is taken.
#[test]
fn merge_keys_and_aliases_are_read() {
    let file = folder("yaml-taken").join("file.yaml");
    let policies: String = (0..20)
        .map(|i| format!("- {{ <<: *base, name: p{i}, rules: [{{ to: [{{ operation: {{ paths: [/p{i}] }} }}] }}] }}\n"))
        .collect();
    let content = format!(
        "authorizationPolicies:\n- &base {{ name: a, action: DENY, rules: [{{ to: [{{ operation: {{ paths: [/a] }} }}] }}] }}\n{policies}"
    );
    fs::write(&file, content).expect("a file");
    let (printed, status) = portcullis(&["check", file.to_str().expect("UTF-8")]);
    assert_eq!(status, 0, "{printed}");
    assert!(printed.contains("21 policies"), "{printed}");
}

#[test]
fn mistakes_are_named_where_they_are() {
    for (content, line, column, says) in [
        (
            "from:\n- source:\n    requestPrincipals: [*]\n",
            3,
            25,
            "a `*` needs quotes",
        ),
        ("hosts: [*.example.com, b]\n", 1, 9, "\\\"*.example.com\\\""),
        ("paths:\n- *\n- b\n", 2, 3, "a `*` needs quotes"),
        ("path: */x\n", 1, 7, "a `*` needs quotes"),
        (
            "spec:\n  paths: [\"/orders]\n  other: \"x\"\n",
            2,
            11,
            "the quote that opens at 2:11 isn't closed",
        ),
        (
            "spec:\n  path: \"/orders\n  other: x\n",
            2,
            9,
            "the quote that opens at 2:9 isn't closed",
        ),
        (
            "spec:\n  path: '/orders\n  other: x\n",
            2,
            9,
            "the quote that opens at 2:9 isn't closed",
        ),
        (
            "spec:\n  x: '{\n  \"a\": 1\n  }'\n",
            3,
            3,
            "isn't indented further than its key",
        ),
        (
            "to:\n- operation:\n    paths: [/a]\n   methods: [GET]\n",
            4,
            1,
            "indented by 3, and what it could go on with by 4 or 2",
        ),
        (
            "metadata:\n  name: a\n   namespace: b\n",
            3,
            1,
            "indented by 3, and the one above",
        ),
        ("name: a: b\n", 1, 1, "needs quotes"),
        ("spec:\n  rules:\n\t- to: []\n", 3, 1, "a tab"),
        ("spec:\n  a: b\n  \tc: d\n", 3, 3, "a tab"),
        ("name: {{ .Values.name }}\n", 1, 7, "helm template"),
        (
            "{{- if .Values.x }}\nkind: A\n{{- end }}\n",
            1,
            1,
            "helm template",
        ),
        (
            "spec:\n  a: b\n  {{- toYaml .x | nindent 2 }}\n",
            3,
            3,
            "helm template",
        ),
        (
            "{% if x %}\nkind: A\n{% endif %}\n",
            1,
            1,
            "this is a template",
        ),
        ("pattern: \"\\d+\"\n", 1, 10, "begins an escape"),
        ("name: @a\n", 1, 7, "needs quotes"),
    ] {
        let (own_line, own_column, said) = mistake("named.yaml", content);
        assert!(said.contains(says), "{content}{said}");
        assert_eq!((own_line, own_column), (line, column), "{content}{said}");
    }
    for (content, says) in [
        ("{\n  // why\n  \"jwtRules\": []\n}", "comments"),
        ("{\"a\": {{ .Values.x }} }", "helm template"),
        ("\u{feff}{\"jwtRules\": []}", "byte order mark"),
    ] {
        let (_, _, said) = mistake("named.json", content);
        assert!(
            said.contains(says) && said.contains("not JSON"),
            "{content}{said}"
        );
    }
}

/// What isn't filled in is a template, also where it is YAML.
#[test]
fn templates_that_are_yaml() {
    for content in [
        "jwtRules: [{ issuer: a, jwksUri: \"${JWKS}\" }]\n",
        "jwtRules: [{ issuer: a, jwksUri: \"{{ .Values.jwks }}\" }]\n",
        "authorizationPolicies: [{ name: a, action: \"{{ .action }}\" }]\n",
    ] {
        let (_, _, said) = mistake("template.yaml", content);
        assert!(said.contains("helm template"), "{content}{said}");
    }
}

#[test]
fn what_belongs_further_in() {
    let (line, _, said) = mistake(
        "flat.yaml",
        "authorizationPolicies:\n- name: a\n  rules:\n  - from:\n    - source:\n      requestPrincipals: [\"*\"]\n    to:\n    - operation:\n      paths: [/a]\n",
    );
    assert!(said.contains("indent what belongs to it"), "{said}");
    assert_eq!(line, 5);
}

#[test]
fn paths_are_no_regular_expressions() {
    let file = folder("yaml-regex").join("file.yaml");
    for (path, write) in [
        ("^/api/.*$", "`/api/*`"),
        ("/api/.*", "`/api/*`"),
        ("/api/.+", "`/api/*`"),
        ("/orders/[0-9]+", "`/orders/{*}`"),
        ("/orders/[^/]+/lines", "`/orders/{*}/lines`"),
        ("/a/.*/b", "`/a/{**}/b`"),
        ("/(v1|v2)/a", "each path"),
        ("^/a$", "`/a`"),
        ("/orders/\\d+", "`/orders/{*}`"),
    ] {
        let policy = serde_json::json!({ "authorizationPolicies": [{ "name": "a", "action": "DENY", "rules": [
            { "to": [{ "operation": { "paths": [path] } }] },
        ] }] });
        fs::write(&file, policy.to_string()).expect("a file");
        let (printed, status) =
            portcullis(&["check", "--format=json", file.to_str().expect("UTF-8")]);
        let found: Value = serde_json::from_str(&printed).expect("JSON");
        assert_eq!(
            (found.as_array().map(Vec::len), status),
            (Some(1), 0),
            "{path}: {printed}"
        );
        assert_eq!(found[0]["code"], "never-matches");
        let said = found[0].to_string();
        assert!(
            said.contains("regular expressions") && said.contains(write),
            "{path}: {said}"
        );
    }
}

/// On standard input YAML in braces is YAML, and what should be JSON is held to that.
#[test]
fn standard_input() {
    for (content, says, expected) in [
        (
            "{ jwtRules: [{ issuer: a, audiences: [b], jwksUri: 'https://a.test/k' }] }",
            "1 token rule",
            0,
        ),
        ("{\"jwtRules\": [],}", "not JSON: trailing comma", 1),
        ("{{ .Values.x }}\n", "helm template", 1),
        ("{{- range .Values.x }}\nkind: A\n", "helm template", 1),
    ] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .args(["check", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the command line runs");
        let mut stdin = child.stdin.take().expect("standard input");
        stdin.write_all(content.as_bytes()).expect("it is read");
        drop(stdin);
        let output = child.wait_with_output().expect("an output");
        let printed = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(printed.contains(says), "{content}: {printed}");
        assert_eq!(output.status.code(), Some(expected), "{content}: {printed}");
    }
}
