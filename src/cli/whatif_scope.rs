//! `meshdump whatif scope`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::analyze::{InputArgs, exit_code, inputs, line as problem_line, nothing, say, version};
use super::output::{self, Format, OutputArgs};
use super::{Exit, Failure};
use crate::cost::Estimate;
use crate::cost::envoy::Version;
use crate::evidence::{config_dump, kubernetes, load};
use crate::findings::kubernetes::missing;
use crate::findings::scope::{self, AGENT, Evidence, ExportTo, Options, Rule, Step, Unit};
use crate::input;
use crate::report;

/// Arguments of `whatif scope`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  kubectl get svc,pods,endpointslices,ns,sidecars,vs,dr,se -A -o json > export.json
  meshdump whatif scope export.json                                   what each workload sees and costs
  meshdump whatif scope export.json config_dump.json --scope own-namespace --emit-yaml | kubectl apply -f -
  meshdump whatif scope config_dump.json clusters.txt --scope-from-traffic
  meshdump whatif scope export.json --grow revisions=200..1600:200 --limit 1Gi")]
pub(super) struct ScopeArgs {
    #[command(flatten)]
    input: InputArgs,
    /// Try these Sidecars (YAML or JSON)
    #[arg(long, value_name = "FILE", group = "rule")]
    sidecar: Option<PathBuf>,
    /// Try what the proxies' own statistics show used: `/clusters` (or `/stats`) beside the dump
    #[arg(long, group = "rule")]
    scope_from_traffic: bool,
    /// Try a scope: `own-namespace` keeps a workload's own namespace and the root namespace
    #[arg(long, value_name = "SCOPE", group = "rule", value_parser = ["own-namespace"])]
    scope: Option<String>,
    /// Try another exportTo, as in `shop/cart=.` or `batch/*=.,shop`; repeatable
    #[arg(long, value_name = "NAMESPACE/NAME=TO", value_parser = parse_export_to)]
    export_to: Vec<ExportTo>,
    /// Try gateways that get only the clusters their routes name (PILOT_FILTER_GATEWAY_CLUSTER_CONFIG)
    #[arg(long)]
    filter_gateway_clusters: bool,
    /// Growth to look at, as in `services=+200` or `revisions=200..1600:200`; repeatable
    #[arg(long, value_name = "UNIT=N", value_parser = parse_step)]
    grow: Vec<Step>,
    /// Memory limit of the proxy's container, which the agent shares; else the pod's, where the export tells
    #[arg(long, value_name = "SIZE", value_parser = output::parse_size)]
    limit: Option<u64>,
    /// Memory of the agent beside Envoy; 25M is assumed when left out (istio#38000)
    #[arg(long, value_name = "SIZE", value_parser = output::parse_size)]
    agent: Option<u64>,
    /// Memory of the applications without the mesh, to say what the mesh adds to it
    #[arg(long, value_name = "SIZE", value_parser = output::parse_size)]
    app_memory: Option<u64>,
    /// Worker threads, where the evidence does not tell
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    concurrency: Option<u32>,
    /// Envoy's release, where the evidence does not tell
    #[arg(long, value_name = "VERSION", value_parser = parse_version)]
    envoy_version: Option<Version>,
    /// Print the objects that make it so instead of the report
    #[arg(long)]
    emit_yaml: bool,
    #[command(flatten)]
    output: OutputArgs,
}

fn parse_version(text: &str) -> Result<Version, String> {
    Version::parse(text).ok_or_else(|| "expected a release, as in 1.28".to_owned())
}

fn parse_export_to(text: &str) -> Result<ExportTo, String> {
    let wrong = || "expected NAMESPACE/NAME=TO, as in shop/cart=. or batch/*=.,shop".to_owned();
    let (which, to) = text.split_once('=').ok_or_else(wrong)?;
    let (namespace, name) = which.split_once('/').ok_or_else(wrong)?;
    if namespace.is_empty() || name.is_empty() || to.is_empty() {
        return Err(wrong());
    }
    Ok(ExportTo {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        to: to.split(',').map(|t| t.trim().into()).collect(),
    })
}

/// Points of one growth axis.
const MAX_POINTS: usize = 1000;

