# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
#
# For scripts that download and keep what they got: sourced by them.
# shellcheck disable=SC2034 # they use the variables

# Whether a directory could be made, or written to, there.
can_keep_in() {
	local dir=$1
	while [ ! -e "$dir" ] && [ "$dir" != "${dir%/*}" ]; do
		dir=${dir%/*}
	done
	[ -w "${dir:-/}" ]
}

# Sets CACHE, where what is downloaded is kept, and CACHES, where it may be already.
# Builders and services have no home, or one that nobody may write to: then it is kept
# in the checkout.
find_cache() {
	local home=${HOME:-} checkout
	[ -n "$home" ] || home=$(unset HOME && echo ~)
	CACHE=${RDMALLOC_CACHE:-${XDG_CACHE_HOME:-$home/.cache}/rdmalloc}
	CACHES=("$CACHE")
	if [ -z "${RDMALLOC_CACHE:-}" ] && ! can_keep_in "$CACHE"; then
		checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
		CACHE=$checkout/.cache/rdmalloc
		CACHES+=("$CACHE")
	fi
}

# The machine's settings of apt (proxies, ...), but its hooks and what matches $1.
apt_settings() { apt-config dump | grep -v -e Invoke -e "$1"; }

# Where the machine's apt has the suite from: the address before /dists/.
site_of() {
	apt-get update --print-uris 2>/dev/null |
		sed -nE "s,^'([^']*[^/])/+dists/$1/InRelease'.*,\\1,p" | head -n 1
}

# Sets main and security, the addresses of Debian's archive and of its updates.
find_mirrors() {
	local codename=
	main=${RDMALLOC_DEBIAN_MIRROR:-}
	security=${main:+$main-security}
	[ -z "$main" ] || return 0
	if grep -qsx ID=debian /etc/os-release; then
		codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
		main=$(site_of "$codename")
		security=$(site_of "$codename-security")
	fi
	: "${main:=http://deb.debian.org/debian}"
	: "${security:=$main-security}"
}
