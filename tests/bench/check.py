# SPDX-License-Identifier: BSD-2-Clause
"""check.py BENCH JSON SAID: is this what bench/run peers --smoke --json must print?"""

import json
import numbers
import sys

sys.path.insert(0, sys.argv[1])
from harness import cases, subjects  # noqa: E402

MALLOC = ["pair", "batch32", "batch1024", "crossthread"]
MUST_MEASURE = {
    "rdmalloc": list(cases.WORKS),
    "rdmalloc-sized": MALLOC + ["ready"],
    "glibc": MALLOC,
    "jemalloc": MALLOC,
    "mimalloc": MALLOC,
    "tcmalloc": MALLOC,
    "memkind": MALLOC,
    "dpdk": MALLOC,
    "dpdk-mempool": MALLOC,
    "ucx": ["ready"],
    "ucx-register": ["ready"],
    "libfabric": ["ready"],
    "register": ["ready"],
    "register-fork": ["ready"],
    "register-verbs": ["ready"],
    "register-verbs-fork": ["ready"],
    "arena-map": MALLOC + ["ready", "key"],
    "empty": ["key", "fork-hole"],
    "bare": ["fork-copy", "reserve"],
    "pinned": ["fork-hole", "fork-copy"],
}
KEYS = ["work", "size", "threads", "slabs", "subject", "ns", "instructions"]

failures = []


def check(condition, what):
    if not condition:
        failures.append(what)


def is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def is_measure(value):
    return value is None or isinstance(value, numbers.Real) and value > 0


def check_row(row):
    check(list(row) == KEYS, "%s has not the keys %s" % (row, KEYS))
    check(row["work"] in cases.WORKS, "%s: no such work" % row)
    check(is_count(row["threads"]), "%s: threads" % row)
    check(is_count(row["size"]) or row["work"] == "key" and row["size"] is None, "%s: size" % row)
    check(is_count(row["slabs"]) if row["work"] == "key" else row["slabs"] is None,
          "%s: slabs" % row)
    check(is_measure(row["ns"]), "%s: ns" % row)
    check(is_measure(row["instructions"]), "%s: instructions" % row)
    check(row["ns"] is not None or row["instructions"] is None, "%s: counted, not timed" % row)


def expected(name, said):
    """Without io_uring nothing is pinned, and what is about pins is not measured."""
    mine = [line for line in said.splitlines() if line.startswith("rdmalloc ")]
    if name in ("rdmalloc", "bare", "pinned") and any("pins nothing" in line for line in mine):
        return [work for work in MUST_MEASURE[name] if work not in cases.ALONE]
    return MUST_MEASURE[name]


def absent(said):
    found = {}
    for line in said.splitlines():
        if line.startswith("absent: "):
            _, name, why = line.split(": ", 2)
            found[name] = why
    return found


def main():
    with open(sys.argv[2], encoding="utf-8") as file:
        rows = json.load(file)
    with open(sys.argv[3], encoding="utf-8") as file:
        said = file.read()
    missing = absent(said)
    check(isinstance(rows, list) and rows, "the JSON is no array with something in it")
    for row in rows:
        check_row(row)
    known = [s.name for s in subjects.SUBJECTS]
    check(sorted(known) == sorted(MUST_MEASURE), "this test does not know all subjects")
    check("rdmalloc" not in missing, "rdmalloc is absent")
    for name in known:
        mine = [row for row in rows if row["subject"] == name]
        if name in missing:
            check(missing[name].strip(), "%s is absent without a reason" % name)
            check(not mine, "%s is absent and has rows" % name)
            continue
        for work in cases.WORKS:
            here = [row for row in mine if row["work"] == work]
            check(here, "%s has no row of %s" % (name, work))
            if work in expected(name, said):
                check(here and all(row["ns"] for row in here), "%s: no ns of %s" % (name, work))
    for why in missing.items():
        print("absent: %s: %s" % why)
    for what in failures:
        print("FAIL: %s" % what)
    print("%d rows, %d failures" % (len(rows), len(failures)))
    return 1 if failures else 0


sys.exit(main())
