# SPDX-License-Identifier: BSD-2-Clause
"""Registered memory for RDMA that stays correct across fork().

A Pool hands out buffers from memory that is registered with all rails of the pool, and
that no fork() moves under a device. A buffer supports the buffer protocol; it is freed when
nothing refers to it any more, and its pool lives as long as it does.

    import rdmalloc
    pool = rdmalloc.Pool(fork="copy")
    buffer = pool.allocate(1 << 20)         # memoryview(buffer), os.readv(fd, [buffer]), ...
    array = pool.array((1000, 1000), "f4")  # NumPy's, and so torch.from_dlpack(array)
    rdmalloc.key(array, rail).lkey

What fails raises OSError with the errno that the manual page of the C function lists, a block that
cannot be had MemoryError. librdmalloc.so.0 must be where the loader finds it, or named by
RDMALLOC_LIBRARY.
"""

import ctypes
import os
import weakref
from collections import namedtuple

from . import _library

__all__ = ["Buffer", "Key", "Pool", "key", "pool_of", "thread_flush", "version"]

_c = _library.load()

Key = namedtuple("Key", "lkey rkey handle base length")


def _fail(what):
    number = ctypes.get_errno()
    raise OSError(number, what + ": " + os.strerror(number))


def _check(result, what):
    if result < 0:
        _fail(what)
    return result


class Buffer(ctypes.Array):
    """A block of a pool's, as bytes that can be written. Pool.allocate() makes it."""

    _type_ = ctypes.c_ubyte
    _length_ = 0

    @property
    def address(self):
        return ctypes.addressof(self)

    def __repr__(self):
        return "<rdmalloc.Buffer of %d bytes at %#x>" % (len(self), self.address)


# Each length is a type of its own to ctypes; it goes with the last buffer that has it.
_types = weakref.WeakValueDictionary()


def _type_of(length):
    made = _types.get(length)
    if made is None:
        made = type("Buffer", (Buffer,), {"_type_": ctypes.c_ubyte, "_length_": length})
        _types[length] = made
    return made


def _free(address, pool):
    del pool._finalizers[address]
    _c.rdm_free(address)


