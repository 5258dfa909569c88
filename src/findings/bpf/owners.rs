//! Whose a map is: by the names data planes and tools give their maps.

use crate::model::bpf::{BpfMap, BpfProg, Holder};

/// Owners and the beginnings of their maps' and programs' names. The kernel cuts names to 15 characters.
/// From the sources of Kmesh 0.2 to 1.2, Merbridge, Calico's felix, public listings of the others.
const NAMES: &[(&str, &[&str])] = &[
    (
        "Kmesh",
        &[
            "kmesh_",
            "km_",
            "map_of_",
            "outer_map",
            "inner_map",
            "outer_of_maglev",
            "bpf_log_level",
            "tmp_buf",
            "tmp_log_buf",
            "sockops_prog",
            "cluster_manager",
            "filter_manager",
            "filter_chain_",
            "route_config_",
            "cgroup_connect",
        ],
    ),
    ("Cilium", &["cilium_"]),
    ("Calico", &["cali_", "calico_"]),
    (
        "Merbridge",
        &[
            "cookie_original",
            "pair_original_d",
            "sock_pair_map",
            "local_pod_ips",
            "mark_pod_ips",
            "process_level_p",
            "cgroup_info_map",
            "process_ip",
        ],
    ),
    (
        "Tetragon",
        &[
            "tg_",
            "execve_",
            "policy_filter_",
            "event_config_ma",
            "fdinstall_map",
            "socktrack_map",
            "tcpmon_map",
            "argfilter_maps",
            "sel_names_map",
            "override_tasks",
            "process_call_he",
            "retprobe_map",
        ],
    ),
    ("Inspektor Gadget", &["ig_", "containers", "exec_args", "gadget_", "enriched_"]),
    (
        "OpenTelemetry profiler",
        &["exe_id_to_", "unwind_info_", "stack_delta_", "pid_page_to_map", "interpreter_of", "pid_events"],
    ),
    ("systemd", &["cgroup_hash", "sd_"]),
];

/// Owners by the command that holds a file descriptor.
const COMMANDS: &[(&str, &str)] = &[
    ("kmesh", "Kmesh"),
    ("cilium", "Cilium"),
    ("calico", "Calico"),
    ("mbctl", "Merbridge"),
    ("tetragon", "Tetragon"),
    ("gadget", "Inspektor Gadget"),
    ("ig", "Inspektor Gadget"),
    ("ebpf-profiler", "OpenTelemetry profiler"),
];

/// Owners by a component of the path a map is pinned at.
const PATHS: &[(&str, &str)] = &[
    ("kmesh", "Kmesh"),
    ("cilium", "Cilium"),
    ("calico", "Calico"),
    ("cali", "Calico"),
    ("tetragon", "Tetragon"),
    ("gadget", "Inspektor Gadget"),
];

/// Shown for maps whose owner nothing tells.
pub(super) const NOBODY: &str = "(owner unknown)";

pub(super) fn by_name(name: &str) -> Option<&'static str> {
    // sections of any libbpf program
    if name.is_empty() || name.starts_with('.') {
        return None;
    }
    NAMES.iter().find(|(_, names)| names.iter().any(|n| name.starts_with(n))).map(|(owner, _)| *owner)
}

fn by_paths(paths: &[Box<str>]) -> Option<&'static str> {
    paths.iter().flat_map(|path| path.split('/')).find_map(|component| {
        PATHS.iter().find(|(name, _)| component.starts_with(name)).map(|(_, owner)| *owner).or(by_name(component))
    })
}

fn by_holders(holders: &[Holder]) -> Option<Box<str>> {
    let known = holders.iter().find_map(|holder| {
        COMMANDS
            .iter()
            .find(|(command, _)| {
                holder.comm.split('-').any(|part| part == *command) || holder.comm.starts_with(command)
            })
            .map(|(_, owner)| Box::from(*owner))
    });
    // any other command is itself the best name there is
    known.or_else(|| holders.iter().map(|h| &h.comm).find(|comm| !comm.is_empty()).cloned())
}

/// The owner of a map by what the map itself shows.
pub(super) fn of_map(map: &BpfMap) -> Option<Box<str>> {
    by_name(&map.name).or_else(|| by_paths(&map.pinned)).map(Box::from).or_else(|| by_holders(&map.holders))
}

/// The owner of a program by what it itself shows.
pub(super) fn of_prog(prog: &BpfProg) -> Option<Box<str>> {
    by_paths(&prog.pinned).or_else(|| by_name(&prog.name)).map(Box::from).or_else(|| by_holders(&prog.holders))
}
