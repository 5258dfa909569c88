#!/usr/bin/env python3
"""Counts the resources of every file of a corpus, independently of the Rust reader.

usage: count_corpus.py CORPUS_DIR [FILE...]     TSV on stdout: file, verdict, one column per kind and state

CORPUS_DIR holds MANIFEST.tsv (first column: file). Files are loaded whole with Python's own `json` and looked at as a
tree; nothing here is taken from the Rust code, so that the two can disagree.

Conventions
- A file is `config` when it holds a section of an Envoy admin dump or a resource of the xDS API; a section may be empty.
- Resources inside a `bootstrap` are not counted: an admin dump repeats them in its static lists.
- Every state of a dynamic listener counts in its own column. So does an error state, with or without others beside it:
  it holds a whole rejected resource.
- Resources without a wrapper (arrays of them, name-to-resource maps, DiscoveryResponse, CSDS `generic_xds_configs`)
  count as active or dynamic.
- A section type counts only when its full name is Envoy's (`envoy.admin.v3.`, `envoy.admin.v2alpha.`).
- `chains` are the filter chains of counted listeners (a rejected one has none), the default one included;
  `virtual_hosts` those of counted route tables, `hosts` the endpoints of counted endpoint sets, and those written into
  a cluster that has no set of its name.
- Of an archive the members are counted, equal members once.
- Text around the JSON, a byte order mark, UTF-16, several documents in one file are all accepted; YAML proper is not.
"""
import collections
import gzip
import hashlib
import io
import json
import os
import re
import sys
import tarfile
import zipfile

COLUMNS = [
    "listeners_static", "listeners_active", "listeners_warming", "listeners_draining", "listeners_error",
    "clusters_static", "clusters_active", "clusters_warming",
    "routes_static", "routes_dynamic", "endpoints_static", "endpoints_dynamic",
    "secrets_static", "secrets_active", "secrets_warming", "ecds",
    "chains", "virtual_hosts", "hosts",
]

# list field of a section (in snake_case) -> (column, field of the entry that holds the resource)
LISTS = {
    "static_listeners": ("listeners_static", "listener"),
    "dynamic_active_listeners": ("listeners_active", "listener"),
    "dynamic_warming_listeners": ("listeners_warming", "listener"),
    "dynamic_draining_listeners": ("listeners_draining", "listener"),
    "static_clusters": ("clusters_static", "cluster"),
    "dynamic_active_clusters": ("clusters_active", "cluster"),
    "dynamic_warming_clusters": ("clusters_warming", "cluster"),
    "static_route_configs": ("routes_static", "route_config"),
    "dynamic_route_configs": ("routes_dynamic", "route_config"),
    "static_endpoint_configs": ("endpoints_static", "endpoint_config"),
    "dynamic_endpoint_configs": ("endpoints_dynamic", "endpoint_config"),
    "static_secrets": ("secrets_static", "secret"),
    "dynamic_active_secrets": ("secrets_active", "secret"),
    "dynamic_warming_secrets": ("secrets_warming", "secret"),
    "ecds_filters": ("ecds", "ecds_filter"),
}
STATES = {"active_state": "listeners_active", "warming_state": "listeners_warming",
          "draining_state": "listeners_draining", "error_state": "listeners_error"}
SECTIONS = ("Bootstrap", "Listeners", "Clusters", "Routes", "ScopedRoutes", "Secrets", "Endpoints", "Ecds")
SECTION_TYPE = re.compile(r"envoy\.admin\.(?:v3|v2alpha)\.(?:%s)ConfigDump$" % "|".join(SECTIONS))
SLICE_TYPE = re.compile(r"envoy\.admin\.(?:v3|v2alpha)\.[A-Za-z]+ConfigDump\.(\w+)$")
SLICES = {"DynamicListener": "dynamic_listeners", "StaticListener": "static_listeners",
          "DynamicCluster": "dynamic_active_clusters", "StaticCluster": "static_clusters",
          "DynamicRouteConfig": "dynamic_route_configs", "StaticRouteConfig": "static_route_configs",
          "DynamicSecret": "dynamic_active_secrets", "StaticSecret": "static_secrets",
          "DynamicEndpointConfig": "dynamic_endpoint_configs", "StaticEndpointConfig": "static_endpoint_configs",
          "EcdsFilterConfig": "ecds_filters"}
