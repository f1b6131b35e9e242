# SPDX-License-Identifier: BSD-2-Clause
"""Usage: numpy_mpi.py N TIMES

Transforms an N by N matrix back and forth in two dimensions, its rows spread over
the ranks, TIMES times; prints what must be the same in each run."""
import hashlib
import sys

import numpy as np
from mpi4py import MPI

comm = MPI.COMM_WORLD
n, times = int(sys.argv[1]), int(sys.argv[2])
rows = n // comm.size


def transposed(part):
    out = np.ascontiguousarray(part.reshape(rows, comm.size, rows).transpose(1, 0, 2))
    back = np.empty_like(out)
    comm.Alltoall(out, back)
    return np.ascontiguousarray(back.reshape(n, rows).T)


first = comm.rank * rows
# No function of NumPy's that rounds as the alignment has it.
part = (np.arange(first * n, (first + rows) * n) * 7919 % 10007).reshape(rows, n) + 0j
original = part.copy()
for _ in range(times):
    spectrum = transposed(np.fft.fft(transposed(np.fft.fft(part))))
    part = np.fft.ifft(transposed(np.fft.ifft(transposed(spectrum))))
error = np.empty(1)
comm.Allreduce(np.array([np.abs(part - original).max()]), error, op=MPI.MAX)
digests = comm.gather((comm.rank, hashlib.sha256(spectrum.tobytes()).hexdigest()))
if comm.rank == 0:
    print(f"{n} x {n} on {comm.size} ranks, largest error {error[0]!r}")
    for rank, digest in digests:
        print(f"rank {rank}: spectrum {digest}")
    if error[0] > 1e-6:
        sys.exit("the error is too large")
