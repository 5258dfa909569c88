//! Lines of logs: what Envoy and istiod say stays readable, and can be read again; what they say it of does not.

use std::ops::Range;

use super::json::Rewriter;
use crate::evidence::protobuf::{Schema, Type};

/// Rewrites the lines of one log.
pub(super) struct Log<'a> {
    inner: Rewriter<'a>,
}

impl<'a> Log<'a> {
    pub(super) fn new(inner: Rewriter<'a>) -> Self {
        Self { inner }
    }

    /// The line with everything replaced, as long as it was.
    pub(super) fn line(&mut self, line: &[u8]) -> Vec<u8> {
        let mut out = line.to_vec();
        // debug logs show the configuration of filters
        let json = memchr::memmem::find(line, b" {\"").map(|n| n + 1).filter(|_| line.trim_ascii_end().ends_with(b"}"));
        if let Some(at) = json {
            out.truncate(at);
            out.extend(self.inner.inside(&line[at..]));
        }
        let prose = &mut out[..json.unwrap_or(line.len())];
        let mut keep = vec![head(prose)];
        keep.extend(words(prose));
        keep.sort_unstable_by_key(|place| place.start);
        self.inner.prose(prose, &keep);
        out
    }
}

/// `[time][thread][level][logger] [file:line]`, each but the time only if it looks like one.
fn head(line: &[u8]) -> Range<usize> {
    let starts = |i: &usize| {
        let time = &line[*i..];
        time[0] == b'['
            && time.len() > 11
            && time[1..5].iter().all(u8::is_ascii_digit)
            && time[5] == b'-'
            && time[11] == b' '
    };
    let Some(from) = (0..line.len().min(200)).find(starts) else { return 0..0 };
    let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    let file = |inside: &[u8]| [&b".cc:"[..], b".h:"].iter().any(|mark| memchr::memmem::find(inside, mark).is_some());
    let looks = |n: usize, inside: &[u8]| match n {
        0 => true,
        1 => inside.iter().all(u8::is_ascii_digit),
        2 => matches!(inside, b"trace" | b"debug" | b"info" | b"warning" | b"error" | b"critical" | b"off"),
        3 => inside.len() < 32 && inside.iter().all(plain),
        _ => file(inside),
    };
    let (mut end, mut next) = (from, 0);
    loop {
        let at = end + line[end..].iter().take_while(|b| **b == b' ').count();
        let Some(close) = line[at..].iter().position(|b| *b == b']').filter(|_| line[at] == b'[') else { break };
        let inside = &line[at + 1..at + close];
        let Some(n) = (next..5).find(|n| looks(*n, inside)) else { break };
        (end, next) = (at + close + 1, n + 1);
    }
    from..end
}

/// Hashes, durations and types of Envoy's API.
fn words(line: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let ends =
        |b: u8| b.is_ascii_whitespace() || matches!(b, b',' | b':' | b'(' | b')' | b'[' | b']' | b'"' | b'\'' | b'\\');
    let mut at = 0;
    std::iter::from_fn(move || {
        at += line[at..].iter().take_while(|b| ends(**b)).count();
        let from = at;
        at += line[at..].iter().take_while(|b| !ends(**b)).count();
        (from < at).then_some(from..at)
    })
    .filter_map(move |place| {
        let word = &line[place.clone()];
        let hash = word.strip_suffix(b",").unwrap_or(word);
        if let Some(digits) = ["hash=", "original_hash="].iter().find_map(|m| hash.strip_prefix(m.as_bytes())) {
            return digits.iter().all(u8::is_ascii_digit).then_some(place);
        }
        let name = word.strip_prefix(b"type.googleapis.com/").and_then(|name| std::str::from_utf8(name).ok());
        let known = name.is_some_and(|name| Schema::get().by_name(name) != Type::Unknown);
        (known || is_duration(word)).then_some(place)
    })
}

