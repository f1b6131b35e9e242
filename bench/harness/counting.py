# SPDX-License-Identifier: BSD-2-Clause
"""
Instructions, by callgrind: each case is run with two numbers of operations, and
what the greater took more is divided by the operations that it did more. So
everything that does not belong to an operation falls out.
"""

import glob
import os
import re
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor

from . import cases, timing
from .worker import Gone, Refused, Worker


class Counting:
    def __init__(self, bench, plan, clock, say):
        self.bench = bench
        self.plan = plan
        self.clock = clock
        self.say = say

    def measure(self, results, subjects):
        """Sets the instructions of each result that can have them."""
        if not shutil.which("valgrind"):
            self.say("no instructions: valgrind is not installed")
            return
        todo = [(s, self._of(s, results)) for s in subjects]
        todo = [(s, of) for s, of in todo if of]
        with ThreadPoolExecutor(cases.cpus()) as pool:
            for _ in pool.map(lambda job: self._subject(*job), todo):
                pass

    @staticmethod
    def _of(subject, results):
        return [
            r
            for r in results
            if r.subject == subject.name
            and r.case.work in cases.COUNTED
            and r.case.threads == 1
            and r.turns
        ]

    def _subject(self, subject, results):
        with tempfile.TemporaryDirectory(prefix="rdmalloc-bench-") as directory:
            try:
                self._count_all(subject, results, directory)
            except (Gone, Refused) as error:
                self.say("no instructions of %s: %s" % (subject.name, error))

    def _timeout(self):
        return max(1.0, min(300.0, self.clock.left()))

    def _count_all(self, subject, results, directory):
        out = os.path.join(directory, "out")
        command = ["valgrind", "-q", "--tool=callgrind", "--instr-atstart=no"]
        command += ["--callgrind-out-file=" + out, *self.bench.command(subject)]
        work = Worker(command, self.bench.environment(subject), self.bench.errors,
                      self._timeout())
        try:
            for result in results:
                if self.clock.left() <= 0:
                    raise Gone(timing.OUT_OF_TIME)
                self._count(work, result, out)
        finally:
            work.close()

    def _count(self, work, result, out):
        few = self.plan.pairs // 2 if result.case.work != "key" else 2 * self.plan.pairs
        try:
            work.set(result.case, self._timeout())
            a, done_a = self._dump(work, few, out)
            b, done_b = self._dump(work, 2 * few, out)
            work.unset(self._timeout())
        except Refused as error:
            self.say("%s, %s: no instructions: %s" % (result.case, result.subject, error))
            return
        if done_b > done_a:
            result.instructions = (b - a) / (done_b - done_a)

    def _dump(self, work, operations, out):
        """Instructions of a run, and what it did."""
        done = int(work.ask("count %d" % operations, "counted", self._timeout()))
        total = 0
        for name in glob.glob(out + "*"):
            with open(name, encoding="utf-8") as dump:
                found = re.findall(r"^totals: (\d+)", dump.read(), re.M)
            total += sum(int(n) for n in found)
            os.unlink(name)
        return total, done
