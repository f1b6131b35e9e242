# SPDX-License-Identifier: BSD-2-Clause
"""A buffer's life, see life.c."""

import ctypes
import os

import rdmalloc

LENGTH = 10000
LKEY = 7


def all_are(data, value):
    return bytes(data) == bytes([value]) * LENGTH


class Pages(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


def vmsplice(descriptor, buffer):
    libc = ctypes.CDLL(None, use_errno=True)
    pages = Pages(buffer.address, len(buffer))
    libc.vmsplice.restype = ctypes.c_ssize_t
    if libc.vmsplice(descriptor, ctypes.byref(pages), ctypes.c_ulong(1), 0) != len(buffer):
        raise OSError(ctypes.get_errno(), "vmsplice")


def main():
    registered = 0

    def register(_address, _length):
        nonlocal registered
        registered += 1
        return LKEY, 0

    def deregister(_lkey, _rkey, _handle):
        nonlocal registered
        registered -= 1

    pool = rdmalloc.Pool("life", fork="copy")
    device, gate = os.pipe(), os.pipe()
    print("rail:", pool.add_rail(register, deregister, "a pipe"))

    buffer = pool.allocate(LENGTH)
    view = memoryview(buffer).cast("B")
    view[:] = b"\1" * LENGTH
    print("registered:", registered)
    key = rdmalloc.key(view[LENGTH - 1:])
    print("key: %d, of all of it: %d" % (
        key.lkey, key.base <= buffer.address and
        key.base + key.length >= buffer.address + LENGTH))

    vmsplice(device[1], buffer)
    child = os.fork()
    if not child:
        good = os.read(gate[0], 1) and all_are(view, 1)
        view[:] = b"\3" * LENGTH
        os._exit(0 if good else 1)
    view[:] = b"\2" * LENGTH
    os.write(gate[1], b"\0")
    print("the child read what was written before it: %d" % (not os.waitpid(child, 0)[1]))
    print("the device read what was written since: %d" % all_are(os.read(device[0], LENGTH), 2))
    print("and so did the parent: %d" % all_are(view, 2))

    del buffer, view
    print("live:", pool.stats()["live_blocks"])
    pool.destroy()
    print("registered:", registered)


main()
