# SPDX-License-Identifier: BSD-2-Clause
#
# A guard against slower hot paths that no noise disturbs: instructions, counted
# by callgrind, against the record of this compiler.
dist_check_SCRIPTS += tests/instructions/run tests/instructions/canary
EXTRA_PROGRAMS += tests/instructions/hot
check_DATA += tests/instructions/hot
MOSTLYCLEANFILES += tests/instructions/hot
EXTRA_DIST += tests/instructions/compare tests/instructions/count \
	tests/instructions/gcc-12-x86_64.txt

# What ships, and no wrapper script: valgrind is for the program.
tests_instructions_hot_LDADD = lib/librdmalloc.la
tests_instructions_hot_LDFLAGS = $(AM_LDFLAGS) -no-install

record-instructions: all tests/instructions/hot
	@$(AM_TESTS_ENVIRONMENT) $(top_srcdir)/tests/instructions/run --record
