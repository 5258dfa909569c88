//! A simulation of allocators, as text.

use std::fmt::Write as _;

use super::bpf::{finding, push, table};
use crate::findings::bpf::{SimulatedRun, Simulation, bytes, group};

/// Rows of a timeline shown.
const TOP: usize = 16;

/// The text: policies side by side, then each one's steps, timeline and log.
pub fn text(simulation: &Simulation, width: usize) -> String {
    let mut out = String::new();
    side_by_side(&mut out, simulation);
    for run in &simulation.runs {
        one(&mut out, run);
    }
    for f in &simulation.findings {
        finding(&mut out, f, width);
    }
    let per_service = match simulation.slots_per_service {
        Some([low, high]) if low != high => format!("; a service takes {low} to {high} slots, the mean is shown"),
        Some([low, _]) => format!("; a service takes {low} slots"),
        None => String::new(),
    };
    let _ = writeln!(
        out,
        "\nSimulated for one daemon; bytes as kernel {} reports and allocates them on {} CPUs{per_service}.\nThe outer \
         map is not in the rows.",
        simulation.kernel, simulation.cpus
    );
    out
}

fn side_by_side(out: &mut String, simulation: &Simulation) {
    let mut t = table(
        &["POLICY", "PEAK MAPS", "REPORTED", "REAL", "END MAPS", "REPORTED", "REAL", "OUTER MAP", "NEXT STEP AT"],
        &[1, 2, 3, 4, 5, 6, 7, 8],
    );
    for run in &simulation.runs {
        let next = match (run.next_growth_at_services, run.next_growth_at_slots) {
            (Some([a, b]), _) if a != b => format!("{} to {} services", group(a), group(b)),
            (Some([a, _]), _) => format!("{} services", group(a)),
            (None, Some(slots)) => format!("{} slots", group(slots)),
            _ => "-".into(),
        };
        t.add_row([
            run.policy.clone(),
            group(run.peak.maps),
            bytes(run.peak.memlock),
            bytes(run.peak.real),
            group(run.end.maps),
            bytes(run.end.memlock),
            bytes(run.end.real),
            bytes(run.fixed.real),
            next,
        ]);
    }
    push(out, &mut t);
}

fn one(out: &mut String, run: &SimulatedRun) {
    let _ = writeln!(out, "\n{}", run.policy);
    if run.steps.len() > 1 {
        let services = run.steps[0].services.is_some();
        let mut t = table(
            &["  USED SLOTS FROM", if services { "SERVICES" } else { "" }, "MAPS", "REPORTED", "REAL"],
            &[0, 1, 2, 3, 4],
        );
        for step in &run.steps {
            let services = match step.services {
                Some([a, b]) if a != b => format!("{} to {}", group(a), group(b)),
                Some([a, _]) => group(a),
                None => String::new(),
            };
            t.add_row([group(step.slots_used), services, group(step.maps), bytes(step.memlock), bytes(step.real)]);
        }
        push(out, &mut t);
    }
    let mut t = table(&["  T", "MAPS", "USED", "COUNTED", "REPORTED", "REAL"], &[0, 1, 2, 3, 4, 5]);
    let rows = run.timeline.len();
    for (i, row) in run.timeline.iter().enumerate() {
        // the first ones and the last ones
        if rows > TOP + 1 && i >= TOP / 2 && i < rows - TOP / 2 {
            if i == TOP / 2 {
                t.add_row([
                    format!("[{} others]", rows - TOP),
                    String::new(),
                    String::new(),
                    String::new(),
                    String::new(),
                    String::new(),
                ]);
            }
            continue;
        }
        t.add_row([
            format!("{}s", row.t),
            group(row.maps),
            group(row.slots_used),
            group(row.slots_total),
            bytes(row.memlock),
            bytes(row.real),
        ]);
    }
    push(out, &mut t);
    if run.fragmented_slots[1] > 0 {
        let [low, high] = run.fragmented_slots;
        let range = if low == high { group(low) } else { format!("{} to {}", group(low), group(high)) };
        let _ = writeln!(out, "  at the end {range} used slots lie above a free one");
    }
    if run.log.is_empty() {
        return;
    }
    let note = if run.log_is_of_the_mean {
        " (of the mean: the ends of what the trace leaves open log other steps)"
    } else {
        ""
    };
    let _ = writeln!(out, "  log{note}:");
    for line in &run.log {
        let _ = writeln!(out, "    {line}");
    }
}
