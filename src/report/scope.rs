//! What `meshdump whatif scope` says to people.

use std::fmt::Write as _;

use super::bpf::finding;
use super::text::{align_right, bold, problem_line, table, trimmed};
use super::words::{clean, count, fit, wrap};
use crate::cost::Estimate;
use crate::findings::scope::{
    Bill, BpfBill, Break, Difference, Fleet, Growth, Knative, ScopeReport, UnitCost, WorkloadRow,
};
use crate::model::size::size;

/// Workloads, breaks and manifests listed.
const TOP: usize = 20;

/// The whole report.
pub fn scope(r: &ScopeReport, width: usize) -> String {
    let mut out = String::new();
    answer(&mut out, r, width);
    workloads(&mut out, r, width);
    breaks(&mut out, r, width);
    differences(&mut out, &r.workloads, width);
    bill(&mut out, &r.bill);
    if let Some(g) = &r.growth {
        growth(&mut out, g, width);
    }
    if let Some(k) = &r.knative {
        knative(&mut out, k, width);
    }
    if !r.findings.is_empty() {
        out.push_str("FINDINGS\n");
        r.findings.iter().for_each(|f| finding(&mut out, f, width));
        out.push('\n');
    }
    manifests(&mut out, r, width);
    for m in &r.missing {
        let _ = writeln!(out, "missing  {}: `{}`", m.what, m.command);
    }
    for n in &r.notes {
        let _ = writeln!(out, "{}", wrap(&format!("note     {}", clean(n)), width, 9));
    }
    for p in r.problems.iter().take(TOP) {
        let word = if p.loss == "nothing" { "noted" } else { "lost" };
        let _ = writeln!(out, "{}", wrap(&format!("{word:<8} {}", problem_line(p)), width, 9));
    }
    if r.problems.len() > TOP {
        let _ = writeln!(out, "[{}]", count((r.problems.len() - TOP) as u64, "other problem", "other problems"));
    }
    out
}

fn band(e: Estimate) -> String {
    format!("{} ({}..{})", size(e.bytes), size(e.low), size(e.high))
}

fn answer(out: &mut String, r: &ScopeReport, width: usize) {
    let b = bold();
    let (sidecars, gateways) = (&r.bill.sidecars, &r.bill.gateways);
    match &r.scenario {
        Some(s) => {
            let _ = writeln!(out, "{b}{}{b:#}", wrap(&format!("SCOPE  {}", clean(s)), width, 7));
            let saved = sidecars.saved_bytes + gateways.saved_bytes;
            let whole = sidecars.envoy.bytes + gateways.envoy.bytes;
            let percent = saved as f64 * 100.0 / whole.max(1) as f64;
            let _ = writeln!(
                out,
                "{b}saves {}{b:#} of {} resident in {}  ({percent:.0}%)   would break: {}",
                size(saved),
                size(whole),
                count(sidecars.proxies + gateways.proxies, "proxy", "proxies"),
                if r.breaks.is_empty() {
                    "nothing that the evidence shows".to_owned()
                } else {
                    count(r.breaks.len() as u64, "thing", "things")
                },
            );
        }
        None => {
            let gateways_too = match gateways.proxies {
                0 => String::new(),
                n => format!(" AND {}", count(n, "GATEWAY", "GATEWAYS")),
            };
            let _ = writeln!(
                out,
                "{b}{}{gateways_too}, {} RESIDENT{b:#}   model {}",
                count(sidecars.proxies, "SIDECAR", "SIDECARS"),
                size(sidecars.envoy.bytes + gateways.envoy.bytes),
                r.tool.cost_model,
            );
        }
    }
    out.push('\n');
}

