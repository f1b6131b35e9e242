# SPDX-License-Identifier: BSD-2-Clause
bin_PROGRAMS += tools/rdmalloc
tools_rdmalloc_SOURCES = \
	tools/backing.c tools/backing.h \
	tools/heap.c tools/heap.h \
	tools/info_process.c tools/info_process.h \
	tools/main.c \
	tools/output.c tools/output.h \
	tools/preload.c tools/preload.h \
	tools/program.c tools/program.h \
	tools/published.c tools/published.h \
	tools/run.c tools/run.h \
	tools/map.c tools/map.h \
	tools/stat.c tools/stat.h \
	tools/svg.c \
	tools/table.c tools/table.h \
	tools/top.c tools/top.h
tools_rdmalloc_CPPFLAGS = $(AM_CPPFLAGS) $(JSON_CFLAGS) $(CURSES_CFLAGS) \
	-DRDM_LIBDIR='"$(libdir)"'
tools_rdmalloc_LDADD = lib/librdmalloc.la probe/librdmprobe.la \
	$(RAIL_LIBS) $(JSON_LIBS) $(CURSES_LIBS)
