//! One real Envoy with a listener for every configuration.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::case::Request;
use super::check::Observed;
use super::peer::Peer;
use super::server::echoed;
use super::tally::say;
use super::{http, http2, tls};

const START_TIMEOUT: Duration = Duration::from_secs(120);
/// The request header that finds a request in the access log.
const LOGGED_AS: &str = "x-logged-as";

/// The file of listeners.
const LISTENERS: &str = "listeners.json";
/// The file of what was asked.
const ACCESS_LOG: &str = "access";

/// A listener: its name, the HTTP filters before the router, and its routes.
pub struct Listener {
    pub name: String,
    pub filters: Vec<Value>,
    pub routes: Vec<Value>,
    /// How the connection manager normalises paths, in Istio's words.
    pub normalization: &'static str,
    /// With port 0 any that is free.
    pub address: SocketAddr,
    pub transport: Transport,
    /// Whether TLS sessions are resumed by tickets, or by IDs only.
    pub has_tickets: bool,
    /// Whether connections begin with a line of the PROXY protocol.
    pub is_proxied: bool,
}

/// What a listener speaks below HTTP.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Transport {
    Plain,
    /// Clients present a certificate, which is validated.
    MutualTls,
    /// Clients without a certificate and with one that isn't valid are taken, too.
    OpenTls,
}

impl Transport {
    /// What takes such a peer.
    pub fn of(peer: &Peer) -> Self {
        let certificate = peer.tls.as_ref().map(|tls| tls.certificate.as_ref());
        match certificate {
            None => Self::Plain,
            Some(certificate) => match certificate.is_some_and(|it| it.trusted) {
                true => Self::MutualTls,
                false => Self::OpenTls,
            },
        }
    }
}

impl Listener {
    /// A listener that leads to the upstream.
    pub fn new(name: &str, filters: Vec<Value>) -> Self {
        let connect = json!({
            "match": { "connect_matcher": {} },
            "route": { "cluster": "upstream", "upgrade_configs": [{ "upgrade_type": "CONNECT" }] },
        });
        let route = json!({ "match": { "prefix": "/" }, "route": { "cluster": "upstream" } });
        Self {
            name: name.to_owned(),
            filters,
            routes: vec![connect, route],
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            transport: Transport::Plain,
            has_tickets: true,
            normalization: "BASE",
            is_proxied: false,
        }
    }
}

/// The plugin's `pathNormalization`, where a configuration has one.
pub fn normalization(config: &Value) -> Option<&'static str> {
    let written = config.get("pathNormalization")?;
    let known = NORMALIZATIONS.iter().find(|known| **known == *written);
    Some(known.unwrap_or_else(|| panic!("{written}")))
}

pub const NORMALIZATIONS: [&str; 4] = ["NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"];

/// What an Envoy is started with.
pub struct Setup<'a> {
    pub listeners: &'a [Listener],
    /// Made by [`cluster`]; `upstream` is where requests go.
    pub clusters: &'a [Value],
    pub workers: u32,
    /// Whether Envoy watches a file for its listeners, so that they can be replaced.
    pub watches: bool,
}

/// An Envoy that lives as long as this value.
pub struct Envoy {
    process: Child,
    folder: Folder,
    ports: Mutex<BTreeMap<String, SocketAddr>>,
}

impl Envoy {
    /// Starts Envoy with one worker and waits until every listener has its port; where it ends
    /// before that, its log is the error.
    pub fn start(
        listeners: &[Listener],
        upstream: SocketAddr,
        jwks: SocketAddr,
    ) -> Result<Self, String> {
        Self::start_as(&Setup {
            listeners,
            clusters: &[cluster("upstream", upstream), cluster("jwks", jwks)],
            workers: 1,
            watches: false,
        })
    }

    pub fn start_as(setup: &Setup<'_>) -> Result<Self, String> {
        let Setup { listeners, .. } = setup;
        let folder = Folder::fresh();
        let bootstrap = bootstrap(setup, &folder);
        fs::write(folder.join("envoy.json"), bootstrap.to_string()).expect("a file");
        let watched = discovery(listeners, &folder.join(ACCESS_LOG));
        fs::write(folder.join(LISTENERS), watched.to_string()).expect("a file");
        let names = listeners.iter().map(|listener| listener.name.as_str());
        Self::launch(
            folder,
            "envoy.json",
            setup.workers,
            &names.collect::<Vec<_>>(),
        )
    }

