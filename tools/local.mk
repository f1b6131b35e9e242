# SPDX-License-Identifier: BSD-2-Clause
forktest_sources = \
	tools/forktest.c tools/forktest.h \
	tools/forktest_cells.c \
	tools/forktest_run.c \
	tools/forktest_system.c \
	tools/forktest_table.c
bin_PROGRAMS += tools/rdmalloc
tools_rdmalloc_SOURCES = \
	$(forktest_sources) \
	tools/main.c \
	tools/output.c tools/output.h \
	tools/preload.c tools/preload.h \
	tools/program.c tools/program.h \
	tools/run.c tools/run.h
tools_rdmalloc_CPPFLAGS = $(AM_CPPFLAGS) $(JSON_CFLAGS) $(CURSES_CFLAGS) \
	-DRDM_LIBDIR='"$(libdir)"'
tools_rdmalloc_LDADD = probe/librdmprobe.la lib/librdmalloc.la \
	$(RAIL_LIBS) $(JSON_LIBS) $(CURSES_LIBS)