RESOURCE_TYPES = {
    "envoy.config.listener.v3.Listener": "listeners_active", "envoy.api.v2.Listener": "listeners_active",
    "envoy.config.cluster.v3.Cluster": "clusters_active", "envoy.api.v2.Cluster": "clusters_active",
    "envoy.config.route.v3.RouteConfiguration": "routes_dynamic", "envoy.api.v2.RouteConfiguration": "routes_dynamic",
    "envoy.config.endpoint.v3.ClusterLoadAssignment": "endpoints_dynamic",
    "envoy.api.v2.ClusterLoadAssignment": "endpoints_dynamic",
    "envoy.extensions.transport_sockets.tls.v3.Secret": "secrets_active", "envoy.api.v2.auth.Secret": "secrets_active",
    "envoy.config.core.v3.TypedExtensionConfig": "ecds",
}


def snake(key):
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda m: "_" + m.group(1).lower(), key)


def plain_type(value):
    return value.rsplit("/", 1)[-1] if isinstance(value, str) else ""


class Count:
    """Counts of one file, and what its documents are when they hold no configuration."""

    def __init__(self):
        self.columns = collections.Counter()
        self.sections = 0
        self.sets = set()
        self.inline_hosts = []

    @property
    def config(self):
        return self.sections > 0 or sum(self.columns.values()) > 0

    def entry(self, column, field, entry):
        if not isinstance(entry, dict):
            return
        keys = {snake(k): v for k, v in entry.items()}
        if isinstance(keys.get(field), dict):
            self.resource(column, keys[field])
        elif field == "secret" and "name" in keys:
            # a warming secret has no content yet, its entry is all there is
            self.columns[column] += 1
        elif not {"version_info", "last_updated"} & keys.keys() and keys:
            # up to Envoy 1.7 the list holds the resource itself
            self.resource(column, entry)

    def resource(self, column, resource):
        """Counts a resource and its parts."""
        self.columns[column] += 1
        keys = {snake(k): v for k, v in resource.items()}
        if column.startswith("listeners_") and column != "listeners_error":
            self.columns["chains"] += len(keys.get("filter_chains") or []) + ("default_filter_chain" in keys)
        elif column.startswith("routes_"):
            self.columns["virtual_hosts"] += len(keys.get("virtual_hosts") or [])
        elif column.startswith("endpoints_"):
            self.sets.add(keys.get("cluster_name"))
            self.columns["hosts"] += hosts_of(keys)
        elif column.startswith("clusters_"):
            assignment = {snake(k): v for k, v in (keys.get("load_assignment") or {}).items()}
            # `hosts` is how it was written up to Envoy 1.6
            self.inline_hosts.append((keys.get("name"), hosts_of(assignment) or len(keys.get("hosts") or [])))

    def close(self):
        """At the end of a file, when all sets are known."""
        self.columns["hosts"] += sum(n for name, n in self.inline_hosts if name not in self.sets)
        self.columns += collections.Counter()  # drops zeros

    def add(self, other):
        self.columns += other.columns
        self.sections += other.sections

    def dynamic_listener(self, entry):
        if not isinstance(entry, dict):
            return
        keys = {snake(k): v for k, v in entry.items()}
        for key, column in STATES.items():
            if isinstance(keys.get(key), dict):
                self.resource(column, keys[key].get("listener") or {})

    def list_of(self, key, items):
        if key == "dynamic_listeners":
            for item in items:
                self.dynamic_listener(item)
        else:
            for item in items:
                self.entry(*LISTS[key], item)

    def section(self, node):
        self.sections += 1
        for key, value in node.items():
            key = snake(key)
            if isinstance(value, list) and (key in LISTS or key == "dynamic_listeners"):
                self.list_of(key, value)

    def node(self, node):
        """Looks at a JSON value and counts what it is, or goes on inside it."""
        if isinstance(node, list):
            for item in node:
                self.node(item)
            return
        if not isinstance(node, dict):
            return
        type_name = plain_type(node.get("@type"))
        keys = {snake(k): v for k, v in node.items()}
        if SECTION_TYPE.match(type_name):
            return self.section(node)
        if type_name in RESOURCE_TYPES:
            return self.resource(RESOURCE_TYPES[type_name], node)
        sliced = SLICE_TYPE.match(type_name)
        if sliced:
            if sliced.group(1) in SLICES:
                self.list_of(SLICES[sliced.group(1)], [node])
            return
        if type_name.endswith("ConfigDump"):
            return  # somebody else's section
        if not type_name and any(k in keys and isinstance(keys[k], list)
                                 for k in (*LISTS, "dynamic_listeners")):
            return self.section(node)
        if not type_name and isinstance(keys.get("bootstrap"), dict) and keys.keys() <= {"bootstrap", "last_updated"}:
            self.sections += 1
            return
        if any(isinstance(keys.get(k), dict) for k in STATES):
            return self.dynamic_listener(node)
        if {"op", "path"} <= keys.keys():
            return  # an RFC 6902 operation says what changed, it is not configuration
        if "api_status" in keys:
            return  # Kmesh's own messages, modelled after Envoy's
        column = shape(keys)
        if column:
            return self.resource(column, node)
        for key, value in node.items():
            if snake(key) != "bootstrap":
                self.node(value)


