//! An aggregated discovery server for one Envoy on loopback.
//!
//! It works in two ways that may be mixed: as a control plane that answers every subscription from a set of resources
//! ([`Ads::set`], state of the world and delta), and by script ([`Ads::send`], [`Ads::send_delta`]), which puts a
//! response on the stream whether it was asked for or not, for replaying recorded streams against a real Envoy.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::LabError;
use super::codec;
use super::proto::{Any, DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource};

/// One request of Envoy, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Type asked for.
    pub type_url: String,
    /// Nonce of the response it answers; empty for a first subscription.
    pub nonce: String,
    /// The version Envoy holds (state of the world only).
    pub version: String,
    /// Names asked for (state of the world) or newly subscribed to (delta).
    pub names: Vec<String>,
    /// Why the response was rejected.
    pub error: Option<String>,
    /// It came on a delta stream.
    pub delta: bool,
}

/// What was sent of one type on one stream, and what came back.
#[derive(Debug, Default)]
struct Subscription {
    wildcard: bool,
    names: BTreeSet<String>,
    last_nonce: String,
    answered: bool,
    sent: HashMap<String, u64>,
}

#[derive(Debug)]
struct Stream {
    delta: bool,
    out: UnboundedSender<Bytes>,
    open: bool,
    types: BTreeMap<String, Subscription>,
}

#[derive(Debug, Default)]
struct Resources {
    revision: u64,
    /// In the order given; the revision in which each one last changed.
    list: Vec<(String, Any, u64)>,
}

