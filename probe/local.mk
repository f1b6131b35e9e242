# SPDX-License-Identifier: BSD-2-Clause
noinst_LTLIBRARIES += probe/librdmprobe.la

probe_librdmprobe_la_SOURCES = \
	probe/child.c \
	probe/cost.c \
	probe/hazard.c \
	probe/internal.h \
	probe/memory.c \
	probe/probe.c probe/probe.h \
	probe/uring.c \
	probe/verbs.c \
	probe/vmsplice.c
if HAVE_VERBS
probe_librdmprobe_la_SOURCES += probe/rc.c probe/rc.h
endif
probe_librdmprobe_la_CPPFLAGS = $(AM_CPPFLAGS) $(URING_CFLAGS) $(VERBS_CFLAGS)
