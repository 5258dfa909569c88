//! `/listeners`, which tells no more than how many listeners are active.

use super::{Small, utf8};
use crate::evidence::json::outline::Outline;
use crate::model::problem::{Loss, Problem};

/// Counts the listeners of `/listeners`, text (`name::address`) or JSON (Envoy `listeners.proto`).
///
/// `None` when it is neither. Draining listeners are in neither form. A text without any line is no evidence: it may
/// as well be a failed copy.
pub fn read(label: &str, text: &[u8]) -> (Option<u64>, Vec<Problem>) {
    let mut problems = Vec::new();
    let bytes = utf8(text);
    let lines = bytes.split(|b| *b == b'\n').filter(|l| is_line(l)).count() as u64;
    if lines > 0 {
        if !bytes.ends_with(b"\n") {
            problems.push(cut(label, bytes.len()));
        }
        return (Some(lines), problems);
    }
    let Some(small) = Small::find(label, "/listeners", text, &mut problems) else { return (None, problems) };
    let mut count = None;
    small.fields(label, &mut problems, |f| {
        let list = matches!(f.key, b"listener_statuses" | b"listenerStatuses");
        if let Some(walk) = Outline::new(f.value).filter(|_| list) {
            count = Some(walk.filter(|i| i.whole).count() as u64);
        }
    });
    if count.is_none() {
        problems.push(Problem::new(label, Loss::Whole, "not /listeners: no list under `listener_statuses`").at(0));
    }
    (count, problems)
}

fn cut(label: &str, at: usize) -> Problem {
    Problem::new(label, Loss::Part, "the last line has no end: the copy may be cut, and the count too low")
        .at(at as u64)
        .hint("fetch it again")
}

/// `name::1.2.3.4:80`, `name::[::1]:80`, `name::/a/pipe`, `name::envoy://internal/...`.
pub(in crate::evidence) fn is_line(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    let at = match memchr::memmem::rfind(line, b"::[") {
        Some(at) => at,
        None => match memchr::memmem::find(line, b"::") {
            Some(at) => at,
            None => return false,
        },
    };
    let address = &line[at + 2..];
    if address.starts_with(b"/") || address.starts_with(b"@") || address.starts_with(b"envoy://") {
        return true;
    }
    let Some(colon) = memchr::memrchr(b':', address) else { return false };
    let (host, port) = (&address[..colon], &address[colon + 1..]);
    let digits = !port.is_empty() && port.len() <= 5 && port.iter().all(u8::is_ascii_digit);
    let v4 = !host.is_empty() && host.iter().all(|b| b.is_ascii_digit() || *b == b'.');
    digits && (v4 || (host.starts_with(b"[") && host.ends_with(b"]")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms() {
        let text = "d073-c6::0.0.0.0:15090\n0.0.0.0_80::0.0.0.0:80\nv6::[::1]:80\nx::/var/run/a.sock\n";
        assert_eq!(read("x", text.as_bytes()), (Some(4), vec![]));
        let json = br#"{"listener_statuses":[{"name":"a"},{"name":"b"}]}"#;
        assert_eq!(read("x", json), (Some(2), vec![]));
        assert_eq!(read("x", br#"{"listener_statuses":[]}"#).0, Some(0));
    }

    #[test]
    fn cut_and_garbage() {
        let (n, problems) = read("x", b"a::1.2.3.4:80\nb::1.2.3.4:8");
        assert_eq!((n, problems[0].loss), (Some(2), Loss::Part));
        let (n, problems) = read("x", br#"{"listener_statuses":[{"name":"a"},{"na"#);
        assert_eq!((n, problems[0].loss), (Some(1), Loss::Part));
        for text in ["", "a::default_priority::max_connections::1024\n", "{}"] {
            assert_eq!(read("x", text.as_bytes()).0, None, "{text}");
        }
    }
}
