# SPDX-License-Identifier: BSD-2-Clause
"""What rdmalloc promises, as ratios of one run. Nothing here knows a measured value."""

from dataclasses import dataclass
from typing import Callable, Optional

from .cases import ALONE, KIB, MIB

MET, MISSED, UNKNOWN = "✓", "✗", "–"


class Results:
    """Finds a result by its case; the threads of a floor are its own affair."""

    def __init__(self, results):
        self.results = results
        self.by_case = {self._key(r.case, r.subject): r for r in results}

    @staticmethod
    def _key(case, subject):
        threads = 0 if case.work in ALONE else case.threads
        return case.work, case.size, case.slabs, threads, subject

    def ns(self, case, subject):
        found = self.by_case.get(self._key(case, subject))
        return found.ns if found else None

    def instructions(self, case, subject):
        found = self.by_case.get(self._key(case, subject))
        return found.instructions if found else None

    def cases(self, work):
        """Of rdmalloc, in the order of measurement."""
        return [r.case for r in self.results if r.case.work == work and r.subject == "rdmalloc"]


@dataclass
class Verdict:
    text: str  # what was measured
    mark: str


NO_GOAL = Verdict("", "")


def _times(ratio):
    if ratio >= 100:
        return "{:,.0f} ×".format(ratio)
    return ("%.2f ×" if ratio >= 0.1 else "%.1g ×") % ratio


@dataclass
class AtMost:
    """rdmalloc's time is at most so many times the peer's."""

    work: str
    peer: str
    limit: Callable  # case -> ratio, or None: no goal there
    goal: str
    strict: bool = False

    def verdict(self, results, case):
        limit = self.limit(case)
        if limit is None:
            return NO_GOAL
        mine, other = results.ns(case, "rdmalloc"), results.ns(case, self.peer)
        if mine is None or not other:
            return Verdict("", UNKNOWN)
        # What is shown is what is judged.
        ratio = round(mine / other, 2)
        met = ratio < limit if self.strict else ratio <= limit
        return Verdict(_times(mine / other), MET if met else MISSED)


@dataclass
class TimesFaster:
    """The peer's time is at least so many times rdmalloc's."""

    work: str
    peer: str
    limit: Callable
    goal: str

    def verdict(self, results, case):
        limit = self.limit(case)
        if limit is None:
            return NO_GOAL
        mine, other = results.ns(case, "rdmalloc"), results.ns(case, self.peer)
        if not mine or other is None:
            return Verdict("", UNKNOWN)
        ratio = round(other / mine, 2)
        return Verdict(_times(other / mine), MET if ratio >= limit else MISSED)


@dataclass
class Instructions:
    work: str
    limit: float
    goal: str
    peer: str = "instructions"

    def verdict(self, results, case):
        count = results.instructions(case, "rdmalloc")
        if count is None:
            return Verdict("", UNKNOWN)
        return Verdict("%.0f" % count, MET if count <= self.limit else MISSED)


@dataclass
class Flat:
    """Time against the smallest case of the same number of threads."""

    work: str
    limit: float
    goal: str
    peer: str = "itself"

    def verdict(self, results, case):
        same = [c for c in results.cases(self.work) if c.threads == case.threads]
        first = min(same, key=lambda c: (c.slabs, c.size))
        if case == first:
            return NO_GOAL
        mine, least = results.ns(case, "rdmalloc"), results.ns(first, "rdmalloc")
        if mine is None or not least:
            return Verdict("", UNKNOWN)
        ratio = round(mine / least, 2)
        return Verdict(_times(mine / least), MET if ratio <= self.limit else MISSED)


def always(limit) -> Callable:
    return lambda case: limit


def from_size(least, limit) -> Callable:
    return lambda case: limit if case.size >= least else None


def tcmalloc_pair(case) -> Optional[float]:
    return 1.0 if case.size >= 16 * KIB else 1.2


def between_4k_1m(limit) -> Callable:
    return lambda case: limit if 4 * KIB <= case.size <= MIB else None


def _batch(work):
    goals = [AtMost(work, "tcmalloc", always(1.2), "≤ 1.2 ×")]
    for peer in ("jemalloc", "mimalloc", "glibc"):
        goals.append(AtMost(work, peer, from_size(4 * KIB, 1.0), "faster from 4 KiB", True))
    for peer in ("dpdk", "memkind"):
        goals.append(TimesFaster(work, peer, always(10), "≥ 10 × faster"))
    return goals


GOALS = [
    Instructions("pair", 90, "≤ 90"),
    AtMost("pair", "tcmalloc", tcmalloc_pair, "≤ 1.0 ×, below 16 KiB ≤ 1.2 ×"),
    AtMost("pair", "jemalloc", from_size(4 * KIB, 1.0), "faster from 4 KiB", True),
    AtMost("pair", "mimalloc", from_size(4 * KIB, 1.0), "faster from 4 KiB", True),
    AtMost("pair", "glibc", from_size(4 * KIB, 1.0), "faster from 4 KiB", True),
    *_batch("batch32"),
    *_batch("batch1024"),
    AtMost("crossthread", "tcmalloc", always(1.2), "≤ 1.2 ×"),
    AtMost("crossthread", "mimalloc", always(1.2), "≤ 1.2 ×"),
    AtMost("key", "empty", always(2), "≤ 2 × an empty call"),
    Flat("key", 1.5, "≤ 1.5 × that of one slab"),
    TimesFaster("key", "ucx", always(8), "≥ 8 × faster"),
    TimesFaster("key", "libfabric", always(15), "≥ 15 × faster"),
    TimesFaster("ready", "register", between_4k_1m(100), "≥ 100 × faster, 4 KiB to 1 MiB"),
    AtMost("fork-hole", "empty", always(3), "≤ 3 × an empty process"),
    Flat("fork-hole", 1.5, "≤ 1.5 × that of the smallest"),
    TimesFaster("fork-hole", "pinned", always(1000), "≥ 1,000 × faster"),
    AtMost("fork-copy", "bare", always(1.3), "≤ 1.3 × populate and fill"),
    AtMost("fork-copy", "pinned", always(1), "faster than the kernel's copy", True),
    TimesFaster("reserve", "bare", always(0.9), "≥ 0.9 × the bare rate"),
]

# VMAs and registrations of many live buffers, beyond the number of slabs.
MAPS_SLACK = 8


def maps_verdict(live):
    if live.subject != "rdmalloc":
        return ""
    worst = max(live.vmas, live.regions)
    return MET if live.made == live.wanted and worst <= live.slabs + MAPS_SLACK else MISSED


def of_work(work):
    return [goal for goal in GOALS if goal.work == work]


