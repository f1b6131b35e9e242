# SPDX-License-Identifier: BSD-2-Clause
lib_LTLIBRARIES += lib/librdmalloc.la
check_LTLIBRARIES += lib/librdmalloc_test.la

# Each flavour is compiled once: what ships and what the tests link differ in one file, which
# says whether a step of the recipe may be dropped.
LIB_SOURCES = \
	lib/ablate.h \
	lib/arena.c lib/arena.h \
	lib/arena_config.h \
	lib/audit.c \
	lib/background.c lib/background.h \
	lib/bits.c lib/bits.h \
	lib/caches.c lib/caches.h \
	lib/carve.c \
	lib/conf.c lib/conf.h \
	lib/clock.h lib/depot.c lib/depot.h \
	lib/discard.c lib/discard.h \
	lib/fill.c lib/fill.h \
	lib/fork.c lib/fork.h \
	lib/gate.c lib/gate.h \
	lib/growth.c lib/growth.h \
	lib/interrupted.h \
	lib/kernel.h \
	lib/keymap.c lib/keymap.h lib/keys.c lib/keys.h \
	lib/live.c lib/live.h \
	lib/log.c lib/log.h \
	lib/magazine.c lib/magazine.h \
	lib/malloc.c \
	lib/meta.h \
	lib/picture.c lib/picture.h \
	lib/pins.c lib/pins.h \
	lib/pool.c lib/pool.h \
	lib/present.c lib/present.h \
	lib/prepare.c lib/prepare.h \
	lib/publish.c lib/publish.h \
	lib/publish_layout.h \
	lib/quiesce.c lib/quiesce.h \
	lib/rail.c lib/rail.h \
	lib/rails/uring.c \
	lib/rails/verbs.c \
	lib/regions.c \
	lib/reserve.c lib/reserve.h \
	lib/sge.c \
	lib/sidetable.c lib/sidetable.h \
	lib/size_class.h \
	lib/slab.c lib/slab.h \
	lib/slab_index.c lib/slab_index.h \
	lib/snapshot.c lib/snapshot.h \
	lib/state.c lib/state.h \
	lib/static_tls.c lib/static_tls.h \
	lib/stats.c lib/stats.h \
	lib/version.c \
	lib/watermark.c lib/watermark.h \
	lib/workers.c lib/workers.h

LIB_CPPFLAGS = $(AM_CPPFLAGS) $(JEMALLOC_CPPFLAGS) $(RAIL_CPPFLAGS)
LIB_CFLAGS = $(AM_CFLAGS) -fvisibility=hidden

noinst_LTLIBRARIES += lib/libflavour-linked.la
lib_libflavour_linked_la_SOURCES = $(LIB_SOURCES)
lib_libflavour_linked_la_CPPFLAGS = $(LIB_CPPFLAGS)
lib_libflavour_linked_la_CFLAGS = $(LIB_CFLAGS)

lib_librdmalloc_la_SOURCES = lib/ablate_never.c
lib_librdmalloc_la_CPPFLAGS = $(LIB_CPPFLAGS)
lib_librdmalloc_la_CFLAGS = $(LIB_CFLAGS)
lib_librdmalloc_la_LIBADD = lib/libflavour-linked.la $(RAIL_LIBS)
# -Wl before the archive: libtool would record it for everybody who links us.
lib_librdmalloc_la_LDFLAGS = -version-info 0:0:0 $(RDM_LDFLAGS) \
	-Wl,--version-script=$(top_srcdir)/lib/librdmalloc.map \
	-Wl,--exclude-libs,libjemalloc_pic.a -Wl,$(JEMALLOC_ARCHIVE)
EXTRA_lib_librdmalloc_la_DEPENDENCIES = lib/librdmalloc.map $(JEMALLOC_ARCHIVE)
EXTRA_DIST += lib/librdmalloc.map

# For LD_PRELOAD: all of it in one, so that a program may link the library as well.
noinst_LTLIBRARIES += lib/libflavour-preload.la
lib_libflavour_preload_la_SOURCES = $(LIB_SOURCES) \
	lib/preload/advice.c \
	lib/preload/malloc.c \
	lib/preload/mpi.c \
	lib/preload/next.c lib/preload/next.h \
	lib/preload/operators.c \
	lib/preload/preload.h \
	lib/preload/process.c \
	lib/preload/report.c lib/preload/report.h \
	lib/preload/without.h
if HAVE_VERBS
lib_libflavour_preload_la_SOURCES += lib/preload/reuse.c lib/preload/reuse.h lib/preload/verbs.c
endif
lib_libflavour_preload_la_CPPFLAGS = $(LIB_CPPFLAGS) -DRDM_PRELOAD
lib_libflavour_preload_la_CFLAGS = $(LIB_CFLAGS)

lib_LTLIBRARIES += lib/librdmalloc-preload.la
lib_librdmalloc_preload_la_SOURCES = lib/ablate_never.c
lib_librdmalloc_preload_la_CPPFLAGS = $(LIB_CPPFLAGS)
lib_librdmalloc_preload_la_CFLAGS = $(LIB_CFLAGS)
lib_librdmalloc_preload_la_LIBADD = lib/libflavour-preload.la
lib_librdmalloc_preload_la_LDFLAGS = -module -avoid-version -shared $(RDM_LDFLAGS) \
	-Wl,--version-script=$(top_srcdir)/lib/preload/preload.map \
	-Wl,--exclude-libs,libjemalloc_pic.a -Wl,$(JEMALLOC_ARCHIVE)
EXTRA_lib_librdmalloc_preload_la_DEPENDENCIES = lib/preload/preload.map $(JEMALLOC_ARCHIVE)
EXTRA_DIST += lib/preload/preload.map

# With steps that can be dropped.
check_LTLIBRARIES += lib/librdmalloc-preload-test.la
lib_librdmalloc_preload_test_la_SOURCES = lib/ablate.c
lib_librdmalloc_preload_test_la_CPPFLAGS = $(LIB_CPPFLAGS) -DRDM_PRELOAD
lib_librdmalloc_preload_test_la_CFLAGS = $(LIB_CFLAGS)
lib_librdmalloc_preload_test_la_LIBADD = lib/libflavour-preload.la
lib_librdmalloc_preload_test_la_LDFLAGS = $(lib_librdmalloc_preload_la_LDFLAGS) -rpath /nowhere
EXTRA_lib_librdmalloc_preload_test_la_DEPENDENCIES = lib/preload/preload.map $(JEMALLOC_ARCHIVE)

# For the tests: every symbol in reach, steps can be dropped.
lib_librdmalloc_test_la_SOURCES = lib/ablate.c
lib_librdmalloc_test_la_CPPFLAGS = $(LIB_CPPFLAGS)
lib_librdmalloc_test_la_CFLAGS = $(LIB_CFLAGS)
lib_librdmalloc_test_la_LIBADD = lib/libflavour-linked.la
