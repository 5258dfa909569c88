#!/usr/bin/env python3
"""Times `meshdump whatif` with 100 scenarios over streams of 100,000 updates, and says whether the target is met.

usage: bench_whatif.py MESHDUMP_BINARY FOLDER [--updates N] [--runs N]

The shapes of bench_replay.py, and `one by one`: a delta stream in which each response replaces one of 1000
listeners, so that there are as many responses as updates and thousands drain at a time. The target is 20 s on two cores, that is 40 s of CPU time, and the same bytes on one
thread. Times are medians, peak resident memory is what wait4(2) says.
"""
import hashlib
import json
import os
import statistics
import subprocess
import sys
import time

from bench_replay import TYPE, arguments, endpoints, listener, listeners, make

SWEEPS = ["debounce.quiet=0s..49s:1s", "fixed-window.window=1s..50s:1s"]


def one_by_one(updates):
    names = 1000
    for n in range(updates):
        body = json.loads(listener(n % names, n // names, True))
        resource = {"name": body["name"], "version": str(n), "resource": body}
        yield json.dumps({"t": n * 0.05, "type_url": TYPE + "listener.v3.Listener", "system_version_info": str(n),
                          "nonce": str(n), "resources": [resource]}) + "\n"


def run(binary, path, threads):
    command = [binary, "whatif", str(path), "-o", "json"]
    for sweep in SWEEPS:
        command += ["--sweep", sweep]
    start = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "RAYON_NUM_THREADS": str(threads)})
    digest = hashlib.sha256(child.stdout.read()).hexdigest()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit("%s: exit code %d" % (path, child.returncode))
    return time.monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, digest


def main():
    a = arguments(__doc__, 100_000)
    shapes = {"state of the world": lambda n: listeners(n, 500, False), "endpoints": endpoints,
              "full": lambda n: listeners(n, 50, True), "one by one": one_by_one}
    print("| stream | wall s | CPU s | peak MiB | under 40 s of CPU | one thread |\n| --- | ---: | ---: | ---: | --- | --- |")
    missed = 0
    for name, lines in shapes.items():
        path = make(a.folder / ("%s-%d.jsonl.gz" % (name.replace(" ", "-"), a.updates)), lines(a.updates))
        samples = [run(a.meshdump, path, 2) for _ in range(a.runs)]
        wall, cpu, peak = (statistics.median(s[k] for s in samples) for k in range(3))
        same = run(a.meshdump, path, 1)[3] == samples[0][3]
        missed += cpu >= 40 or not same
        print("| %s | %.1f | %.1f | %.0f | %s | %s |" % (
            name, wall, cpu, peak, "pass" if cpu < 40 else "**miss**", "same bytes" if same else "**differs**"), flush=True)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
