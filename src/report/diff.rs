//! Two runs side by side, for people: memory first, then the resources.

use std::fmt::Write as _;

use super::text::{align_right, bold, table, trimmed};
use super::words::{clean, count, fit};
use crate::findings::bpf::Changes;
use crate::findings::diff::{Diff, GroupDiff, KindDiff, Pair, ProxyDiff, ResourceDiff};
use crate::findings::diff_recording::{FinalResource, RecordingDiff};
use crate::model::size::size;

/// Resources and fields listed per group without `--full`.
const TOP: usize = 20;
const TOP_FIELDS: usize = 8;

/// Renders a diff for a terminal of `width` columns.
pub fn text(d: &Diff, width: usize, full: bool) -> String {
    let mut out = String::new();
    for p in &d.proxies {
        proxy(&mut out, p, width, full);
    }
    for (list, word) in [(&d.proxies_removed, "only in the first"), (&d.proxies_added, "only in the second")] {
        if !list.is_empty() {
            let names: Vec<_> = list.iter().map(|l| clean(l)).collect();
            let _ = writeln!(out, "PROXIES {word}: {}\n", names.join(", "));
        }
    }
    if let Some(maps) = &d.bpf {
        bpf(&mut out, maps, width);
    }
    if let Some(r) = &d.recording {
        recording(&mut out, r, width, full);
    }
    if d.equal {
        let order: usize = d.proxies.iter().map(|p| p.resources.order_only.len()).sum();
        let but = if order > 0 { " but order" } else { "" };
        let _ = writeln!(out, "No difference{but}: times, versions, spelling, defaults and the order of sets aside.");
    }
    for p in &d.problems {
        let _ = writeln!(out, "READING {}", super::text::problem_line(p));
    }
    out
}

fn signed(delta: i64) -> String {
    match delta {
        0 => "0".to_owned(),
        d => format!("{}{}", if d < 0 { '-' } else { '+' }, size(d.unsigned_abs())),
    }
}

fn percent(p: Pair) -> String {
    if p.before == 0 { String::new() } else { format!("  {:+.1}%", p.delta() as f64 * 100.0 / p.before as f64) }
}

fn line(out: &mut String, word: &str, p: Pair) {
    let _ = writeln!(out, "{word:<10}{} -> {}   {}{}", size(p.before), size(p.after), signed(p.delta()), percent(p));
}

fn proxy(out: &mut String, p: &ProxyDiff, width: usize, full: bool) {
    let b = bold();
    let _ = writeln!(out, "{b}{}{b:#}", clean(&p.label));
    line(out, "ALLOCATED", p.memory.allocated);
    line(out, "RESIDENT", p.memory.resident);
    if let Some(observed) = p.memory.observed {
        line(out, "observed", observed);
    }
    let rows: Vec<&KindDiff> = p.by_kind.iter().filter(|k| k.bytes.delta() != 0 || k.count.delta() != 0).collect();
    if !rows.is_empty() {
        let mut t = table(&["DELTA", "WAS", "NOW", "WHAT", "WHERE MOST"]);
        align_right(&mut t, &[0, 1, 2]);
        for k in rows {
            let state = if k.state.is_empty() { String::new() } else { format!(", {}", k.state) };
            let many = if k.count.before == k.count.after {
                format!("{}{state}  {}", k.kind, k.count.after)
            } else {
                format!("{}{state}  {} -> {}", k.kind, k.count.before, k.count.after)
            };
            let most = k.most.as_ref().map(|m| group(m, width)).unwrap_or_default();
            t.add_row([signed(k.bytes.delta()), size(k.bytes.before), size(k.bytes.after), many, most]);
        }
        out.push_str(&trimmed(&t));
    }
    let r = &p.resources;
    let mut facts = vec![
        format!("+{} added", r.added.len()),
        format!("-{} removed", r.removed.len()),
        format!("~{} changed", r.changed.len()),
        format!("{} reordered", r.reordered.len()),
    ];
    if !r.order_only.is_empty() {
        facts.push(format!("{} in another order that means nothing", r.order_only.len()));
    }
    if r.unread > 0 {
        facts.push(format!("{} not readable again", r.unread));
    }
    let _ = writeln!(out, "RESOURCES {}, {} unchanged", facts.join(", "), r.unchanged);
    for (mark, list) in
        [('+', &r.added), ('-', &r.removed), ('~', &r.changed), ('%', &r.reordered), ('=', &r.order_only)]
    {
        let most = if full { list.len() } else { TOP };
        for x in list.iter().take(most) {
            resource(out, mark, x, width, full);
        }
        if list.len() > most {
            let _ = writeln!(out, "{mark} [{}]", count((list.len() - most) as u64, "other", "others"));
        }
    }
    out.push('\n');
}

fn group(g: &GroupDiff, width: usize) -> String {
    let delta = g.count.delta();
    let n = if delta == 0 { String::new() } else { format!("{delta:+} ") };
    let name = if g.name == "-" { "no namespace".to_owned() } else { fit(&g.name, width / 4) };
    format!("{n}in {name} ({})", signed(g.bytes.delta()))
}

