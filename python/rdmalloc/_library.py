# SPDX-License-Identifier: BSD-2-Clause
"""librdmalloc's functions and structures, as rdmalloc.h has them."""

import ctypes
import errno
import os
from ctypes import POINTER, c_char_p, c_int, c_size_t, c_uint, c_uint32, c_uint64, c_void_p

ENOMEM = errno.ENOMEM
BACKINGS = ("default", "anon", "hugetlb", "shared")
PAGES = ("default", "best", "base", "thp", "2M", "1G")
POLICIES = ("default", "hole", "zero", "copy")


def number_of(names, name):
    if name is None:
        return 0
    try:
        return names.index(name)
    except ValueError:
        raise ValueError("%r is none of %s" % (name, ", ".join(names))) from None


class PoolConfig(ctypes.Structure):
    _fields_ = [("size", c_size_t), ("name", c_char_p), ("slab_size", c_size_t),
                ("limit", c_size_t), ("backing", c_uint), ("pages", c_uint), ("fork", c_uint),
                ("node", c_int), ("watermark", c_size_t)]


class Mr(ctypes.Structure):
    _fields_ = [("lkey", c_uint32), ("rkey", c_uint32), ("handle", c_void_p)]


class Key(ctypes.Structure):
    _fields_ = [("lkey", c_uint32), ("rkey", c_uint32), ("handle", c_void_p), ("base", c_void_p),
                ("length", c_size_t)]


class Audit(ctypes.Structure):
    _fields_ = [(name, c_size_t) for name in (
        "size", "pages", "inheritable", "mergeable", "absent", "not_exclusive", "not_writable",
        "unregistered", "violations")]


class Stats(ctypes.Structure):
    _fields_ = [(name, c_size_t) for name in (
        "size", "slabs", "slab_bytes", "carved_bytes", "live_bytes", "live_blocks",
        "magazine_bytes", "depot_bytes", "limit", "rails", "quarantined")] + [
            (name, c_uint64) for name in (
                "registrations", "deregistrations", "growths", "background_growths", "forks",
                "last_fork_ns")] + [("inherited", c_int)]


def as_dict(structure):
    return {name: getattr(structure, name) for name, _ in structure._fields_ if name != "size"}


REGISTER = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_size_t, POINTER(Mr))
DEREGISTER = ctypes.CFUNCTYPE(c_int, c_void_p, POINTER(Mr))


class Registrar(ctypes.Structure):
    _fields_ = [("size", c_size_t), ("name", c_char_p), ("max_len", c_size_t), ("reg", REGISTER),
                ("dereg", DEREGISTER)]


def _errno_of(call):
    """0, or what the call raised as an errno: C has no other way to hear of it."""
    try:
        call()
    except OSError as error:
        return error.errno or errno.EIO
    except MemoryError:
        return errno.ENOMEM
    except BaseException:  # pylint: disable=broad-except
        import traceback

        traceback.print_exc()
        return errno.EIO
    return 0


def registrar(name, max_len, register, deregister):
    def reg(_context, address, length, mr):
        def call():
            keys = register(address, length)
            mr[0] = Mr(keys[0], keys[1], keys[2] if len(keys) > 2 else None)

        return _errno_of(call)

    def dereg(_context, mr):
        return _errno_of(lambda: deregister(mr[0].lkey, mr[0].rkey, mr[0].handle or 0))

    return Registrar(ctypes.sizeof(Registrar), os.fsencode(name), max_len, REGISTER(reg),
                     DEREGISTER(dereg))


FUNCTIONS = {
    "rdm_pool_create": (c_void_p, [POINTER(PoolConfig)]),
    "rdm_pool_destroy": (c_int, [c_void_p]),
    "rdm_pool_reset": (c_int, [c_void_p]),
    "rdm_pool_add_verbs": (c_int, [c_void_p, c_void_p, c_int]),
    "rdm_pool_add_rail": (c_int, [c_void_p, POINTER(Registrar), c_void_p]),
    "rdm_pool_remove_rail": (c_int, [c_void_p, c_int]),
    "rdm_pool_reserve": (c_int, [c_void_p, c_size_t]),
    "rdm_pool_trim": (c_int, [c_void_p, c_size_t]),
    "rdm_pool_stats": (c_int, [c_void_p, POINTER(Stats)]),
    "rdm_pool_audit": (c_int, [c_void_p, POINTER(Audit)]),
    "rdm_aligned_alloc": (c_void_p, [c_void_p, c_size_t, c_size_t]),
    "rdm_free": (None, [c_void_p]),
    "rdm_key": (c_int, [c_void_p, c_int, POINTER(Key)]),
    "rdm_pool_of": (c_void_p, [c_void_p]),
    "rdm_thread_flush": (None, []),
    "rdm_version": (c_char_p, []),
}


def load():
    library = ctypes.CDLL(os.environ.get("RDMALLOC_LIBRARY", "librdmalloc.so.0"), use_errno=True)
    for name, (result, arguments) in FUNCTIONS.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    return library
