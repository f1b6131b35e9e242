# SPDX-License-Identifier: BSD-2-Clause
#
# A VM test is a program in vm_tests and a line for each of its cases in
# tests.list. It runs in the guest only, as root, next to rxe0.

if HAVE_VERBS
vm_tests = tests/vm/smoke tests/vm/coherence tests/vm/stranger tests/vm/neighbour \
	tests/vm/churn tests/vm/lifecycle tests/vm/preloaded tests/vm/reuse
dist_check_SCRIPTS += tests/vm/linux-5.10 tests/vm/linux-6.1 tests/vm/linux-6.12 \
	tests/vm/two-hosts
endif

# Not in check_PROGRAMS: that would make them tests of this machine.
EXTRA_PROGRAMS += $(vm_tests)
check_DATA = $(vm_tests)
MOSTLYCLEANFILES += $(vm_tests) tests/vm/boot-*.log
EXTRA_DIST += tests/vm/all tests/vm/get-kernel tests/vm/guest tests/vm/host tests/vm/init \
	tests/vm/linux tests/vm/list tests/vm/mpi tests/vm/run tests/vm/tests.list

VM_SOURCES = tests/vm/vm.c tests/vm/vm.h
tests_vm_smoke_SOURCES = tests/vm/smoke.c $(VM_SOURCES)
tests_vm_coherence_SOURCES = tests/vm/coherence.c $(VM_SOURCES) $(preload_support)
tests_vm_preloaded_SOURCES = tests/vm/preloaded.c $(VM_SOURCES) $(preload_support)
tests_vm_reuse_SOURCES = tests/vm/reuse.c $(VM_SOURCES) $(preload_support)
tests_vm_stranger_SOURCES = tests/vm/stranger.c $(VM_SOURCES)
tests_vm_stranger_LDADD = $(STEP_TEST_LIBS)
tests_vm_churn_SOURCES = tests/vm/churn.c $(VM_SOURCES)
tests_vm_lifecycle_SOURCES = tests/vm/lifecycle.c $(VM_SOURCES)
