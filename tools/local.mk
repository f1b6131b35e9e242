# SPDX-License-Identifier: BSD-2-Clause
forktest_sources = \
	tools/forktest.c tools/forktest.h \
	tools/forktest_cells.c \
	tools/forktest_run.c \
	tools/forktest_system.c \
	tools/forktest_table.c
# What each command understands, and says that it does; forktest's test has it, too.
forktest_sources += tools/options.c tools/options.h
bin_PROGRAMS += tools/rdmalloc
tools_rdmalloc_SOURCES = \
	lib/base/conf.c lib/base/conf.h lib/base/log.c lib/base/log.h \
	tools/checks/cgroup.c \
	tools/checks/check.h \
	tools/checks/devices.c \
	tools/checks/kernel.c \
	tools/checks/limits.c \
	tools/checks/paging.c \
	tools/checks/read.c tools/checks/read.h \
	tools/doctor.c tools/doctor.h \
	tools/info.c tools/info.h \
	tools/pagemap.c tools/pagemap.h \
	tools/figures.c tools/figures.h \
	tools/info_process.c tools/info_process.h \
	$(forktest_sources) \
	tools/main.c \
	tools/output.c tools/output.h \
	tools/preloadable.c tools/preloadable.h \
	tools/program.c tools/program.h \
	tools/proc.c tools/proc.h \
	tools/published.c tools/published.h \
	tools/run.c tools/run.h \
	tools/map.c tools/map.h \
	tools/stat.c tools/stat.h \
	tools/svg.c \
	tools/table.c tools/table.h \
	tools/top.c tools/top.h
tools_rdmalloc_CPPFLAGS = $(AM_CPPFLAGS) $(JEMALLOC_CPPFLAGS) $(VERBS_CFLAGS) \
	$(JSON_CFLAGS) $(CURSES_CFLAGS) \
	-DLIBDIR='"$(libdir)"'
tools_rdmalloc_LDADD = probe/librdmprobe.la lib/librdmalloc.la \
	$(RAIL_LIBS) $(JSON_LIBS) $(CURSES_LIBS)

bashcompletiondir = $(datadir)/bash-completion/completions
dist_bashcompletion_DATA = completions/rdmalloc
zshcompletiondir = $(datadir)/zsh/site-functions
dist_zshcompletion_DATA = completions/_rdmalloc