    /// Starts Envoy with a whole configuration, in YAML, and waits as the others do.
    pub fn start_with(bootstrap: &str, listeners: &[&str]) -> Result<Self, String> {
        let folder = Folder::fresh();
        fs::write(folder.join("envoy.yaml"), bootstrap).expect("a file");
        Self::launch(folder, "envoy.yaml", 1, listeners)
    }

    fn launch(
        folder: Folder,
        bootstrap: &str,
        workers: u32,
        listeners: &[&str],
    ) -> Result<Self, String> {
        let log = File::create(folder.join("log")).expect("a file");
        let process = Command::new(binary())
            .args(["--concurrency", &workers.to_string()])
            .args(["--use-dynamic-base-id", "--log-level", "warning"])
            .args(["--component-log-level", "wasm:debug"])
            .args(["--file-flush-interval-msec", "50"])
            .arg("-c")
            .arg(folder.join(bootstrap))
            .arg("--admin-address-path")
            .arg(folder.join("admin"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("{}: {error}", binary().display()))?;
        let mut envoy = Self {
            process,
            folder,
            ports: Mutex::default(),
        };
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if let Some(status) = envoy
                .process
                .try_wait()
                .map_err(|error| error.to_string())?
            {
                return Err(format!("Envoy ended with {status}:\n{}", envoy.log()));
            }
            let ports = envoy.listening();
            if listeners
                .iter()
                .all(|listener| ports.contains_key(*listener))
            {
                *envoy.ports() = ports;
                return Ok(envoy);
            }
            thread::sleep(Duration::from_millis(50));
        }
        Err(format!("Envoy is not ready:\n{}", envoy.log()))
    }

    pub fn address(&self, listener: &str) -> SocketAddr {
        self.ports()[listener]
    }

