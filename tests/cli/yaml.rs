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
        (within(&merge_keys(39)), "isn't closed"),
        (within(&many), "isn't closed"),
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
            "this line starts in column 4: start it in column 5 to go on with line 3, or in column 3 to go on with \
             line 2",
        ),
        (
            "to:\n- operation:\n    paths: [/a]\n  b: c\n d: e\n",
            5,
            1,
            "in column 3 to go on with line 4, or in column 1 to go on with line 2",
        ),
        (
            "spec:\n  rules:\n - to: []\n",
            3,
            1,
            "this `- ` starts in column 2: start it in column 3 to belong to the line above",
        ),
        (
            "when:\n- key: a\n   values: [b]\n",
            3,
            1,
            "starts in column 4, and the one above, which has a value of its own, in column 3",
        ),
        (
            "rules:\n    - from:\n    to: []\n",
            3,
            1,
            "in the column of the `- ` in line 2: start it in column 7 to go on with that item",
        ),
        (
            "  kind: A\nmetadata: {}\n",
            2,
            1,
            "starts in column 1, and the first of the document in column 3",
        ),
        (
            "kind: A\nmetadata\nspec: {}\n",
            2,
            1,
            "a `:` with a blank behind it is missing in this line",
        ),
        (
            "kind: A\nspec:{}\n",
            2,
            1,
            "a `:` with a blank behind it is missing in this line",
        ),
        (
            "kind: A\n<<<<<<< HEAD\nspec: {}\n=======\n",
            2,
            1,
            "left of a merge",
        ),
        ("paths: - /a\n", 1, 8, "only where a line starts"),
        ("paths: [- /a]\n", 1, 9, "between brackets there are commas"),
        ("paths: [/a\n", 1, 8, "this `[` isn't closed"),
        ("paths: [/a}\n", 1, 8, "a `[` is closed by a `}`"),
        (
            "path: |/a\n",
            1,
            7,
            "text that starts with one needs quotes",
        ),
        ("path: &\n", 1, 7, "text that starts with `&` needs quotes"),
        (
            "path: !a[b]\n",
            1,
            7,
            "text that starts with `!` needs quotes",
        ),
        (
            "metadata:\n  name: a\n   namespace: b\n",
            3,
            1,
            "starts in column 4, and the one above",
        ),
        ("name: a: b\n", 1, 1, "needs quotes"),
        ("spec:\n  rules:\n\t- to: []\n", 3, 1, "a tab"),
        ("spec:\n  a: b\n  \tc: d\n", 3, 3, "a tab"),
        ("name: {{ .Values.name }}\n", 1, 7, "helm template"),
        (
            "jwtRules: [{ issuer: a, jwksUri: ${JWKS} }]\n",
            1,
            34,
            "envsubst",
        ),
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
        ("{\"a\": [1,]}", "a comma with nothing behind it"),
        ("{\"a\": 1 \"b\": 2}", "a `,` or a `}` is missing"),
        ("{\"a\": 'b'}", "double quotes only"),
        ("{a: 1}", "a name needs double quotes"),
        ("{\"a\": [1", "a `]` is missing"),
        ("{\"a\": \"b", "a quote isn't closed"),
        ("{\"a\": \"\\d\"}", "begins an escape"),
        ("{\"a\": \"\n\"}", "a line break or a tab in quotes"),
        ("\u{feff}{\"jwtRules\": []}", "byte order mark"),
    ] {
        let (_, _, said) = mistake("named.json", content);
        assert!(
            said.contains(says) && said.contains("not JSON"),
            "{content}{said}"
        );
    }
}

/// What isn't filled in is a template, also if it is YAML, and nothing else is said of it.
#[test]
fn templates_that_are_yaml() {
    for (content, says) in [
        (
            "jwtRules: [{ issuer: a, jwksUri: \"${JWKS}\" }]\n",
            "envsubst",
        ),
        (
            "jwtRules: [{ issuer: a, jwksUri: \"{{ .Values.jwks }}\" }]\n",
            "helm template",
        ),
        (
            "jwtRules: [{ issuer: a, jwksUri: \"https://<no value>/k\" }]\n",
            "a value that nobody set",
        ),
        (
            "authorizationPolicies: [{ name: a, action: \"{{ .action }}\" }]\n",
            "helm template",
        ),
    ] {
        let (_, _, said) = mistake("template.yaml", content);
        assert!(said.contains(says), "{content}{said}");
    }
    let policy = |method: &str, path: &str| {
        let file = folder("yaml-filled").join("file.yaml");
        let content = format!(
            "authorizationPolicies: [{{ name: a, action: DENY, rules: [{{ to: [{{ operation: {{ methods: \
             [\"{method}\"], paths: [\"{path}\"] }} }}] }}] }}]\n"
        );
        fs::write(&file, content).expect("a file");
        let (printed, _) = portcullis(&["check", "--format=json", file.to_str().expect("UTF-8")]);
        let found: Value = serde_json::from_str(&printed).expect("JSON");
        let found = found.as_array().cloned().unwrap_or_default();
        let text = |one: &Value, name: &str| one[name].as_str().unwrap_or_default().to_owned();
        let found = found
            .iter()
            .map(|one| (text(one, "code"), text(one, "message")));
        found.collect::<Vec<_>>()
    };
    let not_filled_in = "this is a template, which isn't filled in";
    assert_eq!(
        policy("{{ .method }}", "/a"),
        [("not-filled-in".to_owned(), not_filled_in.to_owned())]
    );
    // Two things that are wrong with one value are one.
    assert_eq!(
        policy("GET", "${PATHS}"),
        [("mistake".to_owned(), not_filled_in.to_owned())]
    );
    assert_eq!(policy("GET", "/a/{*}/$b"), []);
    assert_eq!(policy("get", "/a")[0].0, "never-matches");
}

