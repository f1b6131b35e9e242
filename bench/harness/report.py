# SPDX-License-Identifier: BSD-2-Clause
"""The results as JSON, and as Markdown."""

import json
import os

from . import cases, goals, timing


INTRODUCTION = """\
# What rdmalloc costs, beside its peers

Measured by `bench/run peers` on {machine}. A time is the median of short turns that all subjects took
in rotation (of {touching} the least, since a virtual machine's first touch of memory can be the
host's work). In parentheses are instructions, by callgrind, without those of the bench's own
loop. Only ratios within one run say much.

Of {all} goals {met} are met (✓), {missed} missed (✗), {unknown} could not be measured (–).

"""


def _rounded(value):
    return None if value is None else float("%.4g" % value)


def rows(results):
    """What bench/run peers --json prints."""
    return [
        {
            "work": r.case.work,
            "size": r.case.size or None,
            "threads": r.case.threads,
            "slabs": r.case.slabs or None,
            "subject": r.subject,
            "ns": _rounded(r.ns),
            "instructions": None if r.instructions is None else round(r.instructions, 1),
        }
        for r in results
    ]


def duration(ns):
    for unit, name in ((1e9, "s"), (1e6, "ms"), (1e3, "µs")):
        if ns >= unit:
            return "%.3g %s" % (ns / unit, name)
    return "%.3g ns" % ns


def column(case):
    if case.slabs:
        name = "{:,} slab{}".format(case.slabs, "" if case.slabs == 1 else "s")
    else:
        name = cases.size_name(case.size)
    if case.work not in ("crossthread", *cases.ALONE) and case.threads > 1:
        name += ", %d threads" % case.threads
    return name


def table(head, body):
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in body]
    return "\n".join(lines) + "\n"


class Report:
    def __init__(self, results, bench, maps, machine):
        self.results = goals.Results(results)
        self.bench = bench
        self.maps = maps
        self.machine = machine
        self.marks = []

    def _goals(self, work, columns):
        body = []
        for goal in goals.of_work(work):
            verdicts = [goal.verdict(self.results, case) for case in columns]
            self.marks += [v.mark for v in verdicts if v.mark]
            shown = [(v.text + " " + v.mark).strip() for v in verdicts]
            body.append([goal.peer, goal.goal] + shown)
        return table(["rdmalloc against", "goal"] + [column(c) for c in columns], body)

    def _cell(self, case, subject):
        ns, count = self.results.ns(case, subject), self.results.instructions(case, subject)
        if ns is None:
            return ""
        return duration(ns) + ("" if count is None else " (%.0f)" % count)

    def _times(self, work, columns):
        body = []
        for subject in dict.fromkeys(r.subject for r in self.results.results):
            cells = [self._cell(case, subject) for case in columns]
            if any(cells):
                body.append([subject] + cells)
        return table(["subject"] + [column(c) for c in columns], body)

    def _work(self, work, charts):
        columns = self.results.cases(work)
        if not columns:
            return ""
        text = "## %s\n\nThe time of %s.\n\n" % (work, cases.WORKS[work])
        if work + ".svg" in charts:
            text += "![%s](%s.svg)\n\n" % (work, work)
        return text + self._goals(work, columns) + "\n" + self._times(work, columns) + "\n"

    def _maps(self):
        if not self.maps:
            return ""
        body = []
        for live in self.maps:
            mark = goals.maps_verdict(live)
            self.marks += [mark] if mark else []
            made = "{:,}".format(live.made) + (": " + live.why if live.made < live.wanted else "")
            body.append([live.subject, made, "{:,}".format(live.vmas),
                         "{:,}".format(live.regions) + (" " + mark if mark else ""),
                         "{:,}".format(live.slabs) if live.slabs else ""])
        text = (
            "## maps\n\n{:,} live buffers of {}: what they cost. Goal: VMAs and regions are at "
            "most slabs + {}.\n\n"
        ).format(self.maps[0].wanted, cases.size_name(self.maps[0].size), goals.MAPS_SLACK)
        return text + table(["subject", "buffers", "VMAs", "regions", "slabs"], body) + "\n"

    def _peers(self):
        present = dict.fromkeys(r.subject for r in self.results.results)
        body = [[s, self.bench.versions.get(s) or ""] for s in present]
        body += [[s, "absent: " + why] for s, why in self.bench.absent.items()]
        return "## Subjects\n\n" + table(["subject", "version"], body) + "\n"

    def _not_measured(self):
        body = [
            [r.subject, str(r.case), r.why]
            for r in self.results.results
            if r.ns is None and r.why != timing.LACKING
        ]
        if not body:
            return ""
        return "## Not measured\n\n" + table(["subject", "work", "why"], body) + "\n"

    def _machine(self):
        m = self.machine
        return "{} CPUs ({}{}), {} of memory, Linux {}, transparent huge pages: {}".format(
            m["cpus"], m["cpu"], ", a virtual machine" if m["virtual"] else "", m["memory"],
            m["kernel"], m["thp"] or "absent")

    def markdown(self, charts):
        self.marks = []
        body = "".join(self._work(work, charts) for work in cases.WORKS) + self._maps()
        met, missed, unknown = (
            self.marks.count(m) for m in (goals.MET, goals.MISSED, goals.UNKNOWN)
        )
        return INTRODUCTION.format(
            machine=self._machine(), touching=" and ".join(cases.TOUCHING), all=len(self.marks),
            met=met, missed=missed, unknown=unknown,
        ) + body + self._not_measured() + self._peers()

    def write(self, directory, charts, only_markdown):
        os.makedirs(directory, exist_ok=True)
        if not only_markdown:
            with open(os.path.join(directory, "results.json"), "w", encoding="utf-8") as out:
                out.write(self._json())
        with open(os.path.join(directory, "results.md"), "w", encoding="utf-8") as out:
            out.write(self.markdown(charts))

    def _json(self):
        details = [
            {
                **row,
                "median": _rounded(r.median),
                "minimum": _rounded(r.minimum),
                "turns": len(r.turns),
                "why": r.why or None,
            }
            for row, r in zip(rows(self.results.results), self.results.results)
        ]
        everything = {
            "machine": self.machine,
            "versions": self.bench.versions,
            "absent": self.bench.absent,
            "maps": [live.row() for live in self.maps],
            "results": details,
        }
        return json.dumps(everything, ensure_ascii=False).replace("}, {", "},\n{") + "\n"
