# SPDX-License-Identifier: BSD-2-Clause

# RDM_MISSING(what, debian-package, fedora-package, option-to-do-without)
AC_DEFUN([RDM_MISSING], [AC_MSG_ERROR([$1 is missing. Install it:
    Debian, Ubuntu:  apt-get install $2
    Fedora:          dnf install $3
m4_ifval([$4], [or do without it:    ./configure $4])])])

# The check is by hand: where pkg-config is absent pkg.m4 usually is, too, and
# then its macros would be left in configure as they stand.
AC_DEFUN([RDM_PKG_CONFIG], [
m4_ifndef([PKG_CHECK_MODULES],
	[m4_fatal([pkg.m4 is missing. Debian, Ubuntu: apt-get install pkg-config; Fedora: dnf install pkgconf-pkg-config])])
PKG_PROG_PKG_CONFIG([0.25])
AS_IF([test -z "$PKG_CONFIG"],
	[RDM_MISSING([pkg-config], [pkg-config], [pkgconf-pkg-config])])
])

# RDM_LIBRARY(VAR, option, pkg-config-module, header, debian, fedora)
AC_DEFUN([RDM_LIBRARY], [
PKG_CHECK_MODULES([$1], [$3], [], [$1[]_missing=yes])
AS_IF([test -z "$[]$1[]_missing"], [
	rdm_save_CPPFLAGS=$CPPFLAGS
	CPPFLAGS="$CPPFLAGS $[]$1[]_CFLAGS"
	AC_CHECK_HEADER([$4], [], [$1[]_missing=yes])
	CPPFLAGS=$rdm_save_CPPFLAGS
])
AS_IF([test -n "$[]$1[]_missing"],
	[RDM_MISSING([$3], [$5], [$6], [--without-$2])])
AC_DEFINE([HAVE_$1], [1], [Define to 1 when built with $3.])
])

# RDM_IF_FLAG(flag, if-yes): whether the compiler and the linker take it
AC_DEFUN([RDM_IF_FLAG], [
AC_MSG_CHECKING([whether $CC takes $1])
rdm_save_CFLAGS=$CFLAGS
CFLAGS="$CFLAGS -Werror $1"
AC_LINK_IFELSE([AC_LANG_PROGRAM([[static __thread int x;]], [[return x;]])],
	[rdm_flag=yes], [rdm_flag=no])
CFLAGS=$rdm_save_CFLAGS
AC_MSG_RESULT([$rdm_flag])
AS_IF([test $rdm_flag = yes], [$2])
])

AC_DEFUN([RDM_FLAGS], [
RDM_CFLAGS="-std=gnu11 -pthread -Wall -Wextra"
AS_IF([test "x$enable_werror" = xyes], [RDM_CFLAGS="$RDM_CFLAGS -Werror"])

RDM_SANITIZER=
rdm_no_undefined="-Wl,--no-undefined"
AS_IF([test "x$enable_sanitizer" != xno], [
	RDM_SANITIZER=$enable_sanitizer
	RDM_IF_FLAG([-fsanitize=$enable_sanitizer], [])
	AS_IF([test $rdm_flag = no],
		[RDM_MISSING([the runtime of -fsanitize=$enable_sanitizer for $CC],
			[gcc (for clang 14: libclang-rt-14-dev)],
			[libasan libubsan libtsan (for clang: compiler-rt)])])
	CFLAGS="$CFLAGS -fsanitize=$enable_sanitizer -fno-sanitize-recover=all -fno-omit-frame-pointer"
	# clang leaves the runtime's symbols to the program.
	rdm_no_undefined=
])
RDM_LDFLAGS="$rdm_no_undefined -Wl,-z,nodelete -Wl,-z,now -Wl,-z,relro"
RDM_CHECKING=
AS_IF([test "x$enable_checking" = xyes], [RDM_CHECKING=-DRDM_CHECKING])
AC_SUBST([RDM_CHECKING])
AC_SUBST([RDM_CFLAGS])
AC_SUBST([RDM_LDFLAGS])
AC_SUBST([RDM_SANITIZER])
AC_DEFINE_UNQUOTED([RDM_SANITIZER], ["$RDM_SANITIZER"], [What --enable-sanitizer says, or "".])
])

