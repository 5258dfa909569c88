//! The report on BPF maps, as text.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};

use super::clean;
use crate::cost::kernel::Era;
use crate::cost::kernel::solve::{CpusFrom, EraFrom};
use crate::findings::Finding;
use crate::findings::bpf::{BpfReport, ParentFrom, ProgramView, Row, bytes, group};

/// Rows shown per owner, and of every other list, unless all are wanted.
const TOP: usize = 12;
/// Owners shown.
const OWNERS: usize = 8;

/// The text: the answer, each map once, what the columns mean, findings, and how the kernel was told.
pub fn text(report: &BpfReport, width: usize, all: bool) -> String {
    let mut out = String::new();
    if report.maps.is_empty() && !report.sums.is_empty() {
        sums(&mut out, report);
        return out;
    }
    answer(&mut out, report);
    out.push('\n');
    rows(&mut out, report, all);
    programs(&mut out, report, all);
    elsewhere(&mut out, report);
    for found in &report.findings {
        finding(&mut out, found, width);
    }
    kernel(&mut out, report, width);
    out
}

fn answer(out: &mut String, report: &BpfReport) {
    let t = &report.totals;
    let inner: u64 = report.rows.iter().filter(|r| r.parent.is_some()).map(|r| r.totals.maps).sum();
    let _ = write!(
        out,
        "{} BPF map{}: reported {}, real {}, charged to containers {}",
        group(t.maps),
        if t.maps == 1 { "" } else { "s" },
        bytes(t.memlock),
        range(t.real, t.real_max),
        bytes(t.charged)
    );
    if inner > 0 {
        let _ = write!(out, "; {} are inside other maps", group(inner));
    }
    out.push('\n');
}

fn range(low: u64, high: u64) -> String {
    if high > low + low / 50 { format!("{} to {}", bytes(low), bytes(high)) } else { bytes(low) }
}

