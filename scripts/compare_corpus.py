#!/usr/bin/env python3
"""Compares what `meshdump analyze` reads from every file of a corpus with the independent count of count_corpus.py.

usage: compare_corpus.py CORPUS_DIR MESHDUMP_BINARY > docs/corpus.md

Markdown on stdout, disagreements on stderr too. Exit code 1 when there is any.

Equal means: the same number of resources of each kind in each state (a file without any, read as another kind of
evidence, has none), or a refusal (exit code 3, one line) of a file in which the count found no configuration either.
What the tool says a file is must also be possible for what the count says it is.

usage: compare_corpus.py CORPUS_DIR MESHDUMP_BINARY --variants

Instead writes every file that is one JSON document with configuration in other ways (minified, keys sorted, `@type`
last, gzipped, UTF-16, CRLF, text around it), and compares the tool's counts of each with the count of
the original. Prints the disagreements and a line per way.
"""
import collections
import concurrent.futures
import gzip
import json
import os
import re
import subprocess
import sys
import tempfile

from count_corpus import COLUMNS, count_file, decode, manifest

COLUMN_OF = {
    ("route_config", "static"): "routes_static", ("endpoint", "static"): "endpoints_static",
    **{("listener", s): "listeners_" + s for s in ("static", "active", "warming", "draining", "error")},
    **{("cluster", s): "clusters_" + s for s in ("static", "active", "warming")},
    **{("secret", s): "secrets_" + s for s in ("static", "active", "warming")},
    **{("route_config", s): "routes_dynamic" for s in ("active", "warming", "draining")},
    **{("endpoint", s): "endpoints_dynamic" for s in ("active", "warming", "draining")},
    ("extension_config", "active"): "ecds",
}
PARTS = {"filter_chain": "chains", "endpoint": "hosts", "virtual_host": "virtual_hosts"}
NOT_COMPARED = {"filter_chain", "virtual_host", "bootstrap", "subscription"}
GROUPS = {"listeners": "L", "clusters": "C", "routes": "R", "endpoints": "E", "secrets": "S", "ecds": "X",
          "chains": "chains", "virtual_hosts": "virtual hosts", "hosts": "hosts"}

# what the count says (without `not config: `) -> what the tool may call it
POSSIBLE = [
    (r"empty", r"empty"),
    (r"archive of \d+ files", r"kubernetes|yaml|json|binary|text|envoy_log"),
    (r"/memory", r"memory"),
    (r"/server_info( text)?", r"server_info"),
    (r"/certs", r"certs"),
    (r"/clusters (text|as JSON)", r"clusters"),
    (r"list of /clusters as JSON", r"config_dump"),
    (r"/listeners (text|as JSON)", r"listeners"),
    (r"/stats text", r"stats"),
    (r"Prometheus text", r"stats|metrics"),
    (r"OTLP metrics", r"otlp"),
    (r"ztunnel dump", r"ztunnel"),
    (r"Kmesh configuration", r"kmesh"),
    (r"Python repr", r"python"),
    (r"bpftool text|(\d+ documents: )?(list of )?bpftool maps", r"bpftool"),
    (r"Kubernetes object|Kubernetes YAML", r"kubernetes"),
    (r"list of Kubernetes object", r"kubernetes|istiod/configz"),
    (r"YAML", r"yaml|kubernetes|text"),
    (r"log", r"envoy_log|istiod_log|text"),
    (r"text|template", r"text"),
    (r"istiod or runtime entries", r"runtime|istiod/.*"),
    (r"(CSDS|DiscoveryResponse) .*", r"config_dump"),
    (r"(\d+ documents: )?JSON .*", r"json|istiod/.*|kubernetes|bpftool"),
]


def ask(binary, path):
    """(exit code, parsed answer or None, message) of the tool for one file."""
    done = subprocess.run([binary, "analyze", path, "-o", "json", "--all"], capture_output=True, timeout=300)
    message = done.stderr.decode("utf-8", "replace").strip()
    if done.returncode == 0:
        return 0, json.loads(done.stdout), message
    return done.returncode, None, message