fn parse_step(text: &str) -> Result<Step, String> {
    let wrong = || "expected as in services=+200, endpoints=5000 or revisions=200..1600:200".to_owned();
    let (unit, value) = text.split_once('=').ok_or_else(wrong)?;
    let unit = match unit {
        "services" => Unit::Service,
        "revisions" => Unit::Revision,
        "endpoints" => Unit::Endpoint,
        other => return Err(format!("`{other}` does not grow here; services, revisions or endpoints do")),
    };
    let (more, value) = match value.strip_prefix('+') {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let number = |t: &str| t.trim().parse::<u64>().ok().filter(|n| *n <= 10_000_000).ok_or_else(wrong);
    let counts = match value.split_once("..") {
        None => vec![number(value)?],
        Some((from, rest)) => {
            let (to, by) = rest.split_once(':').map_or((rest, None), |(to, by)| (to, Some(by)));
            let (from, to) = (number(from)?, number(to)?);
            let by = by.map(number).transpose()?.unwrap_or_else(|| (to.saturating_sub(from) / 10).max(1));
            if by == 0 || from > to {
                return Err(wrong());
            }
            let all: Vec<u64> = (0..).map(|i| from + i * by).take_while(|n| *n <= to).take(MAX_POINTS + 1).collect();
            if all.len() > MAX_POINTS {
                return Err(format!("more than {MAX_POINTS} points; take a larger step"));
            }
            all
        }
    };
    Ok(Step { unit, more, counts })
}

/// The Sidecars of a file.
pub(super) fn sidecars(path: &Path) -> Result<Rule, Failure> {
    let found = input::collect(&[path.to_owned()], &input::Limits::default());
    let loaded = load::load(&found.documents, config_dump::Limits::default(), false);
    let all = loaded.kubernetes.map(|k| k.sidecars).unwrap_or_default();
    if all.is_empty() {
        let label = path.display().to_string();
        let why =
            found.problems.iter().chain(&loaded.problems).next().map(|p| format!(": {}", p.what)).unwrap_or_default();
        let message = format!("{}: no Sidecar of networking.istio.io in it{why}", report::clean(&label));
        return Err(Failure::new(Exit::Input, message));
    }
    for p in found.problems.iter().chain(&loaded.problems) {
        output::warning_line(&problem_line(p));
    }
    Ok(Rule::Sidecars(all))
}

/// Runs `meshdump whatif scope`.
pub(super) fn run(args: &ScopeArgs) -> Result<Exit, Failure> {
    args.output.specs()?;
    let rule = match (&args.sidecar, args.scope_from_traffic, &args.scope) {
        (Some(path), ..) => sidecars(path)?,
        (None, true, _) => Rule::FromTraffic,
        (None, false, Some(_)) => Rule::OwnNamespace,
        (None, false, None) => Rule::AsIs,
    };
    let loaded = args.input.load(&args.output);
    if loaded.proxies.is_empty() && loaded.kubernetes.is_none() {
        return Err(nothing(&loaded));
    }
    let exit = exit_code(&loaded, args.input.read.strict);
    say(&loaded, &args.output);
    let options = Options {
        rule,
        sidecar_file: args.sidecar.as_ref().map(|p| p.display().to_string()).unwrap_or_default(),
        export_to: args.export_to.clone(),
        filter_gateways: args.filter_gateway_clusters,
        limit_bytes: args.limit,
        agent: args.agent.map_or(AGENT, Estimate::exact),
        app_bytes: args.app_memory,
        concurrency: args.concurrency,
        version: args.envoy_version,
        grow: args.grow.clone(),
    };
    let template = kubernetes::istio_sidecar();
    let evidence = Evidence {
        proxies: &loaded.proxies,
        cluster: loaded.kubernetes.as_ref(),
        maps: &loaded.bpf,
        template: &template,
        inputs: inputs(&loaded.inputs),
        problems: &loaded.problems,
        version: version(),
    };
    let report = scope::report(evidence, &options);
    if report.workloads.is_empty() {
        let lacks = loaded.kubernetes.as_ref().map(missing).unwrap_or_default();
        let commands: Vec<String> = lacks.iter().map(|m| format!("{} with `{}`", m.what, m.command)).collect();
        let message = if commands.is_empty() {
            "no workload with an Envoy in the export: nothing to scope".to_owned()
        } else {
            format!("no workload with an Envoy in the export; fetch {}", commands.join(", "))
        };
        return Err(Failure::new(Exit::Input, message));
    }
    if args.emit_yaml {
        if report.manifests.is_empty() {
            let (exit, message) = if options.changes() {
                (Exit::Input, "no sidecar in the evidence for which an object could be made")
            } else {
                (Exit::Usage, "--emit-yaml needs --scope own-namespace, --scope-from-traffic or --export-to")
            };
            return Err(Failure::new(exit, message));
        }
        let all: Vec<&str> = report.manifests.iter().map(|m| m.yaml.as_str()).collect();
        output::print(all.join("---\n"))?;
        return Ok(exit);
    }
    args.output.write(|format, width| match format {
        Format::Text => report::scope::scope(&report, width),
        Format::Json => report::json::render(&report),
    })?;
    Ok(exit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps() {
        let step = |t: &str| parse_step(t).map(|s| (s.more, s.counts));
        assert_eq!(step("services=+200"), Ok((true, vec![200])));
        assert_eq!(step("revisions=200..1000:400"), Ok((false, vec![200, 600, 1000])));
        assert_eq!(step("revisions=0..10"), Ok((false, (0..=10).collect())));
        for wrong in ["pods=1", "services", "services=x", "services=9..1", "services=0..9:0", "services=0..9999999:1"] {
            assert!(step(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn exports() {
        let e = parse_export_to("shop/*=.,batch").unwrap();
        assert_eq!((e.namespace.as_str(), e.name.as_str(), e.to.len()), ("shop", "*", 2));
        assert!(parse_export_to("shop=.").is_err());
    }
}
