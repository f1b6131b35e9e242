#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
#
# The shared library exports the functions of rdmalloc.h, all of version
# RDMALLOC_0.1, and nothing else: not jemalloc's, not a malloc.
set -eu -o pipefail

library=${RDM_BUILDDIR:-.}/lib/.libs/librdmalloc.so
header=${RDM_SRCDIR:-.}/include/rdmalloc.h

command -v nm >/dev/null || { echo "SKIP: nm is not installed"; exit 77; }
[ -e "$library" ] || { echo "there is no $library"; exit 1; }

# A version node is an absolute symbol of its own.
exported=$(nm -D --defined-only --with-symbol-versions "$library" |
	awk '!($2 == "A" && $3 ~ /^RDMALLOC_0\.1/) { print $3 }' | sort)
declared=$(tr '\n' ' ' <"$header" | grep -o 'RDM_API [^;(]*(' |
	grep -o 'rdm_[a-z_]*(' | tr -d '(' | sed 's/$/@@RDMALLOC_0.1/' | sort)

[ "$(wc -l <<<"$declared")" -gt 20 ] || { echo "the header was not understood"; exit 1; }
diff <(echo "$declared") <(echo "$exported") || {
	echo "< is declared in rdmalloc.h, > is exported by $library"
	exit 1
}

undefined=$(nm -D --undefined-only "$library" | awk '{ print $NF }')
if grep -E '^(rdm_je_|je_|mallocx)' <<<"$undefined"; then
	echo "the private jemalloc is not inside"
	exit 1
fi
