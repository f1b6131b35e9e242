# SPDX-License-Identifier: BSD-2-Clause
"""What malloc and fork cost under the preload, beside the same program without it."""

import os
import subprocess

TARGETS = ["bench/preload/fork_cost", "bench/preload/pair"]
EPILOG = "The two take turns. Prints Markdown: docs/bench/preload.md is one."
SCRIPT = os.path.join(os.path.dirname(__file__), "preload.bash")


def add_options(parser):
    parser.add_argument("--rounds", type=int, default=9, help="medians of so many turns [9]")


def run(options):
    return subprocess.call(["bash", SCRIPT, str(options.rounds)], cwd=options.build)
