//! One Envoy process on loopback: started from a bootstrap, read over its admin port, ended by pid.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::LabError;
use super::ads::Ads;

/// How an Envoy is started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The binary.
    pub binary: PathBuf,
    /// `--concurrency`.
    pub workers: u32,
    /// The bootstrap as protojson; [`bootstrap`] makes one. An admin section is added when it has none.
    pub bootstrap: Value,
    /// Further arguments, such as `--drain-time-s 8`.
    pub arguments: Vec<String>,
}

/// A running Envoy; it is ended when dropped.
#[derive(Debug)]
pub struct EnvoyProcess {
    child: Child,
    admin_port: u16,
    folder: PathBuf,
}

/// What one reading of a settled Envoy gives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// `/memory` `allocated`, in bytes.
    pub allocated: u64,
    /// `/memory` `heap_size`, in bytes.
    pub heap_size: u64,
    /// `/memory` `total_physical_bytes`.
    pub physical: u64,
    /// Anonymous resident memory of the process (`RssAnon`), in bytes.
    pub resident_anonymous: u64,
    /// All resident memory of the process (`VmRSS`), in bytes.
    pub resident: u64,
    /// Lines of `/stats`: stats that exist.
    pub stats: u64,
}

/// A bootstrap whose clusters and listeners come from one ADS stream on `127.0.0.1:ads_port`.
///
/// `delta` asks for incremental xDS. The cluster `ads` is the only static one; `node.id` is `lab`.
pub fn bootstrap(ads_port: u16, delta: bool) -> Value {
    json!({
        "node": {"id": "lab", "cluster": "lab"},
        "admin": admin(),
        "dynamic_resources": {
            "ads_config": {
                "api_type": if delta { "DELTA_GRPC" } else { "GRPC" }, "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "ads"}}]
            },
            "cds_config": {"resource_api_version": "V3", "ads": {}},
            "lds_config": {"resource_api_version": "V3", "ads": {}}
        },
        "static_resources": {"clusters": [{
            "name": "ads", "type": "STATIC", "connect_timeout": "5s",
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}}}},
            "load_assignment": {"cluster_name": "ads", "endpoints": [{"lb_endpoints": [{"endpoint": {"address":
                {"socket_address": {"address": "127.0.0.1", "port_value": ads_port}}}}]}]}
        }]}
    })
}

