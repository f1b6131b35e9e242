# SPDX-License-Identifier: BSD-2-Clause
lib_LTLIBRARIES += lib/librdmalloc.la
check_LTLIBRARIES += lib/librdmalloc_test.la

# Each flavour is compiled once: what ships and what the tests link differ in one file, which
# says whether a step of the recipe may be dropped.
LIB_SOURCES = \
	lib/api/create.c \
	lib/api/create.h \
	lib/api/malloc.c \
	lib/api/rails.c \
	lib/api/sge.c \
	lib/fork/fork.c \
	lib/fork/fork.h \
	lib/fork/snapshot.c \
	lib/fork/snapshot.h \
	lib/pool/audit.c \
	lib/pool/foreign.c \
	lib/pool/foreign.h \
	lib/pool/foreign_index.c \
	lib/pool/foreign_index.h \
	lib/pool/foreign_memory.c \
	lib/pool/foreign_memory.h \
	lib/pool/growth.c \
	lib/pool/growth.h \
	lib/pool/picture.c \
	lib/pool/picture.h \
	lib/pool/picture_layout.h \
	lib/pool/pool.c \
	lib/pool/pool.h \
	lib/pool/publish.c \
	lib/pool/publish.h \
	lib/pool/publish_layout.h \
	lib/pool/regions.c \
	lib/pool/stats.c \
	lib/pool/stats.h \
	lib/heap/arena.c \
	lib/heap/arena.h \
	lib/heap/arena_config.h \
	lib/heap/cache.c \
	lib/heap/cache.h \
	lib/heap/caches.c \
	lib/heap/caches.h \
	lib/heap/depot.c \
	lib/heap/depot.h \
	lib/heap/excess.c \
	lib/heap/excess.h \
	lib/heap/heap.h \
	lib/heap/magazine.h \
	lib/heap/settle.c \
	lib/heap/settle.h \
	lib/heap/tls.c \
	lib/heap/tls.h \
	lib/heap/trade.c \
	lib/heap/trade.h \
	lib/slab/carve.c \
	lib/slab/fill.c \
	lib/slab/fill.h \
	lib/slab/fresh.c \
	lib/slab/fresh.h \
	lib/slab/live.c \
	lib/slab/live.h \
	lib/slab/registration.c \
	lib/slab/registration.h \
	lib/slab/slab.c \
	lib/slab/slab.h \
	lib/slab/slab_index.c \
	lib/slab/slab_index.h \
	lib/slab/warm.c \
	lib/slab/warm.h \
	lib/slab/watermark.c \
	lib/slab/watermark.h \
	lib/memory/claim.c \
	lib/memory/claim.h \
	lib/memory/keys.c \
	lib/memory/keys.h \
	lib/memory/locked.c \
	lib/memory/locked.h \
	lib/memory/meta.c \
	lib/memory/meta.h \
	lib/memory/prepare.c \
	lib/memory/prepare.h \
	lib/memory/rail.c \
	lib/memory/rail.h \
	lib/memory/rail_uring.c \
	lib/memory/rail_verbs.c \
	lib/memory/reserve.c \
	lib/memory/reserve.h \
	lib/memory/sidetable.c \
	lib/memory/sidetable.h \
	lib/memory/slab_map.c \
	lib/memory/slab_map.h \
	lib/memory/state.c \
	lib/memory/state.h \
	lib/sync/background.c \
	lib/sync/background.h \
	lib/sync/cancel.c \
	lib/sync/cancel.h \
	lib/sync/fork_count.c \
	lib/sync/fork_count.h \
	lib/sync/gate.c \
	lib/sync/gate.h \
	lib/sync/late.c \
	lib/sync/late.h \
	lib/sync/lock.c \
	lib/sync/lock.h \
	lib/sync/quiesce.c \
	lib/sync/quiesce.h \
	lib/sync/signals.h \
	lib/sync/workers.c \
	lib/sync/workers.h \
	lib/base/ablate.h \
	lib/base/bits.c \
	lib/base/bits.h \
	lib/base/contract.h \
	lib/base/clock.h \
	lib/base/conf.c \
	lib/base/conf.h \
	lib/base/blame.c \
	lib/base/blame.h \
	lib/base/kernel.h \
	lib/base/log.c \
	lib/base/log.h \
	lib/base/sandbox.h \
	lib/base/page.h \
	lib/base/patience.h \
	lib/base/size_class.h \
	lib/base/version.c

