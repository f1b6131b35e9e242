# SPDX-License-Identifier: BSD-2-Clause
"""Times: all subjects of a case take short turns, so that noise hits all alike."""

import statistics
import time
from dataclasses import dataclass, field

from . import cases
from .worker import Gone, Refused


@dataclass
class Result:
    case: cases.Case
    subject: str
    turns: list = field(default_factory=list)  # ns an operation, one for each turn
    instructions: float = None
    why: str = ""  # not measured: why

    @property
    def ns(self):
        return statistics.median(self.turns) if self.turns else None

    @property
    def minimum(self):
        return min(self.turns) if self.turns else None


class Clock:
    """What is left of the time for all of it."""

    def __init__(self, seconds):
        self.end = time.monotonic() + seconds

    def left(self):
        return self.end - time.monotonic()


OUT_OF_TIME = "no time was left for it"


class Timing:
    def __init__(self, bench, plan, clock, say):
        self.bench = bench
        self.plan = plan
        self.clock = clock
        self.say = say
        self.workers = {}
        self.lacking = {}  # works that a subject has not got: why

    def measure(self, case, subjects):
        """Results of all subjects, in their order."""
        results = {s.name: Result(case, s.name) for s in subjects}
        if case.work in cases.ALONE:
            self._alone(case, subjects, results)
        else:
            self._together(case, subjects, results)
        return list(results.values())

    def close(self):
        for work in self.workers.values():
            work.quit()
        self.workers = {}

    def _timeout(self):
        return max(1.0, min(300.0, self.clock.left()))

    def _worker(self, subject):
        work = self.workers.get(subject.name)
        if not work or not work.alive():
            work = self.bench.start(subject, self._timeout())
            self.workers[subject.name] = work
        return work

    def _try(self, result, action):
        """What action returns; None: it failed, and result says why."""
        if self.clock.left() <= 0:
            result.why = OUT_OF_TIME
            return None
        try:
            return action()
        except (Gone, Refused) as error:
            result.why = str(error)
            if isinstance(error, Gone) or "no such operation" not in result.why:
                self.say("%s, %s: %s" % (result.case, result.subject, error))
            else:
                self.lacking[result.subject, result.case.work] = result.why
            return None

    def _known_to_lack(self, result):
        result.why = self.lacking.get((result.subject, result.case.work), "")
        return bool(result.why)

    def _calibrate(self, work, result):
        """Operations of one turn; what it took to find out counts as a turn if it is long."""
        operations, goal = 1, self.plan.slice_ns
        for _ in range(30):
            ns, done = work.run(operations, self._timeout())
            if ns * 3 >= goal:
                break
            # Not further than by 10: the first operations are not like the others.
            operations = int(min(done * 10, max(done * goal / max(ns, 1), done + 1)))
        if ns >= self.plan.budget_ns:
            result.turns.append(ns / done)
        return max(1, int(done * min(1.0, goal / max(ns, 1)))) if ns > goal else done

    def _set_up(self, case, subject, result):
        work = self._worker(subject)
        work.set(case, self._timeout())
        return work, self._calibrate(work, result)

    def _together(self, case, subjects, results):
        ready, spent = [], {}
        for subject in subjects:
            result = results[subject.name]
            if self._known_to_lack(result):
                continue
            begin = time.monotonic()
            found = self._try(result, lambda s=subject, r=result: self._set_up(case, s, r))
            if found:
                ready.append((result, *found))
                spent[result.subject] = 0
            if time.monotonic() - begin > 2:
                self.say("%s, %s: set up in %.1f s" % (case, subject.name,
                                                       time.monotonic() - begin))
        for turn in range(self.plan.rounds):
            # Nobody is always the one that comes after the same other.
            at = turn % len(ready) if ready else 0
            for result, work, operations in ready[at:] + ready[:at]:
                if result.why or spent[result.subject] >= self.plan.budget_ns and result.turns:
                    continue
                took = self._try(result, lambda w=work, n=operations: w.run(n, self._timeout()))
                if took:
                    spent[result.subject] += took[0]
                    result.turns.append(took[0] / took[1])
                    result.why = ""
        for result, work, _ in ready:
            if work.alive():
                self._try(result, lambda w=work: w.unset(self._timeout()) or True)
            if result.turns:
                result.why = ""

    def _variants(self, case, subject):
        """bare takes as many threads as are best on this machine."""
        if subject.name != "bare" or case.work != "reserve":
            return [case]
        threads = [1]
        while threads[-1] * 2 <= cases.cpus():
            threads.append(threads[-1] * 2)
        return [case.with_threads(n) for n in threads]

    def _alone(self, case, subjects, results):
        self.close()
        tried = {s.name: [Result(v, s.name) for v in self._variants(case, s)] for s in subjects}
        for _ in range(self.plan.alone_rounds):
            for subject in subjects:
                for result in tried[subject.name]:
                    if not result.why and not self._known_to_lack(result):
                        self._try(result, lambda s=subject, r=result: self._turns(s, r))
        for name, variants in tried.items():
            measured = [v for v in variants if v.turns]
            results[name] = min(measured, key=lambda v: v.ns) if measured else variants[0]
            if measured:
                results[name].why = ""

    def _turns(self, subject, result):
        """A fresh process, and a turn for each operation."""
        work = self.bench.start(subject, self._timeout())
        forks = 1 if result.case.work == "reserve" else self.plan.forks
        try:
            work.set(result.case, self._timeout())
            for _ in range(forks):
                ns, done = work.run(1, self._timeout())
                result.turns.append(ns / done)
                if sum(result.turns) >= self.plan.budget_ns:
                    break
        finally:
            work.close()
        return True