fn resource(out: &mut String, mark: char, x: &ResourceDiff, width: usize, full: bool) {
    let name = if x.name.is_empty() { "(no name)".to_owned() } else { fit(&x.name, width.saturating_sub(30)) };
    let state = match (x.state_before, x.state) {
        ("", "active" | "static") => String::new(),
        ("", state) => format!(" ({state})"),
        (before, state) => format!(" ({before} -> {state})"),
    };
    let delta = match x.bytes.delta() {
        0 => String::new(),
        d => format!("  {}", signed(d)),
    };
    let _ = writeln!(out, "{mark} {}/{name}{state}{delta}", x.kind);
    let most = if full { x.fields.len() } else { TOP_FIELDS };
    for f in x.fields.iter().take(most) {
        let path = fit(&f.path, width.saturating_sub(44).max(20));
        let values = match f.change {
            "added" => format!("+ {}", value(&f.after, width)),
            "removed" => format!("- {}", value(&f.before, width)),
            "reordered" | "order_only" => format!("order: {} of {}", f.after, f.before),
            _ => format!("{} -> {}", value(&f.before, width), value(&f.after, width)),
        };
        let _ = writeln!(out, "    {path}  {values}");
    }
    let more = x.fields.len().saturating_sub(most) as u64 + x.fields_omitted;
    if more > 0 {
        let _ = writeln!(out, "    [{}]", count(more, "other", "others"));
    }
}

fn value(text: &str, width: usize) -> String {
    if text.is_empty() { "\"\"".to_owned() } else { fit(text, (width / 3).max(20)) }
}

fn recording(out: &mut String, r: &RecordingDiff, width: usize, full: bool) {
    let m = &r.memory;
    line(out, "PEAK", m.peak);
    line(out, "RESIDENT", m.peak_resident);
    line(out, "END", m.end);
    line(out, "SETTLED", m.settled);
    if m.leaked.before + m.leaked.after > 0 {
        line(out, "LEAKED", m.leaked);
    }
    if !r.equal && r.cause.before != r.cause.after {
        let _ = writeln!(out, "RAISED BY {}\n       -> {}", fit(&r.cause.before, width), fit(&r.cause.after, width));
    }
    let differ: Vec<_> = r.counts.iter().filter(|c| full || c.count.delta() != 0).collect();
    if !differ.is_empty() {
        let mut t = table(&["DELTA", "WAS", "NOW", "WHAT"]);
        align_right(&mut t, &[0, 1, 2]);
        for c in differ {
            let (before, after) = (c.count.before, c.count.after);
            t.add_row([format!("{:+}", c.count.delta()), before.to_string(), after.to_string(), c.what.clone()]);
        }
        out.push_str(&trimmed(&t));
    }
    let f = &r.resources;
    let _ = writeln!(
        out,
        "LEFT WITH +{} added, -{} removed, ~{} changed, {} reordered, {} unchanged",
        f.added.len(),
        f.removed.len(),
        f.changed.len(),
        f.reordered.len(),
        f.unchanged
    );
    for (mark, list) in [('+', &f.added), ('-', &f.removed), ('~', &f.changed), ('%', &f.reordered)] {
        let most = if full { list.len() } else { TOP };
        for x in list.iter().take(most) {
            final_resource(out, mark, x, width, full);
        }
        if list.len() > most {
            let _ = writeln!(out, "{mark} [{}]", count((list.len() - most) as u64, "other", "others"));
        }
    }
    out.push('\n');
}

fn final_resource(out: &mut String, mark: char, x: &FinalResource, width: usize, full: bool) {
    let _ = writeln!(out, "{mark} {}/{}", x.xds, fit(&x.name, width.saturating_sub(10)));
    let most = if full { x.fields.len() } else { TOP_FIELDS };
    for f in x.fields.iter().take(most) {
        let _ = writeln!(out, "    {}", fit(f, width.saturating_sub(4)));
    }
    if x.fields.len() > most {
        let _ = writeln!(out, "    [{}]", count((x.fields.len() - most) as u64, "other", "others"));
    }
}

fn bpf(out: &mut String, c: &Changes, width: usize) {
    let after: u64 = c.memlock_after;
    line(out, "BPF MAPS", Pair { before: c.memlock_before, after });
    let mut t = table(&["DELTA", "WAS", "NOW", "MAPS", "MAP"]);
    align_right(&mut t, &[0, 1, 2]);
    for x in c.changed.iter().take(TOP) {
        let again = if x.recreated { ", re-created" } else { "" };
        t.add_row([
            signed(x.memlock_after as i64 - x.memlock_before as i64),
            size(x.memlock_before),
            size(x.memlock_after),
            format!("{} -> {}", x.maps_before, x.maps_after),
            format!("{} ({} of {}{again})", fit(&x.name, width / 3), x.map_type, x.entries_max),
        ]);
    }
    if !c.changed.is_empty() {
        out.push_str(&trimmed(&t));
    }
    if c.changed.len() > TOP {
        let _ = writeln!(out, "[{}]", count((c.changed.len() - TOP) as u64, "other", "others"));
    }
    out.push('\n');
}
