#!/usr/bin/env python3
"""Times `meshdump analyze` beside jq, jaq and gzip on the same files, and says which targets are met.

usage: bench.py MESHDUMP_BINARY FOLDER [--runs N] [--megabytes N] [--realtime]

FOLDER takes the generated dumps (about five times --megabytes; kept for the next run). Every command runs as a whole
process, in turns, N times; wall time is the median. Peak resident memory is what wait4(2) says, the largest of the
runs; pages of a mapped file count there. --realtime puts every command before all others on a busy machine (chrt(1),
as root). Absent tools are left out and their targets are `not measured`.
"""
import argparse
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
MIB = 1 << 20


def run(*commands, env=None):
    """Wall seconds, peak bytes and CPU seconds of a pipeline."""
    start = time.monotonic()
    children, before = [], None
    for at, command in enumerate(commands):
        last = at == len(commands) - 1
        child = subprocess.Popen(command, stdin=before, stdout=subprocess.DEVNULL if last else subprocess.PIPE,
                                 stderr=subprocess.PIPE if last else None, env={**os.environ, **(env or {})})
        if before:
            before.close()
        before = child.stdout
        children.append(child)
    errors = children[-1].stderr.read()
    peak, cpu = 0, 0.0
    for child, command in zip(children, commands):
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            sys.exit("%s: exit code %d: %s" % (" ".join(command), child.returncode, errors.decode(errors="replace")))
        peak += usage.ru_maxrss * 1024
        cpu += usage.ru_utime + usage.ru_stime
    return time.monotonic() - start, peak, cpu


class Bench:
    def __init__(self, runs, prefix):
        self.runs = runs
        self.prefix = prefix
        self.commands = {}
        self.results = {}

    def add(self, name, *commands, env=None):
        if all(shutil.which(c[0]) for c in commands):
            self.commands[name] = ([self.prefix + c for c in commands], env)

    def measure(self):
        samples = {name: [] for name in self.commands}
        for turn in range(self.runs + 1):
            for name, (commands, env) in self.commands.items():
                sample = run(*commands, env=env)
                if turn > 0:  # the first turn warms the page cache
                    samples[name].append(sample)
        for name, s in samples.items():
            self.results[name] = (statistics.median(x[0] for x in s), max(x[1] for x in s),
                                  statistics.median(x[2] for x in s), min(x[0] for x in s), max(x[0] for x in s))

    def peak(self, name):
        return self.results[name][1]


