//! The codes and their documentation, printed by `meshdump explain CODE`.

/// The documentation of one code.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The code.
    pub code: &'static str,
    /// What it is about, in a few words.
    pub title: &'static str,
    /// What it means, how it is found out, how sure it is, what to do.
    pub text: &'static str,
}

/// All codes in order.
pub const CATALOG: &[Entry] = &[
    Entry {
        code: "MD101",
        title: "no /stats beside the dump",
        text: "A config dump shows one draining generation per listener name and none of the old filter chains of \
               in-place updates. Only the gauges listener_manager.total_listeners_draining and \
               total_filter_chains_draining count them all. Without /stats the draining numbers are lower bounds. \
               Save `/stats` (text, JSON or Prometheus) beside the dump, taken at the same moment, and give both.",
    },
    Entry {
        code: "MD102",
        title: "no endpoints in the dump",
        text: "EDS clusters keep a host object per endpoint (about 1.2 KB each, not shared between clusters), but \
               /config_dump leaves endpoints out unless it is asked with `?include_eds`. Their memory is missing from \
               the estimate. Fetch `/config_dump?include_eds`, or give `/clusters` beside the dump.",
    },
    Entry {
        code: "MD103",
        title: "the report is partial",
        text: "An input ended early, was damaged, or could not be used at all: whole resources before the break are in \
               the report, what follows is not, so every total is a lower bound. The message names the file and the \
               byte where it broke. Fetch the dump \
               again without a size or time limit, or with `?resource=` slices when the dump itself is too large.",
    },
    Entry {
        code: "MD104",
        title: "sections of unknown type",
        text: "The dump has sections whose type this version does not read (another project's extension, or a newer \
               Envoy). They are counted and priced by their size with wide bounds; what they refer to is not known, \
               so clusters that only they use may be reported as dead.",
    },
    Entry {
        code: "MD105",
        title: "resources that could not be read",
        text: "Some resources are not valid JSON, are nested deeper than 128 levels, are no objects, or are longer than \
               --max-resource. They are left out; everything else is in the report, so totals are lower bounds. The \
               evidence names the byte where reading failed, or where a resource that is too long begins.",
    },
    Entry {
        code: "MD106",
        title: "several Envoy versions",
        text: "The proxies of this run have different Envoy versions. Costs per object differ between versions (a \
               cluster grew from 35 KB in 2019 to 44 KB in 2025 by Envoy's own tests), so compare proxies of one \
               version with each other.",
    },
    Entry {
        code: "MD201",
        title: "draining listeners hold memory",
        text: "A listener that is removed, or changed in anything but its filter chains, keeps its old generation \
               with filter chains, TLS contexts and inline routes for the whole drain time (`--drain-time-s`, 600 s by \
               default, 45 s under Istio). It is a timer only: no connections do not shorten it. Pushing changes \
               faster than the drain time piles generations up. The dump shows the oldest generation per name; the \
               gauge total_listeners_draining counts all. Push less often, batch changes, keep lists in stable order, \
               move certificates to SDS and routes to RDS, or shorten the drain time.",
    },
    Entry {
        code: "MD202",
        title: "hidden generations of inline routes",
        text: "Every live inline route table is listed under static_route_configs, those of draining listeners and of \
               in-place updated filter chains included. Tables there that no shown listener has are held by hidden \
               generations. Their last_updated is when that generation was built, which gives its age. Use RDS: a \
               draining generation then costs about 20 KB instead of its whole route table.",
    },
    Entry {
        code: "MD203",
        title: "more TLS contexts than the configuration explains",
        text: "/certs lists one entry per live TLS context, hidden ones included. More entries than the shown \
               listeners and clusters have means that draining generations still hold theirs; each has parsed its own \
               CA bundle (about 1.4 bytes per byte of PEM) and certificates.",
    },
    Entry {
        code: "MD207",
        title: "filter chains draining out of sight",
        text: "An update that changes filter chains only is applied in place (Envoy 1.15 and later): the removed \
               chains drain for the drain time inside a group that pins the whole old listener configuration. Such \
               groups appear nowhere in the dump; only total_filter_chains_draining counts their chains, and a group \
               without removed chains is not even counted there.",
    },
    Entry {
        code: "MD208",
        title: "version_info lags behind in-place updates",
        text: "After an in-place filter chain update the listener keeps the version_info of its last full build, while \
               last_updated moves on. A listener whose last_updated is later than that of its siblings with the same \
               version has taken updates since. Judge by last_updated, not by version_info, when asking whether a \
               proxy is up to date.",
    },
    Entry {
        code: "MD209",
        title: "a resource was rejected",
        text: "error_state holds the configuration that Envoy refused, with the reason. A rejected update rolls \
               nothing back: what was applied before and after it in the same response stays. The failed configuration \
               is kept in memory for the dump.",
    },
    Entry {
        code: "MD210",
        title: "resources still warming",
        text: "A warming listener or cluster is built but waits for RDS, SDS, EDS, DNS or health checks, up to \
               initial_fetch_timeout (15 s by default, for ever with 0). It costs as much as an active one. \
               /init_dump names what is waited for.",
    },
    Entry {
        code: "MD301",
        title: "clusters without traffic",
        text: "The proxy's own statistics show no connection and no request for these clusters since it started. Each \
               still costs its stats, its per-worker load balancer and its configuration. A Sidecar resource (Istio), \
               narrower exportTo, or deferred cluster creation would spare them. Uptime tells how much the silence \
               means.",
    },
    Entry {
        code: "MD302",
        title: "clusters that nothing reaches",
        text: "No route, TCP proxy, filter, tracer, access logger or other cluster in the dump names these clusters. \
               Found by following every reference in the dump; when a route chooses its cluster from a header, or a \
               filter from SNI, no such claim is made. They can be removed at the control plane.",
    },
    Entry {
        code: "MD303",
        title: "route tables that no listener names",
        text: "A route table received over RDS is freed only when no connection manager uses it any more. A dynamic \
               table that no shown listener names is therefore pinned by a draining generation, or by a part of the \
               dump that is missing.",
    },
    Entry {
        code: "MD304",
        title: "secrets that nothing uses",
        text: "No TLS context in the dump names these secrets. A secret over SDS stays only while some context uses \
               it, so an unused one is pinned by a draining generation; a static one can be removed.",
    },
    Entry {
        code: "MD306",
        title: "endpoints of clusters that are not there",
        text: "The dump has endpoint sets for which it has no cluster.",
    },
    Entry {
        code: "MD307",
        title: "the same payload many times",
        text: "The same certificate, CA bundle, Lua script or Wasm module stands in several resources. Envoy shares \
               none of it: each TLS context parses its own CA bundle, each filter chain compiles its own Lua. Put \
               certificates and bundles into SDS (one copy of the configuration; the parsed bundle is still per \
               context), share a Wasm VM by vm_id, load code from a file or over ECDS.",
    },
    Entry {
        code: "MD308",
        title: "equal filter chains",
        text: "These filter chains differ in name and match only. One chain with all their server names costs one \
               connection manager, one TLS context and one route table instead of many.",
    },
    Entry {
        code: "MD309",
        title: "code in filter chains",
        text: "A Wasm module that is inlined is held about three times per chain (as sent, as configuration, as code), and \
               a Lua filter has a LuaJIT state per chain and thread, workers and the main thread. So the cost is chains \
               times module and chains times threads, and LuaJIT and V8 map their memory outside the allocator: \
               `/memory` does not show it. What each costs is the price of the proxy less its price without these \
               filters.",
    },
    Entry {
        code: "MD601",
        title: "close to the memory limit",
        text: "The kernel kills for resident anonymous memory. What /memory calls allocated is only part of it: the \
               allocator's free pages stay resident, and resident memory does not come back after a peak. The figure \
               compared with the limit is the estimate of anonymous memory at start-up state.",
    },
    Entry {
        code: "MD602",
        title: "over the memory limit",
        text: "The estimated anonymous memory is above the limit that was given, or was above it before the proxy was \
               killed. See the kinds and owners for what to cut first.",
    },
    Entry {
        code: "MD605",
        title: "prediction and observation disagree",
        text: "/memory in the evidence lies outside the bounds of the estimate. Either something is held that the \
               evidence does not show (draining generations, connections, buffers, Lua or Wasm state), or the cost \
               model does not fit this build. The residual is shown; nothing is rescaled.",
    },
    Entry {
        code: "MD701",
        title: "replicas differ",
        text: "Proxies of one workload should hold the same configuration. These do not: the evidence names what \
               differs. One that lags may have missed a push, or still be draining.",
    },
    Entry {
        code: "MD702",
        title: "an outlier among the proxies",
        text: "This proxy needs far more than the median of the run.",
    },
];

/// The entries of every section, in the order of their codes.
pub fn all() -> impl Iterator<Item = &'static Entry> {
    let envoy = CATALOG.iter().filter(|e| e.code < "MD5");
    envoy
        .chain(super::scope::CODES)
        .chain(super::bpf::CODES)
        .chain(CATALOG.iter().filter(|e| e.code >= "MD5" && e.code < "MD8"))
        .chain(super::replay::CODES)
        .chain(CATALOG.iter().filter(|e| e.code >= "MD8"))
}

/// The entry of a code, in any case.
pub fn lookup(code: &str) -> Option<&'static Entry> {
    all().find(|e| e.code.eq_ignore_ascii_case(code.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_and_unique() {
        assert!(CATALOG.windows(2).all(|w| w[0].code < w[1].code));
        assert_eq!(lookup("md302").map(|e| e.code), Some("MD302"));
    }
}
