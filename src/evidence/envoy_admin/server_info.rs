//! `/server_info`.

use super::{Small, value};
use crate::evidence::config_dump::{WireNode, node};
use crate::evidence::json::message::{Num, Text};
use crate::evidence::json::outline::{Item, Outline};
use crate::model::envoy::{Name, ServerInfo};
use crate::model::problem::{Loss, Problem};

/// Reads `/server_info` (Envoy `server_info.proto`), or the single line it was before 1.9.
///
/// `None` when there is neither a version nor a state nor an option in it. Durations are whole seconds, rounded down.
pub fn read(label: &str, text: &[u8]) -> (Option<ServerInfo>, Vec<Problem>) {
    if let Some(info) = one_line(text) {
        return (Some(info), Vec::new());
    }
    let mut problems = Vec::new();
    let Some(small) = Small::find(label, "/server_info", text, &mut problems) else { return (None, problems) };
    let mut info = ServerInfo::default();
    small.fields(label, &mut problems, |f| match f.key {
        b"version" => info.version = text_of(f),
        b"state" => info.state = text_of(f),
        b"uptime_current_epoch" | b"uptimeCurrentEpoch" => info.uptime_s = seconds(f),
        b"node" => info.node = node(&value::<WireNode>(f)),
        // also when it is cut: what it holds first are the options that matter
        b"command_line_options" | b"commandLineOptions" => {
            Outline::new(f.value).into_iter().flatten().for_each(|o| option(&mut info, &o));
        }
        _ => {}
    });
    if info == ServerInfo::default() {
        problems
            .push(Problem::new(label, Loss::Whole, "not /server_info: neither version nor state nor options").at(0));
        return (None, problems);
    }
    (Some(info), problems)
}

fn option(info: &mut ServerInfo, o: &Item<'_>) {
    match o.key {
        b"concurrency" => info.concurrency = value::<Num>(o).as_u64().and_then(|n| u32::try_from(n).ok()),
        b"drain_time" | b"drainTime" => info.drain_time_s = seconds(o),
        b"drain_strategy" | b"drainStrategy" => info.drain_strategy = text_of(o),
        b"parent_shutdown_time" | b"parentShutdownTime" => info.parent_shutdown_time_s = seconds(o),
        _ => {}
    }
}

fn text_of(item: &Item<'_>) -> Name {
    value::<Text>(item).0
}

/// A protobuf duration (`"45s"`, `"0.250s"`) or a bare number of seconds.
fn seconds(item: &Item<'_>) -> Option<u64> {
    let text = text_of(item);
    let number: f64 = text.strip_suffix('s').unwrap_or(&text).parse().ok()?;
    (0.0..1e15).contains(&number).then_some(number as u64)
}

/// `envoy COMMIT/VERSION/... live UPTIME UPTIME EPOCH`, as Envoy wrote it before 1.9.
pub(in crate::evidence) fn one_line(text: &[u8]) -> Option<ServerInfo> {
    let line = std::str::from_utf8(text.get(..text.len().min(1024))?).ok()?.lines().find(|l| !l.trim().is_empty())?;
    let mut words = line.split_whitespace();
    let ("envoy", version, state) = (words.next()?, words.next()?, words.next()?) else { return None };
    let uptime_s = words.next()?.parse().ok()?;
    (version.split('/').count() >= 3).then(|| ServerInfo {
        version: version.into(),
        state: state.to_ascii_uppercase().into(),
        uptime_s: Some(uptime_s),
        ..ServerInfo::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{
 "version": "8a4b/1.28.0-dev/Clean/RELEASE/BoringSSL",
 "state": "LIVE",
 "uptime_current_epoch": "2420909s",
 "command_line_options": {
  "concurrency": 2,
  "drain_time": "45s",
  "drain_strategy": "Immediate",
  "parent_shutdown_time": "60.5s"
 },
 "node": {"id": "sidecar~1.2.3.4~a.b~b", "cluster": "a.b",
  "metadata": {"NAME": "a-1", "WORKLOAD_NAME": "a", "NAMESPACE": "b", "ISTIO_VERSION": "1.20.0"},
  "user_agent_build_version": {"version": {"major_number": 1, "minor_number": 28, "patch": 0}}}
}"#;

    #[test]
    fn all_that_is_needed() {
        let (info, problems) = read("server_info", TEXT.as_bytes());
        let info = info.unwrap();
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(&*info.version, "8a4b/1.28.0-dev/Clean/RELEASE/BoringSSL");
        assert_eq!((&*info.state, info.concurrency, info.uptime_s), ("LIVE", Some(2), Some(2_420_909)));
        assert_eq!((info.drain_time_s, &*info.drain_strategy), (Some(45), "Immediate"));
        assert_eq!(info.parent_shutdown_time_s, Some(60));
        assert_eq!((&*info.node.workload, &*info.node.namespace, &*info.node.envoy_version), ("a", "b", "1.28.0"));
    }

    #[test]
    fn camel_case_and_numbers_otherwise() {
        let (info, _) = read("x", br#"{"commandLineOptions":{"concurrency":"4","drainTime":600}}"#);
        let info = info.unwrap();
        assert_eq!((info.concurrency, info.drain_time_s), (Some(4), Some(600)));
    }

    #[test]
    fn cut_inside_the_options() {
        let cut = TEXT.find(r#""drain_strategy""#).unwrap();
        let (info, problems) = read("x", &TEXT.as_bytes()[..cut]);
        let info = info.unwrap();
        assert_eq!((info.concurrency, info.drain_time_s, &*info.drain_strategy), (Some(2), Some(45), ""));
        assert_eq!(problems[0].loss, Loss::Part);
    }

    #[test]
    fn before_1_9() {
        let (info, problems) = read("x", b"envoy 5d25/1.8.0/Clean/RELEASE live 581130 581131 0\n");
        let info = info.unwrap();
        assert!(problems.is_empty());
        assert_eq!((&*info.version, &*info.state), ("5d25/1.8.0/Clean/RELEASE", "LIVE"));
        assert_eq!(info.uptime_s, Some(581_130));
    }

    #[test]
    fn garbage() {
        for text in ["", "envoy is live", "{}", "[]", "{\"a\":1}"] {
            let (info, problems) = read("x", text.as_bytes());
            assert_eq!(info, None, "{text}");
            assert!(problems.iter().any(|p| p.loss == Loss::Whole), "{text}");
        }
    }
}
