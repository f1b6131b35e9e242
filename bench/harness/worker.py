# SPDX-License-Identifier: BSD-2-Clause
"""A subject's program at work: requests and answers, a line each (bench/protocol.c)."""

import os
import select
import subprocess
import time


class Gone(Exception):
    """The worker ended or did not answer in time."""


class Refused(Exception):
    """The subject has not got what was asked for; the text says why."""


class Worker:
    def __init__(self, command, env, errors, timeout):
        self.timeout = timeout
        self.pending = b""
        self.process = subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        try:
            _, works, self.version = self._answer("hello", timeout).split(" ", 2)
            self.works = set(works.split(","))
        except (Gone, Refused):
            self.close()
            raise

    def _line(self, timeout):
        deadline = time.monotonic() + timeout
        while b"\n" not in self.pending:
            left = deadline - time.monotonic()
            fd = self.process.stdout.fileno()
            if left <= 0 or not select.select([fd], [], [], left)[0]:
                self.close()
                raise Gone("no answer within %.0f s" % timeout)
            data = os.read(fd, 4096)
            if not data:
                self.close()
                raise Gone("it died (status %s)" % self.process.returncode)
            self.pending += data
        line, self.pending = self.pending.split(b"\n", 1)
        return line.decode(errors="replace")

    def _answer(self, expected, timeout):
        word, _, rest = self._line(timeout).partition(" ")
        if word == "none":
            raise Refused(rest)
        if word != expected:
            self.close()
            raise Gone("it answered '%s %s'" % (word, rest))
        return rest

    def ask(self, request, expected, timeout=None):
        if self.process.returncode is not None:
            raise Gone("it is not running")
        try:
            self.process.stdin.write(request.encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            self.close()
            raise Gone("it died (status %s)" % self.process.returncode) from None
        return self._answer(expected, timeout or self.timeout)

    def set(self, case, timeout=None):
        self.ask("set %s %d %d %d" % case.request(), "ok", timeout)

    def unset(self, timeout=None):
        self.ask("unset", "ok", timeout)

    def run(self, operations, timeout=None):
        """Nanoseconds, and operations done."""
        ns, done = self.ask("run %d" % operations, "ns", timeout).split()
        return int(ns), int(done)

    def live(self, size, n, timeout=None):
        words = self.ask("live %d %d" % (size, n), "live", timeout).split(" ", 4)
        return [int(word) for word in words[:4]] + [words[4] if len(words) > 4 else ""]

    def maps(self):
        try:
            with open("/proc/%d/maps" % self.process.pid, encoding="utf-8") as maps:
                return maps.read()
        except OSError:
            return ""

    def alive(self):
        return self.process.poll() is None

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def quit(self, timeout=10):
        """Lets the program end by itself: callgrind writes its file then."""
        try:
            self.process.stdin.close()
            self.process.wait(timeout)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            pass
        self.close()
