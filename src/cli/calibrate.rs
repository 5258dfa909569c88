//! `meshdump calibrate`: measures an Envoy build on loopback and fits the price table of `cost::envoy` to it.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::{Exit, Failure};
use crate::lab::{self, Workload};

/// Measure an Envoy build on loopback and fit the price table to it.
#[derive(Debug, Args)]
pub(super) struct CalibrateArgs {
    /// The Envoy binary to measure
    #[arg(long, value_name = "PATH")]
    envoy: PathBuf,
    /// Folder for the evidence of every run (config_dump, memory, server_info, stats)
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Write the fitted table here
    #[arg(long, value_name = "FILE", requires = "keep")]
    table: Option<PathBuf>,
    /// Write name, measured and predicted bytes of every run here
    #[arg(long, value_name = "FILE", requires = "table")]
    errors: Option<PathBuf>,
    /// Day written into the table
    #[arg(long, value_name = "YYYY-MM-DD", default_value = "")]
    date: String,
    /// Measure nothing: fit what the folder of --keep holds
    #[arg(long, requires = "keep")]
    fit_only: bool,
    /// Run the validation workloads instead of the design of experiments
    #[arg(long)]
    validate: bool,
    /// Run these random workloads instead of the design of experiments, by seed: FROM..TO
    #[arg(long, value_name = "SEEDS", value_parser = seeds, conflicts_with = "validate")]
    random: Option<std::ops::Range<u64>>,
    /// Write the accuracy document here, from the validation runs of every measured release in the folder of --keep
    #[arg(long, value_name = "FILE", requires = "keep")]
    accuracy: Option<PathBuf>,
    /// Run only workloads whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Skip runs whose evidence is already in the folder of --keep
    #[arg(long, requires = "keep")]
    resume: bool,
}

pub(super) fn run(args: &CalibrateArgs) -> Result<Exit, Failure> {
    let (version, build) = lab::version(&args.envoy).map_err(|e| Failure::new(Exit::Input, e.to_string()))?;
    note(&format!("Envoy {version} ({build})"));
    if !args.fit_only {
        measure(args, &version)?;
    }
    if let (Some(keep), Some(path)) = (&args.keep, &args.accuracy) {
        let text = lab::accuracy::markdown(keep, &crate::cost::envoy::measured_releases())
            .map_err(|e| Failure::new(Exit::Input, e.to_string()))?;
        lab::write(path, text)
            .map_err(|e| Failure::new(Exit::Output, format!("cannot write {}: {e}", path.display())))?;
    }
    if let (Some(keep), Some(table), true) = (&args.keep, &args.table, args.validate) {
        let text = lab::read_text(table)
            .map_err(|e| Failure::new(Exit::Input, format!("cannot read {}: {e}", table.display())))?;
        let file: crate::cost::envoy::TableFile =
            serde_json::from_str(&text).map_err(|e| Failure::new(Exit::Input, format!("{}: {e}", table.display())))?;
        let runs = lab::fit::read_runs(&keep.join(&version)).map_err(|e| Failure::new(Exit::Input, e.to_string()))?;
        let base = file.prices.get("base").copied().unwrap_or_default();
        let mut errors = Vec::new();
        let mut resident = Vec::new();
        for run in &runs {
            let settings = crate::cost::envoy::Settings {
                version: crate::cost::envoy::Version::parse(&version),
                concurrency: run.workers,
                concurrency_known: true,
            };
            let p = crate::cost::envoy::price(&run.proxy, &settings);
            resident.push((p.resident.bytes as f64 - run.anonymous) / run.anonymous);
            note(&format!(
                "{:<48} anonymous {:>10.0}  predicted {:>10}  {:>6.2} %",
                run.name,
                run.anonymous,
                p.resident.bytes,
                resident.last().unwrap_or(&0.0) * 100.0
            ));
        }
        let r = lab::fit::summary(&resident);
        note(&format!("resident error {:.2} % median, {:.2} % worst", r.median * 100.0, r.worst * 100.0));
        for (name, measured, predicted) in lab::fit::predictions(&file, &runs) {
            let error = lab::fit::relative_error(predicted, measured, base);
            errors.push(error);
            note(&format!(
                "{name:<48} measured {measured:>10.0}  predicted {predicted:>10.0}  {:>6.2} %",
                error * 100.0
            ));
        }
        let r = lab::fit::summary(&errors);
        note(&format!(
            "error {:.2} % median, {:.2} % 90th percentile, {:.2} % worst",
            r.median * 100.0,
            r.p90 * 100.0,
            r.worst * 100.0
        ));
    } else if let (Some(keep), Some(table)) = (&args.keep, &args.table) {
        let runs = lab::fit::read_runs(&keep.join(&version)).map_err(|e| Failure::new(Exit::Input, e.to_string()))?;
        let file = lab::fit::fit(&version, &build, &args.date, &runs);
        let r = file.residual;
        if let Some(errors) = &args.errors {
            let lines: String = lab::fit::predictions(&file, &runs)
                .iter()
                .map(|(name, measured, predicted)| format!("{name}\t{measured:.0}\t{predicted:.0}\n"))
                .collect();
            lab::write(errors, lines)
                .map_err(|e| Failure::new(Exit::Output, format!("cannot write {}: {e}", errors.display())))?;
        }
        note(&format!(
            "{} runs, {} prices: error {:.2} % median, {:.2} % 90th percentile, {:.2} % worst",
            file.runs,
            file.prices.len(),
            r.median * 100.0,
            r.p90 * 100.0,
            r.worst * 100.0
        ));
        let text = serde_json::to_string_pretty(&file).map_err(|e| Failure::new(Exit::Output, e.to_string()))?;
        lab::write(table, text + "\n")
            .map_err(|e| Failure::new(Exit::Output, format!("cannot write {}: {e}", table.display())))?;
    }
    Ok(Exit::Ok)
}

