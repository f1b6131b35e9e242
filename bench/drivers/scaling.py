# SPDX-License-Identifier: BSD-2-Clause
"""Throughput of a core, by the number of threads, beside other allocators."""

import json
import os
import re
import shutil
import statistics
import subprocess
import tempfile

from harness import callgrind, cases, machine, report, subjects, worker
from harness.common import environment, say

TARGETS = ["bench/subjects/rdmalloc", "bench/subjects/malloc"]
SUBJECTS = ["rdmalloc", "jemalloc", "mimalloc", "tcmalloc"]
WORKS = {
    "pair": "one block at a time",
    "batch": "1,024 mallocs (128 of 1 MiB), then as many frees",
    "cross": "blocks that the next thread frees; alone: the same thread, 128 later",
}
SIZES = [64, 4 << 10, 64 << 10, 1 << 20]
THREADS = [1, 2, 4, 8, 16]
TIMEOUT = 120
# Rings fill and pools grow before anything is timed.
WARM = 20000


def add_options(parser):
    parser.add_argument("--rounds", type=int, default=25, help="turns of each subject [25]")
    parser.add_argument("--slice", type=float, default=2, help="milliseconds of a turn [2]")
    parser.add_argument("--costs", action="store_true",
                        help="instead: instructions and locks of rdmalloc, by callgrind")
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def calibrate(work, slice_ns):
    operations = 1
    while True:
        ns, done = work.run(operations)
        if ns * 2 >= slice_ns:
            return max(1, round(done * slice_ns / ns))
        operations = int(min(done * 10, max(done + 1, done * slice_ns / max(ns, 1))))


def turn(work, case, operations):
    """Nanoseconds of a core that a malloc and its free cost."""
    ns, done = work.run(operations)
    # Of a pair of threads each does one half.
    pairs = done * (case.threads if case.work != "cross" else (case.threads + 1) // 2)
    return ns * min(case.threads, cases.cpus()) / pairs


def measure(workers, case, options):
    ready = {}
    for name, work in workers.items():
        work.set(case)
        work.run(WARM)
        ready[name] = calibrate(work, options.slice * 1e6)
    turns = {name: [] for name in workers}
    for _ in range(options.rounds):
        for name, work in workers.items():
            turns[name].append(turn(work, case, ready[name]))
    for work in workers.values():
        work.unset()
    return {name: (min(t), statistics.median(t)) for name, t in turns.items()}


def calls(text, name):
    """How often a function was called, in what callgrind has written."""
    names = {}
    found = 0
    called = None
    for line in text.splitlines():
        match = re.match(r"(c?fn)=\((\d+)\)(?: (.*))?", line)
        if match:
            if match.group(3):
                names[match.group(2)] = match.group(3)
            called = names[match.group(2)] if match.group(1) == "cfn" else None
        elif line.startswith("calls=") and called and called.startswith(name):
            found += int(line[6:].split()[0])
    return found


def dump(work, operations, out):
    """Instructions, locks and operations of a run."""
    done = int(work.ask("count %d" % operations, "counted"))
    texts = callgrind.take(out)
    locks = sum(calls(text, "pthread_mutex_lock") for text in texts)
    return callgrind.instructions(texts), locks, done


def cost(bench, work, size, conf):
    """Instructions and locks of a malloc and its free in the steady state of one thread."""
    with tempfile.TemporaryDirectory(prefix="rdmalloc-bench-") as directory:
        out = os.path.join(directory, "out")
        command = callgrind.command(out, bench.command(subjects.named("rdmalloc")))
        under = worker.Worker(command, environment(RDMALLOC_CONF=conf), subprocess.DEVNULL, TIMEOUT)
        try:
            under.set(cases.Case(work, size, 1, 0))
            # Stacks grow for a while.
            dump(under, 32768, out)
            none = dump(under, 0, out)
            much = dump(under, 32768, out)
        finally:
            under.close()
    return [(much[i] - none[i]) / much[2] for i in (0, 1)]


def print_costs(bench):
    if not shutil.which("valgrind"):
        say("valgrind is not installed")
        return 1
    body = []
    for work, conf in (("pair", ""), ("cross", ""), ("batch", ""), ("pair", "magazine:0")):
        for size in SIZES:
            instructions, locks = cost(bench, work, size, conf)
            body.append([(work + " " + conf).strip(), cases.size_name(size),
                         "%.0f" % instructions, "%.4f" % locks,
                         "%.1f" % (1 / locks) if locks else "never"])
    print(report.table(["loop", "size", "instructions", "locks", "pairs per lock"], body))
    return 0


def table(found, work):
    head = [work] + ["%d thread%s" % (n, "s" if n > 1 else "") for n in THREADS]
    body = []
    for size in SIZES:
        for name in found[work, size, 1]:
            ns = [found[work, size, n][name][0] for n in THREADS]
            row = ["%s, %s" % (cases.size_name(size), name)]
            body.append(row + ["%.3g ns (%.2f)" % (v, ns[0] / v) for v in ns])
    return report.table(head, body)


def run(options):
    bench = subjects.Bench(options.build, say, None)
    if options.costs:
        return print_costs(bench)
    workers = {s.name: bench.start(s, TIMEOUT) for s in bench.find(SUBJECTS, TIMEOUT)}
    found = {}
    for work in WORKS:
        say(work)
        for size in SIZES:
            for threads in THREADS:
                found[work, size, threads] = measure(
                    workers, cases.Case(work, size, threads, 0), options)
    for work in workers.values():
        work.quit()
    if options.json:
        rows = [{"work": w, "size": s, "threads": n, "subject": name,
                 "minimum": least, "median": median}
                for (w, s, n), each in found.items() for name, (least, median) in each.items()]
        print(json.dumps({"machine": machine.describe(), "results": rows}))
        return 0
    print("Nanoseconds of a core for a malloc and its free, %d CPUs, the least of %d turns; in "
          "parentheses the throughput of a core, by that of one thread\n"
          % (cases.cpus(), options.rounds))
    for work, about in WORKS.items():
        print("%s: %s\n\n%s" % (work, about, table(found, work)))
    return 0
