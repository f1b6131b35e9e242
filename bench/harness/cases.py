# SPDX-License-Identifier: BSD-2-Clause
"""What is measured."""

import os
from dataclasses import dataclass, replace

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
SIZES = [64, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB]

WORKS = {
    "pair": "a pair of malloc and free",
    "batch32": "a pair, of 32 mallocs and then 32 frees",
    "batch1024": "a pair, of 1,024 mallocs and then 1,024 frees",
    "crossthread": "a block that one thread allocates and another one frees",
    "key": "a look-up of a key, of random pointers into so many slabs",
    "ready": "a block that a device may use, its key known, and given back",
    "fork-hole": "fork() with so many bytes of pinned pool",
    "fork-copy": "fork() with so many bytes live and as many pinned but free",
    "reserve": "so many bytes of memory made present and pinned",
}
# Instructions are counted of these, in this order as long as there is time.
COUNTED = ["pair", "batch32", "key", "batch1024"]
# Measured in a process as it starts: what it has done before would show.
ALONE = ["fork-hole", "fork-copy", "reserve"]
# The least time counts, not the median: on a virtual machine the first touch of
# memory can be the host's work, a second a GiB, and comes and goes.
TOUCHING = ["fork-copy", "reserve"]


@dataclass(frozen=True)
class Case:
    work: str
    size: int  # bytes; 0: none
    threads: int
    slabs: int  # 0: none

    def request(self):
        return self.work, self.size, self.threads, self.slabs

    def heavy(self):
        """Too much memory to be held by all subjects at a time."""
        return self.work in ALONE or self.work == "batch1024" and self.size >= 256 * KIB

    def bytes(self, subject="rdmalloc"):
        """What a subject needs of memory, about."""
        if self.work == "batch1024":
            return 1024 * self.size * self.threads
        if self.work == "fork-copy":
            return {"rdmalloc": 3, "pinned": 4}.get(subject, 1) * self.size
        if self.work == "fork-hole" and subject == "pinned":
            return 2 * self.size
        return self.size if self.work in ALONE else 0

    def slow_to_set_up(self):
        return self.heavy() or self.slabs > 100

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


def powers_of_two(most):
    """1, 2, 4 ... and the most itself."""
    return sorted({most, *(1 << i for i in range(most.bit_length()) if 1 << i < most)})


@dataclass
class Plan:
    """How much is measured, and how often."""

    sizes: list
    slabs: list
    threads: list  # of pair, batch32, batch1024, ready
    key_threads: list
    hole: list  # pool sizes, bytes
    copy: list
    reserve: list
    rounds: int  # turns of each subject
    slice_ns: int  # what one turn should take
    budget_ns: int  # a subject that has used so much in a case gets no more turns
    heavy_rounds: int
    alone_rounds: int
    alone_turns: int  # in one process
    alone_budget_ns: int
    bare_threads: list
    count: dict  # operations under callgrind, by work
    count_heavy: bool
    count_each: float  # seconds of one subject
    count_seconds: float  # of all subjects
    seconds: float  # in all; what is not done by then is not measured


FULL = Plan(
    sizes=SIZES,
    slabs=[1, 100, 10000],
    threads=[1],
    key_threads=[1, 2],
    hole=[GIB, 8 * GIB],
    copy=[GIB],
    reserve=[4 * GIB],
    rounds=41,
    slice_ns=3_000_000,
    budget_ns=600_000_000,
    heavy_rounds=5,
    alone_rounds=5,
    alone_turns=3,
    alone_budget_ns=20_000_000_000,
    bare_threads=powers_of_two(cpus()),
    count={"pair": 2048, "batch32": 2048, "batch1024": 4096, "key": 4096},
    count_heavy=True,
    count_each=60,
    count_seconds=1000,
    seconds=3600,
)
QUICK = replace(
    FULL,
    rounds=11,
    slice_ns=400_000,
    budget_ns=30_000_000,
    heavy_rounds=1,
    alone_rounds=1,
    alone_turns=3,
    alone_budget_ns=1_000_000_000,
    bare_threads=[cpus()],
    count={"pair": 512, "batch32": 512, "batch1024": 1024, "key": 1024},
    count_heavy=False,
    count_seconds=10,
    seconds=54,
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
    alone_turns=1,
    seconds=86400,  # beside much other work it takes long, and is all right
    count={"pair": 64, "batch32": 64, "batch1024": 1024, "key": 64},
    count_seconds=4,
)


def cases(plan, works):
    """Every case of the works, in the order of the report."""
    found = []
    pools = {"fork-hole": plan.hole, "fork-copy": plan.copy, "reserve": plan.reserve}
    for work in works:
        if work in ALONE:
            found += [Case(work, s, 1, 0) for s in pools[work]]
        elif work == "key":
            found += [Case(work, 0, t, s) for s in plan.slabs for t in plan.key_threads]
        elif work == "crossthread":
            found += [Case(work, s, 2, 0) for s in plan.sizes]
        else:
            found += [Case(work, s, t, 0) for t in plan.threads for s in plan.sizes]
    return found
