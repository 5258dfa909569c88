//! One page for a browser: no network, no inline styles, readable without JavaScript, in light and dark, and printed.
//!
//! Every value goes through [`maud`], which escapes it; names go through [`Name`], which also makes what could act on
//! the reader's screen visible. The policy of the page allows the one style sheet and the one script by their hashes and
//! nothing else.

mod analysis;
mod bpf;
mod check;
mod diff;
mod runs;
mod treemap;
mod waits;

use std::fmt;

use base64::Engine as _;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use super::document::{Body, Document, Evidence, Finding, Head, Input};
use super::words::{fit, is_hostile};
use crate::model::size::size;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// Findings shown in full.
const FINDINGS: usize = 100;
/// Findings named in the verdict.
const VERDICT: usize = 3;
/// Inputs and problems listed.
const INPUTS: usize = 200;

/// A name from the input, at most so many characters long, with nothing in it that acts on a screen.
struct Name<'a>(&'a str, usize);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&fit(self.0, self.1))
    }
}

impl maud::Render for Name<'_> {
    fn render_to(&self, buffer: &mut String) {
        fit(self.0, self.1).as_str().render_to(buffer);
    }
}

/// A name that stands in a text of its own direction, in full when pointed at.
fn name(text: &str, width: usize) -> Markup {
    let long = text.chars().count() > width;
    html! {
        @if text.is_empty() { span class="dim" { "(no name)" } }
        @else if long { span class="name" title=(Name(text, 600)) { (Name(text, width)) } }
        @else { span class="name" { (Name(text, width)) } }
    }
}

/// `1,234,567`.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// `1 proxy`, `1,200 proxies`.
fn count(n: u64, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{} {many}", grouped(n)) }
}

fn share(part: u64, whole: u64) -> String {
    if whole == 0 { String::new() } else { format!("{:.1}%", part as f64 * 100.0 / whole as f64) }
}

/// A bar of `part` in `whole`; the number stands beside it.
fn bar(part: u64, whole: u64) -> Markup {
    let percent = (part as f64 * 100.0 / whole.max(1) as f64).clamp(0.0, 100.0);
    html! {
        svg class="bars" width="100%" height="12" aria-hidden="true" {
            rect class="track" width="100%" height="12" {}
            rect width=(format!("{percent:.1}%")) height="12" {}
        }
    }
}

/// The page for one report, or several of one story.
pub(super) fn render(reports: &[Document]) -> String {
    let title = reports.first().map_or_else(|| "meshdump".to_owned(), title);
    let policy = format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    );
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="no-referrer";
                meta name="generator" content=(reports.first().map_or_else(|| "meshdump".to_owned(), |r| format!("meshdump {}", r.head.tool.version)));
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a class="skip" href="#findings" { "Skip to the findings" }
                main {
                    @for (i, report) in reports.iter().enumerate() { (section(report, i)) }
                }
                footer { (footer(reports)) }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    // the last word: whatever came from an input and was not cleaned as a name is made visible here
    let page = page.into_string();
    if !page.contains(acts) {
        return page;
    }
    page.chars().fold(String::with_capacity(page.len()), |mut out, c| {
        if acts(c) {
            out.extend(c.escape_unicode())
        } else {
            out.push(c)
        }
        out
    })
}

fn acts(c: char) -> bool {
    is_hostile(c) && c != '\n'
}

/// `sha256-…` of a style or script, as a Content-Security-Policy names it.
fn hash(text: &str) -> String {
    format!("sha256-{}", base64::engine::general_purpose::STANDARD.encode(Sha256::digest(text)))
}

fn title(report: &Document) -> String {
    match &report.body {
        Body::Analysis(a) => match a.proxies.as_slice() {
            [one] => format!("{}: {} estimated", Name(&one.label, 80), size(one.memory.allocated.bytes)),
            [] => "meshdump".to_owned(),
            many => format!("{} proxies", many.len()),
        },
        _ => format!("meshdump {}", Name(&report.head.kind, 40)),
    }
}

