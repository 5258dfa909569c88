//! `meshdump generate`: made-up inputs in the shapes of real control planes.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Exit, Failure, output};
use crate::generate::{self, cases, contour};
use crate::model::size::size;
use crate::model::stream::Us;
use crate::sim::control_plane::{Policy, parse_duration};

const EXAMPLES: &str = "\
Examples:
  meshdump generate contour --ingresses 200 --tls --out ingresses
  meshdump generate contour --tls --preset contour-0.5 --out before-the-fixes
  meshdump generate contour --ingresses 5000 --tls --delete --recording never --out the-talk
  meshdump replay ingresses/recording.jsonl.gz --server-info ingresses/server_info.json";

/// Arguments of `meshdump generate`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub(crate) struct GenerateArgs {
    #[command(subcommand)]
    case: Case,
}

#[derive(Debug, Subcommand)]
enum Case {
    /// Ingresses that come (and go) in blocks, as a version of Contour pushes them
    Contour(Box<Contour>),
    /// A sidecar of Open Service Mesh: permissive mode and WASM statistics, on or off
    Osm(Osm),
    /// A sidecar of Istio that sees every revision of Knative
    Knative {
        /// Revisions
        #[arg(long, value_name = "N", default_value_t = 100)]
        revisions: u32,
        #[command(flatten)]
        out: Out,
    },
    /// A sidecar of Istio that sees every service
    Istio {
        /// Services
        #[arg(long, value_name = "N", default_value_t = 500)]
        services: u32,
        #[command(flatten)]
        out: Out,
    },
    /// Envoy Gateway with HTTPRoutes
    Gateway {
        /// HTTPRoutes, one host and backend each
        #[arg(long, value_name = "N", default_value_t = 500)]
        routes: u32,
        #[command(flatten)]
        out: Out,
    },
    /// The workloads of bookinfo, with or without sidecars
    Bookinfo {
        /// Each workload has a sidecar
        #[arg(long)]
        sidecars: bool,
        /// bookinfo (six workloads) or simple (three)
        #[arg(long, value_name = "APP", default_value = "bookinfo", value_parser = ["bookinfo", "simple"])]
        app: String,
        #[command(flatten)]
        out: Out,
    },
    /// Services that come and go, for `bpf simulate`
    Kmesh {
        /// Services at the top
        #[arg(long, value_name = "N", default_value_t = 1000)]
        services: u32,
        /// Version of Kmesh
        #[arg(long, value_name = "VERSION", default_value = "0.5", value_parser = ["0.2", "0.4", "0.5", "1.0"])]
        version: String,
        #[command(flatten)]
        out: Out,
    },
}

#[derive(Debug, Args)]
struct Osm {
    /// Services, one HTTP port each
    #[arg(long, value_name = "N", default_value_t = 60)]
    services: u32,
    /// enableWASMStats
    #[arg(long)]
    wasm: bool,
    /// enablePermissiveTrafficPolicyMode
    #[arg(long)]
    permissive: bool,
    /// What comes from Go maps in another order at every push, as OSM does
    #[arg(long)]
    unsorted: bool,
    /// Worker threads of Envoy
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1024))]
    workers: u32,
    /// Length of the Wasm module
    #[arg(long, value_name = "BYTES", default_value_t = 300_000)]
    module_bytes: u32,
    #[command(flatten)]
    out: Out,
}

#[derive(Debug, Args)]
struct Out {
    /// The folder to make
    #[arg(long = "out", value_name = "DIR")]
    folder: PathBuf,
}

