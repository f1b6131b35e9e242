# SPDX-License-Identifier: BSD-2-Clause
bin_PROGRAMS += tools/rdmalloc
tools_rdmalloc_SOURCES = \
	tools/main.c \
	tools/preload.c tools/preload.h \
	tools/program.c tools/program.h \
	tools/run.c tools/run.h
tools_rdmalloc_CPPFLAGS = $(AM_CPPFLAGS) -DRDM_LIBDIR='"$(libdir)"'
tools_rdmalloc_LDADD =
