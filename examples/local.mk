# SPDX-License-Identifier: BSD-2-Clause
noinst_PROGRAMS += examples/forksafe

examples_forksafe_LDADD = probe/librdmprobe.la lib/librdmalloc.la $(URING_LIBS)

VALGRIND_EXAMPLES = examples/forksafe

# Its text is README.md's.
if HAVE_URING
noinst_PROGRAMS += examples/minimal
examples_minimal_CPPFLAGS = $(AM_CPPFLAGS) $(URING_CFLAGS)
examples_minimal_LDADD = lib/librdmalloc.la $(URING_LIBS)
VALGRIND_EXAMPLES += examples/minimal
endif
