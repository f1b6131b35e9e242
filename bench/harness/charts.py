# SPDX-License-Identifier: BSD-2-Clause
"""Charts of the results, by gnuplot."""

import os
import shutil
import subprocess

from . import cases, subjects

LINES = ["pair", "batch32", "batch1024", "crossthread", "ready", "key"]
BARS = ["fork-hole", "fork-copy", "reserve"]
COLOURS = ["#d62728", "#ff9896", "#1f77b4", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f",
           "#bcbd22", "#17becf", "#aec7e8", "#ffbb78", "#98df8a", "#c5b0d5", "#c49c94"]

NAMES = [subject.name for subject in subjects.SUBJECTS]

HEAD = """\
set terminal svg size 760,420 font 'sans-serif,13' background '#ffffff'
set output '%s'
set title '%s' noenhanced
set format y '%%g'
set grid y lc rgb '#dddddd'
set border 3 lc rgb '#888888'
set key outside right noenhanced
set ylabel 'ns'
set logscale y
set tics nomirror
"""


def _colour(subject):
    """The same in every chart."""
    return COLOURS[NAMES.index(subject) % len(COLOURS)]


def _data(name, points):
    return "$%s << E\n%s\nE\n" % (name, "\n".join(points))


def _of_work(results, work):
    """Of each subject that was measured: (case, ns), one thread."""
    found = {}
    for result in results:
        case = result.case
        if case.work != work or result.ns is None:
            continue
        if case.threads == 1 or work not in ("pair", "batch32", "batch1024", "ready", "key"):
            found.setdefault(result.subject, []).append((case, result.ns))
    return found


def _lines(work, found):
    script, plots = "", []
    at = (lambda c: c.slabs) if work == "key" else (lambda c: c.size)
    ticks = sorted({at(case) for points in found.values() for case, _ in points})
    for i, (subject, points) in enumerate(found.items()):
        script += _data("d%d" % i, ["%d %g" % (at(case), ns) for case, ns in points])
        plots.append("$d%d using 1:2 with linespoints lw %g pt 7 ps 0.4 lc rgb '%s' title '%s'"
                     % (i, 3 if subject.startswith("rdmalloc") else 1.5,
                        _colour(subject), subject))
    names = ["'%s' %d" % ("{:,}".format(t) if work == "key" else cases.size_name(t), t)
             for t in ticks]
    script += "set logscale x 2\nset xtics (%s)\n" % ", ".join(names)
    script += "set xlabel '%s'\n" % ("slabs" if work == "key" else "size of a block")
    return script + "plot " + ", ".join(plots) + "\n"


def _bars(found):
    points = []
    for subject, measured in found.items():
        for case, ns in measured:
            label = '"%s, %s"' % (subject, cases.size_name(case.size))
            points.append("%s %g %d" % (label, ns / 1e6, int(_colour(subject)[1:], 16)))
    script = _data("d", points)
    script += "set style fill solid 0.8\nset boxwidth 0.6\nunset key\n"
    script += "set xtics rotate by -25 noenhanced scale 0\nset ylabel 'ms'\n"
    # A box needs a floor that a logarithmic axis has not got.
    script += "set yrange [%g:*]\n" % (min(ns for m in found.values() for _, ns in m) / 3e6)
    return script + "plot $d using 0:2:3:xtic(1) with boxes lc rgb variable\n"


def draw(results, works, directory, say):
    """Names of the files that were written."""
    if not shutil.which("gnuplot"):
        say("no charts: gnuplot is not installed")
        return []
    os.makedirs(directory, exist_ok=True)
    drawn = []
    for work in works:
        found = _of_work(results, work)
        if not found:
            continue
        name = work + ".svg"
        script = HEAD % (os.path.join(directory, name), work + ": " + cases.WORKS[work])
        script += _lines(work, found) if work in LINES else _bars(found)
        done = subprocess.run(["gnuplot"], input=script, text=True, check=False)
        if done.returncode:
            say("no chart of %s: gnuplot failed" % work)
        else:
            drawn.append(name)
    return drawn


