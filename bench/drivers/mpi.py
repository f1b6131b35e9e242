# SPDX-License-Identifier: BSD-2-Clause
"""Time of MPI programs of the distribution's packages, plain and preloaded."""

import os
import subprocess

TARGETS = []
EPILOG = """\
Wall time of a program with the library preloaded, as a ratio to the time without; the
processors' time (user and system, of mpirun and all ranks) likewise. The two take turns
and change who goes first. The goal is a ratio of at most 1.02. Prints Markdown:
docs/bench/mpi.md is one.
"""
SCRIPT = os.path.join(os.path.dirname(__file__), "mpi.bash")


def add_options(parser):
    parser.add_argument("--pairs", type=int, default=9, help="turns of each of the two [9]")
    parser.add_argument("programs", nargs="*", metavar="PROGRAM",
                        help="hpcc, scalapack, netpipe or numpy [all]")


def run(options):
    command = ["bash", SCRIPT, str(options.pairs), *options.programs]
    return subprocess.call(command, cwd=options.build)
