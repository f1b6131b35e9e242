#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
#
# For tests that run MPI programs with and without the library: sourced by them.
# shellcheck disable=SC2034 # they use the variables

# Somebody's CDPATH would lead cd elsewhere, and make it print where.
unset CDPATH
mpi_source=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mpi_programs=${RDM_BUILDDIR:-$PWD}/tests/preload
mpi_library=${RDM_BUILDDIR:-$PWD}/lib/.libs/librdmalloc-preload.so
MPIS=(openmpi mpich)

# Open MPI wants to be asked twice; a container's user is root.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

# mpi_tool MPI NAME: where it is; with a suffix in Debian, in a directory in Fedora.
mpi_tool() {
	command -v "$2.$1" || command -v "/usr/lib64/$1/bin/$2"
}

mpi_is_there() {
	mpi_tool "$1" mpicc >/dev/null && mpi_tool "$1" mpirun >/dev/null
}

# mpi_skips: why no MPI program can be tested here; fails when one can.
mpi_skips() {
	if [ -n "${RDM_SANITIZER:-}" ]; then
		echo "SKIP: built with -fsanitize=$RDM_SANITIZER, which has a malloc of its own"
	elif ! mpi_is_there openmpi && ! mpi_is_there mpich; then
		echo "SKIP: neither Open MPI nor MPICH is installed. Debian, Ubuntu:" \
			"apt-get install openmpi-bin libopenmpi-dev mpich libmpich-dev"
	else
		return 1
	fi
}

# mpi_compile MPI: mpi_exchange.MPI, if its source is newer.
mpi_compile() {
	local program=$mpi_programs/mpi_exchange.$1 new
	[ ! "$program" -nt "$mpi_source/mpi_exchange.c" ] || return 0
	mkdir -p "$mpi_programs"
	new=$(mktemp "$program.XXXXXX")
	"$(mpi_tool "$1" mpicc)" -O2 -g -Wall -Wextra -Werror -o "$new" "$mpi_source/mpi_exchange.c"
	# Tests that run at the same time may compile it too.
	mv "$new" "$program"
}

# More options for mpirun.
mpi_options=()

# Messages through UCX. A plugin that nobody needs costs time in the VM, where
# opening all of them takes longer than the messages.
openmpi_ucx_only=(--mca pml ucx --mca btl self --mca coll "basic,libnbc" --mca osc ucx
	--mca io ompio --mca op ^avx)

# mpi_run MPI RANKS [VARIABLE=VALUE...] -- PROGRAM...: the variables are the ranks' only.
# One that hangs spins, so it is ended by the CPU time that it uses.
mpi_run() {
	local mpi=$1 ranks=$2 options=("${mpi_options[@]}")
	shift 2
	if [ "$mpi" = openmpi ]; then
		options+=(--oversubscribe --bind-to none)
		# All ranks are on this machine, and TCP complains where it has no network.
		[ ${#mpi_options[@]} -gt 0 ] || options+=(--mca btl "^tcp")
	fi
	while [ "$1" != -- ]; do
		case $mpi in
		openmpi) options+=(-x "$1") ;;
		mpich) options+=(-genv "${1%%=*}" "${1#*=}") ;;
		esac
		shift
	done
	shift
	"${RDM_BUILDDIR:-$PWD}/tests/watch/watch" --cpu 1800 \
		"$(mpi_tool "$mpi" mpirun)" -n "$ranks" "${options[@]}" "$@" </dev/null |
		sed '/^watch: [0-9.]* s, CPU [0-9.]* s$/d'
}
