//! Folders as they are: files of others, links, circles, what isn't text.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{folder, portcullis, said};

const POLICY: &str = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: { name: a, namespace: ns }\nspec: { action: DENY, rules: [{ to: [{ operation: { paths: [/a] } }] }] }\n";
const WRONG: &str = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: { name: b }\nspec: { action: FORBID }\n";

fn utf8(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(&path, content).expect("a file");
    path
}

fn utf_16(text: &str, is_big: bool, has_mark: bool) -> Vec<u8> {
    let mark = has_mark.then_some(0xfeff);
    let units = mark.into_iter().chain(text.encode_utf16());
    units
        .flat_map(|unit: u16| {
            if is_big {
                unit.to_be_bytes()
            } else {
                unit.to_le_bytes()
            }
        })
        .collect()
}

/// What ends within a time, and what it printed.
fn ends(arguments: &[&str]) -> (String, i32) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command line runs");
    let start = Instant::now();
    while child.try_wait().expect("a status").is_none() {
        if start.elapsed() > Duration::from_secs(20) {
            child.kill().expect("it ends");
            panic!("{arguments:?} doesn't end");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().expect("an output");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (
        text(output.stdout) + &text(output.stderr),
        output.status.code().unwrap_or(-1),
    )
}

/// Files of other programs are named, and no mistakes, unless they speak of ours.
#[test]
fn files_of_others() {
    let folder = folder("folder-others");
    write(&folder, "policy.yaml", POLICY);
    write(
        &folder,
        "tsconfig.json",
        "{\n  // comments\n  \"a\": 1,\n}\n",
    );
    write(&folder, "empty.json", "");
    write(
        &folder,
        "deploy.yaml",
        "kind: Deployment\nmetadata:\n  name: {{ .Values.name }}\n",
    );
    write(&folder, "latin.yaml", b"name: caf\xe9\n");
    write(&folder, "image.yaml", b"\x89PNG\r\n\x1a\n\x00\x00");
    write(
        &folder,
        "metallb.yaml",
        "metadata:\n  name: a\nspec:\n  data:\n    x: '{\n    \"a\": 1\n    }'\n",
    );
    write(&folder, "merge.yaml", merge_keys(400));
    let (printed, status) = portcullis(&["check", utf8(&folder)]);
    assert_eq!(status, 0, "{printed}");
    assert!(
        printed.contains("7 files that are neither YAML nor JSON ("),
        "{printed}"
    );
    for name in [
        "tsconfig.json",
        "empty.json",
        "deploy.yaml",
        "latin.yaml",
        "image.yaml",
        "metallb.yaml",
        "merge.yaml",
    ] {
        assert!(printed.contains(name), "{name}: {printed}");
    }
    for (name, content) in [
        ("ours.json", "{\"kind\": \"AuthorizationPolicy\", }".into()),
        (
            "ours.yaml",
            format!("{POLICY}  x: {{{{ .Values.x }}}}\n").into_bytes(),
        ),
        ("config.yaml", b"jwtRules: [\n".to_vec()),
        ("latin.yml", [POLICY.as_bytes(), b"# caf\xe9\n"].concat()),
        ("wide.yaml", utf_16(POLICY, false, true)),
        ("wide.yml", utf_16(POLICY, true, true)),
        ("wider.yaml", utf_16(POLICY, true, false)),
        ("wider.yml", utf_16(POLICY, false, false)),
    ] {
        let path = write(&folder, name, content);
        let (printed, status) = portcullis(&["check", "--format=json", utf8(&folder)]);
        let found: Value = serde_json::from_str(&printed).expect("JSON");
        assert_eq!(
            (found[0]["severity"].as_str(), status),
            (Some("mistake"), 1),
            "{name}: {printed}"
        );
        assert_eq!(found[0]["file"], utf8(&path), "{printed}");
        let (_, errors, status) = said(&[
            "explain",
            utf8(&folder),
            "--namespace=ns",
            "--",
            "https://a.test/",
        ]);
        assert_eq!(status, 2, "{name}: {errors}");
        assert!(errors.contains(name), "{name}: {errors}");
        fs::remove_file(path).expect("no file");
    }
}

/// `n` maps, each of which takes all from the one before.
pub(super) fn merge_keys(n: usize) -> String {
    let first = "a: &a { x: 1 }\nk0: &m0 { <<: *a, y0: 1 }\n".to_owned();
    (1..n).fold(first, |text, i| {
        text + &format!("k{i}: &m{i} {{ <<: *m{}, y{i}: 1 }}\n", i - 1)
    })
}

#[test]
fn text_that_is_none() {
    let folder = folder("folder-text");
    let file = folder.join("a.yaml");
    let path = utf8(&file);
    for (content, says, line) in [
        ([POLICY.as_bytes(), b"# caf\xe9\n"].concat(), "0xE9", 5),
        (b"a: 1\nb: \xff\n".to_vec(), "byte 9 of the file is 0xFF", 2),
        (utf_16(POLICY, false, true), "UTF-16", 1),
        (utf_16(POLICY, true, true), "UTF-16", 1),
        (utf_16(POLICY, true, false), "UTF-16", 1),
        (utf_16(POLICY, false, false), "UTF-16", 1),
    ] {
        fs::write(&file, content).expect("a file");
        let (printed, status) = portcullis(&["check", "--format=json", path]);
        let found: Value = serde_json::from_str(&printed).expect("JSON");
        assert_eq!(status, 1, "{printed}");
        let message = found[0]["message"].as_str().expect("a message");
        assert!(
            message.contains(says) && message.contains("save"),
            "{printed}"
        );
        assert_eq!(found[0]["line"], line, "{printed}");
        for command in [
            &["explain", path, "--", "https://a.test/"][..],
            &["test", path],
        ] {
            let (_, errors, status) = said(command);
            assert!(
                errors.contains(says) && errors.contains("a.yaml:"),
                "{errors}"
            );
            assert_eq!(status, 2, "{errors}");
        }
    }
}

/// One that can't be read is told, and the others are looked at.
#[test]
fn one_bad_file() {
    let folder = folder("folder-bad");
    write(&folder, "policy.yaml", POLICY);
    symlink("nowhere.yaml", folder.join("dangling.yaml")).expect("a link");
    symlink("nowhere", folder.join(".#lock.yaml")).expect("a link");
    let (printed, errors, status) = said(&["check", utf8(&folder)]);
    assert!(printed.contains("1 file: 1 policy"), "{printed}");
    assert!(
        errors.contains("dangling.yaml") && !errors.contains("lock"),
        "{errors}"
    );
    assert_eq!(status, 2);
    write(&folder, "wrong.yaml", WRONG);
    let (printed, errors, status) = said(&["check", utf8(&folder)]);
    assert!(printed.contains("2 files: 1 mistake"), "{printed}");
    assert!(errors.contains("dangling.yaml"), "{errors}");
    assert_eq!(status, 1);
    let missing = folder.join("missing.yaml");
    let policy = folder.join("policy.yaml");
    let arguments = ["check", utf8(&missing), utf8(&policy)];
    let (printed, errors, status) = said(&arguments);
    assert!(printed.contains("1 file: 1 policy"), "{printed}");
    assert!(errors.contains("missing.yaml"), "{errors}");
    assert_eq!(status, 2);
    let (_, errors, status) = said(&[
        "explain",
        utf8(&folder),
        "--namespace=ns",
        "--",
        "https://a.test/",
    ]);
    assert!(errors.contains("dangling.yaml"), "{errors}");
    assert_eq!(status, 2);
}

#[test]
fn each_file_is_read_once() {
    let folder = folder("folder-links");
    // As Kubernetes mounts a ConfigMap.
    write(&folder, "map/..2026_01_01/a.yaml", POLICY);
    symlink("..2026_01_01", folder.join("map/..data")).expect("a link");
    symlink("..data/a.yaml", folder.join("map/a.yaml")).expect("a link");
    // Links in circles, and to what is there already.
    write(
        &folder,
        "other/b.yaml",
        POLICY.replace("name: a", "name: b").replace("[/a]", "[/b]"),
    );
    symlink("..", folder.join("other/up")).expect("a link");
    symlink(".", folder.join("other/here")).expect("a link");
    symlink("../map", folder.join("other/map")).expect("a link");
    symlink("b.yaml", folder.join("other/c.yaml")).expect("a link");
    // What nobody means.
    for hidden in [".git", ".cache/x", "node_modules/x"] {
        write(&folder, &format!("{hidden}/wrong.yaml"), WRONG);
    }
    let path = utf8(&folder).to_owned();
    let map = folder.join("map/a.yaml");
    for arguments in [
        &["check", &path][..],
        &["check", &path, &path],
        &["check", &path, utf8(&map)],
    ] {
        let (printed, status) = ends(arguments);
        assert!(printed.contains("2 files: 2 policies\n"), "{printed}");
        assert!(printed.contains("no mistakes, no advice"), "{printed}");
        assert_eq!(status, 0, "{printed}");
    }
    // A hidden folder that somebody names is meant.
    let (_, status) = ends(&["check", &format!("{path}/.git")]);
    assert_eq!(status, 1);
}

#[test]
fn charts_are_named() {
    let folder = folder("folder-charts");
    write(&folder, "chart/Chart.yaml", "name: a\n");
    write(
        &folder,
        "chart/templates/policy.yaml",
        "{{- if .Values.x }}\nkind: AuthorizationPolicy\n{{- end }}\n",
    );
    write(&folder, "policy.yaml", POLICY);
    let (printed, status) = portcullis(&["check", utf8(&folder)]);
    assert_eq!(status, 0, "{printed}");
    assert!(
        printed.contains("1 Helm chart that isn't rendered ("),
        "{printed}"
    );
}

/// Whatever never ends isn't read.
#[test]
fn pipes_and_devices() {
    let folder = folder("folder-devices");
    let pipe = folder.join("pipe.yaml");
    let made = Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
    assert!(made.success());
    write(&folder, "policy.yaml", POLICY);
    let (printed, status) = ends(&["check", utf8(&folder)]);
    assert_eq!(status, 0, "{printed}");
    let suites = ["/dev/zero", "pipe.yaml", "/dev/stdin"].map(|name| {
        let tests = format!("configuration: {name}\ntests: [{{ name: a, expect: deny }}]\n");
        write(
            &folder,
            &format!("suite{}.test", name.replace('/', "-")),
            tests,
        )
    });
    let pipe = utf8(&pipe).to_owned();
    for arguments in [
        &["check", &pipe][..],
        &["check", "/dev/zero"],
        &["explain", "/dev/zero", "--", "https://a.test/"],
        &["explain", &pipe, "--", "https://a.test/"],
        &[
            "explain",
            "envoy/envoy.yaml",
            "--plugin=1",
            "--keys=issuer-foo=/dev/zero",
            "--",
            "https://a.test/",
        ],
        &["test", utf8(&suites[0])],
        &["test", utf8(&suites[1])],
        &["test", utf8(&suites[2])],
        &["test", &pipe],
        &["token", "--key=/dev/zero"],
        &["keys", "public", &pipe],
    ] {
        let (printed, status) = ends(arguments);
        assert!(
            printed.contains("a pipe or a device"),
            "{arguments:?}: {printed}"
        );
        assert_eq!(status, 2, "{printed}");
    }
    // What a shell puts in the place of a file is one.
    let command = format!(
        "{} check <(cat {})",
        env!("CARGO_BIN_EXE_portcullis"),
        utf8(&folder.join("policy.yaml"))
    );
    let status = Command::new("bash")
        .args(["-c", &command])
        .status()
        .expect("bash");
    assert!(status.success());
    let file = fs::File::create(folder.join("large.yaml")).expect("a file");
    file.set_len((64 << 20) + 1).expect("a large file");
    let (printed, status) = ends(&["check", utf8(&folder.join("large.yaml"))]);
    assert!(printed.contains("larger than 64 MiB"), "{printed}");
    assert_eq!(status, 2);
}

/// `test` runs what is there to run.
#[test]
fn folders_of_tests() {
    let folder = folder("folder-tests");
    let suite = |decision: &str| {
        format!(
            "configuration: ../policy.yaml\nnamespace: ns\ntests:\n- {{ name: a, request: {{ path: /a }}, expect: {decision} }}\n"
        )
    };
    write(&folder, "policy.yaml", POLICY);
    write(&folder, "tests/good.yaml", suite("deny"));
    write(&folder, "tests/deeper/other.json", "{}");
    write(&folder, "tests/deploy.yaml", "kind: Deployment\n");
    let (printed, errors, status) = said(&["test", utf8(&folder)]);
    assert_eq!(status, 0, "{printed}{errors}");
    assert!(printed.contains("1 test, 0 not as expected"), "{printed}");
    assert!(errors.contains("3 files without tests ("), "{errors}");
    write(&folder, "tests/bad.yaml", suite("allow"));
    let (printed, status) = portcullis(&["test", utf8(&folder)]);
    assert_eq!(status, 1, "{printed}");
    assert!(printed.contains("2 tests, 1 not as expected"), "{printed}");
    write(
        &folder,
        "tests/unreadable.yaml",
        "configuration: a\ntests: [\n",
    );
    let (printed, errors, status) = said(&["test", utf8(&folder)]);
    assert!(errors.contains("unreadable.yaml"), "{errors}");
    assert!(printed.contains("2 tests, 1 not as expected"), "{printed}");
    assert_eq!(status, 2);
    let (_, errors, status) = said(&["test", utf8(&folder.join("tests/deeper"))]);
    assert!(errors.contains("no tests"), "{errors}");
    assert_eq!(status, 2);
}