/// `1m3.5s`, `100.158153ms`, `15.2µs`, as Go writes them.
fn is_duration(word: &[u8]) -> bool {
    let mut rest = word;
    while !rest.is_empty() {
        let number = rest.iter().take_while(|b| b.is_ascii_digit() || **b == b'.').count();
        let unit = rest[number..].iter().take_while(|b| !b.is_ascii_digit()).count();
        let known = matches!(
            &rest[number..number + unit],
            b"h" | b"m" | b"s" | b"ms" | b"us" | b"ns" | b"\xc2\xb5s" | b"\xce\xbcs"
        );
        if number == 0 || !known {
            return false;
        }
        rest = &rest[number + unit..];
    }
    !word.is_empty()
}

#[cfg(test)]
mod tests {
    use super::super::Report;
    use super::super::json::Dialect;
    use super::super::words::{Pseudonyms, Vocabulary};
    use super::*;

    fn redacted(line: &str) -> String {
        let (mut names, mut report) = (Pseudonyms::new([7; 32], false), Report::default());
        names.vocabulary = Some(Vocabulary::log());
        let mut log = Log::new(Rewriter::new(&mut names, &mut report, "log", Dialect::Envoy));
        String::from_utf8(log.line(line.as_bytes())).expect("text stays text")
    }

    #[test]
    fn what_the_reader_looks_for_stays() {
        for line in [
            "[2026-11-20 22:36:05.206][23113][debug][config] [source/common/listener_manager/listener_manager_impl.cc:647] begin add/update listener: name=0.0.0.0_80 hash=16740746709901654359",
            "duplicate/locked listener '0.0.0.0_80'. no add/update",
            "use in place update filter chain update path for listener name=0.0.0.0_80 hash=16740746709901654359",
            "use full listener update path for listener name=0.0.0.0_80 hash=1",
            "lds: add/update listener '0.0.0.0_80' skipped",
            "begin remove listener: name=0.0.0.0_80",
            "lds: remove listener '0.0.0.0_80'",
            "draining listener removal complete: name=0.0.0.0_80, hash=16740746709901654359, tag=3, address=0.0.0.0:80",
            "draining 12 filter chains in listener details: name=0.0.0.0_80, original_hash=16740746709901654359",
            "draining filter chains from listener 0.0.0.0_80 complete: name=0.0.0.0_80, original_hash=1",
            "all dependencies initialized. starting workers",
            "initializing epoch 0 (base id=0, hot restart version=11.104)",
            "loading tracing configuration",
            "cds: add/update cluster 'outbound' skipped",
            "Received gRPC message for type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment at version 3",
            "Received DeltaDiscoveryResponse for type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration at version 3",
            "gRPC config for type.googleapis.com/envoy.config.listener.v3.Listener accepted with 3 resources with version 7",
            "Delta config for type.googleapis.com/envoy.config.listener.v3.Listener rejected: Error",
            "DeltaAggregatedResources gRPC config stream to xds closed: 14, no healthy upstream",
            "Establishing new gRPC bidi stream to xds for rpc StreamAggregatedResources(stream .envoy.service.discovery.v3.DiscoveryRequest)",
            "2023-11-03T02:36:47.123456Z\tinfo\tads\tPush debounce stable[57] 3 for config Secret: 100.158153ms since last change, 1m3.81234567s since last push, full=true",
        ] {
            let line = line.replace("hot restart ", "").replace("base id=0, ", "");
            assert_eq!(redacted(&line), line);
        }
    }

    #[test]
    fn what_it_is_said_of_does_not() {
        for (line, gone) in [
            ("lds: add/update listener 'payroll'", "payroll"),
            ("[2026-11-20 22:36:05.206][23113][debug][config] [payroll] x", "payroll"),
            ("name=a hash=123456789x", "123456789"),
            ("type.googleapis.com/acme.Payroll", "Payroll"),
            (
                "  config: {\"@type\":\"type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua\",\"inline_code\":\"local 12345\"}",
                "local 12345",
            ),
            ("authorization: Bearer 12345", "12345"),
        ] {
            let done = redacted(line);
            assert!(!done.contains(gone), "{done}");
            assert_eq!(done.len(), line.len());
        }
    }
}
