# SPDX-License-Identifier: BSD-2-Clause
"""What the tables beside the reserve cost, once so many slabs are full of blocks."""

import os
import subprocess

TARGETS = ["bench/tables"]
EPILOG = "With RDMALLOC_CONF=reserve:1T they are the tables of a machine with 1 TiB of slabs."


def add_options(parser):
    parser.add_argument("slabs", type=int, nargs="?", default=64, help="how many [64]")
    parser.add_argument("size", type=int, nargs="?", default=4096, help="bytes of a block [4096]")


def run(options):
    program = os.path.join(options.build, "bench", "tables")
    return subprocess.call([program, str(options.slabs), str(options.size)])
