# SPDX-License-Identifier: BSD-2-Clause
"""Time and memory of ordinary programs, plain and with the preloaded library."""

import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile

from harness import machine
from harness.common import environment, say

TARGETS = ["bench/once"]
EPILOG = "Prints Markdown: docs/bench/programs.md is one."
GOAL_TIME = 1.03
GOAL_RSS = 1.1
UNITS = ["ms", "ms", "MiB"]
SCALES = [1e3, 1e3, 1]

# What the programs work on, made by the shell, plain.
INPUT = """
seq 1 400000 | awk '{ print ($1 * 7919) % 1000003, "word" $1 % 5000, $1 }' >text
for n in $(seq 1 250); do
	echo "int f$n(const int *a, int n) { int s = $n; for (int i = 0; i < n; i++)"
	echo "{ if (a[i] % $((n % 17 + 2))) s += a[i] * $n; else s ^= a[n - i - 1]; } return s; }"
done >functions.c
mkdir tree
for n in $(seq 1 800); do seq $n $((n * 20)) >tree/$n; done
git init -q repository
cp -r tree repository
for n in $(seq 1 12); do
	(cd repository && seq $n 60000 >tree/$n && git add . &&
		git -c user.name=a -c user.email=a@example.org commit -q -m $n)
done
cat >insert.sql <<END
CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT, c BLOB);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000)
	INSERT INTO t SELECT i, hex(i * 7919 % 10007), zeroblob(i * 31 % 500) FROM n;
CREATE INDEX x ON t(b);
SELECT count(DISTINCT b) FROM t;
END
"""

# Name, the command for sh; each takes about a second.
PROGRAMS = [
    ("sort", "sort -k2,2 -k1n text"),
    ("xz", "xz -T2 -1 -k -c text"),
    ("gcc", "gcc -O2 -c -o /dev/null functions.c"),
    ("python3", sys.executable + " -c '"
     "import json; rows = [line.split() for line in open(\"text\")]; d = {}\n"
     "for a, b, c in rows: d.setdefault(b, []).append(int(a))\n"
     "print(len(json.loads(json.dumps(d))))'"),
    ("perl", "perl -ne '@f = split; push @{$h{$f[1]}}, $f[0]; "
     "END { print join(\",\", sort { $a <=> $b } @{$h{$_}}) for sort keys %h }' text"),
    ("git", "git -C repository -c pack.threads=2 repack -q -adf"),
    ("sqlite3", "sqlite3 '' <insert.sql"),
    ("awk", "awk '{ n[$2]++; s[$1] = s[$1] \" \" $3 } END { for (i in s) t += length(s[i]); print t }' text"),
    ("tar, gzip", "tar -czf - tree"),
    ("bash", "bash -c 'a=(); for ((i = 0; i < 100000; i++)); do a[i]=x$i; s+=$i; done; "
     "for i in {1..100}; do b=$(echo ${a[i]}); done; echo ${#s} ${#b}'"),
]


def add_options(parser):
    parser.add_argument("--rounds", type=int, default=7, help="runs of each, in turn [7]")
    parser.add_argument("--conf", default="", help="RDMALLOC_CONF of the preloaded runs")
    parser.add_argument("--only", help="one program")


def run_once(options, where, command, preload):
    """Seconds, those of a CPU, and MiB that were resident at most."""
    start = "exec "
    if preload:
        start += "env LD_PRELOAD=%s " % shlex.quote(preload)
        if options.conf:
            start += "RDMALLOC_CONF=%s " % shlex.quote(options.conf)
    once = os.path.realpath(os.path.join(options.build, "bench", "once"))
    result = subprocess.run([once, "sh", "-c", start + command + " >/dev/null"],
                            cwd=where, env=environment(),
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if result.returncode:
        sys.exit(command + ": " + result.stderr[-400:])
    ns, cpu_us, kib = result.stdout.split()
    return int(ns) / 1e9, int(cpu_us) / 1e6, int(kib) / 1024


def measure(options, where, command, library):
    """Medians of plain and preloaded runs that take turns: one list for each."""
    runs = {"": [], library: []}
    for turn in range(options.rounds + 1):
        order = list(runs) if turn % 2 else list(runs)[::-1]
        for preload in order:
            got = run_once(options, where, command, preload)
            # The first turn fills the page cache.
            if turn:
                runs[preload].append(got)
    return [[statistics.median(values) for values in zip(*runs[p])] for p in runs]


def median_ratio(rows, which):
    return statistics.median(preloaded[which] / plain[which] for _, plain, preloaded in rows)


def verdict(what, value, goal):
    return "%s: %.3f at the median, the goal of %.2f is %s." % (
        what, value, goal, "met" if value <= goal else "missed")


def document(options, rows):
    where = machine.describe()
    lines = [
        "<!-- SPDX-License-Identifier: BSD-2-Clause -->",
        "# Ordinary programs, preloaded",
        "",
        "Printed by `bench/run programs` on %s CPUs (%s%s), %s of memory, Linux %s," % (
            where["cpus"], where["cpu"], ", a virtual machine" if where["virtual"] else "",
            where["memory"], where["kernel"]),
        "transparent huge pages: %s. Each value is the median of %d runs, of which plain and" % (
            where["thp"], options.rounds),
        "preloaded ones took turns; RDMALLOC_CONF was %s. CPU is user and system time." % (
            "`%s`" % options.conf if options.conf else "not set"),
        "",
        "| program | time, plain | preloaded | ratio | CPU, plain | preloaded | ratio "
        "| RSS, plain | preloaded | ratio |",
        "|---|" + "---:|" * 9,
    ]
    for name, plain, preloaded in rows:
        cells = [name]
        for unit, scale, a, b in zip(UNITS, SCALES, plain, preloaded):
            cells += ["%.0f %s" % (a * scale, unit), "%.0f %s" % (b * scale, unit),
                      "%.3f" % (b / a)]
        lines.append("| " + " | ".join(cells) + " |")
    above = [name for name, plain, preloaded in rows if preloaded[2] / plain[2] > GOAL_RSS]
    lines += [
        "",
        verdict("Time", median_ratio(rows, 0), GOAL_TIME),
        verdict("CPU", median_ratio(rows, 1), GOAL_TIME),
        verdict("RSS", median_ratio(rows, 2), GOAL_RSS),
        "Above %.1f in RSS: %s." % (GOAL_RSS, ", ".join(above) or "none"),
    ]
    return "\n".join(lines)


def run(options):
    library = os.path.realpath(os.path.join(options.build, "lib/.libs/librdmalloc-preload.so"))
    if not os.path.exists(library):
        sys.exit("there is no " + library)
    rows = []
    with tempfile.TemporaryDirectory() as where:
        subprocess.run(["bash", "-eu", "-c", INPUT], cwd=where, check=True)
        for name, command in PROGRAMS:
            if options.only and options.only != name:
                continue
            if not shutil.which(command.split()[0]):
                say("%s: not installed" % name)
                continue
            plain, preloaded = measure(options, where, command, library)
            rows.append((name, plain, preloaded))
            say("%s: time, CPU, RSS %s" % (
                name, " ".join("%.3f" % (b / a) for a, b in zip(plain, preloaded))))
    if not rows:
        sys.exit("nothing was measured")
    print(document(options, rows))
    return 0
