#!/usr/bin/env python3
"""Writes testdata/bpf/seed-002-*: inputs that stand for the listings and the log of kmesh-net/kmesh issue 945.

The issue shows sums by name and a daemon's log; these files are the listing and the slot events that give them:
two daemons of Kmesh 0.5 on one 6.1 kernel with 8 CPUs, Inspektor Gadget beside them. Sizes are those of Kmesh's maps.

Usage: python3 scripts/make_bpf_seed_002.py testdata/bpf
"""
import gzip
import json
import sys
from pathlib import Path

OUT = Path(sys.argv[1])
INNER = 32_767


def map_(id_, type_, name, key, value, entries, memlock, flags=0):
    m = {"id": id_, "type": type_}
    if name:
        m["name"] = name
    m |= {"flags": flags, "bytes_key": key, "bytes_value": value, "max_entries": entries,
          "bytes_memlock": memlock, "frozen": 0}
    return m


# (key, type, name, key bytes, value bytes, entries, memlock, flags); names as the kernel cuts them
KMESH = [
    ("events", "ringbuf", "kmesh_events", 0, 0, 262144, 0, 0),
    ("sock", "sk_storage", "map_of_sock_sto", 4, 4, 0, 0, 1),
    ("loglevel", "array", "bpf_log_level", 4, 4, 1, 4096, 0),
    ("template", "array", "inner_map", 4, 1300, 1, 4096, 0),
    ("version", "array", "kmesh_version", 4, 4, 1, 4096, 0),
    ("tmpbuf", "percpu_array", "tmp_buf", 4, 12, 1, 4096, 0),
    ("tmplog", "percpu_array", "tmp_log_buf", 4, 255, 1, 4096, 0),
    ("rodata", "array", ".rodata", 4, 4000, 1, 4096, 128),
    ("listener", "hash", "kmesh_listener", 40, 64, 1024, 106_496, 0),
    ("ctx", "hash", "kmesh_tail_call", 48, 200, 256, 65_536, 0),
    ("prog", "prog_array", "kmesh_tail_call", 4, 4, 512, 4096, 0),
    ("ctx2", "hash", "kmesh_tail_call", 48, 200, 256, 65_536, 0),
    ("prog2", "prog_array", "kmesh_tail_call", 4, 4, 512, 4096, 0),
    ("manage", "hash", "kmesh_manage", 16, 8, 8192, 196_608, 0),
    ("router", "hash", "map_of_router_c", 192, 56, 16384, 4_063_232, 1),
    ("cluster", "hash", "kmesh_cluster", 192, 64, 16384, 4_194_304, 1),
    ("outer", "array_of_maps", "outer_map", 4, 4, 1 << 20, 8_388_608, 0),
    ("eps", "hash", "map_of_cluster_", 192, 776, 131072, 126_877_696, 1),
    ("epsdata", "percpu_array", "map_of_cluster_", 4, 776, 1, 8192, 0),
]
IG = [
    ("ig_fa_pick_ctx", "hash", 8, 64, 32, 4096), ("ig_fa_records", "lru_hash", 8, 976, 1000, 987_136),
    ("containers", "hash", 8, 1024, 1024, 1_056_768), ("exec_args", "hash", 4, 7680, 256, 1_970_176),
]
# programs of one daemon: (type, name, maps), by the MAPMEMORY and MAPCOUNT that the issue shows
PROGS = [
    ("sock_ops", "sockops_prog", ["outer", "listener", "ctx", "prog", "version", "loglevel", "tmplog", "events"]),
    ("cgroup_sock_addr", "cgroup_connect", ["manage", "listener", "version", "loglevel", "tmplog", "events"]),
    ("raw_tracepoint", "connect_ret", []),
]
for kind in ("sock_ops", "cgroup_sock_addr"):
    ctx, prog = ("ctx", "prog") if kind == "sock_ops" else ("ctx2", "prog2")
    PROGS += [
        (kind, "cluster_manager",
         ["eps", "cluster", "outer", ctx, "epsdata", prog, "tmpbuf", "tmplog", "loglevel"]),
        (kind, "filter_chain_ma", ["outer", ctx, prog, "tmpbuf", "tmplog", "loglevel", "events"]),
        (kind, "filter_manager", ["outer", ctx, prog, "tmplog", "loglevel", "events"]),
    ]
