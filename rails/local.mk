# SPDX-License-Identifier: BSD-2-Clause
#
# Rails for what not everybody has: each in a library of its own, so that the core needs none.
without_rails =
if HAVE_LIBFABRIC
lib_LTLIBRARIES += rails/librdmalloc-ofi.la
include_HEADERS += include/rdmalloc-ofi.h
pkgconfig_DATA += rails/rdmalloc-ofi.pc
noinst_PROGRAMS += examples/ofi
else
without_rails += ofi.c
endif
rails_librdmalloc_ofi_la_SOURCES = rails/ofi.c
rails_librdmalloc_ofi_la_CPPFLAGS = $(AM_CPPFLAGS) $(LIBFABRIC_CFLAGS)
rails_librdmalloc_ofi_la_CFLAGS = $(AM_CFLAGS) -fvisibility=hidden
rails_librdmalloc_ofi_la_LDFLAGS = -version-info 0:0:0 $(RDM_LDFLAGS) \
	-Wl,--version-script=$(top_srcdir)/rails/ofi.map
rails_librdmalloc_ofi_la_LIBADD = lib/librdmalloc.la $(LIBFABRIC_LIBS)
EXTRA_rails_librdmalloc_ofi_la_DEPENDENCIES = rails/ofi.map
examples_ofi_SOURCES = examples/ofi.c examples/rounds.c examples/rounds.h
examples_ofi_CPPFLAGS = $(AM_CPPFLAGS) $(LIBFABRIC_CFLAGS)
examples_ofi_LDADD = rails/librdmalloc-ofi.la lib/librdmalloc.la $(LIBFABRIC_LIBS)

if HAVE_UCX
lib_LTLIBRARIES += rails/librdmalloc-ucx.la
include_HEADERS += include/rdmalloc-ucx.h
pkgconfig_DATA += rails/rdmalloc-ucx.pc
noinst_PROGRAMS += examples/ucx
else
without_rails += ucx.c
endif
rails_librdmalloc_ucx_la_SOURCES = rails/ucx.c
rails_librdmalloc_ucx_la_CPPFLAGS = $(AM_CPPFLAGS) $(UCX_CFLAGS)
rails_librdmalloc_ucx_la_CFLAGS = $(AM_CFLAGS) -fvisibility=hidden
rails_librdmalloc_ucx_la_LDFLAGS = -version-info 0:0:0 $(RDM_LDFLAGS) \
	-Wl,--version-script=$(top_srcdir)/rails/ucx.map
rails_librdmalloc_ucx_la_LIBADD = lib/librdmalloc.la $(UCX_LIBS)
EXTRA_rails_librdmalloc_ucx_la_DEPENDENCIES = rails/ucx.map
examples_ucx_SOURCES = examples/ucx.c examples/rounds.c examples/rounds.h
examples_ucx_CPPFLAGS = $(AM_CPPFLAGS) $(UCX_CFLAGS)
examples_ucx_LDADD = rails/librdmalloc-ucx.la lib/librdmalloc.la $(UCX_LIBS)

EXTRA_DIST += rails/ofi.map rails/ucx.map