#[derive(Debug, Args)]
struct Contour {
    /// Ingresses, one name each
    #[arg(long, value_name = "N", default_value_t = 200)]
    ingresses: u32,
    /// With TLS: a filter chain each
    #[arg(long)]
    tls: bool,
    /// Applied in blocks of this many, with a pause between
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    block: u32,
    /// Names that share one certificate
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    names_per_secret: u32,
    /// Delete all of them in the end, in the same blocks
    #[arg(long)]
    delete: bool,
    /// Version of Contour: contour-0.5, contour-0.6, contour-0.12, contour-0.13, contour
    #[arg(long, value_name = "PRESET", default_value = "contour-0.13")]
    preset: Policy,
    /// Listeners written in another way, as `whatif --fix` does: reorder, sds, merge-chains
    #[arg(long = "fix", value_name = "FIX", value_parser = ["reorder", "sds", "merge-chains"])]
    fixes: Vec<String>,
    /// --drain-time-s of the Envoy that gets them
    #[arg(long, value_name = "TIME", default_value = "600s", value_parser = parse_duration)]
    drain_time: Us,
    /// How long it takes to answer
    #[arg(long, value_name = "TIME", default_value = "10ms", value_parser = parse_duration)]
    answer: Us,
    /// Write the recording too: auto leaves it out above 2 GiB of JSON; `whatif` needs the watch
    /// alone
    #[arg(long, value_name = "WHEN", default_value = "auto", value_parser = ["auto", "always", "never"])]
    recording: String,
    #[command(flatten)]
    out: Out,
}

/// Runs `meshdump generate`.
pub(crate) fn run(args: &GenerateArgs) -> Result<Exit, Failure> {
    match &args.case {
        Case::Contour(c) => {
            if !c.preset.name.starts_with("contour") {
                let why = format!("--preset {}: expected a version of Contour, as contour-0.13", c.preset.name);
                return Err(Failure::new(Exit::Usage, why));
            }
            let asked = |fix: &str| c.fixes.iter().any(|f| f == fix);
            let shape = contour::Shape::of(&c.preset.name);
            let options = contour::Options {
                ingresses: c.ingresses,
                tls: c.tls,
                block: c.block,
                names_per_secret: c.names_per_secret,
                delete: c.delete,
                policy: c.preset.clone(),
                shape: contour::Shape {
                    inline_certificates: shape.inline_certificates && !asked("sds"),
                    sorted: shape.sorted || asked("reorder"),
                    looks_away: shape.looks_away,
                    grouped: asked("merge-chains"),
                },
                drain_time: c.drain_time,
                answer: c.answer,
                keep: match &*c.recording {
                    "always" => contour::Keep::Always,
                    "never" => contour::Keep::Never,
                    _ => contour::Keep::Auto,
                },
            };
            let mut left_out = None;
            let done = write(&c.out, |folder| {
                left_out = contour::generate(&options, folder)?;
                Ok(())
            })?;
            if let Some(bytes) = left_out {
                output::print(format!(
                    "no recording.jsonl.gz: it would have {} of JSON (--recording always writes it); `meshdump whatif \
                     {}` needs none\n",
                    size(bytes),
                    c.out.folder.join("watch.jsonl.gz").display()
                ))?;
            }
            Ok(done)
        }
        Case::Osm(o) => {
            let case = cases::Osm {
                services: o.services,
                wasm: o.wasm,
                permissive: o.permissive,
                unsorted: o.unsorted,
                workers: o.workers,
                module_bytes: o.module_bytes,
            };
            write(&o.out, |folder| case.generate(folder))
        }
        Case::Knative { revisions, out } => write(out, |folder| cases::knative(*revisions, folder)),
        Case::Istio { services, out } => write(out, |folder| cases::istio(*services, folder)),
        Case::Gateway { routes, out } => write(out, |folder| cases::gateway(*routes, folder)),
        Case::Bookinfo { sidecars, app, out } => {
            let app = if app == "simple" { cases::App::Simple } else { cases::App::Bookinfo };
            write(out, |folder| cases::bookinfo(app, *sidecars, folder))
        }
        Case::Kmesh { services, version, out } => write(out, |folder| cases::kmesh(*services, version, folder)),
    }
}

fn write(out: &Out, fill: impl FnOnce(&mut dyn generate::Folder) -> std::io::Result<()>) -> Result<Exit, Failure> {
    let failed = |e| Failure::new(Exit::Output, format!("cannot write to {}: {e}", out.folder.display()));
    let mut folder = output::OutputFolder::create(&out.folder).map_err(failed)?;
    fill(&mut folder).map_err(failed)?;
    output::print(folder.summary())?;
    Ok(Exit::Ok)
}