LIB_CPPFLAGS = $(AM_CPPFLAGS) $(JEMALLOC_CPPFLAGS) $(RAIL_CPPFLAGS)
LIB_CFLAGS = $(AM_CFLAGS) -fvisibility=hidden

# What only the preload has.
PLAIN_SOURCES = \
	lib/plain/discard.c lib/plain/discard.h \
	lib/plain/inherit.c lib/plain/inherit.h \
	lib/plain/kernel_copies.c lib/plain/kernel_copies.h \
	lib/plain/ledger.c lib/plain/ledger.h \
	lib/plain/page_pins.c lib/plain/page_pins.h \
	lib/plain/notes.c lib/plain/notes.h \
	lib/plain/pages.c lib/plain/pages.h \
	lib/plain/pins.c lib/plain/pins.h \
	lib/plain/plain.c lib/plain/plain.h \
	lib/plain/present.c lib/plain/present.h \
	lib/plain/stacks.c lib/plain/stacks.h \
	lib/plain/touch.c lib/plain/touch.h \
	lib/plain/vmpin.c lib/plain/vmpin.h

noinst_LTLIBRARIES += lib/libflavour-linked.la
lib_libflavour_linked_la_SOURCES = $(LIB_SOURCES)
lib_libflavour_linked_la_CPPFLAGS = $(LIB_CPPFLAGS)
lib_libflavour_linked_la_CFLAGS = $(LIB_CFLAGS)

lib_librdmalloc_la_SOURCES = lib/base/ablate_never.c
lib_librdmalloc_la_CPPFLAGS = $(LIB_CPPFLAGS)
lib_librdmalloc_la_CFLAGS = $(LIB_CFLAGS)
lib_librdmalloc_la_LIBADD = lib/libflavour-linked.la $(RAIL_LIBS)
# -Wl before the archive: libtool would record it for everybody who links us.
lib_librdmalloc_la_LDFLAGS = -version-info 0:0:0 $(RDM_LDFLAGS) \
	-Wl,--version-script=$(top_srcdir)/lib/api/librdmalloc.map \
	-Wl,--exclude-libs,libjemalloc_pic.a -Wl,$(JEMALLOC_ARCHIVE)
EXTRA_lib_librdmalloc_la_DEPENDENCIES = lib/api/librdmalloc.map $(JEMALLOC_ARCHIVE)
EXTRA_DIST += lib/api/librdmalloc.map lib/floors

# The preload without what takes the place of others' functions: tests link it.
noinst_LTLIBRARIES += lib/libflavour-plain.la
lib_libflavour_plain_la_SOURCES = $(LIB_SOURCES) $(PLAIN_SOURCES)
lib_libflavour_plain_la_CPPFLAGS = $(LIB_CPPFLAGS) -DRDM_PRELOAD
# Preloaded, it has its part of each thread from the start: no call finds it, which might
# allocate, or come when the loader has given the thread's tables back.
PRELOAD_CFLAGS = $(LIB_CFLAGS) -ftls-model=initial-exec \
	-fno-builtin-malloc -fno-builtin-calloc -fno-builtin-realloc -fno-builtin-free
lib_libflavour_plain_la_CFLAGS = $(PRELOAD_CFLAGS)

