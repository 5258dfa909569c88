#!/usr/bin/env python3
"""Times `meshdump replay` on streams of one million resource updates, and a quarter of that, and says which targets are met.

usage: bench_replay.py MESHDUMP_BINARY FOLDER [--updates N] [--runs N]

Three shapes, kept in FOLDER for the next run: `state of the world` repeats 500 listeners per response, one of which changed;
`endpoints` is a delta stream in which every update is a body of its own; `full` replaces one of 50 listeners whole per
response, so that drains overlap. Wall and CPU time are medians, peak resident memory is what wait4(2) says.
"""
import argparse
import gzip
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

TYPE = "type.googleapis.com/envoy.config."
MANAGER = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


def listener(i, revision, whole):
    manager = {"@type": MANAGER, "stat_prefix": "in", "http_filters": [],
               "rds": {"route_config_name": "web", "config_source": {"ads": {}, "resource_api_version": "V3"}}}
    chain = {"name": "c%d" % i, "filter_chain_match": {"server_names": ["h%d-%d.example.com" % (i, 0 if whole else revision)]},
             "filters": [{"name": "http", "typed_config": manager}]}
    out = {"@type": TYPE + "listener.v3.Listener", "name": "listener-%d" % i, "filter_chains": [chain],
           "address": {"socket_address": {"address": "10.0.%d.%d" % (i // 250, i % 250), "port_value": 80}}}
    if whole:
        out["per_connection_buffer_limit_bytes"] = 32768 + revision
    return json.dumps(out)


def assignment(i, revision):
    hosts = [{"endpoint": {"address": {"socket_address": {"address": "10.%d.%d.%d" % (revision % 250, i % 250, 1 + h),
                                                         "port_value": 1024 + revision // 250}}}} for h in range(2)]
    return {"@type": TYPE + "endpoint.v3.ClusterLoadAssignment", "cluster_name": "cluster-%d" % i,
            "endpoints": [{"lb_endpoints": hosts}]}


def listeners(updates, names, whole):
    now = [listener(i, 0, whole) for i in range(names)]
    for n in range(updates // names):
        now[n % names] = listener(n % names, n, whole)
        yield '{"t":%g,"type_url":"%slistener.v3.Listener","version_info":"%d","nonce":"%d","resources":[%s]}\n' % (
            n * 0.5, TYPE, n, n, ",".join(now))


def endpoints(updates):
    names = 1000
    clusters = [{"name": "cluster-%d" % i, "version": "0", "resource": {
        "@type": TYPE + "cluster.v3.Cluster", "name": "cluster-%d" % i, "type": "EDS", "connect_timeout": "1s",
        "eds_cluster_config": {"eds_config": {"ads": {}, "resource_api_version": "V3"}}}} for i in range(names)]
    yield json.dumps({"t": 0, "type_url": TYPE + "cluster.v3.Cluster", "system_version_info": "0", "nonce": "c",
                      "resources": clusters}) + "\n"
    for n in range(updates // 100):
        some = [((n * 100 + k) % names, n * 100 // names) for k in range(100)]
        resources = [{"name": "cluster-%d" % i, "version": str(r), "resource": assignment(i, r)} for i, r in some]
        yield json.dumps({"t": n * 0.1, "type_url": TYPE + "endpoint.v3.ClusterLoadAssignment",
                          "system_version_info": str(n), "nonce": str(n), "resources": resources}) + "\n"


def make(path, lines):
    if not path.exists():
        part = path.with_suffix(".part")
        with gzip.open(part, "wt", compresslevel=1) as f:
            f.writelines(lines)
        part.rename(path)
    return path


def run(binary, path):
    start = time.monotonic()
    child = subprocess.Popen([binary, "replay", str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit("%s: exit code %d: %s" % (path, child.returncode, errors.decode(errors="replace")))
    return time.monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def arguments(description, updates):
    """The command line of a benchmark of recordings, its folder made."""
    parser = argparse.ArgumentParser(description=description.split("\n", 1)[0])
    parser.add_argument("meshdump")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--updates", type=int, default=updates)
    parser.add_argument("--runs", type=int, default=3)
    a = parser.parse_args()
    a.folder.mkdir(parents=True, exist_ok=True)
    return a


def main():
    a = arguments(__doc__, 1_000_000)
    shapes = {"state of the world": lambda n: listeners(n, 500, False), "endpoints": endpoints,
              "full": lambda n: listeners(n, 50, True)}
    print("| stream | updates | wall s | CPU s | peak MiB |\n| --- | ---: | ---: | ---: | ---: |")
    missed = 0
    for name, lines in shapes.items():
        cpu = {}
        for n in (a.updates // 4, a.updates):
            path = make(a.folder / ("%s-%d.jsonl.gz" % (name.replace(" ", "-"), n)), lines(n))
            samples = [run(a.meshdump, path) for _ in range(a.runs)]
            wall, cpu[n], peak = (statistics.median(s[k] for s in samples) for k in range(3))
            print("| %s | %d | %.2f | %.2f | %.0f |" % (name, n, wall, cpu[n], peak / (1 << 20)))
        # two cores: what the CPU was busy for, not what a loaded machine made of it
        good = cpu[a.updates] < 10 and cpu[a.updates] < 5 * cpu[a.updates // 4]
        missed += not good
        print("| | under 10 s, and at most 5 times a quarter of it: | %s | %.1f x | |" % (
            "pass" if good else "**miss**", cpu[a.updates] / cpu[a.updates // 4]))
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