fn measure(args: &CalibrateArgs, version: &str) -> Result<(), Failure> {
    let all = if let Some(seeds) = &args.random {
        seeds.clone().map(lab::random::workload).collect()
    } else if args.validate {
        let pairs = lab::pairs::pairs().into_iter().flat_map(|(_, before, after)| [before, after]);
        lab::mixes::workloads().into_iter().chain(pairs).collect()
    } else {
        lab::design::experiments()
    };
    let workloads: Vec<Workload> = all
        .into_iter()
        .filter(|w| args.only.is_empty() || args.only.iter().any(|o| w.name.contains(o.as_str())))
        .collect();
    let total = workloads.len();
    let mut failed = 0;
    for (i, workload) in workloads.iter().enumerate() {
        let folder = args.keep.as_ref().map(|k| k.join(version).join(folder_name(&workload.name)));
        if args.resume && folder.as_ref().is_some_and(|f| f.join("memory.json").exists()) {
            continue;
        }
        match workload.run(&args.envoy) {
            Ok(m) => {
                note(&format!(
                    "{:>3}/{total} {:<48} allocated {:>11}  anonymous {:>11}  stats {:>6}",
                    i + 1,
                    workload.name,
                    m.reading.allocated,
                    m.reading.resident_anonymous,
                    m.reading.stats
                ));
                if let Some(folder) = folder {
                    m.save(&folder, workload.workers)
                        .map_err(|e| Failure::new(Exit::Output, format!("cannot write {}: {e}", folder.display())))?;
                }
            }
            Err(e) => {
                failed += 1;
                note(&format!("{:>3}/{total} {:<48} failed: {e}", i + 1, workload.name));
            }
        }
    }
    if failed > 0 {
        note(&format!("{failed} of {total} runs failed"));
    }
    Ok(())
}

/// `FROM..TO`, the end not included.
fn seeds(text: &str) -> Result<std::ops::Range<u64>, String> {
    let parsed = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    parsed.ok_or_else(|| "expected FROM..TO, such as 0..20".to_owned())
}

fn folder_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.=".contains(c) { c } else { '_' }).collect()
}

/// Progress and results go to stderr: stdout is for data.
fn note(line: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{line}");
}