class Pool:
    """A pool of registered memory; the arguments are the fields of struct rdm_pool_config."""

    def __init__(self, name=None, *, slab_size=0, limit=0, backing=None, pages=None, fork=None,
                 node=-1, watermark=0):
        config = _library.PoolConfig(
            size=ctypes.sizeof(_library.PoolConfig),
            name=None if name is None else os.fsencode(name),
            slab_size=slab_size, limit=limit, node=node, watermark=watermark,
            backing=_library.number_of(_library.BACKINGS, backing),
            pages=_library.number_of(_library.PAGES, pages),
            fork=_library.number_of(_library.POLICIES, fork))
        self._rails = {}
        self._finalizers = {}
        self._handle = None
        self._handle = _c.rdm_pool_create(ctypes.byref(config))
        if not self._handle:
            _fail("rdm_pool_create")

    def __enter__(self):
        return self

    def __exit__(self, kind, *error):
        try:
            self.destroy()
        except OSError:
            # The exception that is under way keeps buffers alive, and says more.
            if kind is None:
                raise

    def __del__(self):
        if getattr(self, "_handle", None):
            _c.rdm_pool_destroy(self._handle)

    @property
    def handle(self):
        """The rdm_pool, as a number; for other libraries."""
        return self._handle

    def destroy(self):
        """Gives the pool back. EBUSY: buffers are live, and nothing was changed."""
        if self._handle:
            _check(_c.rdm_pool_destroy(self._handle), "rdm_pool_destroy")
            self._handle = None
            self._rails.clear()

    def allocate(self, size, alignment=64):
        """A buffer of so many bytes; what is in it is not defined."""
        if size < 0:
            raise ValueError("a buffer of %d bytes" % size)
        address = _c.rdm_aligned_alloc(self._handle, alignment, size)
        if not address:
            number = ctypes.get_errno()
            if number == _library.ENOMEM:
                raise MemoryError("%d bytes" % size)
            _fail("rdm_aligned_alloc")
        buffer = _type_of(size).from_address(address)
        # It holds the pool. At exit others may still use the buffer, which goes with the process.
        self._finalizers[address] = weakref.finalize(buffer, _free, address, self)
        self._finalizers[address].atexit = False
        return buffer

    def array(self, shape, dtype=float, alignment=64):
        """A NumPy array of zeros in a buffer of its own."""
        import numpy

        dtype = numpy.dtype(dtype)
        if dtype.hasobject:
            raise TypeError("references to objects are of no use to a device")
        count = 1
        for length in (shape,) if isinstance(shape, int) else shape:
            count *= length
        buffer = self.allocate(max(count * dtype.itemsize, 1), alignment)
        array = numpy.frombuffer(buffer, dtype, count).reshape(shape)
        array.fill(0)
        return array

    def add_verbs(self, pd, access=1):
        """pd: the address of a struct ibv_pd."""
        return _check(_c.rdm_pool_add_verbs(self._handle, pd, access), "rdm_pool_add_verbs")

    def add_rail(self, register, deregister, name="python", max_len=0):
        """A rail of two functions.

        register(address, length) returns (lkey, rkey) or (lkey, rkey, handle), handle a number;
        deregister(lkey, rkey, handle) nothing. What they raise fails the call that needed them,
        an OSError with its errno.
        """
        registrar = _library.registrar(name, max_len, register, deregister)
        number = _check(_c.rdm_pool_add_rail(self._handle, ctypes.byref(registrar), None),
                        "rdm_pool_add_rail")
        self._rails[number] = registrar
        return number

    def remove_rail(self, rail):
        _check(_c.rdm_pool_remove_rail(self._handle, rail), "rdm_pool_remove_rail")
        self._rails.pop(rail, None)

    def reserve(self, size):
        _check(_c.rdm_pool_reserve(self._handle, size), "rdm_pool_reserve")

    def trim(self, keep=0):
        _check(_c.rdm_pool_trim(self._handle, keep), "rdm_pool_trim")

    def reset(self):
        """Forgets every block. Buffers of the pool must not be used any more."""
        _check(_c.rdm_pool_reset(self._handle), "rdm_pool_reset")
        self._rails.clear()
        for finalizer in self._finalizers.values():
            finalizer.detach()
        self._finalizers.clear()

    def stats(self):
        found = _library.Stats(size=ctypes.sizeof(_library.Stats))
        _check(_c.rdm_pool_stats(self._handle, ctypes.byref(found)), "rdm_pool_stats")
        return _library.as_dict(found)

    def audit(self):
        found = _library.Audit(size=ctypes.sizeof(_library.Audit))
        _check(_c.rdm_pool_audit(self._handle, ctypes.byref(found)), "rdm_pool_audit")
        return _library.as_dict(found)


def _address_of(thing):
    if isinstance(thing, int):
        return thing
    if isinstance(thing, Buffer):
        return thing.address
    # Arrays may be read-only, or have gaps.
    interface = getattr(thing, "__array_interface__", None)
    if interface is not None:
        return interface["data"][0]
    return ctypes.addressof(ctypes.c_char.from_buffer(thing))


def key(thing, rail=0):
    """The keys of a buffer, of what has its memory (an array, a memoryview), or of an address."""
    found = _library.Key()
    _check(_c.rdm_key(_address_of(thing), rail, ctypes.byref(found)), "rdm_key")
    return Key(found.lkey, found.rkey, found.handle or 0, found.base or 0, found.length)


def pool_of(thing):
    """The handle of the pool that a buffer, or an address, is of; None: of none."""
    return _c.rdm_pool_of(_address_of(thing)) or None


def thread_flush():
    """Gives the free blocks that the calling thread keeps to all threads."""
    _c.rdm_thread_flush()


def version():
    return _c.rdm_version().decode()