fn workloads(out: &mut String, r: &ScopeReport, width: usize) {
    let changed = r.scenario.is_some();
    let mut t = if changed {
        table(&["WORKLOAD", "×", "CLUSTERS", "LISTENERS", "VHOSTS", "ALLOCATED", "RESIDENT", "SAVED EACH", "SAVED"])
    } else {
        table(&["WORKLOAD", "×", "CLUSTERS", "LISTENERS", "VHOSTS", "ENDPOINTS", "ALLOCATED", "RESIDENT", "SIDECAR"])
    };
    align_right(&mut t, if changed { &[1, 2, 3, 4, 5, 6, 7, 8] } else { &[1, 2, 3, 4, 5, 6, 7] });
    let arrow = |a: u64, b: u64| if a == b { a.to_string() } else { format!("{a} → {b}") };
    let bytes = |a: u64, b: u64| if a == b { size(a) } else { format!("{} → {}", size(a), size(b)) };
    // what the other columns take, mostly
    let others_wide = if changed { 84 } else { 96 };
    let mut shown = 0;
    for same in r.workloads.chunk_by(alike).take(TOP) {
        let w = &same[0];
        shown += same.len();
        let name = if w.namespace.is_empty() { w.name.to_string() } else { format!("{}/{}", w.namespace, w.name) };
        let more = if same.len() > 1 { format!(" +{}", same.len() - 1) } else { String::new() };
        let name = format!("{}{more}", fit(&name, width.saturating_sub(others_wide + more.len()).max(22)));
        let (x, y) = (&w.before, &w.after);
        let mut row = vec![
            name,
            same.iter().map(|w| u64::from(w.replicas)).sum::<u64>().to_string(),
            arrow(x.counts.clusters, y.counts.clusters),
            arrow(x.counts.listeners, y.counts.listeners),
            arrow(x.counts.virtual_hosts, y.counts.virtual_hosts),
        ];
        if changed {
            row.push(bytes(x.allocated.bytes, y.allocated.bytes));
            row.push(bytes(x.resident.bytes, y.resident.bytes));
            row.push(size(w.saved_resident_bytes));
            row.push(size(same.iter().fold(0, |sum, w| sum.saturating_add(w.saved_total_bytes))));
        } else {
            row.push(x.counts.endpoints.to_string());
            row.push(size(x.allocated.bytes));
            row.push(size(x.resident.bytes));
            let role = if w.role == "sidecar" { "none: sees everything" } else { w.role };
            row.push(w.sidecar.as_deref().map_or_else(|| role.to_owned(), |s| fit(s, 30)));
        }
        t.add_row(row);
    }
    out.push_str(&trimmed(&t));
    others(out, r.workloads.len() - shown);
}

/// Workloads of one namespace whose proxies hold the same: one line.
fn alike(a: &WorkloadRow, b: &WorkloadRow) -> bool {
    a.namespace == b.namespace
        && (a.before, a.after, a.role) == (b.before, b.after, b.role)
        && (a.sidecar == b.sidecar && a.source == b.source)
}

fn others(out: &mut String, n: usize) {
    if n > 0 {
        let _ = writeln!(out, "[{}]", count(n as u64, "other", "others"));
    }
    out.push('\n');
}

fn breaks(out: &mut String, r: &ScopeReport, width: usize) {
    if r.breaks.is_empty() {
        return;
    }
    let b = bold();
    let _ = writeln!(out, "{b}WOULD BREAK{b:#}");
    for x in r.breaks.iter().take(TOP) {
        let Break { kind, workload, name, detail } = x;
        let line = format!("  {kind:<16} {}: {} {}", clean(workload), clean(name), clean(detail));
        let _ = writeln!(out, "{}", wrap(&line, width, 19));
    }
    others(out, r.breaks.len().saturating_sub(TOP));
}

fn differences(out: &mut String, rows: &[WorkloadRow], width: usize) {
    let compared = rows.iter().filter(|w| w.compared).count() as u64;
    if compared == 0 {
        return;
    }
    let differ: Vec<&WorkloadRow> = rows.iter().filter(|w| !w.differences.is_empty()).collect();
    let _ = writeln!(
        out,
        "rules against dumps: {} compared, {} with the same clusters, listeners, route tables and virtual hosts",
        count(compared, "workload", "workloads"),
        compared - differ.len() as u64,
    );
    for w in differ.iter().take(TOP) {
        for Difference { kind, dump, expected, only_dump, only_expected, why } in &w.differences {
            let mut line = format!("  {}/{}: {kind} {dump} in the dump, {expected} by the rules", w.namespace, w.name);
            for (what, names) in [("only in the dump", only_dump), ("only by the rules", only_expected)] {
                if !names.is_empty() {
                    let _ = write!(line, "; {what}: {}", names.join(", "));
                }
            }
            if !why.is_empty() {
                let _ = write!(line, " ({why})");
            }
            let _ = writeln!(out, "{}", wrap(&clean(&line), width, 4));
        }
    }
    out.push('\n');
}

fn bill(out: &mut String, b: &Bill) {
    let mut t = table(&["BILL", "PROXIES", "ENVOY", "AGENT", "EACH", "TOTAL"]);
    align_right(&mut t, &[1, 2, 3, 4, 5]);
    let mut row = |name: &str, f: &Fleet| {
        if f.proxies > 0 {
            t.add_row([
                name.to_owned(),
                f.proxies.to_string(),
                size(f.envoy.bytes),
                size(f.agent.bytes),
                band(f.each),
                band(f.total),
            ]);
        }
    };
    row("sidecars", &b.sidecars);
    row("gateways", &b.gateways);
    out.push_str(&trimmed(&t));
    if let Some(BpfBill { nodes, each_bytes, total_bytes }) = b.bpf {
        let _ = writeln!(
            out,
            "BPF maps {} on the node that was listed; {} on {} like it",
            size(each_bytes),
            size(total_bytes),
            count(nodes, "node", "nodes")
        );
    }
    if let (Some(app), Some(percent)) = (b.app_bytes, b.adds_percent) {
        let _ = writeln!(
            out,
            "the sidecars add {percent}% to {} of applications; the share depends on the applications and is no property \
             of the mesh, the bytes per sidecar are",
            size(app)
        );
    }
    out.push('\n');
}

