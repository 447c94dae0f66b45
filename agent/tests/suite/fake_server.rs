//! A server of a few lines on a port of this machine: it records every request and answers as a test says.

use edgewatch_shared::{
    ErrorCode, HostId, Series, TimestampMs,
    keys::{Keyring, Purpose},
    limits::{BATCH_SAMPLES_MAX, BODY_DECOMPRESSED_BYTES_MAX},
    token::{TokenError, Verified, verify},
    validate::validate_push,
    wire::{
        EnrollReply, ErrorBody, ErrorDetail, MetricSample, MetricsBody, PushReply, WireTime,
        push::{self, DictionaryId, MEDIA_TYPE, MetricsSection, PushFrame, StreamId, decode_columns},
    },
};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, SystemTime},
};
use zstd::bulk::Decompressor;

/// How long anything may take before a test gives up. Nothing is asserted of how long it did take.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a host of these tests signs with.
pub fn ring() -> Keyring {
    Keyring::new(&[7; 32], None).unwrap()
}

/// The one host of these tests.
pub fn host() -> HostId {
    HostId::new(3, [1; 14])
}

/// This machine's time.
pub fn now() -> TimestampMs {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    TimestampMs(since_epoch.as_millis() as i64)
}

/// Where the agent pushes.
pub const PUSH: &str = "/api/v1/push";

/// Every series list that ever came, by its id.
static LISTS: Mutex<BTreeMap<DictionaryId, Vec<Series>>> = Mutex::new(BTreeMap::new());

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Request {
    pub path: String,
    pub headers: BTreeMap<String, String>,
    /// Bytes of the request line and the headers.
    pub head_bytes: usize,
    pub body: Vec<u8>,
}

impl Request {
    /// The body of a push.
    pub fn push(&self) -> PushFrame {
        assert_eq!(self.headers["content-type"], MEDIA_TYPE);
        read_push(&self.body)
    }

    /// The body of a push in the shape that people read: sample by sample, with the names of a list that came before.
    pub fn metrics(&self) -> MetricsBody {
        let PushFrame { host, facts, metrics, .. } = self.push();
        let section = metrics.unwrap();
        let series = LISTS.lock().unwrap()[&section.dictionary].clone();
        let columns = decode_columns(&section.columns, series.len(), BATCH_SAMPLES_MAX).unwrap();
        assert_eq!(series.len(), columns.len());
        let samples = series.into_iter().zip(columns).flat_map(|(series, samples)| {
            samples.into_iter().map(move |sample| MetricSample {
                time: WireTime(sample.time),
                host: None,
                name: series.name.clone(),
                value: sample.value,
                labels: (!series.labels.is_empty()).then(|| series.labels.clone()),
            })
        });
        MetricsBody { host, facts, metrics: samples.collect() }
    }

    /// Whether it brings its series list.
    pub fn has_list(&self) -> bool {
        self.push().metrics.unwrap().series.is_some()
    }

    /// The bearer token.
    pub fn bearer(&self) -> &str {
        self.headers["authorization"].strip_prefix("Bearer ").unwrap()
    }
}

/// The push that a body is.
pub fn read_push(body: &[u8]) -> PushFrame {
    let frame = Decompressor::new().unwrap().decompress(body, BODY_DECOMPRESSED_BYTES_MAX).unwrap();
    push::decode(&frame).unwrap()
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: &'static str,
    pub body: String,
}

/// An answer without headers of its own.
pub fn reply(status: u16, body: impl Into<String>) -> Reply {
    Reply { status, headers: "", body: body.into() }
}

/// A refusal in our format.
pub fn refusal(status: u16, code: ErrorCode, server_ms: Option<TimestampMs>) -> Reply {
    let error = ErrorDetail { code, message: "by a test".into(), details: Vec::new() };
    reply(status, serde_json::to_string(&ErrorBody { error, server_ms }).unwrap())
}

/// The acknowledgement of a push, with the server's usual pace.
pub fn accepted(request: &Request) -> Reply {
    accepted_at(request, now(), 60_000)
}

/// The acknowledgement of a push by a server whose clock says `now`.
pub fn accepted_at(request: &Request, now: TimestampMs, next_push_ms: u64) -> Reply {
    let ingested = request.metrics().metrics.len() as u64;
    let told = PushReply { ingested, duplicate: 0, refused: 0, next_push_ms, server_ms: now };
    reply(202, serde_json::to_string(&told).unwrap())
}

/// What the real server does, at `now`: verifies the token, validates the batch, enrols.
pub fn strict(request: &Request, now: TimestampMs) -> Reply {
    match request.path.as_str() {
        "/api/v1/enroll" => reply(201, serde_json::to_string(&enrolled(now)).unwrap()),
        PUSH => match verify(&ring(), request.bearer(), now.seconds()) {
            Ok(Verified::Host(id)) if id == host() => {
                let checked = validate_push(request.push(), now).unwrap();
                assert_eq!(checked.outside_window, 0);
                accepted_at(request, now, 60_000)
            }
            Err(TokenError::Expired) => refusal(401, ErrorCode::ExpiredToken, Some(now)),
            Err(TokenError::NotYetValid) => refusal(401, ErrorCode::TokenNotYetValid, Some(now)),
            other => panic!("{other:?}"),
        },
        "/healthz" | "/readyz" => reply(200, "{}"),
        other => panic!("{other}"),
    }
}

