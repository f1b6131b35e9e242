# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
#
# For the scripts of servers.

# is_preloaded PID: as this script was asked to.
is_preloaded() {
	if [ -n "${LD_PRELOAD:-}" ]; then
		grep -q "$LD_PRELOAD" "/proc/$1/maps"
	else
		! grep -q librdmalloc-preload "/proc/$1/maps"
	fi
}

# until_true COMMAND...: so many tries that what it waits for has had its time, too.
until_true() {
	local tries
	for tries in {1..6000}; do
		! "$@" >/dev/null 2>&1 || return 0
		sleep 0.05
	done
	echo "after $tries tries still not: $*" >&2
	return 1
}