fn number(x: f64) -> String {
    if (x - x.round()).abs() < 0.005 { format!("{x:.0}") } else { format!("{x:.2}") }
}

fn growth(out: &mut String, g: &Growth, width: usize) {
    let b = bold();
    let _ = writeln!(
        out,
        "{b}GROWTH{b:#} of {}  (resident: after a start, grown push by push, once every cluster was pushed anew)",
        clean(&g.workload)
    );
    let mut t = table(&["ONE MORE", "NOW", "CLUSTERS", "LISTENERS", "VHOSTS", "ALLOCATED", "RESIDENT", "LIMIT AT"]);
    align_right(&mut t, &[1, 2, 3, 4, 5, 6, 7]);
    for u in &g.units {
        let UnitCost { unit, count, clusters, listeners, virtual_hosts, allocated_bytes, resident, limit_at, .. } = u;
        let one = unit.plural().trim_end_matches('s');
        let three = format!("{} / {} / {}", size(resident.low), size(resident.bytes), size(resident.high));
        t.add_row([
            one.to_owned(),
            count.to_string(),
            number(*clusters),
            number(*listeners),
            number(*virtual_hosts),
            size(*allocated_bytes),
            three,
            limit_at.map_or_else(|| "-".to_owned(), |l| format!("{} ({}..{})", l.count, l.low, l.high)),
        ]);
    }
    out.push_str(&trimmed(&t));
    let _ = writeln!(out, "{}", wrap(&format!("shape    {}", g.shape), width, 9));
    if let Some(l) = g.limit_bytes {
        let _ = writeln!(out, "limit    {}, which Envoy and its agent share", size(l));
    }
    if !g.points.is_empty() {
        let mut t = table(&["AT", "CLUSTERS", "ALLOCATED", "AFTER A START", "GROWN", "CHURNED", "LIMIT"]);
        align_right(&mut t, &[1, 2, 3, 4, 5]);
        for p in &g.points {
            t.add_row([
                format!("{} {}", p.count, p.unit.plural()),
                p.clusters.to_string(),
                size(p.allocated_bytes),
                size(p.with_agent.low),
                size(p.with_agent.bytes),
                size(p.with_agent.high),
                match p.limit {
                    Some("above") => "above".to_owned(),
                    Some("when_churned") => "above when churned".to_owned(),
                    Some(_) => "below".to_owned(),
                    None => String::new(),
                },
            ]);
        }
        let _ = writeln!(out, "\nwith the agent:");
        out.push_str(&trimmed(&t));
    }
    if !g.series.is_empty() {
        let points: Vec<String> = g
            .series
            .iter()
            .map(|m| format!("{} services {}", m.services, size(m.observed_bytes.unwrap_or(m.allocated_bytes))))
            .collect();
        let slope = g.series_bytes_per_service.map(|b| format!("; {} per service", size(b))).unwrap_or_default();
        let _ = writeln!(out, "{}", wrap(&format!("series   {}{slope}", points.join(" → ")), width, 9));
    }
    out.push('\n');
}

fn knative(out: &mut String, k: &Knative, width: usize) {
    let b = bold();
    let inactive = if k.inactive_known {
        format!("{} lead nowhere", k.inactive.len())
    } else {
        "which of them lead nowhere the export does not tell: `kubectl get ksvc,revisions,routes.serving.knative.dev -A -o json`"
            .to_owned()
    };
    let line = format!(
        "{b}KNATIVE{b:#}  {}, each with {} Services and {} clusters in every sidecar; {inactive}",
        count(k.revisions, "revision", "revisions"),
        number(k.services_per_revision),
        number(k.clusters_per_revision),
    );
    let _ = writeln!(out, "{}", wrap(&line, width, 9));
    for i in k.inactive.iter().take(TOP) {
        let _ = writeln!(out, "  {}/{} of {}", clean(&i.namespace), clean(&i.name), clean(&i.service));
    }
    if k.inactive.len() > TOP {
        let _ = writeln!(out, "  [{}]", count((k.inactive.len() - TOP) as u64, "other", "others"));
    }
    let _ = writeln!(out, "{}\n", wrap(&format!("  gc: {}", clean(&k.gc)), width, 6));
}

fn manifests(out: &mut String, r: &ScopeReport, width: usize) {
    if r.manifests.is_empty() {
        return;
    }
    let names: Vec<String> = r
        .manifests
        .iter()
        .take(TOP)
        .map(|m| format!("{} {}/{}", m.kind, clean(&m.namespace), clean(&m.name)))
        .collect();
    let more = r.manifests.len().saturating_sub(TOP) as u64;
    let more = if more > 0 { format!(" [{}]", count(more, "other", "others")) } else { String::new() };
    let line = format!("apply    `--emit-yaml` prints {}{more}", names.join(", "));
    let _ = writeln!(out, "{}", wrap(&line, width, 9));
}