fn enrolled(now: TimestampMs) -> EnrollReply {
    EnrollReply {
        host_id: host(),
        host_key: ring().signing(Purpose::Host(host())).to_text(),
        name: "web-01".into(),
        server_ms: now,
    }
}

type Received = Arc<(Mutex<Vec<(Request, Reply)>>, Condvar)>;

/// The server, until it is dropped.
pub struct FakeServer {
    address: SocketAddr,
    received: Received,
    closing: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FakeServer {
    /// A server on a free port.
    pub fn start(answer: impl FnMut(&Request) -> Reply + Send + 'static) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), answer)
    }

    /// A server on this port.
    pub fn start_at(address: SocketAddr, answer: impl FnMut(&Request) -> Reply + Send + 'static) -> Self {
        Self::start_as(address, None, answer)
    }

    /// A server on a free port that speaks TLS.
    pub fn start_tls(tls: Arc<ServerConfig>, answer: impl FnMut(&Request) -> Reply + Send + 'static) -> Self {
        Self::start_tls_at("127.0.0.1:0".parse().unwrap(), tls, answer)
    }

    /// A server on this port that speaks TLS.
    pub fn start_tls_at(
        address: SocketAddr,
        tls: Arc<ServerConfig>,
        answer: impl FnMut(&Request) -> Reply + Send + 'static,
    ) -> Self {
        Self::start_as(address, Some(tls), answer)
    }

    fn start_as(
        address: SocketAddr,
        tls: Option<Arc<ServerConfig>>,
        mut answer: impl FnMut(&Request) -> Reply + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let received = Received::default();
        let closing = Arc::new(AtomicBool::new(false));
        let thread = {
            let (received, closing) = (Arc::clone(&received), Arc::clone(&closing));
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    if closing.load(Ordering::SeqCst) {
                        return;
                    }
                    let stream = stream.unwrap();
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    match &tls {
                        None => serve(stream, &mut answer, &received),
                        Some(tls) => {
                            let tls = ServerConnection::new(Arc::clone(tls)).unwrap();
                            serve(StreamOwned::new(tls, stream), &mut answer, &received);
                        }
                    }
                }
            })
        };
        Self { address, received, closing, thread: Some(thread) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything received and answered so far.
    pub fn received(&self) -> Vec<(Request, Reply)> {
        self.received.0.lock().unwrap().clone()
    }

    /// Waits until what was received is enough, and returns it.
    pub fn wait_until(&self, enough: impl Fn(&[(Request, Reply)]) -> bool) -> Vec<(Request, Reply)> {
        let (received, changed) = &*self.received;
        let waiting = |received: &mut Vec<_>| !enough(received);
        let (received, waited) =
            changed.wait_timeout_while(received.lock().unwrap(), PATIENCE, waiting).unwrap();
        assert!(!waited.timed_out(), "after {PATIENCE:?}: {} requests", received.len());
        received.clone()
    }

    /// Waits for this many requests.
    pub fn wait_for(&self, count: usize) -> Vec<(Request, Reply)> {
        self.wait_until(|received| received.len() >= count)
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which then lets go of the port.
        let _woken = TcpStream::connect(self.address);
        let ended = self.thread.take().unwrap().join();
        if !std::thread::panicking() {
            ended.unwrap();
        }
    }
}

/// The bodies that were acknowledged, in the order in which they came.
pub fn acknowledged(received: &[(Request, Reply)]) -> Vec<MetricsBody> {
    received
        .iter()
        .filter(|(request, reply)| request.path == PUSH && reply.status == 202)
        .map(|(request, _)| request.metrics())
        .collect()
}

/// The numbers of the readings of a stream that were acknowledged.
pub fn delivered(received: &[(Request, Reply)], stream: StreamId) -> BTreeSet<u64> {
    let pushes = received.iter().filter(|(_, reply)| reply.status == 202).map(|(request, _)| request.push());
    let readings = pushes.filter(|push| push.stream == stream).map(|push| push.readings);
    readings.flat_map(|readings| readings.first..=readings.last).collect()
}

/// Whether some readings of the first stream that came were acknowledged, and of these all from the first on.
pub fn is_without_gap(received: &[(Request, Reply)]) -> bool {
    let Some((first, _)) = received.first() else { return false };
    let readings = delivered(received, first.push().stream);
    readings.len() > 2 && readings.iter().copied().eq(1..=readings.len() as u64)
}

fn serve(mut stream: impl Read + Write, answer: &mut impl FnMut(&Request) -> Reply, received: &Received) {
    // A connection without a request is the agent being ended or not trusting us, or a test waking the thread.
    let Some(request) = read(&mut stream) else { return };
    if request.path == PUSH
        && let Some(MetricsSection { dictionary, series: Some(series), .. }) = request.push().metrics
    {
        LISTS.lock().unwrap().insert(dictionary, series);
    }
    let reply = answer(&request);
    let Reply { status, headers, body } = &reply;
    let head = format!(
        "HTTP/1.1 {status} Told\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    let _agent_may_be_gone = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(body.as_bytes()))
        .and_then(|()| stream.flush());
    received.0.lock().unwrap().push((request, reply));
    received.1.notify_all();
}

fn read(stream: impl Read) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut head_bytes = 0;
    let mut line = || {
        let mut line = String::new();
        head_bytes += reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
        Some(line.trim_end().to_owned())
    };
    let path = line()?.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let line = line()?;
        let Some((name, value)) = line.split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { path, headers, head_bytes, body })
}
