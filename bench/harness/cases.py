# SPDX-License-Identifier: BSD-2-Clause
"""What is measured."""

import os
from dataclasses import dataclass, replace

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
SIZES = [64, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB]

WORKS = {
    "pair": "malloc and free of one block, ns a pair",
    "batch32": "32 mallocs, then 32 frees, ns a pair",
    "batch1024": "1,024 mallocs, then 1,024 frees, ns a pair",
    "crossthread": "one thread allocates, another frees, ns a block",
    "key": "pointer to key, random pointers into so many slabs, ns a look-up",
    "ready": "a block that a device may use, its key known, given back, ns",
    "fork-hole": "fork() with `size` bytes of pinned pool, ns",
    "fork-copy": "fork() with `size` bytes live and as many pinned but free, ns",
    "reserve": "`size` bytes of memory made present and pinned, ns",
}
# Instructions are counted of these.
COUNTED = ["pair", "batch32", "batch1024", "key"]
# Too much memory to be held by all subjects at a time, and a process as it starts.
ALONE = ["fork-hole", "fork-copy", "reserve"]


@dataclass(frozen=True)
class Case:
    work: str
    size: int  # bytes; 0: none
    threads: int
    slabs: int  # 0: none

    def request(self):
        return self.work, self.size, self.threads, self.slabs

    def __str__(self):
        text = self.work
        if self.size:
            text += " " + size_name(self.size)
        if self.slabs:
            text += " %d slabs" % self.slabs
        return text + (" %d threads" % self.threads if self.threads != 1 else "")

    def with_threads(self, threads):
        return replace(self, threads=threads)


def size_name(size):
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if size >= unit and size % unit == 0:
            return "%d %s" % (size // unit, name)
    return "%d B" % size


def cpus():
    return len(os.sched_getaffinity(0))


@dataclass
class Plan:
    """How much is measured, and how often."""

    sizes: list
    slabs: list
    threads: list  # of pair, batch32, batch1024, ready
    hole: list  # pool sizes, bytes
    copy: list
    reserve: list
    rounds: int  # turns of each subject
    slice_ns: int  # what one turn should take
    budget_ns: int  # a subject that has used so much in a case gets no more turns
    alone_rounds: int
    forks: int  # per turn
    seconds: float  # in all; what is not done by then is not measured
    pairs: int  # counted by callgrind at least


FULL = Plan(
    sizes=SIZES,
    slabs=[1, 100, 10000],
    threads=[1],
    hole=[GIB, 8 * GIB],
    copy=[GIB],
    reserve=[4 * GIB],
    rounds=21,
    slice_ns=20_000_000,
    budget_ns=1_500_000_000,
    alone_rounds=7,
    forks=5,
    seconds=3600,
    pairs=4096,
)
QUICK = replace(
    FULL,
    rounds=5,
    slice_ns=1_000_000,
    budget_ns=30_000_000,
    alone_rounds=3,
    forks=3,
    seconds=54,
    pairs=2048,
)
SMOKE = replace(
    QUICK,
    sizes=[64, 64 * KIB],
    slabs=[1, 100],
    hole=[32 * MIB],
    copy=[32 * MIB],
    reserve=[64 * MIB],
    rounds=1,
    slice_ns=100_000,
    alone_rounds=1,
    forks=1,
    pairs=1024,
)


def cases(plan, works):
    """Every case of the works, what takes long last."""
    found = []
    for work in works:
        if work in ("pair", "batch32", "batch1024", "ready"):
            found += [Case(work, s, t, 0) for t in plan.threads for s in plan.sizes]
        elif work == "crossthread":
            found += [Case(work, s, 2, 0) for s in plan.sizes]
        elif work == "key":
            found += [Case(work, 0, t, s) for t in (1, 2) for s in plan.slabs]
    found += [Case("reserve", s, 1, 0) for s in plan.reserve if "reserve" in works]
    found += [Case("fork-copy", s, 1, 0) for s in plan.copy if "fork-copy" in works]
    found += [Case("fork-hole", s, 1, 0) for s in plan.hole if "fork-hole" in works]
    return found
