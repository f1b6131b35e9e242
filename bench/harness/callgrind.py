# SPDX-License-Identifier: BSD-2-Clause
"""A worker under callgrind, and the dumps that it writes."""

import glob
import os
import re


def command(out, program):
    """Nothing is counted before the worker is asked to count."""
    return ["valgrind", "-q", "--tool=callgrind", "--instr-atstart=no",
            "--callgrind-out-file=" + out, *program]


def take(out):
    """The texts of the dumps, one a thread, which are removed."""
    texts = []
    for name in glob.glob(out + "*"):
        with open(name, encoding="utf-8") as dump:
            texts.append(dump.read())
        os.unlink(name)
    return texts


def instructions(texts):
    return sum(int(n) for text in texts for n in re.findall(r"^totals: (\d+)", text, re.M))
