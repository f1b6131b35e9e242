# SPDX-License-Identifier: BSD-2-Clause
"""Where it was measured."""

import os
import platform


def _read(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""


def _field(text, name):
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def _memory(name):
    return int(_field(_read("/proc/meminfo"), name).split()[0]) << 10


def describe():
    cpu = _read("/proc/cpuinfo")
    thp = _read("/sys/kernel/mm/transparent_hugepage/enabled")
    return {
        "cpu": _field(cpu, "model name") or platform.machine(),
        "virtual": "hypervisor" in _field(cpu, "flags").split(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory": "%.0f GiB" % (_memory("MemTotal") / 2**30),
        "kernel": platform.release(),
        "thp": thp[thp.find("[") + 1 : thp.find("]")],
    }


def memory_available():
    """Bytes."""
    return _memory("MemAvailable")
