# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# bench/run preload, in the build's top directory: preload.bash ROUNDS
set -eu -o pipefail

rounds=$1
library=$PWD/lib/.libs/librdmalloc-preload.so
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

median() {
	sort -n "$1" | awk '{ a[NR] = $1 } END { print a[int((NR + 1) / 2)] }'
}

# turns COMMAND...: sets plain and loaded to the medians of the first number that it prints;
# plain is of the words in alone where there are any.
alone=()
turns() {
	local i bare=("${alone[@]:-$@}")
	: >"$out/plain"
	: >"$out/loaded"
	for ((i = 0; i < rounds; i++)); do
		"${bare[@]}" | cut -d ' ' -f "${field:-1}" >>"$out/plain"
		LD_PRELOAD=$library "$@" | cut -d ' ' -f "${field:-1}" >>"$out/loaded"
	done
	plain=$(median "$out/plain")
	loaded=$(median "$out/loaded")
}

ratio() {
	awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", b / a }'
}

# Instructions of so many pairs, without those of starting.
instructions() {
	local pairs total=()
	for pairs in 1000 101000; do
		valgrind --tool=callgrind --callgrind-out-file="$out/callgrind" \
			bench/preload/pair 64 "$pairs" 2>"$out/log" >/dev/null
		total+=("$(sed -n 's/.*Collected : //p' "$out/log")")
	done
	echo $(((total[1] - total[0]) / 100000))
}

print_pairs() {
	local size batch pairs
	echo "| size | batch | alone | preloaded | ratio |"
	echo "|---:|---:|---:|---:|---:|"
	for size in 64 4096 8192 16384 65536 262144 1048576 4194304 16777216 33554432 67108864 \
		268435456 1073741824; do
		for batch in 1 32; do
			[ "$size" -le 1048576 ] || [ "$batch" = 1 ] || continue
			pairs=200000
			[ "$size" -le 65536 ] || pairs=20000
			[ "$size" -le 16777216 ] || pairs=2000
			turns bench/preload/pair "$size" "$pairs" "$batch"
			echo "| $size | $batch | $plain ns | $loaded ns | $(ratio "$plain" "$loaded") |"
		done
	done
}

print_instructions() {
	if ! command -v valgrind >/dev/null; then
		echo "Instructions: not counted, valgrind is missing."
		return
	fi
	plain=$(instructions)
	loaded=$(export LD_PRELOAD=$library; instructions)
	echo "A pair of 64 bytes, below the threshold, takes $plain instructions alone, $loaded"
	echo "preloaded: $((loaded - plain)) more (goal: at most 14)."
}

print_forks() {
	echo "| blocks | alone | preloaded | ratio |"
	echo "|---|---:|---:|---:|"
	turns bench/preload/fork_cost 0 0 0
	echo "| none | $plain us | $loaded us | $(ratio "$plain" "$loaded") |"
	turns bench/preload/fork_cost 1024 0 0
	echo "| 1 GiB live | $plain us | $loaded us | $(ratio "$plain" "$loaded") |"
	local live=$plain
	turns bench/preload/fork_cost 1024 64 0
	local registered=$loaded
	turns bench/preload/fork_cost 1024 64 0 fill
	echo "| 1 GiB live, 64 MiB of it registered | | $registered us | |"
	echo "| populating and filling 64 MiB | $plain us | | |"
	echo "| goal: 1 GiB alone + 1.3 x that | $(awk -v a="$live" -v b="$plain" \
		'BEGIN { printf "%.0f", a + 1.3 * b }') us | | |"
	turns bench/preload/fork_cost 1024 64 960
	echo "| the same and 960 MiB registered and freed | | $loaded us | |"
	alone=(bench/preload/fork_cost 0 0 0)
	RDMALLOC_CONF=preload_fork:hole turns bench/preload/fork_cost 1024 0 0
	echo "| 1 GiB live, policy hole; ratio to no blocks alone | $plain us | $loaded us | $(ratio "$plain" "$loaded") |"
	field=2 RDMALLOC_CONF=preload_fork:hole turns bench/preload/fork_cost 1024 0 0
	echo "| the same with _exit and waitpid | $plain us | $loaded us | $(ratio "$plain" "$loaded") |"
}

cat <<END
# malloc and fork under the preload

Written by \`bench/run preload\`: medians of $rounds rounds, alone and preloaded in turns, Linux
$(uname -r | cut -d- -f1), $(nproc) processors; the load average was $(cut -d ' ' -f 1 /proc/loadavg) at the start.

## malloc and free, the first byte touched

END
print_pairs
echo
print_instructions
cat <<'END'

## fork()

END
print_forks
