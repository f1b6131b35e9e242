# SPDX-License-Identifier: BSD-2-Clause
dist_man_MANS = \
	man/rdmalloc.1 \
	man/rdmalloc-doctor.1 \
	man/rdmalloc-forktest.1 \
	man/rdmalloc-info.1 \
	man/rdmalloc-map.1 \
	man/rdmalloc-run.1 \
	man/rdmalloc-stat.1 \
	man/rdmalloc-top.1 \
	man/rdmalloc-cxx.3 \
	man/rdmalloc.7 \
	man/rdm_aligned_alloc.3 \
	man/rdm_calloc.3 \
	man/rdm_deregister.3 \
	man/rdm_free.3 \
	man/rdm_free_sized.3 \
	man/rdm_key.3 \
	man/rdm_malloc.3 \
	man/rdm_pool_add_libfabric.3 \
	man/rdm_pool_add_rail.3 \
	man/rdm_pool_add_ucx.3 \
	man/rdm_pool_add_uring.3 \
	man/rdm_pool_add_verbs.3 \
	man/rdm_pool_audit.3 \
	man/rdm_pool_create.3 \
	man/rdm_pool_destroy.3 \
	man/rdm_pool_each_block.3 \
	man/rdm_pool_of.3 \
	man/rdm_pool_remove_rail.3 \
	man/rdm_pool_reserve.3 \
	man/rdm_pool_reserve_progress.3 \
	man/rdm_pool_reset.3 \
	man/rdm_pool_stats.3 \
	man/rdm_pool_trim.3 \
	man/rdm_realloc.3 \
	man/rdm_register.3 \
	man/rdm_register_unsafe.3 \
	man/rdm_regions_check.3 \
	man/rdm_regions_export.3 \
	man/rdm_regions_resolve.3 \
	man/rdm_sge.3 \
	man/rdm_thread_flush.3 \
	man/rdm_usable_size.3 \
	man/rdm_version.3

# The pages are clean; each public function has one that names it, and is in
# the list above; each key of RDMALLOC_CONF is in rdmalloc(7).
check-man: check-man-lint check-man-complete

check-man-lint:
	@command -v mandoc >/dev/null || \
		{ echo "SKIP: mandoc is missing, the man pages are not checked by it"; exit 0; }; \
	cd $(top_srcdir) && messages=`grep -L '^\.so ' $(dist_man_MANS) | \
		xargs mandoc -Tlint -W warning`; status=$$?; \
	test -z "$$messages" || echo "$$messages"; \
	test $$status = 0 && test -z "$$messages"

check-man-complete:
	@cd $(top_srcdir) && status=0; \
	symbols=`sed -n 's/^[[:space:]]*\(rdm_[a-z0-9_]*\);$$/\1/p' lib/api/librdmalloc.map`; \
	keys=`sed -n 's/^[[:space:]]*{ "\([a-z_]*\)", RDM_CONF_.*/\1/p' lib/base/conf.c`; \
	test -n "$$symbols" || { echo "no symbols found in lib/api/librdmalloc.map"; status=1; }; \
	test -n "$$keys" || { echo "no keys found in lib/base/conf.c"; status=1; }; \
	for symbol in $$symbols; do \
		page=man/$$symbol.3; \
		case " $(dist_man_MANS) " in \
		*" $$page "*) ;; \
		*) echo "$$page is not in dist_man_MANS"; status=1;; \
		esac; \
		target=`sed -n 's|^\.so man3/|man/|p' $$page` || status=1; \
		grep -q "^\.Nm $$symbol\( ,\)*$$" "$${target:-$$page}" || \
			{ echo "$$page does not name $$symbol"; status=1; }; \
	done; \
	for key in $$keys; do \
		grep -q "^\.It Cm $$key$$" man/rdmalloc.7 || \
			{ echo "man/rdmalloc.7 does not describe the key $$key"; status=1; }; \
	done; \
	for page in man/*.[1-9]; do \
		case " $(dist_man_MANS) " in \
		*" $$page "*) ;; \
		*) echo "$$page is not in dist_man_MANS"; status=1;; \
		esac; \
	done; \
	exit $$status

.PHONY: check-man check-man-lint check-man-complete
