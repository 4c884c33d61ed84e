//! Small HTTP/1.1 servers on ports of their own: an upstream that tells what reached it, and a
//! key-set server that does as told and counts.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::case::{Answer, Fault, server_key, text};
use super::check::Lines;
use super::http::{Message, read_message};

/// Marks a response as the upstream's own, whatever its status.
pub const UPSTREAM: &str = "x-upstream";

/// A server that lives as long as this value.
pub struct Server {
    pub address: SocketAddr,
    stopped: Arc<AtomicBool>,
}

impl Server {
    fn start(respond: impl Fn(&Message) -> Deed + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let stopped = Arc::new(AtomicBool::new(false));
        let (stop, respond) = (Arc::clone(&stopped), Arc::new(respond));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let respond = Arc::clone(&respond);
                if let Ok(stream) = stream {
                    thread::spawn(move || serve(&stream, &*respond));
                }
            }
        });
        Self { address, stopped }
    }

    /// An upstream that answers every request with what it received.
    pub fn echo() -> Self {
        Self::start(|request| {
            let mut line = request.first_line.split(' ');
            let body = json!({
                "method": line.next(),
                "path": line.next(),
                "headers": request.headers,
            });
            Deed::Answer(Response::new(200, body.to_string()).with(UPSTREAM, "1"))
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts; where nobody listens, it has ended already.
        drop(TcpStream::connect(self.address));
    }
}

/// What a server does when it is asked.
#[derive(Clone, Debug)]
pub enum Deed {
    Answer(Response),
    /// Closes the connection.
    Close,
    /// Closes the connection in the middle of its answer.
    Cut(Response),
    /// Keeps silent until the client gives up.
    Hang,
}

#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub delay: Duration,
}

impl Response {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
            delay: Duration::ZERO,
        }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn to_wire(&self, has_body: bool) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} Test\r\n", self.status);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("content-length: {}\r\n\r\n", self.body.len());
        let body = if has_body { &self.body[..] } else { b"" };
        [head.as_bytes(), body].concat()
    }
}

impl From<Answer> for Deed {
    fn from(answer: Answer) -> Self {
        let mut response = Response::new(answer.status, answer.body);
        response.delay = Duration::from_millis(answer.delay_ms);
        response.headers = answer.headers;
        let response = response.with("content-type", "application/json");
        match answer.fault {
            None => Self::Answer(response),
            Some(Fault::Closed) => Self::Close,
            Some(Fault::Cut) => Self::Cut(response),
            Some(Fault::Long) => Self::Answer(response.with("x-long", &"x".repeat(100_000))),
        }
    }
}

fn serve(mut stream: &TcpStream, respond: &dyn Fn(&Message) -> Deed) {
    let mut reader = BufReader::new(stream);
    while let Ok(Some(request)) = read_message(&mut reader, |_| true) {
        let has_body = !request.first_line.starts_with("HEAD ");
        let sent = match respond(&request) {
            Deed::Answer(response) => {
                thread::sleep(response.delay);
                stream.write_all(&response.to_wire(has_body))
            }
            Deed::Close => return,
            Deed::Cut(response) => {
                let wire = response.to_wire(has_body);
                // Whether it got there is the same to who cuts it.
                let _ = stream.write_all(&wire[..wire.len() - response.body.len() / 2]);
                return;
            }
            // The client's end of the connection is the end of these bytes.
            Deed::Hang => reader.read_to_end(&mut Vec::new()).map(|_| ()),
        };
        if sent.is_err() {
            return;
        }
    }
}

