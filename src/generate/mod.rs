//! Made-up inputs in the shapes of real control planes: recordings, dumps of their end state, Kubernetes objects and
//! traces. A function of its arguments alone, written in one pass; only `cli` uses this room.
//!
//! Shapes follow the projects' own code (`docs/generate.md` has the versions). Everything with an Envoy side is accepted
//! by a real one (`tests/generate_live.rs`).

pub mod cases;
pub mod contour;

mod istio;
mod write;

use std::io::{self, Write};

use serde_json::Value;

pub use write::{Output, Proxy, State};

/// Where files go.
pub trait Folder {
    /// Makes a file and lets `fill` write its content; a name that ends in `.gz` is compressed on the way.
    ///
    /// # Errors
    /// Those of `fill` and of the file.
    fn file(&mut self, name: &str, fill: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>) -> io::Result<()>;
}

/// Pseudo-random numbers from a seed (SplitMix64), for jitter and shuffles.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n.max(1)
    }

    /// Puts `items` into another order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u64 + 1) as usize);
        }
    }
}

/// Writes `objects` as `kubectl get -o json` does.
///
/// # Errors
/// Those of the file.
pub fn kubernetes_list(folder: &mut dyn Folder, objects: &[Value]) -> io::Result<()> {
    folder.file("kubernetes.json", &mut |out| {
        writeln!(out, "{{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[")?;
        for (i, object) in objects.iter().enumerate() {
            serde_json::to_writer(&mut *out, object)?;
            writeln!(out, "{}", if i + 1 < objects.len() { "," } else { "" })?;
        }
        writeln!(out, "],\"metadata\":{{\"resourceVersion\":\"\"}}}}")
    })
}

/// One line of a watch: when the event was seen, and `kubectl --output-watch-events`' own object.
///
/// # Errors
/// Those of the file.
pub fn watch_line(out: &mut dyn Write, t_us: i64, kind: &str, object: &Value) -> io::Result<()> {
    write!(out, "{{\"t\":{},\"e\":{{\"type\":\"{kind}\",\"object\":", write::seconds(t_us))?;
    serde_json::to_writer(&mut *out, object)?;
    out.write_all(b"}}\n")
}