pub(super) fn table(header: &[&str], right: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.iter().copied());
    for column in right {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Without the blanks a table puts at the ends of lines.
pub(super) fn push(out: &mut String, table: &mut Table) {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for line in table.to_string().lines() {
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

fn rows(out: &mut String, report: &BpfReport, all: bool) {
    let mut table =
        table(&["MAP", "TYPE", "MAPS", "LIVE/MAX", "REPORTED", "REAL", "CHARGED", "NOTES"], &[2, 3, 4, 5, 6]);
    let mut notes = Notes::default();
    let mut rest_of_owners = Vec::new();
    for (i, g) in report.groups.iter().enumerate() {
        if !all && i >= OWNERS && report.groups.len() > OWNERS + 1 {
            rest_of_owners.push(g);
            continue;
        }
        table.add_row([
            clean(&g.owner).into_owned(),
            String::new(),
            group(g.totals.maps),
            String::new(),
            bytes(g.totals.memlock),
            at_least(g.totals.real, g.totals.real_max),
            bytes(g.totals.charged),
            String::new(),
        ]);
        let of_owner: Vec<&Row> = report.rows.iter().filter(|r| r.owner == g.owner).collect();
        let shown = if all || of_owner.len() <= TOP + 1 { of_owner.len() } else { TOP };
        for row in &of_owner[..shown] {
            let indent = if row.parent.is_some() { "    " } else { "  " };
            let name = if row.name.is_empty() { "(unnamed)".into() } else { clean(&row.name).into_owned() };
            let mut why: Vec<String> = Vec::new();
            match row.parent_from {
                Some(ParentFrom::Dump) => why.push("inside the map above, by its dump".into()),
                Some(ParentFrom::Shape) => why.push("inside the map above: inferred, no dump of it is given".into()),
                Some(ParentFrom::OneOfEqual) => {
                    why.push("inside the equal maps above: inferred, no dumps of them are given".into());
                }
                None => {}
            }
            why.extend(row.why.iter().cloned());
            table.add_row([
                format!("{indent}{name}"),
                row.map_type.clone(),
                group(row.totals.maps),
                live(row),
                bytes(row.totals.memlock),
                at_least(row.totals.real, row.totals.real_max),
                bytes(row.totals.charged),
                notes.marks(&why),
            ]);
        }
        let rest = &of_owner[shown..];
        if !rest.is_empty() {
            let sum = |f: fn(&Row) -> u64| rest.iter().map(|r| f(r)).sum::<u64>();
            table.add_row([
                format!("  [{} others]", rest.len()),
                String::new(),
                group(sum(|r| r.totals.maps)),
                String::new(),
                bytes(sum(|r| r.totals.memlock)),
                bytes(sum(|r| r.totals.real)),
                bytes(sum(|r| r.totals.charged)),
                String::new(),
            ]);
        }
    }
    if !rest_of_owners.is_empty() {
        table.add_row([
            format!("[{} other owners]", rest_of_owners.len()),
            String::new(),
            group(rest_of_owners.iter().map(|g| g.totals.maps).sum()),
            String::new(),
            bytes(rest_of_owners.iter().map(|g| g.totals.memlock).sum()),
            bytes(rest_of_owners.iter().map(|g| g.totals.real).sum()),
            bytes(rest_of_owners.iter().map(|g| g.totals.charged).sum()),
            String::new(),
        ]);
    }
    let t = &report.totals;
    table.add_row([
        "TOTAL, each map once".into(),
        String::new(),
        group(t.maps),
        String::new(),
        bytes(t.memlock),
        at_least(t.real, t.real_max),
        bytes(t.charged),
        String::new(),
    ]);
    push(out, &mut table);
    for (mark, note) in notes.0.iter().enumerate() {
        let _ = writeln!(out, "  {} {note}", letter(mark));
    }
}

/// Marks a lower bound.
fn at_least(low: u64, high: u64) -> String {
    if high > low + low / 50 { format!("{}+", bytes(low)) } else { bytes(low) }
}

/// Notes in the order they are first needed, shown as letters.
#[derive(Default)]
struct Notes(Vec<String>);

impl Notes {
    fn marks(&mut self, why: &[String]) -> String {
        why.iter()
            .map(|note| {
                let at = self.0.iter().position(|n| n == note).unwrap_or_else(|| {
                    self.0.push(note.clone());
                    self.0.len() - 1
                });
                letter(at).to_string()
            })
            .collect::<Vec<_>>()
            .join(" ")
    }
}

fn letter(at: usize) -> char {
    char::from(b'a' + (at % 26) as u8)
}

fn live(row: &Row) -> String {
    let max = group(u64::from(row.entries_max));
    match row.live {
        Some(live) if row.totals.maps == 1 => format!("{}/{max}", group(live)),
        _ => max,
    }
}

fn programs(out: &mut String, report: &BpfReport, all: bool) {
    if report.programs.is_empty() {
        return;
    }
    // programs of one name that show the same stand in one row
    let mut rows: Vec<(Vec<&ProgramView>, [String; 5])> = Vec::new();
    for p in &report.programs {
        let missed = if p.inner_maps == 0 {
            String::new()
        } else {
            let among =
                if p.inner_among > 1 { format!(" in {} equal outer maps", p.inner_among) } else { String::new() };
            format!("{} = {}{among}", group(p.inner_maps), bytes(p.inner_memlock))
        };
        let cells = [
            clean(&p.prog_type).into_owned(),
            group(p.maps),
            four_digits(p.memlock),
            four_digits(p.shared_memlock),
            missed,
        ];
        match rows.iter_mut().find(|(same, row)| !all && same[0].name == p.name && *row == cells) {
            Some((same, _)) => same.push(p),
            None => rows.push((vec![p], cells)),
        }
    }
    let shown = if all || rows.len() <= TOP + 1 { rows.len() } else { TOP };
    let _ = writeln!(out, "\nBy program, as tools that sum map_ids show it (shared maps again in every row):");
    let mut table = table(&["PROGRAM", "TYPE", "MAPS", "REPORTED", "OF IT SHARED", "INNER MAPS MISSED"], &[2, 3, 4, 5]);
    for (same, cells) in &rows[..shown] {
        let name = if same[0].name.is_empty() { "(unnamed)".into() } else { clean(&same[0].name).into_owned() };
        let ids: Vec<String> = same.iter().take(4).map(|p| p.id.to_string()).collect();
        let more = if same.len() > 4 { format!(", {} more", same.len() - 4) } else { String::new() };
        let mut row = vec![format!("  {name} ({}{more})", ids.join(", "))];
        row.extend(cells.iter().cloned());
        table.add_row(row);
    }
    push(out, &mut table);
    let rest: usize = rows[shown..].iter().map(|(same, _)| same.len()).sum();
    if rest > 0 {
        let _ = writeln!(out, "  [{rest} others]");
    }
}

/// With four digits, as the tools show it that go by program.
fn four_digits(n: u64) -> String {
    let (unit, name) = match n {
        0..1024 => return format!("{n} B"),
        1024..1_048_576 => (1u64 << 10, "KiB"),
        1_048_576..1_073_741_824 => (1 << 20, "MiB"),
        _ => (1 << 30, "GiB"),
    };
    let places = match n / unit {
        0..10 => 3,
        10..100 => 2,
        100..1000 => 1,
        _ => 0,
    };
    let scale = 10u128.pow(places);
    let scaled = (u128::from(n) * scale + u128::from(unit) / 2) / u128::from(unit);
    match places {
        0 => format!("{scaled} {name}"),
        _ => format!("{}.{:0width$} {name}", scaled / scale, scaled % scale, width = places as usize),
    }
}

fn elsewhere(out: &mut String, report: &BpfReport) {
    if report.other_kernels.is_empty() {
        return;
    }
    let _ = writeln!(out, "\nThe same maps elsewhere:");
    for k in &report.other_kernels {
        let least = if k.lower_bound { "at least " } else { "" };
        let _ =
            writeln!(out, "  kernels {:<14}  reported {least}{} (sizes of {})", k.kernels, bytes(k.memlock), k.version);
    }
    let grows = report.other_cpus.iter().any(|c| c.real > report.totals.real + report.totals.real / 50);
    for c in report.other_cpus.iter().filter(|_| grows) {
        let _ =
            writeln!(out, "  {:>3} possible CPUs        reported {}, real {}", c.cpus, bytes(c.memlock), bytes(c.real));
    }
}

pub(super) fn finding(out: &mut String, finding: &Finding, width: usize) {
    let _ = writeln!(out, "\n{} {}: {}", finding.code, finding.severity.as_str(), clean(&finding.title));
    for line in &finding.evidence {
        let place = line.line.map(|n| format!(" ({} line {n})", clean(&line.path))).unwrap_or_default();
        wrapped(out, &format!("{}{place}", clean(&line.text)), width, "    ");
    }
    if finding.evidence_omitted > 0 {
        let _ = writeln!(out, "    [{} others]", group(finding.evidence_omitted));
    }
    wrapped(out, &format!("fix: {}", clean(&finding.fix)), width, "    ");
}

fn kernel(out: &mut String, report: &BpfReport, width: usize) {
    let k = &report.kernel;
    let era = match k.era {
        Era::Charge => "pages charged to RLIMIT_MEMLOCK",
        Era::Footprint => "a product of the declared sizes",
        Era::Usage => "computed per map type",
    };
    let how = match k.era_from {
        EraFrom::Version => "by the version given",
        EraFrom::Data => "the numbers fit no other meaning",
        EraFrom::Open => "other meanings fit these maps too; say --kernel",
        EraFrom::DataAgainstVersion => "by the numbers, against the version given: a kernel with back-ports",
    };
    let [least, most] = k.cpus_fit;
    let cpus = match k.cpus_from {
        CpusFrom::Given => "given".to_owned(),
        CpusFrom::Solved => "solved from the per-CPU maps".to_owned(),
        CpusFrom::Inferred => "inferred from the hash maps' header".to_owned(),
        CpusFrom::Assumed if most - least < 64 => format!("{least} to {most} fit the maps; say --cpus"),
        CpusFrom::Assumed => "assumed: no map depends on it; say --cpus".to_owned(),
    };
    out.push('\n');
    let found = format!(
        "How this was found: bytes_memlock is {era} (kernels {}; {how}); {} possible CPUs ({cpus}); the model gives {} \
         of {} numbers to the byte.",
        k.kernels,
        k.cpus,
        group(k.explained),
        group(k.with_memlock)
    );
    wrapped(out, &found, width, "");
    if !k.solved_sizes.is_empty() {
        let sizes: Vec<String> = k.solved_sizes.iter().map(|(name, size)| format!("{name} {size}")).collect();
        let source = if k.btf { "from BTF" } else { "solved from the maps" };
        wrapped(out, &format!("Structure sizes {source}: {}.", sizes.join(", ")), width, "");
    }
    let columns = "REPORTED is bytes_memlock; REAL is what the allocator hands out for the map and its elements; CHARGED \
                   is what the creator's cgroup pays (no per-CPU memory made with the map, nothing before 5.11).";
    wrapped(out, columns, width, "");
}

/// Sums by name only: nothing can be priced, but it can be said whose it is.
fn sums(out: &mut String, report: &BpfReport) {
    let maps: u64 = report.sums.iter().map(|s| s.maps).sum();
    let memlock: u64 = report.sums.iter().map(|s| s.memlock).sum();
    let _ = writeln!(
        out,
        "{} BPF maps: reported {}; sums by name only, so types, owners of unnamed maps and real memory cannot be told\n",
        group(maps),
        bytes(memlock)
    );
    let mut table = table(&["NAME", "OWNER", "MAPS", "REPORTED"], &[2, 3]);
    let mut sums: Vec<_> = report.sums.iter().collect();
    sums.sort_by_key(|s| (std::cmp::Reverse(s.memlock), s.name.clone()));
    for s in sums {
        let name = if s.name.is_empty() { "(unnamed)".into() } else { clean(&s.name).into_owned() };
        table.add_row([name, s.owner.to_string(), group(s.maps), bytes(s.memlock)]);
    }
    push(out, &mut table);
    out.push_str("\nGive the output of `bpftool map show -j` itself for the rest.\n");
}

fn wrapped(out: &mut String, text: &str, width: usize, indent: &str) {
    let room = width.max(40) - indent.len();
    let mut used = 0;
    for word in text.split(' ') {
        let len = word.chars().count();
        if used == 0 {
            out.push_str(indent);
        } else if used + 1 + len > room {
            out.push('\n');
            out.push_str(indent);
            out.push_str("  ");
            used = 2;
        } else {
            out.push(' ');
            used += 1;
        }
        out.push_str(word);
        used += len;
    }
    out.push('\n');
}
