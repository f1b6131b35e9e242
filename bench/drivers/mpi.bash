# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# bench/run mpi, in the build's top directory: mpi.bash PAIRS [PROGRAM...]
set -eu -o pipefail
# Somebody's CDPATH would lead cd elsewhere, and make it print where.
unset CDPATH
here=$(cd "$(dirname "$0")" && pwd)

pairs=$1
shift
export RDM_SRCDIR=${RDM_SRCDIR:-$here/../..} RDM_BUILDDIR=${RDM_BUILDDIR:-$PWD}
# shellcheck source=tests/preload/mpi.bash
. "$here/../../tests/preload/mpi.bash"
# shellcheck source=tests/preload/programs.bash
. "$here/../../tests/preload/programs.bash"
[ -r "$mpi_library" ] || { echo "mpi: there is no $mpi_library" >&2; exit 2; }

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# seconds VARIABLE=VALUE: of one run, on the clock and of all processors.
seconds() {
	local TIMEFORMAT='%R %U %S'
	{ time mpi_run "$mpi" 2 "$1" -- "${program[@]}" >said 2>&1; } 2>took ||
		{ cat said >&2; return 1; }
	awk '{ print $1, $2 + $3 }' took
}

# Prints a pair on each line: both times without, both with.
measure() {
	local i plain preloaded
	seconds PLAIN=1 >/dev/null
	for ((i = 0; i < pairs; i++)); do
		if [ $((i % 2)) = 0 ]; then
			plain=$(seconds PLAIN=1)
			preloaded=$(seconds "LD_PRELOAD=$mpi_library")
		else
			preloaded=$(seconds "LD_PRELOAD=$mpi_library")
			plain=$(seconds PLAIN=1)
		fi
		echo "$plain $preloaded"
	done
}

# One row of the table from the pairs.
row() {
	awk -v name="$1" -v mpi="$2" '
		function median(a, n, i, j, t) {
			for (i = 2; i <= n; i++)
				for (j = i; j > 1 && a[j - 1] > a[j]; j--) {
					t = a[j]; a[j] = a[j - 1]; a[j - 1] = t
				}
			return n % 2 ? a[(n + 1) / 2] : (a[n / 2] + a[n / 2 + 1]) / 2
		}
		{ plain[NR] = $1; loaded[NR] = $3; ratio[NR] = $3 / $1; cpu[NR] = $4 / $2 }
		END {
			p = median(plain, NR); l = median(loaded, NR)
			r = median(ratio, NR); c = median(cpu, NR)
			printf "| %s | %s | %.2f s | %.2f s | %.3f | %.3f to %.3f | %.3f | %.3f to %.3f |\n",
				name, mpi, p, l, r, ratio[1], ratio[NR], c, cpu[1], cpu[NR]
		}'
}

print_table() {
	local entry name
	cat <<-END
		# MPI programs with the library preloaded

		Written by \`bench/run mpi --pairs $pairs\`: two ranks on $(nproc) processors, Linux
		$(uname -r | cut -d- -f1); the load average was $(cut -d ' ' -f 1 /proc/loadavg) at the start. A
		ratio is the median of the pairs' ratios. Ranks that wait for a message do so
		busily, so that their processors' time contains what others took of the machine.

		| program | MPI | alone | preloaded | ratio | from, to | processors' time, ratio | from, to |
		|---|---|---|---|---|---|---|---|
	END
	for entry in "${PROGRAMS[@]}"; do
		read -r name mpi <<<"$entry"
		[ $# = 0 ] || [[ " $* " == *" $name "* ]] || continue
		if program_find "$name" "$mpi"; then
			program_prepare "$name" long
			echo "mpi: $name, $mpi" >&2
			measure >pairs
			row "$name" "$mpi" <pairs
		else
			echo "| $name | $mpi | not installed | | | | | |"
		fi
	done
}

cd "$dir"
print_table "$@"