/// An attribute that is nearly right is named before all others, and brackets are written as they should be.
#[test]
fn attributes_that_are_nearly_right() {
    for (key, says) in [
        (
            "request.auth.claim[x]",
            "unknown attribute `request.auth.claim[x]`: write `request.auth.claims[x]`",
        ),
        ("request.header[x-y]", "write `request.headers[x-y]`"),
        ("source.IP", "write `source.ip`"),
        ("destination.ports", "write `destination.port`"),
        (
            "request.auth.claims.groups",
            "brackets: `request.auth.claims[groups]`",
        ),
        (
            "request.auth.claims.realm_access.roles",
            "brackets: `request.auth.claims[realm_access][roles]`",
        ),
        (
            "request.auth.claims[groups",
            "brackets: `request.auth.claims[groups]`",
        ),
        ("request.headers.x-a", "`request.headers[x-a]`"),
        ("request.headers[\\\"user\\\"]", "`request.headers[user]`"),
        (
            "request.headers[X Y]",
            "of letters, digits and `-`: `request.headers[User-Agent]`",
        ),
    ] {
        let content = format!(
            "authorizationPolicies: [{{ name: a, rules: [{{ when: [{{ key: \"{key}\", values: [a] }}] }}] }}]\n"
        );
        let (_, _, said) = mistake("attribute.yaml", &content);
        assert!(said.contains(says), "{key}: {said}");
    }
    let content =
        "authorizationPolicies: [{ name: a, rules: [{ when: [{ key: moon, values: [a] }] }] }]\n";
    let (_, _, said) = mistake("attribute.yaml", content);
    assert!(
        said.contains("unknown attribute `moon`\\\"")
            || said.contains("unknown attribute `moon`\""),
        "{said}"
    );
    assert!(said.contains("the attributes are"), "{said}");
}

/// What stands in the place of a key set's address, of which no secret is printed.
#[test]
fn what_is_no_address_of_a_key_set() {
    for (written, says) in [
        (
            r#"'{"keys":[{"kty":"RSA","n":"abc","e":"AQAB"}]}'"#,
            "this is a key set: write it in `jwks`",
        ),
        ("\"-----BEGIN PUBLIC KEY-----\"", "this is a key set"),
        (
            "idp.example.com/keys",
            "write `https://idp.example.com/keys`",
        ),
        ("idp:8080/keys", "write `https://idp:8080/keys`"),
        ("hush-hush-secret", "write it in `jwks`, as"),
        ("aHVzaA/odXNo+aHVzaA==", "write it in `jwks`, as"),
    ] {
        let content = format!("jwtRules:\n- issuer: a\n  jwksUri: {written}\n");
        let (_, _, said) = mistake("address.yaml", &content);
        assert!(said.contains(says), "{written}: {said}");
        let file = folder("yaml-address").join("file.yaml");
        fs::write(&file, &content).expect("a file");
        let (printed, _) = portcullis(&["check", file.to_str().expect("UTF-8")]);
        for secret in ["hush-hush", "aHVza", "odXNo"] {
            assert!(
                !printed.contains(secret) && !said.contains(secret),
                "{printed}{said}"
            );
        }
    }
    let (_, _, said) = mistake(
        "address.yaml",
        "jwtRules:\n- issuer: a\n  jwksUri: ftp://a.test/k\n",
    );
    assert!(said.ends_with("null"), "{said}");
}

#[test]
fn what_belongs_further_in() {
    let (line, _, said) = mistake(
        "flat.yaml",
        "authorizationPolicies:\n- name: a\n  rules:\n  - from:\n    - source:\n      requestPrincipals: [\"*\"]\n    to:\n    - operation:\n      paths: [/a]\n",
    );
    assert!(said.contains("indent what belongs to it"), "{said}");
    assert_eq!(line, 5);
    let (line, _, said) = mistake(
        "comment.yaml",
        "jwtRules:\n- issuer: a\n  // mine: b\n  jwksUri: https://a.test/k\n",
    );
    assert!(said.contains("a comment starts with `#`"), "{said}");
    assert_eq!(line, 3);
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
        ("{\"jwtRules\": [],}", "not JSON: a comma with nothing", 1),
        (
            "{\n  // why\n  \"jwtRules\": []\n}",
            "JSON has no comments",
            1,
        ),
        (
            "{ # why\n  \"jwtRules\": [{ \"issuer\": \"a\", \"audiences\": [\"b\"], \"jwksUri\": \"https://a.test/k\" }] }",
            "1 token rule",
            0,
        ),
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