def counts_of(answer):
    columns, odd = collections.Counter(), []
    for proxy in answer["proxies"]:
        for resource in proxy["resources"]:
            key = (resource["kind"], resource["state"])
            if key in COLUMN_OF:
                columns[COLUMN_OF[key]] += 1
            elif key[0] not in NOT_COMPARED:
                odd.append("%s in state %s" % key)
        for row in proxy["by_kind"]:
            if row["kind"] in PARTS and row["count"]:
                columns[PARTS[row["kind"]]] += row["count"]
    return columns, odd


def shown(columns):
    """`L 0/5/1/3/2 C 1/12/1 …`, kinds without any left out."""
    out = []
    for group, letter in GROUPS.items():
        values = [columns[c] for c in COLUMNS if c == group or c.startswith(group + "_")]
        if any(values):
            out.append("%s %s" % (letter, "/".join(map(str, values))))
    return " ".join(out) or "none"


def possible(verdict, kinds):
    what = verdict.removeprefix("not config: ")
    for said, called in POSSIBLE:
        if re.fullmatch(said, what):
            return all(re.fullmatch(called, k) for k in kinds)
    return False


def compare(corpus, binary, name):
    """One row of the table: (name, count's verdict, tool's verdict, difference or empty)."""
    path = os.path.join(corpus, name)
    verdict, expected = count_file(path)
    code, answer, message = ask(binary, path)
    config = verdict == "config"
    mine = shown(expected) if config else verdict
    if code not in (0, 3):
        return name, mine, "exit code %d: %s" % (code, message), "exit code %d" % code
    if code == 3:
        message = message.replace(corpus.rstrip("/") + "/", "")
        wrong = []
        if config:
            wrong.append("refused, yet it holds configuration")
        if len(message.splitlines()) != 1:
            wrong.append("%d lines instead of one" % len(message.splitlines()))
        told = re.search(r"recognised as ([\w/]+): \S", message)
        if verdict == "not config: empty" and "empty file" in message or (
                verdict.startswith("not config: archive") and "no Envoy config dump in" in message):
            pass
        elif not told:
            wrong.append("the message does not say what it is and why it is not read")
        elif not config and not possible(verdict, [told.group(1)]):
            wrong.append("called %s" % told.group(1))
        return name, mine, "refused: " + message.removeprefix("error: %s: " % name), "; ".join(wrong)
    kinds = sorted({i["kind"] for i in answer["inputs"]})
    got, odd = counts_of(answer)
    theirs = "%s: %s" % (", ".join(kinds), shown(got)) if got else ", ".join(kinds)
    wrong = ["%s %d instead of %d" % (c.replace("_", " "), got[c], expected[c])
             for c in COLUMNS if got[c] != expected[c]] + odd
    if not config and not possible(verdict, kinds):
        wrong.append("read as %s" % ", ".join(kinds))
    if config and "config_dump" not in kinds:
        wrong.append("not read as a config dump")
    return name, mine, theirs, "; ".join(wrong)


def type_last(value):
    if isinstance(value, list):
        return [type_last(v) for v in value]
    if isinstance(value, dict):
        return {k: type_last(value[k]) for k in sorted(value, key=lambda k: k == "@type")}
    return value


def plain(value, **how):
    return json.dumps(value, ensure_ascii=False, **how).encode()


