# SPDX-License-Identifier: BSD-2-Clause
"""
Instructions, by callgrind: those of many operations, less those of none, less what
the bench's own loop takes around nothing (bench/subjects/floor.c).
"""

import os
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

from . import callgrind, cases, subjects, timing
from .worker import Gone, Refused, Worker


class Counting:
    def __init__(self, bench, plan, clock, say):
        self.bench = bench
        self.plan = plan
        self.clock = clock
        self.say = say
        self.floor = {}  # instructions of an operation, by work

    def measure(self, results, found):
        """Sets the instructions of each result that can have them."""
        if not shutil.which("valgrind"):
            self.say("  not counted: valgrind is not installed")
            return
        todo = [(s, self._of(s, results)) for s in found]
        counted = {r.case.work: r.case for _, of in todo for r in of}
        floor = [timing.Result(case, subjects.FLOOR.name) for case in counted.values()]
        self._subject(subjects.FLOOR, floor)
        self.floor = {r.case.work: r.instructions for r in floor}
        if None in self.floor.values():
            self.say("  not counted: the floor was not")
            return
        # Whoever takes long comes last, in case time runs out.
        todo = sorted([(s, of) for s, of in todo if of], key=self._cost)
        with ThreadPoolExecutor(cases.cpus()) as pool:
            for _ in pool.map(lambda job: self._subject(*job), todo):
                pass

    @staticmethod
    def _cost(entry):
        subject, results = entry
        ns = [r.ns for r in results if r.case.work == "pair"]
        return not subject.name.startswith("rdmalloc"), sum(ns)

    def _of(self, subject, results):
        found = [
            r
            for r in results
            if r.subject == subject.name
            and r.case.work in cases.COUNTED
            and r.case.threads == 1
            and r.turns
            and (self.plan.count_heavy or not r.case.slow_to_set_up())
        ]
        return sorted(found, key=lambda r: cases.COUNTED.index(r.case.work))

    def _subject(self, subject, results):
        with tempfile.TemporaryDirectory(prefix="rdmalloc-bench-") as directory:
            try:
                begin = time.monotonic()
                self._count_all(subject, results, directory)
                self.say("  %s: counted in %.1f s" % (subject.name, time.monotonic() - begin))
            except (Gone, Refused) as error:
                self.say("  %s: no more instructions: %s" % (subject.name, error))

    def _count_all(self, subject, results, directory):
        out = os.path.join(directory, "out")
        command = callgrind.command(out, self.bench.command(subject))
        env = self.bench.environment(subject)
        clock = timing.Clock(self.plan.count_each, self.clock)
        work = Worker(command, env, self.bench.errors, clock.timeout())
        try:
            for result in results:
                if clock.left() <= 0:
                    raise Gone(timing.OUT_OF_TIME)
                self._count(work, result, out, clock)
        finally:
            work.close()

    def _count(self, work, result, out, clock):
        try:
            work.set(result.case, clock.timeout())
            none, _ = self._dump(work, 0, out, clock)
            total, done = self._dump(work, self.plan.count[result.case.work], out, clock)
            work.unset(clock.timeout())
        except Refused as error:
            self.say("  %s, %s: not counted: %s" % (result.subject, result.case, error))
            return
        if done:
            result.instructions = (total - none) / done - self.floor.get(result.case.work, 0)

    @staticmethod
    def _dump(work, operations, out, clock):
        """Instructions of a run, and what it did."""
        done = int(work.ask("count %d" % operations, "counted", clock.timeout()))
        return callgrind.instructions(callgrind.take(out)), done