def hosts_of(assignment):
    return sum(len(locality.get("lb_endpoints") or locality.get("lbEndpoints") or [])
               for locality in assignment.get("endpoints") or [])


def shape(keys):
    """The column of an untyped xDS resource, told from its fields; None for anything else."""
    has = lambda *names: any(n in keys for n in names)  # noqa: E731
    if isinstance(keys.get("cluster_name"), str) and isinstance(keys.get("endpoints"), list):
        return "endpoints_dynamic"
    if isinstance(keys.get("virtual_hosts"), list):
        return "routes_dynamic"
    if has("filter_chains", "default_filter_chain", "listener_filters") and has("address", "api_listener", "name"):
        return "listeners_active"
    if isinstance(keys.get("name"), str):
        if has("connect_timeout", "lb_policy", "load_assignment", "eds_cluster_config", "cluster_type"):
            return "clusters_active"
        if has("tls_certificate", "validation_context", "session_ticket_keys", "generic_secret"):
            return "secrets_active"
    return None


def decode(data):
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    if data[:3] == b"\xef\xbb\xbf":
        data = data[3:]
    return data.decode("utf-8", "replace")


def documents(text):
    """The JSON documents in a text, whatever stands around them, and how many characters they take."""
    try:
        value = json.loads(text)
        return ([value], len(text)) if isinstance(value, (dict, list)) or value is None else ([], 0)
    except (ValueError, RecursionError):
        pass
    decoder = json.JSONDecoder()
    found, at, length = [], 0, 0
    while True:
        match = re.compile(r'\{\s*["}]|\[\s*[\[{\]]').search(text, at)
        if not match:
            return found, length
        try:
            value, at = decoder.raw_decode(text, match.start())
            found.append(value)
            length += at - match.start()
        except (ValueError, RecursionError):
            at = match.start() + 1


KNOWN = [  # keys that must all be there -> what the document is
    ({"cluster_statuses"}, "/clusters as JSON"),
    ({"host_statuses"}, "/clusters as JSON"),
    ({"listener_statuses"}, "/listeners as JSON"),
    ({"allocated", "heap_size"}, "/memory"),
    ({"command_line_options"}, "/server_info"),
    ({"certificates", "workloads"}, "ztunnel dump"),
    ({"certificates"}, "/certs"),
    ({"resource_metrics"}, "OTLP metrics"),
    ({"kind", "api_version"}, "Kubernetes object"),
    ({"api_status"}, "Kmesh configuration"),
    ({"bytes_memlock"}, "bpftool maps"),
    ({"static_resources"}, "Kmesh configuration"),
    ({"generic_xds_configs"}, "CSDS status without configuration"),
    ({"resources", "type_url"}, "DiscoveryResponse without known resources"),
    ({"type_url"}, "DiscoveryResponse without resources"),
    ({"entries"}, "istiod or runtime entries"),
]