WAYS = {
    "minified": lambda v: plain(v, separators=(",", ":")),
    "keys sorted": lambda v: plain(v, indent=2, sort_keys=True),
    "@type last": lambda v: plain(type_last(v), indent=1),
    "escaped": lambda v: json.dumps(v).encode(),
    "tabs and CRLF": lambda v: plain(v, indent="\t").replace(b"\n", b"\r\n"),
    "gzipped": lambda v: gzip.compress(plain(v, indent=1)),
    "gzip of two members": lambda v: gzip.compress(plain(v)[:999]) + gzip.compress(plain(v)[999:]),
    "UTF-8 with a mark": lambda v: b"\xef\xbb\xbf" + plain(v, indent=1),
    "UTF-16 LE": lambda v: plain(v, indent=1).decode().encode("utf-16"),
    "UTF-16 BE": lambda v: b"\xfe\xff" + plain(v, indent=1).decode().encode("utf-16-be"),
    "a status line before": lambda v: b"200\n" + plain(v, indent=1),
    "a prompt before, text behind": lambda v: b"$ curl localhost:15000/config_dump\n" + plain(v, indent=1) + b"\n$ exit\n",
}


def variants(corpus, binary):
    """Compares every way of writing every document; the number of disagreements."""
    differing = 0
    documents = []
    for name in manifest(corpus):
        verdict, expected = count_file(os.path.join(corpus, name))
        if verdict == "config":
            with open(os.path.join(corpus, name), "rb") as file:
                try:
                    documents.append((name, json.loads(decode(file.read())), expected))
                except ValueError:
                    pass
    for way, write in WAYS.items():
        wrong = 0
        with tempfile.TemporaryDirectory() as folder:
            for name, value, expected in documents:
                path = os.path.join(folder, "dump")
                with open(path, "wb") as file:
                    file.write(write(value))
                code, answer, message = ask(binary, path)
                got = counts_of(answer)[0] if answer else None
                if got != expected:
                    wrong += 1
                    print("%s, %s\n  count: %s\n  tool:  %s" % (
                        name, way, shown(expected), shown(got) if answer else "exit code %d: %s" % (code, message)))
        print("%s: %d of %d documents differ" % (way, wrong, len(documents)))
        differing += wrong
    return differing


def cell(text):
    text = re.sub(r"[\x00-\x1f]", " ", text)
    return text.replace("|", "\\|").replace("<", "&lt;")


def main():
    corpus, binary = sys.argv[1:3]
    if "--variants" in sys.argv[3:]:
        sys.exit(1 if variants(corpus, binary) else 0)
    names = manifest(corpus)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        rows = list(pool.map(lambda n: compare(corpus, binary, n), names))
    differing = [r for r in rows if r[3]]
    read = [r for r in rows if not r[2].startswith(("refused", "exit code"))]
    with_config = [r for r in rows if not r[1].startswith("not config")]
    print("# The corpus, read twice\n")
    print("Written by `scripts/compare_corpus.py`; do not edit. Every file of the corpus (`MESHDUMP_CORPUS`) was read by\n"
          "`meshdump analyze` and counted by `scripts/count_corpus.py`, which loads it with Python's `json` and shares no\n"
          "code with the reader.\n")
    print("- %d files: %d hold Envoy configuration, %d do not" % (
        len(rows), len(with_config), len(rows) - len(with_config)))
    print("- `meshdump analyze` read %d (%d with configuration) and refused %d with exit code 3" % (
        len(read), len([r for r in with_config if r in read]),
        len([r for r in rows if r[2].startswith("refused")])))
    print("- %d agree, **%d differ**\n" % (len(rows) - len(differing), len(differing)))
    print("Counts are L listeners static/active/warming/draining/error, C clusters static/active/warming, R route tables\n"
          "static/dynamic, E endpoint sets static/dynamic, S secrets static/active/warming, X ECDS resources. What the\n"
          "bootstrap holds is not counted again; an error entry counts beside the other states of its listener.\n")
    print("| file | independent count | meshdump | |\n| --- | --- | --- | --- |")
    for name, mine, theirs, wrong in rows:
        print("| %s | %s | %s | %s |" % (cell(name), cell(mine), cell(theirs), "**%s**" % cell(wrong) if wrong else "="))
    for name, mine, theirs, wrong in differing:
        print("%s\n  count: %s\n  tool:  %s\n  %s" % (name, mine, theirs, wrong), file=sys.stderr)
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()