/// What reached the upstream, out of what it answered; nothing is known of a HEAD but that it did.
pub fn echoed(response: &Message) -> Option<Vec<(String, Vec<u8>)>> {
    response.header(UPSTREAM)?;
    if response.body.is_empty() {
        return Some(Vec::new());
    }
    let echo: Value = serde_json::from_slice(&response.body).expect("the upstream's JSON");
    let pairs = echo["headers"].as_array().expect("a list").iter();
    let mut headers: Vec<_> = pairs
        .map(|pair| (text(&pair[0]).to_owned(), super::to_bytes(text(&pair[1]))))
        .collect();
    headers.push((":path".to_owned(), super::to_bytes(text(&echo["path"]))));
    headers.push((":method".to_owned(), super::to_bytes(text(&echo["method"]))));
    Some(headers)
}

/// A server of key sets, by host and path.
pub struct JwksServer {
    pub server: Server,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    now: Mutex<Now>,
    released: Condvar,
}

#[derive(Default)]
struct Now {
    /// What comes next, by host and path; the last one stays.
    deeds: BTreeMap<String, VecDeque<Deed>>,
    held: BTreeSet<String>,
    fetches: BTreeMap<String, usize>,
    /// The last requests, whatever they asked for.
    asked: VecDeque<Message>,
}

/// How many requests are remembered.
const REMEMBERED: usize = 100;

impl JwksServer {
    pub fn start(answers: BTreeMap<String, Answer>) -> Self {
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let server = Server::start(move |request| {
            shared.remember(request);
            shared.deed(&key(request))
        });
        let server = Self { server, state };
        for (uri, answer) in answers {
            server.will(&uri, [answer.into()]);
        }
        server
    }

    /// What the server does from now on when it is asked for this: one deed after the other, and
    /// the last one ever after.
    pub fn will(&self, uri: &str, deeds: impl IntoIterator<Item = Deed>) {
        let deeds = deeds.into_iter().collect();
        self.state.now().deeds.insert(server_key(uri), deeds);
    }

    /// From now on, whoever asks for this waits until it is released.
    pub fn hold(&self, uri: &str) {
        self.state.now().held.insert(server_key(uri));
    }

    pub fn release(&self, uri: &str) {
        self.state.now().held.remove(&server_key(uri));
        self.state.released.notify_all();
    }

    /// The requests to this host since it was last asked, as a filter would see them.
    pub fn asked(&self, host: &str) -> Vec<Lines> {
        let asked = std::mem::take(&mut self.state.now().asked).into_iter();
        let asked = asked.filter(|request| request.header("host") == Some(host));
        asked.map(|request| lines(&request)).collect()
    }

    /// How often each key set was asked for, by host and path.
    pub fn fetches(&self) -> BTreeMap<String, usize> {
        self.state.now().fetches.clone()
    }
}

fn key(request: &Message) -> String {
    let path = request.first_line.split(' ').nth(1).unwrap_or("/");
    server_key(&format!("{}{path}", request.header("host").unwrap_or("")))
}

/// A request with pseudo headers in place of its first line.
fn lines(request: &Message) -> Lines {
    let first = request.first_line.split(' ');
    let pseudo = [":method", ":path"].into_iter().zip(first);
    let pseudo = pseudo.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
    let own = request
        .headers
        .iter()
        .map(|(name, value)| match name.as_str() {
            "host" => (":authority".to_owned(), super::to_bytes(value)),
            _ => (name.clone(), super::to_bytes(value)),
        });
    pseudo.chain(own).collect()
}

impl State {
    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().expect("the server's state")
    }

    fn remember(&self, request: &Message) {
        let mut now = self.now();
        if now.asked.len() == REMEMBERED {
            now.asked.pop_front();
        }
        now.asked.push_back(request.clone());
    }

    fn deed(&self, key: &str) -> Deed {
        let mut now = self.now();
        *now.fetches.entry(key.to_owned()).or_default() += 1;
        let held = |now: &mut Now| now.held.contains(key);
        let mut now = self.released.wait_while(now, held).expect("the state");
        match now.deeds.get_mut(key) {
            Some(deeds) if deeds.len() > 1 => deeds.pop_front(),
            Some(deeds) => deeds.front().cloned(),
            None => None,
        }
        .unwrap_or_else(|| Deed::Answer(Response::new(404, "")))
    }
}
