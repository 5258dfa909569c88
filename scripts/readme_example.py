#!/usr/bin/env python3
"""Puts the tool's present output into the README's example.

usage: readme_example.py MESHDUMP_BINARY      (run from the top of the repository)
"""
import re
import subprocess
import sys

out = subprocess.run([sys.argv[1], "analyze", "testdata/envoy/gateway"], capture_output=True, text=True, check=True)
lines = out.stdout.splitlines()


def block(start, count=None, until=None):
    """Lines from the first that starts with `start`, `count` of them or up to a blank one."""
    at = next(i for i, line in enumerate(lines) if line.startswith(start))
    got = lines[at:]
    if count:
        return got[:count]
    return got[:next((i for i, line in enumerate(got) if not line.strip()), len(got))]


def finding(code):
    at = next(i for i, line in enumerate(lines) if re.match(r"(error|warn|note)\s+" + code, line))
    end = next((i for i in range(at + 1, len(lines)) if not lines[i].startswith("        ")), len(lines))
    return at, lines[at:end]


parts = [lines[0:6], block("KIND"), [""], block("DRAINING", 1), ["…"]]
parts += [f for _, f in sorted(finding(c) for c in ("MD201", "MD207", "MD302"))]
text = "\n".join("\n".join(p) for p in parts)
with open("README.md", encoding="utf-8") as f:
    readme = f.read()
head, rest = readme.split("```text\n", 1)
with open("README.md", "w", encoding="utf-8") as f:
    f.write(head + "```text\n" + text + "\n```" + rest.split("```", 1)[1])
