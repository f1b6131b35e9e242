# SPDX-License-Identifier: BSD-2-Clause
noinst_PROGRAMS += examples/forksafe

examples_forksafe_LDADD = probe/librdmprobe.la lib/librdmalloc.la $(URING_LIBS) $(VERBS_LIBS)

VALGRIND_EXAMPLES = examples/forksafe

# Its text is README.md's.
if HAVE_URING
noinst_PROGRAMS += examples/minimal
examples_minimal_CPPFLAGS = $(AM_CPPFLAGS) $(URING_CFLAGS)
examples_minimal_LDADD = lib/librdmalloc.la $(URING_LIBS)
VALGRIND_EXAMPLES += examples/minimal
endif

if HAVE_VERBS
noinst_PROGRAMS += examples/pingpong examples/oneside
examples_pingpong_SOURCES = examples/pingpong.c examples/peer.c examples/peer.h
examples_pingpong_LDADD = $(examples_forksafe_LDADD)
examples_oneside_SOURCES = examples/oneside.c examples/peer.c examples/peer.h
examples_oneside_LDADD = $(examples_forksafe_LDADD)
endif
