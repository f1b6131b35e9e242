# SPDX-License-Identifier: BSD-2-Clause
"""What all cases of the bench need."""

import os
import sys

# What would change an allocator, and is for the measured process alone to have.
SETTINGS = ("LD_PRELOAD", "MALLOC_CONF", "RDMALLOC_CONF")


def say(text):
    print(text, file=sys.stderr, flush=True)


def environment(**more):
    """That of this process without any allocator's settings."""
    return {**{k: v for k, v in os.environ.items() if k not in SETTINGS}, **more}