    fn ports(&self) -> MutexGuard<'_, BTreeMap<String, SocketAddr>> {
        self.ports.lock().expect("the ports")
    }

    /// Sends a request to a listener and tells what became of it.
    pub fn ask(&self, listener: &str, request: &Request) -> Result<Observed, String> {
        let exchange = if request.http2 {
            http2::exchange
        } else {
            http::exchange
        };
        let response = exchange(self.address(listener), request)
            .map_err(|error| format!("no answer: {error}"))?;
        let mut body = super::from_bytes(&response.body);
        if let Some(message) = response.header("grpc-message") {
            if !body.is_empty() {
                return Err(format!("a gRPC answer with a body: {body:?}"));
            }
            body = message.to_owned();
        }
        Ok(Observed {
            status: response.status(),
            upstream: echoed(&response),
            body,
            headers: response.headers,
            ..Observed::default()
        })
    }

    /// The same, and what the access log tells of the request's filter state.
    pub fn ask_and_read(&self, listener: &str, request: &Request) -> Result<Observed, String> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let mut request = request.clone();
        request.headers.push((LOGGED_AS.to_owned(), name.clone()));
        let observed = self.ask(listener, &request)?;
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            let log = fs::read_to_string(self.folder.join(ACCESS_LOG)).unwrap_or_default();
            let lines = log
                .split_inclusive('\n')
                .filter(|line| line.ends_with('\n'));
            let mut lines = lines.map(|line| {
                let line = serde_json::from_str::<BTreeMap<String, Option<String>>>(line);
                line.expect("a line of the access log")
            });
            if let Some(line) = lines.find(|line| line["request"].as_ref() == Some(&name)) {
                let told = line.into_iter().filter(|(name, _)| name != "request");
                let told = told.filter_map(|(name, value)| Some((name, value?)));
                return Ok(Observed {
                    filter_state: Some(told.collect()),
                    ..observed
                });
            }
            thread::sleep(Duration::from_millis(20));
        }
        Err("no line in the access log".to_owned())
    }

    /// Replaces the listeners of an Envoy that watches for that, and waits until it has them.
    pub fn replace(&self, listeners: &[Listener]) {
        let updates = "listener_manager.lds.update_success";
        let before = self.stat(updates);
        // Envoy notices when a file is put in the place of another.
        let new = self.folder.join("new");
        fs::write(
            &new,
            discovery(listeners, &self.folder.join(ACCESS_LOG)).to_string(),
        )
        .expect("a file");
        fs::rename(&new, self.folder.join(LISTENERS)).expect("the file in its place");
        let deadline = Instant::now() + START_TIMEOUT;
        while self.stat(updates) == before
            || self.stat("listener_manager.total_listeners_warming") > 0
        {
            assert!(Instant::now() < deadline, "not taken:\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
        *self.ports() = self.listening();
    }

    /// A counter or gauge of Envoy; 0 where there is none yet.
    pub fn stat(&self, name: &str) -> u64 {
        let stats = self.admin("/stats?format=json").unwrap_or_default();
        let stats = stats["stats"].as_array().into_iter().flatten();
        stats
            .filter(|stat| stat["name"] == name)
            .find_map(|stat| stat["value"].as_u64())
            .unwrap_or_default()
    }

    pub fn log(&self) -> String {
        let log = fs::read(self.folder.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// The address of every listener that has one.
    fn listening(&self) -> BTreeMap<String, SocketAddr> {
        self.admin("/listeners?format=json")
            .map(|listeners| {
                let statuses = listeners["listener_statuses"].as_array().cloned();
                statuses
                    .unwrap_or_default()
                    .iter()
                    .filter_map(|listener| {
                        let address = &listener["local_address"]["socket_address"];
                        let port = u16::try_from(address["port_value"].as_u64()?).ok()?;
                        let ip = address["address"].as_str()?.parse().ok()?;
                        Some((
                            listener["name"].as_str()?.to_owned(),
                            SocketAddr::new(ip, port),
                        ))
                    })
                    .collect()
            })
            .unwrap_or_default()
    }

    /// What it says that its configuration is.
    pub fn dump(&self) -> Value {
        self.admin("/config_dump").expect("an answer")
    }

    fn admin(&self, path: &str) -> Option<Value> {
        let address = fs::read_to_string(self.folder.join("admin"))
            .ok()?
            .parse()
            .ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
        let response = http::exchange_bytes(address, request.as_bytes()).ok()?;
        serde_json::from_slice(&response.body).ok()
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        // It may have ended by itself, and then there is nothing to end.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() {
            say(&format!("Envoy's log:\n{}", tail(&self.log())));
        }
    }
}

/// A folder of its own, removed with this value.
struct Folder(PathBuf);

impl Folder {
    fn fresh() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("portcullis-test-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).expect("a new folder");
        Self(folder)
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("the folder");
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// The filter that runs our plugin, all of them in one VM.
pub fn plugin(name: &str, config: &Value) -> Value {
    plugin_text(name, &config.to_string())
}

/// The same with a configuration that need not be JSON.
pub fn plugin_text(name: &str, config: &str) -> Value {
    let wasm = module();
    json!({
        "name": "portcullis",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": name,
                "root_id": "portcullis",
                "failure_policy": "FAIL_RELOAD",
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": config,
                },
                "vm_config": {
                    "vm_id": "portcullis",
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": { "local": { "filename": wasm } },
                },
            },
        },
    })
}

/// The same filter in a VM of another identity.
pub fn in_vm(mut filter: Value, vm_id: &str) -> Value {
    filter["typed_config"]["config"]["vm_config"]["vm_id"] = vm_id.into();
    filter
}

/// The plugin.
pub fn module() -> PathBuf {
    std::env::var_os("PORTCULLIS_WASM")
        .map_or_else(|| super::project("dist/portcullis.wasm"), PathBuf::from)
}

fn binary() -> PathBuf {
    std::env::var_os("ENVOY")
        .expect("ENVOY names the Envoy binary to test with; `make test` sets it")
        .into()
}

/// The 40 of 1.40.0: what an older Envoy can't do or tell, `make test-matrix` finds left out.
pub fn minor_version() -> u32 {
    static VERSION: OnceLock<u32> = OnceLock::new();
    *VERSION.get_or_init(|| {
        let told = Command::new(binary()).arg("--version").output();
        let told = super::from_bytes(&told.expect("Envoy's version").stdout);
        let minor = told.split('/').find_map(|part| part.strip_prefix("1."));
        let minor = minor.and_then(|rest| rest.split('.').next()?.parse().ok());
        minor.unwrap_or_else(|| panic!("no version in {told:?}"))
    })
}

fn bootstrap(setup: &Setup<'_>, folder: &Folder) -> Value {
    let mut bootstrap = json!({
        "node": { "id": "test", "cluster": "test" },
        "admin": { "address": socket("127.0.0.1", 0) },
        "static_resources": { "clusters": setup.clusters },
    });
    if setup.watches {
        let file = json!({ "path": folder.join(LISTENERS) });
        bootstrap["dynamic_resources"] =
            json!({ "lds_config": { "path_config_source": file, "resource_api_version": "V3" } });
    } else {
        let listeners = setup.listeners.iter();
        let listeners = listeners.map(|each| listener(each, &folder.join(ACCESS_LOG)));
        bootstrap["static_resources"]["listeners"] = listeners.collect();
    }
    bootstrap
}

/// Listeners as Envoy's discovery delivers them.
fn discovery(listeners: &[Listener], access_log: &Path) -> Value {
    let resources = listeners.iter().map(|each| {
        let mut listener = listener(each, access_log);
        listener["@type"] = "type.googleapis.com/envoy.config.listener.v3.Listener".into();
        listener
    });
    json!({ "resources": resources.collect::<Vec<_>>() })
}

fn socket(host: &str, port: u16) -> Value {
    json!({ "socket_address": { "address": host, "port_value": port } })
}

/// A cluster with one host.
pub fn cluster(name: &str, address: SocketAddr) -> Value {
    let endpoint = json!({ "address": socket(&address.ip().to_string(), address.port()) });
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": endpoint }] }],
        },
    })
}