fn section(report: &Document, i: usize) -> Markup {
    // ids are those of the first report, so that its anchors are short
    let id = |what: &str| if i == 0 { what.to_owned() } else { format!("{what}-{i}") };
    let mut findings: Vec<&Finding> = report.head.findings.iter().collect();
    if let Body::Analysis(a) = &report.body {
        findings.extend(a.bpf.iter().flat_map(|b| &b.findings));
    }
    html! {
        @match &report.body {
            Body::Analysis(a) => (analysis::verdict(&report.head, a)),
            Body::Runs(r) => (runs::verdict(&report.head.kind, r)),
            Body::Bpf(b) => (bpf::verdict(b)),
            Body::Check(c) => (check::verdict(c)),
            Body::Diff(d) => (diff::verdict(d)),
            Body::Other => h1 { "meshdump " (Name(&report.head.kind, 40)) },
        }
        // a what-if has no findings of its own: its verdict and table say it
        @if !findings.is_empty() || !matches!(report.body, Body::Runs(_) | Body::Check(_) | Body::Diff(_) | Body::Other) { (headlines(&findings)) }
        nav aria-label="Contents" {
            @if matches!(report.body, Body::Diff(_)) { a href=(format!("#{}", id("findings"))) { "Differences" } }
            @else if let Body::Check(c) = &report.body { a href=(format!("#{}", id("findings"))) { (count(c.gates.len() as u64, "gate", "gates")) } }
            @else { a href=(format!("#{}", id("findings"))) { (count(findings.len() as u64, "finding", "findings")) } }
            @if let Body::Analysis(a) = &report.body { (analysis::contents(a)) }
            @if let Body::Runs(r) = &report.body {
                @if r.runs.len() > 1 { a href=(format!("#scenarios-{i}")) { "Scenarios" } }
                @if r.runs.iter().any(|r| !r.timeline.is_empty()) { a href=(format!("#runs-{i}")) { "Over time" } }
            }
            @if report.bpf().is_some() { a href=(format!("#bpf-{i}")) { "BPF maps" } }
            a href=(format!("#{}", id("inputs"))) { "Inputs, model, caveats" }
        }
        @if let Body::Diff(d) = &report.body {
            h2 id=(id("findings")) { "Differences" }
            (diff::sections(d))
        } @else if let Body::Check(c) = &report.body {
            h2 id=(id("findings")) { "Gates" }
            (check::gates(c))
        } @else {
            h2 id=(id("findings")) { "Findings" }
            (all_findings(&findings, matches!(&report.body, Body::Analysis(a) if a.proxies.len() > 1)))
        }
        @if let Body::Analysis(a) = &report.body { (analysis::sections(a)) }
        @if let Body::Runs(r) = &report.body { (runs::sections(r, i)) }
        @if let Some(b) = report.bpf() { (bpf::sections(b, i)) }
        h2 id=(id("inputs")) { "Inputs, model, caveats" }
        (inputs(&report.head))
    }
}

/// The most serious findings, in the verdict.
fn headlines(findings: &[&Finding]) -> Markup {
    let serious = || findings.iter().filter(|f| f.severity != "note");
    html! {
        @if findings.is_empty() { p { "Nothing was found that would need attention." } }
        @else if serious().next().is_none() { p { "Nothing is wrong with it as far as the evidence tells; the notes below say what the evidence lacks." } }
        ul class="verdict" {
            @for f in serious().take(VERDICT) {
                li {
                    (severity(f)) " " (f.title_in_full()) @if f.saved_bytes > 0 { ", saves " strong { (size(f.saved_bytes)) } }
                }
            }
        }
    }
}

fn severity(f: &Finding) -> Markup {
    let class = match f.severity.as_str() {
        "error" => "sev error",
        "warn" => "sev warn",
        _ => "sev note",
    };
    html! { span class=(class) { (Name(&f.severity, 10)) } }
}

impl Finding {
    fn title_in_full(&self) -> Markup {
        html! { (name(&self.title, 400)) }
    }
}

