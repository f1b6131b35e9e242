# SPDX-License-Identifier: BSD-2-Clause
"""What many live buffers cost in VMAs and registrations."""

from dataclasses import asdict, dataclass

from .worker import Gone, Refused

BUFFERS = 100_000
SIZE = 4096


@dataclass
class Live:
    subject: str
    size: int
    wanted: int
    made: int
    vmas: int
    regions: int
    slabs: int  # 0: has none
    why: str

    def row(self):
        return asdict(self)


def measure_maps(bench, found, say):
    rows = []
    for subject in [s for s in found if "live" in bench.works[s.name]]:
        try:
            work = bench.start(subject, 60)
            try:
                row = Live(subject.name, SIZE, BUFFERS, *work.live(SIZE, BUFFERS, 300))
            finally:
                work.close()
        except (Gone, Refused) as error:
            say("maps, %s: %s" % (subject.name, error))
            continue
        say("maps, %s: %d buffers, %d VMAs, %d regions" % (row.subject, row.made, row.vmas,
                                                           row.regions))
        rows.append(row)
    return rows