# The private jemalloc: prefixed, so that the host's malloc stays its own.
AC_DEFUN([RDM_JEMALLOC], [
AC_MSG_CHECKING([for the private jemalloc])
AS_IF([test -z "$with_jemalloc"], [
	AS_IF([test -e "$srcdir/.cache/jemalloc/lib/libjemalloc_pic.a"],
		[with_jemalloc=$srcdir/.cache/jemalloc],
		[with_jemalloc=`CC="$CC" "$srcdir/scripts/build-jemalloc" --find 2>/dev/null`])
])
AS_IF([test -d "$with_jemalloc"],
	[with_jemalloc=`cd "$with_jemalloc" && pwd`])
AC_MSG_RESULT([${with_jemalloc:-none}])
JEMALLOC_ARCHIVE=$with_jemalloc/lib/libjemalloc_pic.a
JEMALLOC_CPPFLAGS="-I$with_jemalloc/include"
AS_IF([test ! -f "$JEMALLOC_ARCHIVE"], [AC_MSG_ERROR([no private jemalloc
in "$with_jemalloc" (lib/libjemalloc_pic.a is not there).
The distribution's jemalloc package will not do. Make it, once, with
    scripts/build-jemalloc          (or ./quickstart, which does it all)
and give its directory with --with-jemalloc=DIR.])])
dnl It must go with every copy of the library, so a build without it could not be given away.
AS_IF([grep -q Copyright "$with_jemalloc/COPYING" 2>/dev/null], [],
	[AC_MSG_ERROR([jemalloc's licence is not in "$with_jemalloc" (COPYING).
Its text must go with the library, which has jemalloc inside. Make the directory again
with scripts/build-jemalloc, or copy the file COPYING of jemalloc's source there.])])

rdm_save_CPPFLAGS=$CPPFLAGS
rdm_save_LIBS=$LIBS
CPPFLAGS="$CPPFLAGS $JEMALLOC_CPPFLAGS"
LIBS="$JEMALLOC_ARCHIVE $LIBS"
AC_MSG_CHECKING([whether it has the prefix rdm_je_])
AC_LINK_IFELSE([AC_LANG_PROGRAM([[#include <jemalloc/jemalloc.h>
	void *rdm_meta_map(void) { return 0; }]],
	[[void *p = rdm_je_mallocx(1, MALLOCX_TCACHE_NONE);
	rdm_je_dallocx(p, MALLOCX_TCACHE_NONE);
	return rdm_je_mallctl("version", 0, 0, 0, 0);]])],
	[AC_MSG_RESULT([yes])],
	[AC_MSG_RESULT([no])
	AC_MSG_ERROR([the jemalloc in $with_jemalloc was not built by
scripts/build-jemalloc for this compiler: rdm_je_mallocx does not link, see config.log])])
AC_MSG_CHECKING([whether it leaves fork() and mmap() to us, and files alone])
AS_IF([$NM "$JEMALLOC_ARCHIVE" 2>/dev/null | grep -q ' U rdm_meta_map'],
	[rdm_is_edited=yes], [rdm_is_edited=no])
AS_IF([$NM "$JEMALLOC_ARCHIVE" 2>/dev/null | grep -qE ' U (pthread_atfork|readlink|sched_getaffinity)$'],
	[rdm_is_edited=no])
AC_MSG_RESULT([$rdm_is_edited])
AS_IF([test $rdm_is_edited = no], [AC_MSG_ERROR([the jemalloc in $with_jemalloc was not built by
this version of scripts/build-jemalloc. Build it again.])])
AC_MSG_CHECKING([whether it is jemalloc 5.3 or newer])
AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[#include <jemalloc/jemalloc.h>]],
	[[typedef char new_enough[
		(JEMALLOC_VERSION_MAJOR * 100 + JEMALLOC_VERSION_MINOR >= 503) ? 1 : -1];]])],
	[AC_MSG_RESULT([yes])],
	[AC_MSG_RESULT([no])
	AC_MSG_ERROR([the jemalloc in $with_jemalloc is too old: 5.3.0 is needed])])
CPPFLAGS=$rdm_save_CPPFLAGS
LIBS=$rdm_save_LIBS
JEMALLOC_DIR=$with_jemalloc
AC_SUBST([JEMALLOC_DIR])
AC_SUBST([JEMALLOC_ARCHIVE])
AC_SUBST([JEMALLOC_CPPFLAGS])
])

# RDM_PEER(VAR, name, pkg-config-module, debian-package): nothing but the bench needs it
AC_DEFUN([RDM_PEER], [
PKG_CHECK_MODULES([$1], [$3], [$2_missing=],
	[$2_missing="configure found no $3 (Debian: $4)"])
AC_SUBST([$2_missing])
AM_CONDITIONAL([HAVE_BENCH_$1], [test -z "$[]$2_missing"])
])

# What the bench measures beside rdmalloc, and with what it counts instructions.
AC_DEFUN([RDM_BENCH], [
AC_CHECK_HEADERS([valgrind/callgrind.h])
RDM_PEER([MEMKIND], [memkind], [memkind], [libmemkind-dev])
RDM_PEER([DPDK], [dpdk], [libdpdk], [libdpdk-dev])
RDM_PEER([UCX], [ucx], [ucx], [libucx-dev])
RDM_PEER([LIBFABRIC], [libfabric], [libfabric], [libfabric-dev])
uring_missing=
verbs_missing=
AS_IF([test "x$with_uring" = xno], [uring_missing="configured --without-uring"])
AS_IF([test "x$with_verbs" = xno], [verbs_missing="configured --without-verbs"])
AC_SUBST([uring_missing])
AC_SUBST([verbs_missing])
])

# RDM_RAIL(name, VAR, debian-package, fedora-package): a library for it, where RDM_BENCH has found it
AC_DEFUN([RDM_RAIL], [
AS_IF([test "x$with_$1" = xauto],
	[AS_IF([test -z "$$1_missing"], [with_$1=yes], [with_$1=no])],
	[test "x$with_$1" != xno && test -n "$$1_missing"],
	[RDM_MISSING([$1], [$3], [$4], [--without-$1])])
AM_CONDITIONAL([HAVE_$2], [test "x$with_$1" != xno])
])
