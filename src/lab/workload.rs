//! A workload: what one Envoy is fed, and the run that measures it.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::transport::{self, Transport};
use super::{Ads, EnvoyProcess, LabError, Launch, Reading, types};

/// Everything one Envoy is fed.
#[derive(Debug, Clone, Default)]
pub struct Workload {
    /// Unique name.
    pub name: String,
    /// `--concurrency`.
    pub workers: u32,
    /// Merged into the lab's bootstrap: objects by key, arrays appended.
    pub bootstrap: Option<Value>,
    /// CDS.
    pub clusters: Vec<Value>,
    /// EDS.
    pub endpoints: Vec<Value>,
    /// LDS.
    pub listeners: Vec<Value>,
    /// RDS.
    pub routes: Vec<Value>,
    /// SDS.
    pub secrets: Vec<Value>,
    /// ECDS.
    pub extensions: Vec<Value>,
    /// How all of it gets there.
    pub transport: Transport,
}

/// One measured run.
#[derive(Debug, Clone, Default)]
pub struct Measurement {
    /// The workload's name.
    pub name: String,
    /// The reading.
    pub reading: Reading,
    /// `/config_dump?include_eds`, as Envoy wrote it.
    pub config_dump: Vec<u8>,
    /// `/server_info`, as Envoy wrote it.
    pub server_info: Vec<u8>,
    /// `/memory`, as Envoy wrote it.
    pub memory: Vec<u8>,
    /// Names of all stats with their kind, as `/stats?type=` lists them: `C name`, `G name`, `H name`, `T name`.
    pub stats: Vec<String>,
}

impl Workload {
    /// An empty workload.
    pub fn new(name: impl Into<String>, workers: u32) -> Self {
        Self { name: name.into(), workers, ..Self::default() }
    }

    /// Feeds the workload to a fresh Envoy and measures it once it has settled.
    ///
    /// # Errors
    /// When Envoy does not start, rejects a resource, or does not settle within a minute.
    pub fn run(&self, binary: &Path) -> Result<Measurement, LabError> {
        let ads = self.transport.has_server().then(Ads::start).transpose()?;
        let folder = std::env::temp_dir().join(format!("meshdump-lab-xds-{}", std::process::id()));
        let io = |source| LabError::Io { what: format!("writing to {}", folder.display()), source };
        if self.transport == Transport::Files {
            std::fs::create_dir_all(&folder).map_err(io)?;
        }
        let mut fed = self.clone();
        let mut bootstrap = transport::apply(&mut fed, ads.as_ref().map_or(0, Ads::port), &folder).map_err(io)?;
        if let Some(extra) = &self.bootstrap {
            merge(&mut bootstrap, extra);
        }
        if let Some(ads) = &ads {
            for (type_url, resources) in [
                (types::CLUSTER, &fed.clusters),
                (types::ENDPOINT, &fed.endpoints),
                (types::LISTENER, &fed.listeners),
                (types::ROUTE, &fed.routes),
                (types::SECRET, &fed.secrets),
                (types::EXTENSION, &fed.extensions),
            ] {
                ads.set(type_url, resources)?;
            }
        }
        let envoy = EnvoyProcess::start(&Launch {
            binary: binary.to_owned(),
            workers: self.workers,
            bootstrap,
            arguments: Vec::new(),
        })?;
        let settled = envoy.settle(ads.as_ref(), Duration::from_secs(60));
        if self.transport == Transport::Files {
            std::fs::remove_dir_all(&folder).map_err(io)?;
        }
        settled?;
        let mut reading = envoy.read()?;
        let memory = envoy.get("/memory")?;
        let server_info = envoy.get("/server_info")?;
        let mut stats = Vec::new();
        for (mark, kind) in [("C", "Counters"), ("G", "Gauges"), ("H", "Histograms"), ("T", "TextReadouts")] {
            let page = envoy.get(&format!("/stats?type={kind}"))?;
            for line in String::from_utf8_lossy(&page).lines() {
                if let Some((name, _)) = line.rsplit_once(": ") {
                    stats.push(format!("{mark} {name}"));
                }
            }
        }
        reading.stats = stats.len() as u64;
        let config_dump = envoy.get("/config_dump?include_eds")?;
        Ok(Measurement { name: self.name.clone(), reading, config_dump, server_info, memory, stats })
    }
}

impl Measurement {
    /// Keeps the evidence of the run in `folder`, in the files that [`super::fit::read_runs`] reads; `memory.json` last,
    /// as the mark of a complete run.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, folder: &Path, workers: u32) -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let r = &self.reading;
        let run = serde_json::json!({"name": self.name, "workers": workers, "allocated": r.allocated, "heap_size": r.heap_size,
            "physical": r.physical, "anonymous": r.resident_anonymous, "resident": r.resident, "stats": r.stats});
        std::fs::write(folder.join("config_dump.json"), &self.config_dump)?;
        std::fs::write(folder.join("server_info.json"), &self.server_info)?;
        std::fs::write(folder.join("stats.txt"), self.stats.join("\n"))?;
        std::fs::write(folder.join("run.json"), run.to_string())?;
        std::fs::write(folder.join("memory.json"), &self.memory)
    }
}

/// Writes a result of the lab (a table, a document) to a file.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: impl AsRef<Path>, text: impl AsRef<[u8]>) -> std::io::Result<()> {
    std::fs::write(path, text)
}

/// Reads a file the lab wrote.
///
/// # Errors
/// When it cannot be read or is not UTF-8.
pub fn read_text(path: impl AsRef<Path>) -> std::io::Result<String> {
    std::fs::read_to_string(path)
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (Value::Array(into), Value::Array(from)) => into.extend(from.iter().cloned()),
        (into, from) => *into = from.clone(),
    }
}
