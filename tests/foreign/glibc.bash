# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# glibc's malloc/tst-* and nptl/tst-* that can be built outside of their tree, which is most of
# them. Those that look into glibc's own malloc (its chunks, its tunables, its hooks) say nothing
# of another one.

glibc_not_ours='tst-(malloc-(tcache|check|backtrace|fork-deadlock-check|hugetlb)|mtrace|mcheck|mxfast|tcfree|interpose|dynarray|memalign-[23]|mallocfork3|obstack|scratch|alloc_buffer|compathooks|mallocstate|safe-linking|trim1|.*-mcheck|.*-tcache|malloc-stats|mallinfo2|malloc_info|aligned-alloc-random)'

foreign_build_glibc() { # TREE OUT
	local tree=$1 out=$2 flags file name
	mkdir -p "$out/include"
	# Headers of glibc's own that are no part of the rest of it.
	for name in libc-diag array_length intprops intprops-internal libc-pointer-arith; do
		cp "$tree/include/$name.h" "$out/include/" 2>/dev/null || true
	done
	flags=(-std=gnu11 -O1 -w -D_GNU_SOURCE -D_LARGEFILE64_SOURCE "-I$out/include" "-I$tree" -I"$tree/support" -I"$tree/malloc" -I"$tree/nptl" -I"$tree/sysdeps/pthread" -DMODULE_NAME=testsuite -DTIMEOUTFACTOR=1 -include limits.h)
	for file in "$tree"/support/*.c; do
		name=$(basename "$file" .c)
		[[ ! $name =~ (_string|_blob|_wide)_main$|container$|^t(e)?st- ]] || continue
		cc "${flags[@]}" -c "$file" -o "$out/support-$name.o" 2>/dev/null || true
	done
	# Paths of glibc's build, which no test outside of it can need.
	for name in srcdir_root objdir_root objdir_elf_ldso install_prefix libdir_prefix bindir_prefix \
		sbindir_prefix install_rootsbindir complocaledir_prefix sysconfdir_prefix; do
		echo "const char support_${name}[] = \"/nowhere\";"
	done >"$out/paths.c"
	cc -c "$out/paths.c" -o "$out/support-support_paths.o"
	rm -f "$out/libsupport.a" && ar rc "$out/libsupport.a" "$out"/support-*.o
	for file in "$tree"/malloc/tst-*.c "$tree"/nptl/tst-*.c "$tree"/sysdeps/pthread/tst-*.c; do
		name=$(basename "$file" .c)
		[[ ! $name =~ ^$glibc_not_ours && $name =~ ${RDM_FOREIGN_ONLY:-.} ]] || continue
		if cc "${flags[@]}" "$file" -o "$out/$name" "$out/libsupport.a" -pthread -lrt -ldl -lm 2>/dev/null; then
			printf '%s\t%s\n' "$name" "$out/$name"
		fi
	done
}