PROGS.insert(6, ("sock_ops", "route_config_ma", ["outer", "router", "ctx", "prog", "tmpbuf", "tmplog", "loglevel", "events"]))


def listing(inner_of_each):
    maps, named, id_ = [], [], 100
    for daemon in range(2):
        ids = {}
        for key, type_, name, *shape in KMESH:
            id_ += 1
            ids[key] = id_
            maps.append(map_(id_, type_, name, *shape))
        named.append(ids)
        for _ in range(inner_of_each[0]):
            id_ += 1
            maps.append(map_(id_, "array", "", 4, 1300, 1, 4096))
    for copy in range(2):
        for name, type_, key, value, entries, memlock in IG:
            id_ += 1
            maps.append(map_(id_, type_, name, key, value, entries, memlock))
        # data sections of its programs
        for size in ([16_000, 12_000] if copy == 0 else [8_000, 4_000]):
            id_ += 1
            pages = (size + 8 + 4095) // 4096 * 4096
            maps.append(map_(id_, "array", ".rodata", 4, size, 1, pages, 128))
    for _ in range(2):
        for _ in range(inner_of_each[1]):
            id_ += 1
            maps.append(map_(id_, "array", "", 4, 1300, 1, 4096))
    return maps, named


def write(name, data):
    with open(OUT / name, "wb") as f:
        with gzip.GzipFile(filename="", fileobj=f, mode="wb", compresslevel=9, mtime=0) as z:
            z.write(json.dumps(data, separators=(",", ":")).encode())


# 32,766 and not 32,767: the listing was taken after a full cycle up and down, which costs one map
before, _ = listing((INNER - 1, 0))
after, named = listing((INNER - 1, INNER))
write("seed-002-maps-before.json.gz", before)
write("seed-002-maps-after.json.gz", after)
progs = []
for daemon, ids in enumerate(named):
    for i, (type_, name, keys) in enumerate(PROGS):
        progs.append({"id": 395 + len(progs), "type": type_, "name": name, "tag": f"{daemon:02x}{i:014x}",
                      "gpl_compatible": True, "loaded_at": 1728891690, "uid": 0, "bytes_xlated": 4096, "jited": True,
                      "bytes_jited": 3000, "bytes_memlock": 4096, "map_ids": [ids[k] for k in keys]})
(OUT / "seed-002-progs.json").write_text(json.dumps(progs, separators=(",", ":")) + "\n")

# The slots the log implies. Peak 40,958 slots in use, first fit; then deletions in no order of slots: 8,028 of those
# above 24,739 stay alive until the end, which the last scale-in runs into.
events = [
    {"t": 0, "alloc": [], "free": []},
    {"t": 60, "alloc": [[1, 22956]], "free": []},
    {"t": 90, "alloc": [[22957, 40958]], "free": []},
    {"t": 600, "alloc": [], "free": [[11632, 32930]]},
    {"t": 601, "alloc": [], "free": [[9153, 11631]]},
    {"t": 602, "alloc": [], "free": [[6710, 9152]]},
    {"t": 603, "alloc": [], "free": [[4255, 6709]]},
    {"t": 7200, "alloc": [[4255, 14926]], "free": []},
]
(OUT / "seed-002-slots.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
counts = [0, 500, 1000, 1500, 1000, 500, 0, 500, 1000, 1500]
(OUT / "seed-002-services.jsonl").write_text(
    "".join(json.dumps({"t": 60 * i, "services": n}) + "\n" for i, n in enumerate(counts)))
