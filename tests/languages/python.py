# SPDX-License-Identifier: BSD-2-Clause
"""The package for Python: who keeps what alive, what fails how, and children. Speaks TAP."""

import errno
import gc
import multiprocessing
import os
import sys
import traceback

import rdmalloc

try:
    import numpy
except ImportError:
    numpy = None

CASES = []


def case(function):
    CASES.append(function)
    return function


def errno_of(call):
    try:
        call()
    except OSError as error:
        return error.errno
    except MemoryError:
        return errno.ENOMEM
    return 0


class Skip(Exception):
    pass


def need_numpy():
    if numpy is None:
        raise Skip("there is no NumPy: install python3-numpy")


def live(pool):
    gc.collect()
    return pool.stats()["live_blocks"]


@case
def a_buffer_is_freed_with_its_last_view():
    pool = rdmalloc.Pool()
    buffer = pool.allocate(1000)
    assert len(buffer) == 1000 and buffer.address % 64 == 0
    assert rdmalloc.pool_of(buffer) == pool.handle
    view = memoryview(buffer).cast("B")
    view[:3] = b"abc"
    part = view[1:2]
    del buffer, view
    assert live(pool) == 1 and bytes(part) == b"b"
    del part
    assert live(pool) == 0
    pool.destroy()


@case
def a_pool_lives_as_long_as_its_buffers():
    buffer = rdmalloc.Pool("short").allocate(64)
    gc.collect()
    memoryview(buffer).cast("B")[:] = b"x" * 64
    assert rdmalloc.pool_of(buffer)
    address = buffer.address
    del buffer
    gc.collect()
    assert rdmalloc.pool_of(address) is None


@case
def what_fails_has_its_errno():
    pool = rdmalloc.Pool(limit=4 << 20)
    buffer = pool.allocate(100)
    assert errno_of(lambda: rdmalloc.Pool(slab_size=1)) == errno.EINVAL
    assert errno_of(pool.destroy) == errno.EBUSY
    assert errno_of(lambda: pool.allocate(64 << 20)) == errno.ENOMEM
    assert errno_of(lambda: pool.allocate(100, 3)) == errno.EINVAL
    assert errno_of(lambda: rdmalloc.key(buffer)) == errno.ENOENT
    assert errno_of(lambda: rdmalloc.key(bytearray(10))) == errno.EINVAL
    assert errno_of(lambda: pool.remove_rail(0)) == errno.ENOENT
    for wrong in (lambda: rdmalloc.Pool(fork="never"), lambda: pool.allocate(-1)):
        try:
            wrong()
        except ValueError:
            continue
        raise AssertionError("no ValueError")
    del buffer
    with pool:
        pool.reserve(2 << 20)
        assert pool.audit()["violations"] == 0
        pool.trim()
        assert pool.stats()["slabs"] == 0
    assert errno_of(lambda: pool.allocate(1)) == errno.EINVAL


@case
def rails_of_python_functions():
    kept = {}

    def register(address, length):
        kept[address] = length
        return len(kept), 10 + len(kept), 99

    pool = rdmalloc.Pool()
    rail = pool.add_rail(register, lambda lkey, rkey, handle: kept.clear())
    buffer = pool.allocate(1 << 20)
    key = rdmalloc.key(buffer, rail)
    assert (key.lkey, key.rkey, key.handle) == (1, 11, 99)
    assert kept == {key.base: key.length}
    del buffer
    pool.remove_rail(rail)
    assert not kept

    def refuse(_address, _length):
        raise OSError(errno.EPERM, "not today")

    pool.reserve(1 << 20)
    assert errno_of(lambda: pool.add_rail(refuse, refuse)) == errno.EPERM


@case
def a_reset_forgets_buffers():
    pool = rdmalloc.Pool()
    buffer = pool.allocate(100)
    pool.reset()
    del buffer
    assert live(pool) == 0
    pool.destroy()


@case
def arrays():
    need_numpy()
    pool = rdmalloc.Pool()
    pool.add_rail(lambda address, length: (5, 6), lambda *keys: None)
    array = pool.array((100, 10), "f4")
    assert array.shape == (100, 10) and not array.any()
    assert rdmalloc.key(array[50:, 3]).lkey == 5
    column = array[:, 1]
    array[:, 1] = 7
    del array
    assert live(pool) == 1 and (column == 7).all()
    if hasattr(numpy, "from_dlpack"):
        other = numpy.from_dlpack(column)
        del column
        assert live(pool) == 1 and (other == 7).all()
        del other
    else:
        del column
    assert live(pool) == 0
    assert pool.array(0).size == 0
    try:
        pool.array(3, object)
    except TypeError:
        pass
    else:
        raise AssertionError("an array of references")
    pool.destroy()


@case
def workers_that_fork():
    pool = rdmalloc.Pool(fork="copy")
    buffer = pool.allocate(5000)
    memoryview(buffer).cast("B")[:] = b"p" * 5000

    def work(queue):
        view = memoryview(buffer).cast("B")
        seen = bytes(view)
        view[:] = b"c" * 5000
        queue.put((seen == b"p" * 5000, errno_of(lambda: pool.allocate(1))))

    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    worker = context.Process(target=work, args=(queue,))
    worker.start()
    assert queue.get() == (True, errno.ECHILD)
    worker.join()
    assert worker.exitcode == 0
    assert bytes(buffer) == b"p" * 5000


def main():
    failed = 0
    print("1..%d" % len(CASES))
    for number, function in enumerate(CASES, 1):
        name = "Python: " + function.__name__.replace("_", " ")
        try:
            function()
            print("ok %d - %s" % (number, name))
        except Skip as why:
            print("ok %d - %s # SKIP %s" % (number, name, why))
        except BaseException:  # pylint: disable=broad-except
            failed = 1
            print("not ok %d - %s" % (number, name))
            sys.stdout.flush()
            traceback.print_exc()
    sys.stdout.flush()
    os._exit(failed)


main()
