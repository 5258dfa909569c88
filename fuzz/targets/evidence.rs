//! Any bytes as a file of evidence: recognised, read, priced, shown. Nothing may panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use meshdump::evidence::{config_dump, load};
use meshdump::findings::analysis::{Options, ProxyEvidence, analyze};
use meshdump::{input, report};

fuzz_target!(|bytes: &[u8]| {
    let document = input::in_memory("fuzz", bytes.to_vec());
    let loaded = load::load(&[document], config_dump::Limits::default(), false);
    let proxies: Vec<ProxyEvidence> =
        loaded.proxies.into_iter().map(|(proxy, _)| ProxyEvidence { proxy, inputs: Vec::new() }).collect();
    let options = Options { all: true, treemap: true, ..Options::default() };
    let analysis =
        analyze(&proxies, &loaded.bpf, loaded.kubernetes.as_ref(), Vec::new(), &loaded.problems, &options, "0");
    let text = report::text::analysis(&analysis, 100);
    assert!(!text.chars().any(|c| c.is_control() && c != '\n' && c != '\u{1b}'), "a control character in the report");
});
