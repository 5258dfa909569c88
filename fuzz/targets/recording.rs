//! Any bytes as a recording: recognised, read, played. Nothing may panic, and what drains ends.

#![no_main]

use libfuzzer_sys::fuzz_target;
use meshdump::evidence::recording;
use meshdump::input;
use meshdump::sim::envoy::{Prepared, Settings};

fuzz_target!(|bytes: &[u8]| {
    let document = input::in_memory("fuzz", bytes.to_vec());
    let loaded = recording::read(&[document], &recording::Options::default());
    let settings = Settings::default();
    let prepared = Prepared::new(&loaded.recording, &settings);
    let run = prepared.run(&prepared.steps(&loaded.recording), &settings);
    assert!(run.drains.iter().all(|d| d.began <= d.ends), "a drain that ends before it begins");
});