#[derive(Debug, Default)]
struct State {
    resources: BTreeMap<String, Resources>,
    streams: Vec<Stream>,
    seen: Vec<Seen>,
    next_nonce: u64,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The running server; it stops when dropped.
#[derive(Debug)]
pub struct Ads {
    port: u16,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// The types whose subscription means everything, when no names are given.
const WILDCARD: [&str; 2] =
    ["type.googleapis.com/envoy.config.listener.v3.Listener", "type.googleapis.com/envoy.config.cluster.v3.Cluster"];

impl Ads {
    /// Starts the server on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When the port cannot be bound or the thread cannot be started.
    pub fn start() -> Result<Self, LabError> {
        let io = |what: &'static str| move |e| LabError::Io { what: what.into(), source: e };
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(io("binding the ADS port"))?;
        listener.set_nonblocking(true).map_err(io("binding the ADS port"))?;
        let port = listener.local_addr().map_err(io("reading the ADS port"))?.port();
        let shared = Arc::new(Shared::default());
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(io("starting the ADS runtime"))?;
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("ads".into())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = accept(listener, for_thread) => {}
                        _ = stopped => {}
                    }
                });
            })
            .map_err(io("starting the ADS thread"))?;
        Ok(Self { port, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes `resources` the state of the world of their type and pushes it to every stream that subscribed.
    ///
    /// `type_url` is needed because the list may be empty. Resources that did not change keep their version, so a delta
    /// stream receives the difference only.
    ///
    /// # Errors
    /// [`LabError::Resource`] when a resource cannot be encoded.
    pub fn set(&self, type_url: &str, resources: &[Value]) -> Result<(), LabError> {
        let mut list = Vec::with_capacity(resources.len());
        for resource in resources {
            list.push((codec::resource_name(resource).to_owned(), codec::any(resource)?));
        }
        let mut state = self.shared.lock();
        let entry = state.resources.entry(type_url.to_owned()).or_default();
        entry.revision += 1;
        let revision = entry.revision;
        let old: HashMap<String, (Any, u64)> = entry.list.drain(..).map(|(n, a, r)| (n, (a, r))).collect();
        entry.list = list
            .into_iter()
            .map(|(name, any)| {
                let since = old.get(&name).filter(|(before, _)| *before == any).map_or(revision, |(_, r)| *r);
                (name, any, since)
            })
            .collect();
        for id in 0..state.streams.len() {
            if state.streams[id].open && state.streams[id].types.contains_key(type_url) {
                state.answer(id, type_url, true);
            }
        }
        Ok(())
    }

    /// Sends a state-of-the-world response as it is; returns its nonce (made up when `nonce` is empty).
    ///
    /// # Errors
    /// [`LabError::Resource`] for a resource that cannot be encoded, [`LabError::NoStream`] when no Envoy is connected.
    pub fn send(
        &self,
        type_url: &str,
        version_info: &str,
        nonce: &str,
        resources: &[Value],
    ) -> Result<String, LabError> {
        self.send_encoded(type_url, version_info, nonce, Self::encode(resources)?)
    }

    /// Resources in the form in which they are sent.
    ///
    /// # Errors
    /// When one is not of a type of Envoy's API.
    pub fn encode(resources: &[Value]) -> Result<Vec<Any>, LabError> {
        resources.iter().map(codec::any).collect()
    }

    /// [`Ads::send`] of resources that were encoded before.
    ///
    /// # Errors
    /// As [`Ads::send`].
    pub fn send_encoded(
        &self,
        type_url: &str,
        version_info: &str,
        nonce: &str,
        resources: Vec<Any>,
    ) -> Result<String, LabError> {
        let mut state = self.shared.lock();
        let nonce = state.nonce(nonce);
        let message = DiscoveryResponse {
            version_info: version_info.into(),
            resources,
            type_url: type_url.into(),
            nonce: nonce.clone(),
        };
        state.put(false, type_url, &nonce, frame(&message))?;
        Ok(nonce)
    }

    /// Sends a delta response as it is: `(name, version, resource)` and the names of removed resources.
    ///
    /// # Errors
    /// As [`Ads::send`].
    pub fn send_delta(
        &self,
        type_url: &str,
        system_version_info: &str,
        nonce: &str,
        resources: &[(&str, &str, &Value)],
        removed: &[&str],
    ) -> Result<String, LabError> {
        let resources = resources
            .iter()
            .map(|(name, version, value)| {
                codec::any(value).map(|any| Resource {
                    version: (*version).into(),
                    resource: Some(any),
                    name: (*name).into(),
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mut state = self.shared.lock();
        let nonce = state.nonce(nonce);
        let message = DeltaDiscoveryResponse {
            system_version_info: system_version_info.into(),
            resources,
            type_url: type_url.into(),
            nonce: nonce.clone(),
            removed_resources: removed.iter().map(|s| (*s).to_owned()).collect(),
        };
        state.put(true, type_url, &nonce, frame(&message))?;
        Ok(nonce)
    }

    /// Every request so far, in order.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.lock().seen.clone()
    }

    /// Every rejection so far.
    pub fn rejections(&self) -> Vec<Seen> {
        self.shared.lock().seen.iter().filter(|s| s.error.is_some()).cloned().collect()
    }

    /// True when a stream is open and every response sent on open streams was acknowledged or rejected.
    pub fn all_answered(&self) -> bool {
        self.shared.lock().all_answered()
    }

    /// Waits until `condition` holds for the requests seen so far.
    ///
    /// # Errors
    /// [`LabError::Timeout`], which names `what`.
    pub fn wait(
        &self,
        what: &str,
        timeout: Duration,
        mut condition: impl FnMut(&[Seen]) -> bool,
    ) -> Result<(), LabError> {
        let until = Instant::now() + timeout;
        let mut state = self.shared.lock();
        loop {
            if condition(&state.seen) {
                return Ok(());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(LabError::Timeout(what.into()));
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for the answer to the response with this nonce; `Some` is the reason of a rejection.
    ///
    /// # Errors
    /// [`LabError::Timeout`].
    pub fn wait_answer(&self, nonce: &str, timeout: Duration) -> Result<Option<String>, LabError> {
        let mut error = None;
        self.wait(&format!("the answer to nonce {nonce}"), timeout, |seen| {
            seen.iter().find(|s| s.nonce == nonce).is_some_and(|s| {
                error.clone_from(&s.error);
                true
            })
        })?;
        Ok(error)
    }
}

impl Drop for Ads {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl State {
    fn nonce(&mut self, wanted: &str) -> String {
        if wanted.is_empty() {
            self.next_nonce += 1;
            format!("n{}", self.next_nonce)
        } else {
            wanted.to_owned()
        }
    }

    fn all_answered(&self) -> bool {
        let mut open = self.streams.iter().filter(|s| s.open).peekable();
        open.peek().is_some() && open.all(|s| s.types.values().all(|t| t.last_nonce.is_empty() || t.answered))
    }

    fn put(&mut self, delta: bool, type_url: &str, nonce: &str, bytes: Bytes) -> Result<(), LabError> {
        let stream = self.streams.iter_mut().rev().find(|s| s.open && s.delta == delta).ok_or(LabError::NoStream)?;
        let sub = stream.types.entry(type_url.to_owned()).or_default();
        sub.last_nonce = nonce.to_owned();
        sub.answered = false;
        stream.out.send(bytes).map_err(|_| LabError::NoStream)
    }

    /// Notes a request and answers it from the resources.
    fn on_sotw(&mut self, id: usize, request: DiscoveryRequest) {
        let first = !self.streams[id].types.contains_key(&request.type_url);
        let sub = self.streams[id].types.entry(request.type_url.clone()).or_default();
        let names: BTreeSet<String> = request.resource_names.iter().cloned().collect();
        let wants_new = names.difference(&sub.names).next().is_some();
        if !request.response_nonce.is_empty() && request.response_nonce == sub.last_nonce {
            sub.answered = true;
        }
        sub.wildcard = names.is_empty() && WILDCARD.contains(&request.type_url.as_str());
        sub.names = names;
        let answer = wants_new || (first && sub.wildcard);
        self.seen.push(Seen {
            type_url: request.type_url.clone(),
            nonce: request.response_nonce,
            version: request.version_info,
            names: request.resource_names,
            error: request.error_detail.map(|e| e.message),
            delta: false,
        });
        if answer {
            self.answer(id, &request.type_url, false);
        }
    }

    fn on_delta(&mut self, id: usize, request: DeltaDiscoveryRequest) {
        let first = !self.streams[id].types.contains_key(&request.type_url);
        let sub = self.streams[id].types.entry(request.type_url.clone()).or_default();
        if !request.response_nonce.is_empty() && request.response_nonce == sub.last_nonce {
            sub.answered = true;
        }
        if first {
            sub.wildcard = WILDCARD.contains(&request.type_url.as_str())
                && request.resource_names_subscribe.iter().all(|n| n == "*");
        }
        let wants_new = !request.resource_names_subscribe.is_empty();
        sub.names.extend(request.resource_names_subscribe.iter().cloned());
        for name in &request.resource_names_unsubscribe {
            sub.names.remove(name);
            sub.sent.remove(name);
        }
        let answer = wants_new || (first && sub.wildcard);
        self.seen.push(Seen {
            type_url: request.type_url.clone(),
            nonce: request.response_nonce,
            version: String::new(),
            names: request.resource_names_subscribe,
            error: request.error_detail.map(|e| e.message),
            delta: true,
        });
        if answer {
            self.answer(id, &request.type_url, false);
        }
    }

    /// Sends what the stream subscribed to of a type, when the server holds any resources of it.
    fn answer(&mut self, id: usize, type_url: &str, pushed: bool) {
        let nonce = self.nonce("");
        let Some(resources) = self.resources.get(type_url) else { return };
        let stream = &mut self.streams[id];
        let Some(sub) = stream.types.get_mut(type_url) else { return };
        let wanted = |name: &str| sub.wildcard || sub.names.contains(name);
        let bytes = if stream.delta {
            let changed: Vec<&(String, Any, u64)> = resources
                .list
                .iter()
                .filter(|(name, _, since)| wanted(name) && sub.sent.get(name) != Some(since))
                .collect();
            let held: BTreeSet<&str> = resources.list.iter().map(|(n, _, _)| n.as_str()).collect();
            let mut removed: Vec<String> = sub.sent.keys().filter(|n| !held.contains(n.as_str())).cloned().collect();
            removed.sort_unstable();
            if changed.is_empty() && removed.is_empty() && pushed {
                return;
            }
            let message = DeltaDiscoveryResponse {
                system_version_info: resources.revision.to_string(),
                resources: changed
                    .iter()
                    .map(|(name, any, since)| Resource {
                        version: since.to_string(),
                        resource: Some(any.clone()),
                        name: name.clone(),
                    })
                    .collect(),
                type_url: type_url.to_owned(),
                nonce: nonce.clone(),
                removed_resources: removed.clone(),
            };
            let sent: Vec<(String, u64)> = changed.iter().map(|(n, _, r)| (n.clone(), *r)).collect();
            for name in &removed {
                sub.sent.remove(name);
            }
            sub.sent.extend(sent);
            frame(&message)
        } else {
            frame(&DiscoveryResponse {
                version_info: resources.revision.to_string(),
                resources: resources.list.iter().filter(|r| wanted(&r.0)).map(|r| r.1.clone()).collect(),
                type_url: type_url.to_owned(),
                nonce: nonce.clone(),
            })
        };
        sub.last_nonce = nonce;
        sub.answered = false;
        let _ = stream.out.send(bytes);
    }
}

/// A gRPC message: no compression flag, length, body.
fn frame(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut out = BytesMut::with_capacity(length + 5);
    out.put_u8(0);
    out.put_u32(u32::try_from(length).expect("a discovery response below 4 GiB"));
    message.encode(&mut out).expect("the buffer has room");
    out.freeze()
}

async fn accept(listener: std::net::TcpListener, shared: Arc<Shared>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    while let Ok((socket, peer)) = listener.accept().await {
        let _ = socket.set_nodelay(true);
        tokio::spawn(connection(socket, peer, Arc::clone(&shared)));
    }
}

async fn connection(socket: tokio::net::TcpStream, _peer: SocketAddr, shared: Arc<Shared>) {
    let Ok(mut connection) = h2::server::Builder::new().max_concurrent_streams(1000).handshake(socket).await else {
        return;
    };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(stream(request, respond, Arc::clone(&shared)));
    }
}

/// Serves one discovery stream until either side ends it.
async fn stream(
    request: http::Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    shared: Arc<Shared>,
) {
    let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    let delta = method.starts_with("Delta");
    let ok = http::Response::builder().status(200).header("content-type", "application/grpc").body(());
    let Ok(ok) = ok else { return };
    let Ok(mut send) = respond.send_response(ok, false) else { return };
    let (out, mut queue): (UnboundedSender<Bytes>, UnboundedReceiver<Bytes>) = unbounded_channel();
    let id = {
        let mut state = shared.lock();
        state.streams.push(Stream { delta, out, open: true, types: BTreeMap::new() });
        state.streams.len() - 1
    };
    shared.changed.notify_all();
    let mut body = request.into_body();
    let reader = async {
        let mut buffer = BytesMut::new();
        while let Some(Ok(chunk)) = body.data().await {
            let _ = body.flow_control().release_capacity(chunk.len());
            buffer.extend_from_slice(&chunk);
            while buffer.len() >= 5 {
                let length = u32::from_be_bytes([buffer[1], buffer[2], buffer[3], buffer[4]]) as usize;
                if buffer.len() < 5 + length {
                    break;
                }
                buffer.advance(5);
                let message = buffer.split_to(length).freeze();
                let mut state = shared.lock();
                if delta {
                    match DeltaDiscoveryRequest::decode(message) {
                        Ok(request) => state.on_delta(id, request),
                        Err(_) => return,
                    }
                } else {
                    match DiscoveryRequest::decode(message) {
                        Ok(request) => state.on_sotw(id, request),
                        Err(_) => return,
                    }
                }
                drop(state);
                shared.changed.notify_all();
            }
        }
    };
    let writer = async {
        while let Some(mut bytes) = queue.recv().await {
            while !bytes.is_empty() {
                send.reserve_capacity(bytes.len());
                match std::future::poll_fn(|cx| send.poll_capacity(cx)).await {
                    Some(Ok(capacity)) if capacity > 0 => {
                        let part = bytes.split_to(capacity.min(bytes.len()));
                        if send.send_data(part, false).is_err() {
                            return;
                        }
                    }
                    Some(Ok(_)) => {}
                    _ => return,
                }
            }
        }
    };
    tokio::select! {
        () = reader => {}
        () = writer => {}
    }
    shared.lock().streams[id].open = false;
    shared.changed.notify_all();
}
