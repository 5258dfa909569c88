//! Formats that continuous integration reads: findings, or the gates of a check that do not hold, as one list.

pub(super) mod github;
pub(super) mod junit;
pub(super) mod sarif;

use super::document::{Body, Document, Evidence, Gate};
use super::words::{count, fit};

/// Length of names and messages: a label can have 4 KB.
const TEXT: usize = 300;
/// Evidence in a message of text only.
const NAMED: usize = 3;

/// Something that a person should look at.
struct Notice<'a> {
    rule: &'a str,
    /// `error`, `warn` or `note`.
    severity: &'a str,
    proxy: &'a str,
    message: &'a str,
    /// Why it is suppressed, when it is.
    reason: Option<&'a str>,
    places: &'a [Evidence],
    omitted: u64,
}

impl Notice<'_> {
    /// The message, with the proxy in front of it.
    fn text(&self) -> String {
        let message = fit(self.message, TEXT);
        if self.proxy.is_empty() { message } else { format!("{}: {message}", fit(self.proxy, 80)) }
    }

    /// The message, and in one line the places behind the first.
    fn text_with_places(&self) -> String {
        let mut text = self.text();
        let named: Vec<String> =
            self.places.iter().take(NAMED).map(|p| fit(&p.text, 120)).filter(|t| !t.is_empty()).collect();
        if !named.is_empty() {
            text.push_str(": ");
            text.push_str(&named.join(", "));
            let rest = self.places.len().saturating_sub(NAMED) as u64 + self.omitted;
            if rest > 0 {
                text.push_str(&format!(" [{}]", count(rest, "other", "others")));
            }
        }
        text
    }
}

/// The severity of a gate that does not hold.
fn severity(gate: &Gate) -> Option<&'static str> {
    match gate.status.as_str() {
        "fail" | "suppressed" => Some("error"),
        "warn" => Some("warn"),
        _ => None,
    }
}

/// What a report has to say, in its order.
fn notices(report: &Document) -> Vec<Notice<'_>> {
    let of_maps = match &report.body {
        Body::Analysis(a) => a.bpf.as_ref().map(|b| b.findings.as_slice()).unwrap_or_default(),
        _ => &[],
    };
    let mut out: Vec<Notice<'_>> = report
        .head
        .findings
        .iter()
        .chain(of_maps)
        .map(|f| Notice {
            rule: &f.code,
            severity: &f.severity,
            proxy: &f.proxy,
            message: &f.title,
            reason: None,
            places: &f.evidence,
            omitted: f.evidence_omitted,
        })
        .collect();
    if let Body::Check(check) = &report.body {
        out.extend(check.gates.iter().filter_map(|g| {
            Some(Notice {
                rule: &g.rule,
                severity: severity(g)?,
                proxy: &g.proxy,
                message: &g.message,
                reason: (g.status == "suppressed").then_some(g.reason.as_str()),
                places: &g.places,
                omitted: g.places_omitted,
            })
        }));
    }
    out
}