def describe_json(value):
    first = value[0] if isinstance(value, list) and value else value
    if isinstance(first, dict):
        keys = {snake(k) for k in first}
        for needed, name in KNOWN:
            if needed <= keys:
                return ("list of " if isinstance(value, list) else "") + name
        return "JSON %s with keys %s" % ("list" if isinstance(value, list) else "object", ",".join(sorted(first)[:4]))
    return "JSON %s" % type(value).__name__


LOG = r"\d{4}-\d\d-\d\dT[\d:.]+Z[\t ]|\[?\d{4}-\d\d-\d\d|\{\"level\":|level=\w+ "
LINES = [  # how a line of it looks, the part of the lines that must look so
    (LOG, 0.5, "log"),
    (r"\S+::(\d+\.\d+\.\d+\.\d+|\[[\da-f:]+\]):\d+$", 0.9, "/listeners text"),
    (r"\S+::\S+::\S*", 0.9, "/clusters text"),
    (r"# (TYPE|HELP) |\w+_\w+(\{.*\})? ([-+.\deE]+|NaN)$", 0.9, "Prometheus text"),
    (r"envoy \S+/1\.\d+", 0.9, "/server_info text"),
    (r"\s*\d+: [a-z_]+ +(name|flags) |\s+key +\d+B? |\s+(btf_id|pids|memlock|max_entries|owner_prog_type) |"
     r"key: ?([\da-f]{2} |$)|key:$|value:$|Found \d+ element|[\da-f]{2}( {1,2}[\da-f]{2})* *$", 0.8, "bpftool text"),
    (r"\S+: (\d+$|\"|P0\(|No recorded)", 0.9, "/stats text"),
    (r"\s*(- )*[\"']?[\w./@$|{}#-]+[\"']?:( .*)?$|\s*- |\{\{", 0.8, "YAML"),
]


def describe_text(text):
    lines = [line for line in text.splitlines()[:500] if line.strip()]
    if not lines:
        return "empty"
    if re.search(r"\{'\w+':", text[:4000]):
        return "Python repr"
    if re.search(r"^\{\{", text, re.M):
        return "template"
    if not re.match(LOG, lines[0]) and re.search(r"^(- )?apiVersion: ", text, re.M) and re.search(r"^ *kind: ", text, re.M):
        return "Kubernetes YAML"
    for pattern, part, what in LINES:
        if sum(bool(re.match(pattern, line)) for line in lines) >= part * len(lines):
            return what
    return "text"


def members(data):
    """(name, bytes) of an archive, or None."""
    if data[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return [(i.filename, archive.read(i)) for i in archive.infolist() if not i.is_dir()]
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            return [(m.name, archive.extractfile(m).read()) for m in archive if m.isfile()]
    except tarfile.TarError:
        return None


def count(data, into):
    """Counts a file's bytes into `into`; returns what it is when that is not configuration."""
    inside = members(data) if data[:2] in (b"\x1f\x8b", b"PK") or data[257:262] == b"ustar" else None
    if inside is not None:
        seen = set()
        for _, content in inside:
            digest = hashlib.sha256(content).digest()
            if content and digest not in seen:
                seen.add(digest)
                member = Count()
                count(content, member)
                into.add(member)
        return "archive of %d files" % len(inside)
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    text = decode(data)
    found, length = documents(text)
    for value in found:
        into.node(value)
    into.close()
    if not found or length < len(text) / 2:
        return describe_text(text)
    several = len(found) > 1 and "%d documents: " % len(found) or ""
    return several + describe_json(found[0])


def count_file(path):
    """(verdict, Counter) of a file."""
    result = Count()
    with open(path, "rb") as file:
        data = file.read()
    what = count(data, result)
    return ("config" if result.config else "not config: " + what), result.columns


def manifest(corpus):
    with open(os.path.join(corpus, "MANIFEST.tsv"), encoding="utf-8") as file:
        return [line.split("\t", 1)[0] for line in file.read().split("\n")[1:] if line]


def main():
    corpus = sys.argv[1]
    print("\t".join(["file", "verdict"] + COLUMNS))
    for name in sys.argv[2:] or manifest(corpus):
        verdict, columns = count_file(os.path.join(corpus, name))
        cells = [str(columns[c]) if verdict == "config" else "" for c in COLUMNS]
        print("\t".join([name, verdict] + cells))


if __name__ == "__main__":
    main()