fn listener(listener: &Listener, access_log: &Path) -> Value {
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        },
    });
    let filters: Vec<&Value> = listener.filters.iter().chain([&router]).collect();
    let mut chain = json!({});
    let mut listener_filters = Vec::new();
    if listener.is_proxied {
        listener_filters.push(listener_filter("proxy_protocol", "ProxyProtocol"));
    }
    if listener.transport != Transport::Plain {
        let mut socket = tls::transport_socket(listener.transport == Transport::OpenTls);
        socket["typed_config"]["disable_stateless_session_resumption"] =
            (!listener.has_tickets).into();
        chain["transport_socket"] = socket;
        // Without it Envoy knows no server name.
        listener_filters.push(listener_filter("tls_inspector", "TlsInspector"));
    }
    chain["filters"] = json!([connection_manager(listener, &filters, access_log)]);
    json!({
        "name": listener.name,
        "address": socket(&listener.address.ip().to_string(), listener.address.port()),
        "listener_filters": listener_filters,
        // Every worker gets its share, of however few connections.
        "connection_balance_config": { "exact_balance": {} },
        "filter_chains": [chain],
    })
}

/// As Istio sets it up, where it matters to us.
fn connection_manager(listener: &Listener, filters: &[&Value], access_log: &Path) -> Value {
    let decodes = listener.normalization == "DECODE_AND_MERGE_SLASHES";
    let escaped_slashes = match decodes {
        true => "UNESCAPE_AND_FORWARD",
        false => "KEEP_UNCHANGED",
    };
    json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.\
                      http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": listener.name,
            "normalize_path": listener.normalization != "NONE",
            "merge_slashes": decodes || listener.normalization == "MERGE_SLASHES",
            "path_with_escaped_slashes_action": escaped_slashes,
            "use_remote_address": true,
            "xff_num_trusted_hops": 1,
            "stream_idle_timeout": "10s",
            "max_request_headers_kb": 512,
            "upgrade_configs": [{ "upgrade_type": "CONNECT" }],
            "route_config": {
                "virtual_hosts": [{
                    "name": "all",
                    "domains": ["*"],
                    "routes": listener.routes,
                }],
            },
            "http_filters": filters,
            "access_log": [logged_requests(access_log)],
        },
    })
}

fn listener_filter(name: &str, message: &str) -> Value {
    let kind = format!("type.googleapis.com/envoy.extensions.filters.listener.{name}.v3.{message}");
    json!({
        "name": format!("envoy.filters.listener.{name}"),
        "typed_config": { "@type": kind },
    })
}

/// What docs/operations.md shows, for requests that say under which name to log them.
fn logged_requests(path: &Path) -> Value {
    let mut line = json!({ "request": format!("%REQ({LOGGED_AS})%") });
    for name in ["decision", "reason", "policy", "principal", "dry_run"] {
        line[name] = format!("%FILTER_STATE(wasm.portcullis.{name}:PLAIN)%").into();
    }
    json!({
        "name": "envoy.access_loggers.file",
        "filter": { "header_filter": { "header": { "name": LOGGED_AS, "present_match": true } } },
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": path,
            "log_format": { "json_format": line },
        },
    })
}
