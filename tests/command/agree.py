#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What the command says of a process (stat.json, map.json, top.json, stat.prom in a directory)
against what the process says itself (own.json). With --svg: a picture (map.svg) against map.json."""
import json
import re
import sys
import xml.etree.ElementTree

KEYS = ("slabs slab_bytes carved_bytes live_bytes live_blocks magazine_bytes depot_bytes "
        "limit_bytes quarantined_bytes registrations deregistrations growths background_growths").split()
HERE = sys.argv[-1]


def read(name):
    with open(f"{HERE}/{name}", encoding="utf-8") as file:
        return file.read()


def same(what, here, there):
    if here != there:
        sys.exit(f"{what}: {here}, but the process says {there}")


def check_process(process, own):
    same("pools", [p["name"] for p in process["pools"]], list(own))
    for pool in process["pools"]:
        stats = own[pool["name"]]
        for key in KEYS:
            same(f"{pool['name']} {key}", pool[key], stats[key])
        same(f"{pool['name']} rails", len(pool["rails"]), stats["rails"])
        same("forks", process["forks"], stats["forks"])
        same("last_fork_ns", process["last_fork_ns"], stats["last_fork_ns"])
        same("pinned", pool["pinned_bytes"], stats["slab_bytes"] if stats["rails"] else 0)


def check_map(heap, own):
    for name, stats in own.items():
        slabs = [s for s in heap["slabs"] if s["pool"] == name]
        same(f"{name}: slabs in the map", len(slabs), stats["slabs"])
        live = sum(sum(s["live"]) for s in slabs)
        carved = live + sum(sum(s["cached"]) for s in slabs)
        same(f"{name}: live in the map", live, stats["live_bytes"])
        same(f"{name}: carved in the map", carved, stats["carved_bytes"])
        for slab in slabs:
            same("cells", len(slab["live"]), slab["length"] // heap["cell_bytes"])


def check_prometheus(text, own):
    typed, seen = {}, {}
    for line in text.splitlines():
        if line.startswith("# HELP"):
            continue
        if line.startswith("# TYPE"):
            _, _, name, kind = line.split()
            if name in typed or kind not in ("gauge", "counter"):
                sys.exit(line)
            typed[name] = kind
            continue
        match = re.fullmatch(r'([a-z_]+)\{((?:[a-z]+="(?:[^"\\]|\\.)*",?)*)\} ([0-9.e+-]+)', line)
        if not match or match[1] not in typed or match.group(1, 2) in seen:
            sys.exit(f"not a series, or one that has no type, or there twice: {line}")
        if (typed[match[1]] == "counter") != match[1].endswith("_total"):
            sys.exit(f"a counter ends in _total: {line}")
        seen[match.group(1, 2)] = float(match[3])
    for name, stats in own.items():
        for key in KEYS:
            found = [value for (metric, labels), value in seen.items()
                     if metric in (f"rdmalloc_pool_{key}", f"rdmalloc_pool_{key}_total")
                     and f'pool="{name}"' in labels]
            same(f"{name} {key} for Prometheus", found, [stats[key]])


def check_svg():
    slabs = json.loads(read("map.json"))["slabs"]
    root = xml.etree.ElementTree.parse(f"{HERE}/map.svg").getroot()
    texts = [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]
    titles = sum(1 for _ in root.iter("{http://www.w3.org/2000/svg}title"))
    for slab in slabs:
        same(f"{slab['address']} is drawn", texts.count(slab["address"]), 1)
    same("cells with a tip", titles, sum(len(slab["live"]) for slab in slabs))
    print(len(slabs), "slabs are drawn")


def main():
    if "--svg" in sys.argv:
        check_svg()
        return
    own = json.loads(read("own.json"))
    own.pop("time")
    check_process(json.loads(read("stat.json")), own)
    check_process(json.loads(read("top.json"))[0], own)
    heap = json.loads(read("map.json"))
    check_process(heap, own)
    check_map(heap, own)
    check_prometheus(read("stat.prom"), own)
    print(len(own), "pools agree")


main()