fn admin() -> Value {
    json!({"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}})
}

fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> LabError {
    let what = what.into();
    move |source| LabError::Io { what, source }
}

/// The version a binary reports, `1.40.0`, and its build, `9e5580933739/1.40.0/Clean/RELEASE/BoringSSL`.
///
/// # Errors
/// When it cannot be run or prints no version.
pub fn version(binary: &Path) -> Result<(String, String), LabError> {
    let output = Command::new(binary)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .map_err(io(format!("running {}", binary.display())))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let build = text.split_whitespace().find(|w| w.matches('/').count() >= 3 && w.contains('.'));
    let build = text.split("version:").nth(1).and_then(|t| t.split_whitespace().next()).or(build);
    match build.and_then(|b| Some((b.split('/').nth(1)?.to_owned(), b.to_owned()))) {
        Some(found) => Ok(found),
        None => Err(LabError::Envoy(format!("{} --version does not print an Envoy version", binary.display()))),
    }
}

impl EnvoyProcess {
    /// Starts Envoy and waits until its admin port answers.
    ///
    /// # Errors
    /// When it cannot be started or ends at once; the error carries the end of its log.
    pub fn start(launch: &Launch) -> Result<Self, LabError> {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let unique = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("meshdump-lab-{}-{unique}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(io("making a scratch folder"))?;
        let mut bootstrap = launch.bootstrap.clone();
        if bootstrap.get("admin").is_none() {
            bootstrap["admin"] = admin();
        }
        let config = folder.join("bootstrap.json");
        std::fs::write(&config, bootstrap.to_string()).map_err(io("writing the bootstrap"))?;
        let log = std::fs::File::create(folder.join("log")).map_err(io("making the log"))?;
        let address = folder.join("admin");
        let child = Command::new(&launch.binary)
            .arg("-c")
            .arg(&config)
            .arg("--admin-address-path")
            .arg(&address)
            .args(["--disable-hot-restart", "-l", "warning", "--concurrency", &launch.workers.to_string()])
            .args(&launch.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(io(format!("starting {}", launch.binary.display())))?;
        let mut process = Self { child, admin_port: 0, folder };
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            if let Ok(Some(status)) = process.child.try_wait() {
                return Err(LabError::Envoy(format!("ended with {status}: {}", process.log_tail())));
            }
            if let Ok(text) = std::fs::read_to_string(&address)
                && let Some(port) = text.trim().rsplit(':').next().and_then(|p| p.parse().ok())
            {
                process.admin_port = port;
                if process.get("/ready").is_ok() {
                    return Ok(process);
                }
            }
            if Instant::now() > until {
                return Err(LabError::Timeout(format!("Envoy's admin port: {}", process.log_tail())));
            }
            std::thread::sleep(Duration::from_millis(25));
        }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The last lines Envoy logged.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read(self.folder.join("log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }

    /// The body of an admin page.
    ///
    /// # Errors
    /// When the connection fails or the answer is not HTTP.
    pub fn get(&self, path: &str) -> Result<Vec<u8>, LabError> {
        self.request("GET", path)
    }

    /// POSTs to an admin page (such as `/drain_listeners`); returns the body.
    ///
    /// # Errors
    /// As [`EnvoyProcess::get`].
    pub fn post(&self, path: &str) -> Result<Vec<u8>, LabError> {
        self.request("POST", path)
    }

    fn request(&self, method: &str, path: &str) -> Result<Vec<u8>, LabError> {
        let what = || format!("asking Envoy for {path}");
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, self.admin_port)).map_err(io(what()))?;
        socket.set_read_timeout(Some(Duration::from_secs(60))).map_err(io(what()))?;
        write!(socket, "{method} {path} HTTP/1.1\r\nhost: lab\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            .map_err(io(what()))?;
        let mut raw = Vec::new();
        socket.read_to_end(&mut raw).map_err(io(what()))?;
        http_body(&raw).ok_or_else(|| LabError::Envoy(format!("the answer to {path} is not HTTP")))
    }

    /// An admin page as JSON. For small pages only.
    ///
    /// # Errors
    /// As [`EnvoyProcess::get`], and when it is not JSON.
    pub fn get_json(&self, path: &str) -> Result<Value, LabError> {
        serde_json::from_slice(&self.get(path)?).map_err(|e| LabError::Envoy(format!("{path}: {e}")))
    }

    /// The values of the stats that match `filter` (RE2), by name.
    ///
    /// # Errors
    /// As [`EnvoyProcess::get`].
    pub fn stats(&self, filter: &str) -> Result<std::collections::BTreeMap<String, i64>, LabError> {
        let escaped: String = filter
            .bytes()
            .map(|b| {
                if b.is_ascii_alphanumeric() || b"._-".contains(&b) {
                    (b as char).to_string()
                } else {
                    format!("%{b:02X}")
                }
            })
            .collect();
        let body = self.get(&format!("/stats?filter={escaped}"))?;
        Ok(String::from_utf8_lossy(&body)
            .lines()
            .filter_map(|line| {
                let (name, value) = line.split_once(": ")?;
                Some((name.to_owned(), value.parse().ok()?))
            })
            .collect())
    }

    /// Live bytes, as `/memory` gives them.
    ///
    /// # Errors
    /// As [`EnvoyProcess::get`].
    pub fn allocated(&self) -> Result<u64, LabError> {
        Ok(number(&self.get_json("/memory")?, "allocated"))
    }

    /// Waits until everything fed is in use: the stream is open and answered, the server is live, nothing warms, and
    /// `allocated` did not move by more than 16 KiB between two readings 300 ms apart.
    ///
    /// # Errors
    /// [`LabError::Timeout`] with what was still open; [`LabError::Rejected`] when Envoy rejected a response.
    pub fn settle(&self, ads: Option<&Ads>, timeout: Duration) -> Result<(), LabError> {
        let until = Instant::now() + timeout;
        let mut last = 0u64;
        let mut why;
        loop {
            if let Some(ads) = ads
                && let Some(rejected) = ads.rejections().first()
            {
                return Err(LabError::Rejected {
                    type_url: rejected.type_url.clone(),
                    // Envoy names every resource that failed for the same reason
                    why: rejected.error.iter().flat_map(|e| e.chars().take(400)).collect(),
                });
            }
            why = self.unsettled(ads)?;
            if why.is_none() {
                let now = self.allocated()?;
                if last.abs_diff(now) <= 16 << 10 {
                    return Ok(());
                }
                why = Some(format!("`allocated` moves: {last} to {now}"));
                last = now;
            } else {
                last = 0;
            }
            if Instant::now() > until {
                return Err(LabError::Timeout(format!("settling: {}", why.unwrap_or_default())));
            }
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    fn unsettled(&self, ads: Option<&Ads>) -> Result<Option<String>, LabError> {
        if ads.is_some_and(|ads| !ads.all_answered()) {
            return Ok(Some("a response is not answered".into()));
        }
        let stats = self.stats("^(server.state|listener_manager.(workers_started|total_listeners_warming)|cluster_manager.warming_clusters)$")?;
        // with a stats matcher these gauges may not exist; the server's own state always does
        for (name, bad) in [("listener_manager.total_listeners_warming", 1), ("cluster_manager.warming_clusters", 1)] {
            if stats.get(name).is_some_and(|v| *v >= bad) {
                return Ok(Some(format!("{name} is {}", stats[name])));
            }
        }
        let state = self.get_json("/server_info")?;
        if state["state"] != "LIVE" {
            return Ok(Some(format!("the server is {}", state["state"])));
        }
        Ok(None)
    }

    /// Memory as Envoy and the kernel account it.
    ///
    /// # Errors
    /// As [`EnvoyProcess::get`].
    pub fn read(&self) -> Result<Reading, LabError> {
        let memory = self.get_json("/memory")?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).map_err(io("reading /proc"))?;
        let kib = |key: &str| {
            status
                .lines()
                .find_map(|l| l.strip_prefix(key)?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok())
                .unwrap_or(0)
                << 10
        };
        Ok(Reading {
            allocated: number(&memory, "allocated"),
            heap_size: number(&memory, "heap_size"),
            physical: number(&memory, "total_physical_bytes"),
            resident_anonymous: kib("RssAnon:"),
            resident: kib("VmRSS:"),
            stats: 0,
        })
    }
}

impl Drop for EnvoyProcess {
    fn drop(&mut self) {
        // by pid, the one this value started; a plain kill, as nothing of its state is wanted
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn number(page: &Value, key: &str) -> u64 {
    page[key].as_str().and_then(|s| s.parse().ok()).unwrap_or(0)
}

/// The body of an HTTP/1.1 answer, chunked or not.
fn http_body(raw: &[u8]) -> Option<Vec<u8>> {
    let end = raw.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&raw[..end]).to_ascii_lowercase();
    let mut rest = &raw[end + 4..];
    if !head.starts_with("http/1.1 ") {
        return None;
    }
    if !head.contains("transfer-encoding: chunked") {
        return Some(rest.to_vec());
    }
    let mut body = Vec::with_capacity(rest.len());
    loop {
        let line = rest.windows(2).position(|w| w == b"\r\n")?;
        let size =
            usize::from_str_radix(std::str::from_utf8(&rest[..line]).ok()?.split(';').next()?.trim(), 16).ok()?;
        rest = rest.get(line + 2..)?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::http_body;

    #[test]
    fn bodies() {
        assert_eq!(http_body(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab").unwrap(), b"ab");
        assert_eq!(
            http_body(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n").unwrap(),
            b"abc"
        );
        assert!(http_body(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nab").is_none());
        assert!(http_body(b"nonsense").is_none());
    }
}
