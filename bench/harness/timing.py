# SPDX-License-Identifier: BSD-2-Clause
"""Times: all subjects of a case take short turns, so that noise hits all alike."""

import math
import statistics
import time
from dataclasses import dataclass, field
from typing import Optional

from . import cases, machine
from .worker import Gone, Refused, Worker


@dataclass
class Result:
    case: cases.Case
    subject: str
    turns: list = field(default_factory=list)  # ns an operation, one for each turn
    instructions: Optional[float] = None
    why: str = ""  # not measured: why

    @property
    def ns(self):
        if self.case.work in cases.TOUCHING:
            return self.minimum
        return self.median

    @property
    def median(self):
        return statistics.median(self.turns) if self.turns else None

    @property
    def minimum(self):
        return min(self.turns) if self.turns else None


@dataclass
class Racer:
    """A subject that is set up for a case."""

    result: Result
    worker: Worker
    operations: int = 1  # of one turn
    spent: int = 0  # ns


class Clock:
    """What is left of the time for all of it."""

    def __init__(self, seconds, within=None):
        self.end = time.monotonic() + seconds
        self.longest = max(300.0, seconds / 12)  # that an answer may take
        if within:
            self.end = min(self.end, within.end)

    def left(self):
        return self.end - time.monotonic()

    def timeout(self):
        return max(1.0, min(self.longest, self.left()))


OUT_OF_TIME = "no time was left for it"
LACKING = "it has no such operation"


class Timing:
    def __init__(self, bench, plan, clock, say):
        self.bench = bench
        self.plan = plan
        self.clock = clock
        self.say = say
        self.workers = {}

    def measure(self, todo, subjects):
        """Results of cases that all subjects can be set up for at the same time."""
        found = []
        for case, following in zip(todo, todo[1:] + [None]):
            self.say(case)
            results = [Result(case, s.name) for s in subjects]
            self._together(case, list(zip(subjects, results)))
            if not following or following.with_threads(case.threads) != case:
                self._take_down()
            found += results
        for worker in self.workers.values():
            worker.quit()
        self.workers = {}
        return found

    def measure_heavy(self, todo, subjects):
        """Results of the others; what takes long comes last, for want of time left out."""
        late = [s for s in subjects if s.name == "pinned"]
        early = [s for s in subjects if s.name != "pinned"]
        todo = sorted(todo, key=lambda case: case.bytes())
        found = []
        for group in (early, late):
            for case in todo if group else []:
                able = [s.name for s in group if case.work in self.bench.works[s.name]]
                if able:
                    self.say("%s: %s" % (case, ", ".join(able)))
                found += self._alone(case, group)
        return found

    def _take_down(self):
        """What a case has pinned is not the next one's."""
        for name, worker in self.workers.items():
            try:
                if worker.alive():
                    worker.unset(self.clock.timeout())
            except (Gone, Refused) as error:
                self.say("  %s: %s" % (name, error))

    def _worker(self, subject):
        worker = self.workers.get(subject.name)
        if not worker or not worker.alive():
            worker = self.bench.start(subject, self.clock.timeout())
            self.workers[subject.name] = worker
        return worker

    def _try(self, result, action, *arguments):
        """What action returns; None: it failed, and result says why."""
        if self.clock.left() <= 0:
            result.why = OUT_OF_TIME
            return None
        try:
            return action(*arguments)
        except (Gone, Refused) as error:
            result.why = str(error)
        self.say("  %s: %s" % (result.subject, result.why))
        return None

    def _left_out(self, result):
        """Whether there is no use in trying; result says why."""
        if result.case.work not in self.bench.works[result.subject]:
            result.why = LACKING
        return bool(result.why)

    def _turn(self, racer):
        ns, done = racer.worker.run(racer.operations, self.clock.timeout())
        racer.spent += ns
        return ns, done

    def _goal(self, racer):
        """ns of one turn; threads do not begin in the same instant, and a first fork is slow."""
        case = racer.result.case
        if case.work == "fork-hole":
            return self.plan.slice_ns * 10
        return self.plan.slice_ns * (3 if case.threads > 1 else 1)

    def _lengthen(self, racer, ns, done):
        """Whether a turn was too short; then the next one has more operations."""
        goal = self._goal(racer)
        if ns * 3 >= goal:
            return False
        # Not further than by 10: the first operations are not like the others.
        racer.operations = int(min(done * 10, max(done * goal / max(ns, 1), done + 1)))
        return True

    def _calibrate(self, racer):
        """Sets the operations of one turn."""
        goal = self._goal(racer)
        for _ in range(30):
            ns, done = self._turn(racer)
            if not self._lengthen(racer, ns, done):
                break
        racer.operations = max(1, int(done * goal / ns)) if ns > goal else done
        # What took long is worth keeping.
        if ns > self.plan.budget_ns:
            racer.result.turns.append(ns / done)

    def _set_up(self, case, subject, result):
        racer = Racer(result, self._worker(subject))
        racer.worker.set(case, self.clock.timeout())
        self._calibrate(racer)
        return racer

    def _together(self, case, entries):
        racers = [
            self._try(result, self._set_up, case, subject, result)
            for subject, result in entries
            if not self._left_out(result)
        ]
        racers = [racer for racer in racers if racer]
        for turn in range(self.plan.rounds):
            # Nobody is always the one that comes after the same other.
            at = turn % len(racers) if racers else 0
            for racer in racers[at:] + racers[:at]:
                if racer.result.why or racer.result.turns and racer.spent > self.plan.budget_ns:
                    continue
                took = self._try(racer.result, self._turn, racer)
                if took:
                    racer.result.turns.append(took[0] / took[1])
                    self._lengthen(racer, *took)

    def _variants(self, case, subject):
        """bare takes as many threads as are best on this machine."""
        if subject.name == "bare" and case.work == "reserve":
            return [Result(case.with_threads(n), subject.name) for n in self.plan.bare_threads]
        return [Result(case, subject.name)]

    def _alone(self, case, subjects):
        """The best of each subject's variants."""
        tried = [(s, self._variants(case, s)) for s in subjects]
        rounds = self.plan.alone_rounds if case.work in cases.ALONE else self.plan.heavy_rounds
        for _ in range(rounds):
            for subject, variants in tried:
                for result in variants:
                    if not self._left_out(result):
                        self._try(result, self._turns_alone, subject, result)
        return [min(variants, key=lambda v: v.ns or math.inf) for _, variants in tried]

    def _turns_alone(self, subject, result):
        """In a fresh process."""
        need, have = result.case.bytes(subject.name), machine.memory_available()
        if need + cases.GIB > have:
            raise Refused(
                "it needs %.1f GiB of memory, and one is for the rest: %.1f are available"
                % (need / cases.GIB, have / cases.GIB)
            )
        worker = self.bench.start(subject, self.clock.timeout())
        try:
            racer = Racer(result, worker)
            worker.set(result.case, self.clock.timeout())
            touching = result.case.work in cases.TOUCHING
            if not touching:
                self._calibrate(racer)
            for turn in range(self.plan.alone_turns if result.case.work in cases.ALONE else 1):
                # The kernel's own copy is not better the second time.
                again = turn == 1 and touching and result.subject != "pinned"
                if racer.spent > self.plan.alone_budget_ns and not again:
                    break
                ns, done = self._turn(racer)
                result.turns.append(ns / done)
        finally:
            worker.close()
