# SPDX-License-Identifier: BSD-2-Clause
"""What rdmalloc costs, beside its peers."""

import json
import os
import subprocess
from dataclasses import replace

from harness import cases, charts, counting, machine, report, subjects, timing
from harness.common import say
from harness.maps import measure_maps

TARGETS = ["bench-programs"]
DOCUMENTS = os.path.join(os.path.dirname(__file__), "..", "..", "docs", "bench")
# The charts that README shows.
SHOWN = ["pair"]

_EPILOG = """\
--json prints one array of objects and nothing else on stdout:
  work          %s
  size          bytes of a block; of fork-hole the pinned pool, of fork-copy what is
                live (as much again is pinned but free), of reserve all; null for key
  threads       that do the work
  slabs         key: pieces of registered memory; else null
  subject       rdmalloc, rdmalloc-sized, or a peer (below)
  ns            of one operation, median of many turns; of fork-copy and reserve the
                least; null: not measured
  instructions  of one operation, by callgrind, without the bench's own loop; null:
                not measured

Works:
%s

Subjects:
%s

Without --json it prints what is measured, then a table; --output writes results.json,
results.md and charts into a directory, --record what is kept of them into docs/bench:
results.md and the chart that README.md shows. Timings want a quiet machine; what counts
are ratios within one run.
"""
EPILOG = _EPILOG % (
    "one of those below",
    "\n".join("  %-19s %s" % item for item in cases.WORKS.items()),
    "\n".join("  %-19s %s" % (s.name, s.about) for s in subjects.SUBJECTS),
)


def words(text):
    return [word for word in text.split(",") if word]


def numbers(text):
    return [int(word) for word in words(text)]


def add_options(parser):
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--quick", action="store_true", help="in under a minute")
    budget.add_argument("--smoke", action="store_true",
                        help="in seconds, small sizes: whether the bench itself works")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument("--output", metavar="DIR", help="write results, table and charts")
    parser.add_argument("--record", action="store_true", help="write into docs/bench")
    parser.add_argument("--works", type=words, metavar="A,B", help="these only")
    parser.add_argument("--subjects", type=words, metavar="A,B", help="these only")
    parser.add_argument("--sizes", type=numbers, metavar="A,B", help="block sizes, bytes")
    parser.add_argument("--threads", type=numbers, metavar="A,B",
                        help="numbers of threads in pair, batch32, batch1024, ready [1], key [1,2]")
    parser.add_argument("--no-time", action="store_true",
                        help="instructions only; times are of one short turn")
    parser.add_argument("--no-instructions", action="store_true", help="no callgrind")
    parser.add_argument("--verbose", action="store_true", help="what subjects say on stderr")


def check(parser, options):
    for given, known, what in (
        (options.works, list(cases.WORKS), "work"),
        (options.subjects, [s.name for s in subjects.SUBJECTS], "subject"),
    ):
        for name in given or []:
            if name not in known:
                parser.error("there is no %s '%s': %s" % (what, name, ", ".join(known)))


def plan_of(options):
    plan = cases.SMOKE if options.smoke else cases.QUICK if options.quick else cases.FULL
    if options.sizes:
        plan = replace(plan, sizes=options.sizes)
    if options.threads:
        plan = replace(plan, threads=options.threads, key_threads=options.threads)
    if options.no_time:
        plan = replace(plan, rounds=1, slice_ns=1)
    return plan


def measure(bench, plan, options, found, clock):
    """First what is short, then instructions, then what takes much memory."""
    times = timing.Timing(bench, plan, clock, say)
    todo = cases.cases(plan, options.works or list(cases.WORKS))
    results = times.measure([c for c in todo if not c.heavy()], found)
    if not options.no_instructions:
        say("instructions")
        short = timing.Clock(plan.count_seconds, clock)
        counting.Counting(bench, plan, short, say).measure(results, found)
    heavy = times.measure_heavy([c for c in todo if c.heavy()], found)
    if plan.count_heavy and not options.no_instructions:
        say("instructions of what takes much memory")
        counting.Counting(bench, plan, clock, say).measure(heavy, found)
    return in_order(results + heavy, todo, found)


def in_order(results, todo, found):
    names = [s.name for s in found]
    places = [c.with_threads(0) if c.work in cases.ALONE else c for c in todo]

    def place(result):
        case = result.case
        case = case.with_threads(0) if case.work in cases.ALONE else case
        return places.index(case), names.index(result.subject)

    for result in results:
        result.why = "" if result.turns else result.why
    return sorted(results, key=place)


def write(results, full, directory, shown):
    """All of it, or what is kept in the tree."""
    works = [w for w in charts.LINES + charts.BARS if not shown or w in shown]
    full.write(directory, charts.draw(results, works, directory, say), bool(shown))


def run(options):
    plan = plan_of(options)
    clock = timing.Clock(plan.seconds)
    errors = None if options.verbose else subprocess.DEVNULL
    bench = subjects.Bench(options.build, say, errors)
    found = bench.find(options.subjects, clock.timeout())
    results = measure(bench, plan, options, found, clock)
    if options.json:
        print(json.dumps(report.rows(results), indent=None).replace("}, {", "},\n {"))
    if not options.json or options.output or options.record:
        maps = [] if options.quick or options.smoke else measure_maps(bench, found, say)
        full = report.Report(results, bench, maps, machine.describe())
        if not options.json:
            print(full.markdown(charts=[]))
        if options.output:
            write(results, full, options.output, [])
        if options.record:
            write(results, full, DOCUMENTS, SHOWN)
    missing = [r for r in results if r.subject == "rdmalloc" and r.ns is None]
    for result in missing:
        say("rdmalloc was not measured: %s: %s" % (result.case, result.why))
    return 0 if results else 1
