#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# Makes configure and what belongs to it.
set -eu
# Somebody's CDPATH would lead cd elsewhere, and make it print where.
unset CDPATH
cd "$(dirname "$0")"

need() {
	command -v "$1" >/dev/null || {
		echo "autogen.sh: $1 is missing. Debian, Ubuntu: apt-get install $2; Fedora: dnf install $3" >&2
		exit 1
	}
}
need autoreconf autoconf autoconf
need automake automake automake
need libtoolize libtool libtool
need pkg-config pkg-config pkgconf-pkg-config

exec autoreconf --install --force