fn all_findings(findings: &[&Finding], many: bool) -> Markup {
    html! {
        @if findings.is_empty() { p { "None." } }
        @for f in findings.iter().take(FINDINGS) {
            article class=(match f.severity.as_str() { "error" => "error", "warn" => "warn", _ => "note" }) {
                @if f.saved_bytes > 0 { span class="saves" { "saves " (size(f.saved_bytes)) } }
                h3 { (severity(f)) " " code { (Name(&f.code, 12)) } " " (f.title_in_full()) }
                @if many && !f.proxy.is_empty() { p class="dim" { "proxy " (name(&f.proxy, 120)) } }
                @if !f.evidence.is_empty() {
                    ul {
                        @for e in &f.evidence { li { (evidence(e)) } }
                        @if f.evidence_omitted > 0 { li { "[" (count(f.evidence_omitted, "other", "others")) "]" } }
                    }
                }
                @if !f.fix.is_empty() { p { strong { "Fix: " } (name(&f.fix, 800)) } }
            }
        }
        @if findings.len() > FINDINGS { p { "[" (count((findings.len() - FINDINGS) as u64, "other", "others")) "]" } }
        @if findings.iter().filter(|f| f.saved_bytes > 0).count() > 1 { p class="dim" { "Savings overlap and must not be added." } }
    }
}

fn evidence(e: &Evidence) -> Markup {
    html! {
        (name(&e.text, 300))
        @if !e.path.is_empty() || e.line.is_some() {
            " " span class="mono" {
                "(" (Name(&e.path, 120))
                @if let Some(line) = e.line { @if !e.path.is_empty() { ":" } (line) }
                @if let Some(offset) = e.offset { ", byte " (offset) }
                ")"
            }
        }
    }
}

fn inputs(head: &Head) -> Markup {
    html! {
        div class="scroll" {
            table class="sort" {
                thead { tr { th { "Input" } th { "Kind" } th class="n" { "Size" } th { "Proxy" } th { "SHA-256" } } }
                tbody {
                    @for i in head.inputs.iter().take(INPUTS) { (input(i)) }
                    @if head.inputs.len() > INPUTS {
                        tr class="rest" { td colspan="5" { "[" (count((head.inputs.len() - INPUTS) as u64, "other", "others")) "]" } }
                    }
                }
            }
        }
        @if !head.problems.is_empty() {
            h3 { "What could not be read" }
            ul {
                @for p in head.problems.iter().take(INPUTS) {
                    li {
                        (name(&p.path, 120)) @if let Some(line) = p.line { ":" (line) } @if let Some(offset) = p.offset { ", byte " (offset) }
                        ": " (name(&p.message, 400)) @if !p.hint.is_empty() { "; " (name(&p.hint, 300)) }
                        @if p.loss != "nothing" { " (lost: " (Name(&p.loss, 20)) ")" }
                    }
                }
                @if head.problems.len() > INPUTS { li { "[" (count((head.problems.len() - INPUTS) as u64, "other", "others")) "]" } }
            }
        }
        p { "Bytes are estimates of cost model " code { (Name(&head.tool.cost_model, 60)) } " with bounds where they are written; counts, states and gauges are read, not guessed. Parts of the whole are rounded." }
        p class="dim" { "Names are those of the evidence. Contents of certificates, code and headers are never in a report." }
    }
}

fn input(i: &Input) -> Markup {
    html! {
        tr {
            td { (name(&i.path, 100)) @if let Some(note) = &i.note { br; span class="dim" { (name(note, 200)) } } }
            td { (Name(&i.kind, 40)) }
            td class="n" { (size(i.bytes)) }
            td { @if let Some(p) = &i.proxy { (name(p, 60)) } }
            td class="mono" title=(Name(&i.sha256, 64)) { (i.sha256.chars().take(16).collect::<String>()) }
        }
    }
}

fn footer(reports: &[Document]) -> Markup {
    let tool = reports.first().map(|r| &r.head.tool);
    html! {
        "Made offline by meshdump " @if let Some(t) = tool { (Name(&t.version, 20)) }
        " from the inputs above; the same inputs give the same page. This file loads nothing from anywhere."
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_a_name_is_text() {
        let hostile = "</script><script>alert(1)</script>\"onload='x'\u{1b}[31m\u{202e}\n&amp;";
        let text = name(hostile, 500).into_string();
        assert_eq!(
            text,
            "<span class=\"name\">&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;&quot;onload='x'\\u{1b}[31m\\u{202e}\\u{a}\
             &amp;amp;</span>"
        );
    }

    #[test]
    fn numbers() {
        assert_eq!([grouped(0), grouped(999), grouped(1000), grouped(1_234_567)], ["0", "999", "1,000", "1,234,567"]);
    }
}
