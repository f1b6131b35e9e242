# SPDX-License-Identifier: BSD-2-Clause
noinst_LTLIBRARIES += probe/librdmprobe.la

probe_librdmprobe_la_SOURCES = \
	probe/child.c \
	probe/cost.c \
	probe/fuse.c probe/fuse.h \
	probe/hazard.c \
	probe/internal.h \
	probe/loop.c \
	probe/memory.c \
	probe/namespace.c \
	probe/pool_memory.c probe/pool_memory.h \
	probe/probe.c probe/probe.h \
	probe/settings.c \
	probe/strikes.c \
	probe/traits.c probe/traits.h \
	probe/uring.c \
	probe/verbs.c \
	probe/vmsplice.c \
	probe/withheld.c \
	probe/words.c probe/words.h \
	probe/xdp.c
if HAVE_VERBS
probe_librdmprobe_la_SOURCES += probe/rc.c probe/rc.h
endif
probe_librdmprobe_la_CPPFLAGS = $(AM_CPPFLAGS) $(URING_CFLAGS) $(VERBS_CFLAGS)
