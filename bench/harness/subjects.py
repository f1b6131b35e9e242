# SPDX-License-Identifier: BSD-2-Clause
"""Who is measured: rdmalloc, its peers, and the floors beside them."""

import json
import os
import subprocess
from dataclasses import dataclass

from . import worker
from .common import environment


@dataclass(frozen=True)
class Subject:
    name: str
    program: str  # in bench/subjects of the build directory
    about: str
    preload: str = ""  # the allocator that takes malloc's place in the program
    package: str = ""  # Debian's, of that


SUBJECTS = [
    Subject("rdmalloc", "rdmalloc", "rdm_malloc, rdm_free, rdm_key"),
    Subject("rdmalloc-sized", "rdmalloc-sized", "the same with rdm_free_sized"),
    Subject("glibc", "malloc", "malloc of the C library"),
    Subject("jemalloc", "malloc", "malloc of jemalloc", "libjemalloc.so.2", "libjemalloc2"),
    Subject("mimalloc", "malloc", "malloc of mimalloc", "libmimalloc.so.2", "libmimalloc2.0"),
    Subject(
        "tcmalloc",
        "malloc",
        "malloc of gperftools, the library without profilers",
        "libtcmalloc_minimal.so.4",
        "libtcmalloc-minimal4",
    ),
    Subject("memkind", "memkind", "memkind, a kind of fixed memory"),
    Subject("dpdk", "dpdk", "DPDK rte_malloc"),
    Subject("dpdk-mempool", "dpdk-mempool", "DPDK mempool: blocks of one size"),
    Subject("ucx", "ucx", "UCX: memory of ucp_mem_map; key: a hit in ucs_rcache"),
    Subject("ucx-register", "ucx-register", "malloc and ucp_mem_map for each buffer"),
    Subject("libfabric", "libfabric", "libfabric: fi_mr_reg for each buffer; key: its cache"),
    Subject("register", "register", "malloc and a registration for each buffer"),
    Subject("register-fork", "register-fork", "the same with madvise(MADV_DONTFORK)"),
    Subject("register-verbs", "register-verbs", "malloc and ibv_reg_mr for each buffer"),
    Subject("register-verbs-fork", "register-verbs-fork", "the same after ibv_fork_init"),
    Subject("arena-map", "arena-map", "one registered arena, keys from a sorted map under a lock"),
    Subject("empty", "empty", "a call that does nothing; fork() of a process that has nothing"),
    Subject("bare", "bare", "the kernel's own: populate and pin; populate and fill"),
    Subject("pinned", "pinned", "memory pinned without DONTFORK: the kernel copies it"),
]
QUIET = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True, "check": False}

# Not measured beside the others: its instructions are taken off theirs.
FLOOR = Subject("floor", "floor", "the bench's own loops")


def named(name):
    return next(subject for subject in SUBJECTS if subject.name == name)


def version_of(library):
    """Of the package that it is from; where there is none, the file's name must do."""
    name = os.path.basename(library)
    try:
        owner = subprocess.run(["dpkg-query", "-S", library], **QUIET).stdout.split(": ")[0]
        shown = ["dpkg-query", "-W", "-f", "${Version}", owner]
        return subprocess.run(shown, **QUIET).stdout or name
    except OSError:
        return name


class Bench:
    """The subjects of one build, and why others are absent."""

    def __init__(self, build, say, errors):
        self.directory = os.path.join(build, "bench", "subjects")
        self.say = say
        self.errors = errors
        self.versions = {}
        self.works = {}  # that a subject has, by its name
        self.absent = {}
        with open(os.path.join(build, "bench", "built.json"), encoding="utf-8") as built:
            self.built = json.load(built)

    def command(self, subject):
        return [os.path.join(self.directory, subject.program)]

    @staticmethod
    def environment(subject):
        return environment(**({"LD_PRELOAD": subject.preload} if subject.preload else {}))

    def start(self, subject, timeout):
        return worker.Worker(
            self.command(subject), self.environment(subject), self.errors, timeout
        )

    def find(self, wanted, timeout):
        """Those that can be measured here; fills absent."""
        found = []
        for subject in SUBJECTS:
            if wanted and subject.name not in wanted:
                continue
            why = self._why_absent(subject, timeout)
            if why:
                self.absent[subject.name] = why
                self.say("absent: %s: %s" % (subject.name, why))
            else:
                self.say("%s %s" % (subject.name, self.versions[subject.name]))
                found.append(subject)
        return found

    def _why_absent(self, subject, timeout):
        if not os.access(self.command(subject)[0], os.X_OK):
            return self.built.get(subject.program) or "its program was not built"
        try:
            work = self.start(subject, timeout)
        except (worker.Gone, worker.Refused) as error:
            return str(error)
        self.versions[subject.name] = work.version
        self.works[subject.name] = work.works
        maps = work.maps()
        work.close()
        if subject.preload:
            files = {line.split()[-1] for line in maps.splitlines() if "/" in line}
            files = [f for f in files if f.split("/")[-1].startswith(subject.preload)]
            if not files:
                return "%s is not installed (Debian: %s)" % (subject.preload, subject.package)
            self.versions[subject.name] = version_of(files[0])
        return None