def generate(folder, megabytes):
    """The inputs, made once."""
    def make(size, name):
        path = folder / name
        if not path.with_suffix(".json.gz").exists():
            subprocess.run([sys.executable, HERE / "make_dump.py", str(size), path], check=True)
        return path

    one = make(megabytes, "dump-%g.json" % megabytes)
    two = make(2 * megabytes, "dump-%g.json" % (2 * megabytes))
    fleet = folder / "fleet"
    if not fleet.exists():
        small = make(2, "dump-small.json").read_bytes()
        fleet.mkdir()
        for i in range(100):  # another pod each: equal bytes would be read once
            (fleet / ("pod-%03d.json" % i)).write_bytes(small.replace(b"~bench-0.bench~", b"~bench-%d.bench~" % i))
    return one, two, fleet


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    arguments.add_argument("meshdump")
    arguments.add_argument("folder", type=pathlib.Path)
    arguments.add_argument("--runs", type=int, default=7)
    arguments.add_argument("--megabytes", type=float, default=200)
    arguments.add_argument("--realtime", action="store_true")
    a = arguments.parse_args()
    a.folder.mkdir(parents=True, exist_ok=True)
    one, two, fleet = generate(a.folder, a.megabytes)
    gz = "%s.gz" % one
    size, tool, count = one.stat().st_size, [a.meshdump, "analyze"], ".configs|length"

    bench = Bench(a.runs, ["chrt", "-f", "1"] if a.realtime else [])
    bench.add("meshdump analyze dump.json", [*tool, str(one)])
    bench.add("jq '%s' dump.json" % count, ["jq", count, str(one)])
    bench.add("jaq '%s' dump.json" % count, ["jaq", count, str(one)])
    bench.add("meshdump analyze dump.json.gz", [*tool, gz])
    bench.add("gzip -dc dump.json.gz | jq '%s'" % count, ["gzip", "-dc", gz], ["jq", count])
    bench.add("gzip -dc dump.json.gz", ["gzip", "-dc", gz])
    bench.add("meshdump analyze dump-2x.json", [*tool, str(two)])
    bench.add("meshdump analyze dump-2x.json.gz", [*tool, "%s.gz" % two])
    for threads in (1, 2):
        bench.add("meshdump analyze fleet/ (%d thread%s)" % (threads, "s"[: threads - 1]), [*tool, str(fleet)],
                  env={"RAYON_NUM_THREADS": str(threads)})
    bench.measure()

    print("dump.json: %d bytes (gz %d), 2x: %d bytes, fleet/: 100 files of %d bytes; %d runs each%s, %d cores, load %.1f\n"
          % (size, os.path.getsize(gz), two.stat().st_size, next(fleet.iterdir()).stat().st_size, a.runs,
             ", real-time priority" if a.realtime else "", os.cpu_count(), os.getloadavg()[0]))
    print("| command | wall s (median) | min–max | CPU s | peak MiB |\n| --- | ---: | ---: | ---: | ---: |")
    for name, (wall, peak, cpu, low, high) in bench.results.items():
        print("| `%s` | %.3f | %.3f–%.3f | %.3f | %.1f |"
              % (name.replace("|", "\\|"), wall, low, high, cpu, peak / MIB))

    names = list(bench.commands)
    find = lambda text: next((n for n in names if n.startswith(text)), "")  # noqa: E731
    plain, packed = find("meshdump analyze dump.json"), "meshdump analyze dump.json.gz"

    def ratio(slow, fast):
        """Of the medians, and of the best runs, which a busy machine disturbs less."""
        if slow not in bench.results or fast not in bench.results:
            return None
        slow, fast = bench.results[slow], bench.results[fast]
        return slow[0] / fast[0], slow[3] / fast[3]

    above = ((bench.peak(plain) - size) / MIB,)
    part = (bench.peak(packed) / size * 100,)
    # what, measured, target, at least (else at most), unit
    targets = [
        ("plain: faster than jq", ratio(find("jq"), plain), 12, True, "x"),
        ("plain: faster than jaq", ratio(find("jaq"), plain), 3, True, "x"),
        ("plain: peak above the mapped file", above, 48, False, " MiB"),
        (".gz: faster than gzip -dc \\| jq", ratio(find("gzip -dc dump.json.gz | jq"), packed), 8, True, "x"),
        (".gz: against gzip -dc alone", ratio("gzip -dc dump.json.gz", packed), 1, True, "x"),
        (".gz: peak of the uncompressed size", part, 60, False, " %"),
        ("plain: twice the input", ratio("meshdump analyze dump-2x.json", plain), 2.2, False, "x"),
        (".gz: twice the input", ratio("meshdump analyze dump-2x.json.gz", packed), 2.2, False, "x"),
        ("fleet: two threads against one", ratio(find("meshdump analyze fleet/ (1"), find("meshdump analyze fleet/ (2")),
         1.7, True, "x"),
    ]
    print("\n| target | wanted | measured | best runs | |\n| --- | ---: | ---: | ---: | --- |")
    missed = 0
    for what, value, wanted, at_least, unit in targets:
        if value is None:
            verdict = "not measured"
        else:
            met = value[0] >= wanted if at_least else value[0] <= wanted
            missed += not met
            verdict = "pass" if met else "**miss**"
        median, best = ("%.2f%s" % (v, unit) for v in (value[0], value[-1])) if value else ("", "")
        print("| %s | %s %g%s | %s | %s | %s |" % (what, "≥" if at_least else "≤", wanted, unit, median, best, verdict))
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
