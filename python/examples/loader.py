# SPDX-License-Identifier: BSD-2-Clause
"""What torch's DataLoader does with pin_memory: workers that fork make batches, and the parent puts
them into registered buffers, from which a device reads, while more workers fork.

The device is a pipe: vmsplice(2) gives it the pages, not a copy. Torch would take the same arrays:
torch.from_dlpack(array) shares their memory.

Usage: loader.py [BATCHES]
"""

import ctypes
import multiprocessing
import os
import sys

import numpy

import rdmalloc

SHAPE = (64, 56)
WORKERS = 2


class Device:
    """Reads physical pages, as a device does that was given a key."""

    class Pages(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]

    def __init__(self):
        self.out, self.into = os.pipe()
        self.vmsplice = ctypes.CDLL(None, use_errno=True).vmsplice
        self.vmsplice.restype = ctypes.c_ssize_t

    def begin(self, array):
        pages = self.Pages(array.ctypes.data, array.nbytes)
        done = self.vmsplice(self.into, ctypes.byref(pages), ctypes.c_ulong(1), 0)
        if done != array.nbytes:
            raise OSError(ctypes.get_errno(), "vmsplice")

    def end(self, array):
        return numpy.frombuffer(os.read(self.out, array.nbytes), array.dtype).reshape(array.shape)


def batch(number):
    """What a worker makes; each seed has its own."""
    return numpy.random.default_rng(number).random(SHAPE, "f4")


def main(batches):
    # Workers are forked, and a child that touches a registered array finds a copy, no hole.
    pool = rdmalloc.Pool("loader", fork="copy")
    pool.add_rail(lambda address, length: (1, 1), lambda *keys: None, "a pipe")
    context = multiprocessing.get_context("fork")
    device, good = Device(), 0
    pinned = [pool.array(SHAPE, "f4") for _ in range(2)]
    for start in range(0, batches, WORKERS):
        array = pinned[start // WORKERS % 2]
        # The device has the array when the workers are forked, and the parent writes after that.
        device.begin(array)
        with context.Pool(WORKERS) as workers:
            made = workers.map(batch, range(start, start + WORKERS))
        array[:] = made[0]
        good += int((device.end(array) == made[0]).all())
        array[:] = made[1]
        device.begin(array)
        good += int((device.end(array) == made[1]).all())
    print("%d batches, key %d: the device read %d as they are" % (
        batches, rdmalloc.key(pinned[0]).lkey, good))
    return good != batches


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20))