# For LD_PRELOAD: all of it in one, so that a program may link the library as well.
noinst_LTLIBRARIES += lib/libflavour-preload.la
lib_libflavour_preload_la_SOURCES = \
	lib/preload/account.c \
	lib/preload/advice.c \
	lib/preload/door.c \
	lib/preload/family.c \
	lib/preload/family.h \
	lib/preload/lookup.c lib/preload/lookup.h \
	lib/preload/mlockall.c \
	lib/preload/mpi.c \
	lib/preload/names.c \
	lib/preload/next.c lib/preload/next.h \
	lib/preload/operators.c \
	lib/preload/preload.h \
	lib/preload/process.c \
	lib/preload/protection.c \
	lib/preload/report.c lib/preload/report.h \
	lib/preload/sandbox.c \
	lib/preload/without.h
if HAVE_VERBS
lib_libflavour_preload_la_SOURCES += lib/preload/reuse.c lib/preload/reuse.h lib/preload/ibverbs.c
endif
lib_libflavour_preload_la_CPPFLAGS = $(LIB_CPPFLAGS) -DRDM_PRELOAD
lib_libflavour_preload_la_CFLAGS = $(PRELOAD_CFLAGS)
lib_libflavour_preload_la_LIBADD = lib/libflavour-plain.la

lib_LTLIBRARIES += lib/librdmalloc-preload.la
lib_librdmalloc_preload_la_SOURCES = lib/base/ablate_never.c
lib_librdmalloc_preload_la_CPPFLAGS = $(LIB_CPPFLAGS)
lib_librdmalloc_preload_la_CFLAGS = $(LIB_CFLAGS)
lib_librdmalloc_preload_la_LIBADD = lib/libflavour-preload.la
lib_librdmalloc_preload_la_LDFLAGS = -module -avoid-version -shared $(RDM_LDFLAGS) \
	-Wl,--version-script=$(top_srcdir)/lib/preload/preload.map \
	-Wl,--exclude-libs,libjemalloc_pic.a -Wl,$(JEMALLOC_ARCHIVE)
EXTRA_lib_librdmalloc_preload_la_DEPENDENCIES = lib/preload/preload.map $(JEMALLOC_ARCHIVE)
EXTRA_DIST += lib/preload/preload.map lib/preload/entries.list lib/preload/registrations.list

# With steps that can be dropped.
check_LTLIBRARIES += lib/librdmalloc-preload-test.la
lib_librdmalloc_preload_test_la_SOURCES = lib/base/ablate.c
lib_librdmalloc_preload_test_la_CPPFLAGS = $(LIB_CPPFLAGS) -DRDM_PRELOAD
lib_librdmalloc_preload_test_la_CFLAGS = $(LIB_CFLAGS)
lib_librdmalloc_preload_test_la_LIBADD = lib/libflavour-preload.la
lib_librdmalloc_preload_test_la_LDFLAGS = $(lib_librdmalloc_preload_la_LDFLAGS) -rpath /nowhere
EXTRA_lib_librdmalloc_preload_test_la_DEPENDENCIES = lib/preload/preload.map $(JEMALLOC_ARCHIVE)

# For the tests: every symbol in reach, steps can be dropped.
lib_librdmalloc_test_la_SOURCES = lib/base/ablate.c
lib_librdmalloc_test_la_CPPFLAGS = $(LIB_CPPFLAGS)
lib_librdmalloc_test_la_CFLAGS = $(LIB_CFLAGS)
lib_librdmalloc_test_la_LIBADD = lib/libflavour-linked.la

# The same of plain memory.
check_LTLIBRARIES += lib/librdmalloc-plain-test.la
lib_librdmalloc_plain_test_la_SOURCES = lib/base/ablate.c
lib_librdmalloc_plain_test_la_CPPFLAGS = $(LIB_CPPFLAGS) -DRDM_PRELOAD
lib_librdmalloc_plain_test_la_CFLAGS = $(LIB_CFLAGS)
lib_librdmalloc_plain_test_la_LIBADD = lib/libflavour-plain.la
