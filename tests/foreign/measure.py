#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""measure.py PRELOAD ROUNDS <LIST: what programs cost under the preload, beside what they cost without.

Each line of LIST is NAME <tab> FOLDER <tab> COMMAND, for a shell. Each round runs all modes, one
after the other, so that what else the machine does meets all of them; of CPU time (with children)
and of the largest process's peak the least counts. A name that ends with = has to print the same
in each mode. Prints a table, and ends with 1 if something failed or printed something else.
"""
import os
import re
import statistics
import subprocess
import sys
import tempfile

# What a benchmark that runs for a fixed time says of itself counts instead of its CPU time.
OWN_TIME = re.compile(rb"(?:rtime|relative time): *([0-9.]+)")
# And what a program says of its resident memory at some moment, in KiB, instead of its peak.
RESIDENT = re.compile(rb"resident: *([0-9]+)")
MODES = {"plain": None, "default": "", "threshold:0": "threshold:0"}


def environment(preload, conf):
    env = {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "RDMALLOC_CONF")}
    if conf is not None:
        env["LD_PRELOAD"] = preload
    if conf:
        env["RDMALLOC_CONF"] = conf
    return env


def make_helper(folder):
    helper = os.path.join(folder, "usage")
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "usage.c")
    subprocess.run(["cc", "-O1", source, "-o", helper], check=True)
    return helper


def run(helper, folder, command, env):
    """Status, CPU seconds, peak KiB, and what it printed."""
    result = helper + ".result"
    words = [f"{k}={v}" for k, v in env.items()]
    # The helper itself runs without the preload: its child begins as small as it is.
    done = subprocess.run([helper, result, "/usr/bin/env", "-i", *words, "/bin/bash", "-c", "exec " + command],
                          cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env=environment("", None), check=False)
    with open(result, encoding="ascii") as file:
        status, cpu, peak = map(int, file.read().split())
    return status, cpu / 1e6, peak, done.stdout


def measure(helper, preload, rounds, name, folder, command):
    """For each mode the least CPU time and peak; and whether all is well."""
    best, texts, fine = {}, {}, True
    for _ in range(rounds):
        for mode, conf in MODES.items():
            status, cpu, peak, text = run(helper, folder, command, environment(preload, conf))
            if status:
                fine = False
                tail = text[-300:].decode(errors="replace").strip().replace("\n", " | ")
                print(f"# {name}, {mode}: status {status:#x}: {tail}")
            own = OWN_TIME.search(text)
            cpu = float(own.group(1)) if own else cpu
            said = RESIDENT.search(text)
            peak = int(said.group(1)) if said else peak
            before = best.get(mode, (cpu, peak))
            best[mode] = min(before[0], cpu), min(before[1], peak)
            texts[mode] = text
    if name.endswith("=") and len(set(texts.values())) > 1:
        fine = False
        print(f"# {name}: it does not print the same in each mode")
    return best, fine


def main():
    with tempfile.TemporaryDirectory() as folder:
        return compare(make_helper(folder), os.path.realpath(sys.argv[1]), int(sys.argv[2]))


def compare(helper, preload, rounds):
    ratios, failed = {mode: ([], []) for mode in MODES}, False
    print(f"{'':16} {'plain':>8} {'':>9}   {'default':>7} {'':>6}   {'threshold:0':>11}")
    print(f"{'':16} {'CPU s':>8} {'peak MiB':>9}   {'CPU':>7} {'peak':>6}   {'CPU':>7} {'peak':>6}")
    for line in sys.stdin:
        if not line.strip() or line.startswith("#"):
            continue
        name, folder, command = line.rstrip("\n").split("\t")
        best, fine = measure(helper, preload, rounds, name, folder, command)
        failed = failed or not fine
        cpu, peak = best["plain"]
        row = f"{name:16} {cpu:8.2f} {peak / 1024:9.1f}"
        for mode in ("default", "threshold:0"):
            one, two = best[mode][0] / max(cpu, 0.001), best[mode][1] / max(peak, 1)
            ratios[mode][0].append(one)
            ratios[mode][1].append(two)
            row += f"   {one:7.2f} {two:6.2f}"
        print(row + ("" if fine else "   WRONG"), flush=True)
    for what, choose in (("median", statistics.median), ("worst", max)):
        row = f"{what:16} {'':8} {'':9}"
        for mode in ("default", "threshold:0"):
            if ratios[mode][0]:
                row += f"   {choose(ratios[mode][0]):7.2f} {choose(ratios[mode][1]):6.2f}"
        print(row)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
