# SPDX-License-Identifier: BSD-2-Clause
"""Resident memory by live memory, while a server's trace is played against each allocator."""

import concurrent.futures
import json
import os
import statistics
import subprocess

from harness import machine, report
from harness.common import environment, say

TARGETS = ["bench/trace"]
# Name, LD_PRELOAD, what bench/trace plays it against, and each how many seconds it trims; 0: never.
SUBJECTS = [
    ("rdmalloc", "", "rdmalloc", 0),
    ("rdmalloc, trim each 10 s", "", "rdmalloc", 10),
    ("rdmalloc, trim each second", "", "rdmalloc", 1),
    ("jemalloc", "libjemalloc.so.2", "malloc", 0),
    ("mimalloc", "libmimalloc.so.2", "malloc", 0),
    ("tcmalloc", "libtcmalloc_minimal.so.4", "malloc", 0),
    ("glibc", "", "malloc", 0),
]
PEER = "jemalloc"
GOAL = 1.05

EPILOG = """\
Live is what the trace has asked for and not freed. Resident is what the allocator
itself says: of rdmalloc its slabs, which are pinned as a whole; of jemalloc
stats.resident; of the others nothing, there the process's RSS counts, less what the
player had before. There is one sample a simulated second. Overall is the sum of what
was resident by the sum of what was live; the mean is of each sample's ratio, so that
the time when there is little to do weighs as much as the rest.

The trace is played as fast as it can be, and clocks stand at the trace's own time, for
jemalloc and mimalloc give memory back by the clock; --real-time plays it at its own
pace instead, all subjects at once.
"""


def add_options(parser):
    parser.add_argument("--seconds", type=int, default=600, help="length of the trace [600]")
    parser.add_argument("--seed", type=int, default=1, help="of the trace [1]")
    parser.add_argument("--real-time", action="store_true", help="at its own pace")
    parser.add_argument("--json", action="store_true", help="samples and results as JSON")


def absent(preload):
    """Why an allocator is absent; the loader only warns where it finds no library."""
    if not preload:
        return None
    done = subprocess.run(
        ["true"],
        env={**os.environ, "LD_PRELOAD": preload},
        stderr=subprocess.PIPE,
        check=False,
    )
    return preload + " is not installed" if done.stderr else None


def play(options, preload, allocator, trim):
    """The trace's samples by column, and what the player says at its end."""
    command = [os.path.join(options.build, "bench", "trace"), allocator]
    command += [str(number) for number in (options.seed, options.seconds, trim)]
    command += ["real"] if options.real_time else []
    env = environment(**({"LD_PRELOAD": preload} if preload else {}))
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
    lines = [line.split() for line in done.stdout.splitlines()]
    columns = next(line[1:] for line in lines if line[0] == "columns")
    rows = [[int(word) for word in line[1:]] for line in lines if line[0] == "second"]
    samples = {name: [row[i] for row in rows] for i, name in enumerate(columns)}
    end = next(line[1:] for line in lines if line[0] == "end")
    return samples, {end[i]: float(end[i + 1]) for i in range(0, len(end), 2)}


def shares(samples, column):
    """A column by what is live, each second; None where the subject does not say."""
    if not any(samples[column]):
        return None
    return [value / live for value, live in zip(samples[column], samples["requested"])]


def summary(samples, end):
    found = {}
    for column in ("resident", "rss", "carved", "live", "magazine", "depot"):
        ratios = shares(samples, column)
        found[column] = ratios and {
            "mean": statistics.mean(ratios),
            "median": statistics.median(ratios),
            "max": max(ratios),
            "end": ratios[-1],
            "overall": sum(samples[column]) / sum(samples["requested"]),
        }
    found["growths"] = samples["growths"][-1]
    found["peak"] = max(samples["resident"]) or max(samples["rss"])
    found["played"] = end["seconds"]
    return found


def cells(ratios):
    if not ratios:
        return [""] * 5
    return ["%.2f" % ratios[name] for name in ("mean", "overall", "median", "max", "end")]


def tables(results):
    head = ["subject", "mean", "overall", "median", "max", "end", "RSS: mean", "peak, MiB", "played in"]
    body = []
    for name, r in results.items():
        row = [name] + cells(r["resident"] or r["rss"])
        row += ["%.2f" % r["rss"]["mean"], "%d" % (r["peak"] >> 20), "%.0f s" % r["played"]]
        body.append(row)
    text = report.table(head, body)
    head = ["mean, by live", "blocks", "magazines", "depot", "carved", "slabs", "slabs made"]
    body = []
    for name, r in results.items():
        if r["magazine"] or name.startswith("rdmalloc"):
            row = [r[c] and "%.2f" % r[c]["mean"] for c in ("live", "magazine", "depot", "carved")]
            body.append([name] + [c or "0" for c in row]
                        + ["%.2f" % r["resident"]["mean"], "%d" % r["growths"]])
    return text + "\n" + report.table(head, body)


def verdicts(results):
    if PEER not in results:
        return "no goal: %s is absent\n" % PEER
    text = ""
    for what in ("mean", "overall"):
        goal = results[PEER]["resident"][what] * GOAL
        text += "The goal, %s: at most %s's + 5 %% = %.3f.\n" % (what, PEER, goal)
        for name, r in results.items():
            if name.startswith("rdmalloc"):
                share = r["resident"][what]
                text += "  %s: %.3f, %s\n" % (name, share, "met" if share <= goal else "missed")
    return text


def run(options):
    todo = []
    for name, preload, *subject in SUBJECTS:
        why = absent(preload)
        if why:
            say("absent: %s: %s" % (name, why))
        else:
            todo.append((name, preload, *subject))
    workers = len(todo) if options.real_time else 1
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        played = list(pool.map(lambda entry: play(options, *entry[1:]), todo))
    results = {entry[0]: summary(*p) for entry, p in zip(todo, played)}
    if options.json:
        samples = {entry[0]: p[0] for entry, p in zip(todo, played)}
        print(json.dumps({"machine": machine.describe(), "seconds": options.seconds,
                          "seed": options.seed, "real_time": options.real_time,
                          "results": results, "samples": samples}))
        return 0
    print("Resident by live memory, a trace of %d s (seed %d)\n" % (options.seconds, options.seed))
    print(tables(results))
    print(verdicts(results), end="")
    return 0
