/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Registrations: before the real function pins anything, the pages are taken out of the
 * fork and written (pins.h). libibverbs calls some of these functions itself,
 * and comes here then, too. With mr_reuse what ends is kept for the next one (reuse.h).
 *
 * Whatever way to register libibverbs grows, it announces the memory (ibv_dontfork_range) and
 * withdraws it when the registration ends: what no wrapper has seen is entered and dropped by these two.
 * registrations.list has all ways that are known.
 */
#include <dlfcn.h>
#include <errno.h>
#include <infiniband/verbs.h>
#include <stdatomic.h>
#include <string.h>

#include "base/conf.h"
#include "base/contract.h"
#include "base/log.h"
#include "memory/reserve.h"
#include "plain/pins.h"
#include "preload/preload.h"
#include "preload/reuse.h"

#undef ibv_reg_mr
#undef ibv_reg_mr_iova

/* In libibverbs, but not in its headers. */
int ibv_dontfork_range(void *base, size_t size);
int ibv_dofork_range(void *base, size_t size);
/* Not in the headers of old ones. */
void ibv_unimport_pd(struct ibv_pd *pd);
struct ibv_mr_init_attr;
struct ibv_mr *ibv_reg_mr_ex(struct ibv_pd *pd, struct ibv_mr_init_attr *attr);

/* How ibv_mr_init_attr begins, and what of it there is. */
struct init_attr {
	size_t length;
	int access;
	uint64_t mask, iova;
	void *addr;
};
enum { INIT_IOVA = 1 << 0, INIT_ADDR = 1 << 1 };

/* Of this thread: libibverbs is at work for one of us, which has done what there is to do. */
static __thread bool below __attribute__((tls_model("initial-exec")));

/* Under some MPIs libibverbs is in a plugin's scope only, where RTLD_NEXT does not look. */
static void *find(const char *name)
{
	void *symbol = dlsym(RTLD_NEXT, name);
	void *library = symbol ? NULL : dlopen("libibverbs.so.1", RTLD_LAZY | RTLD_NOLOAD);

	if (library)
		symbol = dlsym(library, name);
	if (!symbol)
		rdm_log(RDM_LOG_ERROR, "%s: no libibverbs is loaded that has it", name);
	return symbol;
}

/* Calls the real function of that name, or fails with ENOSYS. */
#define NEXT(name, failure, ...)                                              \
	({                                                                    \
		static _Atomic(void *) found;                                 \
		void *symbol = atomic_load(&found);                           \
		__typeof__(name) *function;                                   \
                                                                              \
		if (!symbol) {                                                \
			symbol = find(#name);                                 \
			atomic_store(&found, symbol);                         \
		}                                                             \
		memcpy(&function, &symbol, sizeof(function));                 \
		function ? function(__VA_ARGS__) : (errno = ENOSYS, failure); \
	})

enum function { REG_MR, REG_MR_IOVA, REG_MR_IOVA2, REG_MR_EX };

struct wanted {
	enum function function;
	struct ibv_pd *pd;
	void *addr;
	size_t length;
	uint64_t iova;
	unsigned access;
	struct ibv_mr_init_attr *attr;
};

/* Somebody above has done what is to be done, or nobody has to. */
static bool is_bypassed(const struct wanted *w)
{
	/* A device follows pages that are on demand. */
	return below || w->access & IBV_ACCESS_ON_DEMAND || !rdm_conf()->enabled;
}

static struct ibv_mr *next_reg(const struct wanted *w)
{
	bool was = below;
	struct ibv_mr *mr = NULL;

	rdm_assert(w->function <= REG_MR_EX);
	below = below || !is_bypassed(w);
	switch (w->function) {
	case REG_MR:
		mr = NEXT(ibv_reg_mr, NULL, w->pd, w->addr, w->length, (int)w->access);
		break;
	case REG_MR_IOVA:
		mr = NEXT(ibv_reg_mr_iova, NULL, w->pd, w->addr, w->length, w->iova,
			  (int)w->access);
		break;
	case REG_MR_IOVA2:
		mr = NEXT(ibv_reg_mr_iova2, NULL, w->pd, w->addr, w->length, w->iova, w->access);
		break;
	case REG_MR_EX:
		mr = NEXT(ibv_reg_mr_ex, NULL, w->pd, w->attr);
		break;
	}
	below = was;
	return mr;
}

/* done: there is nothing left to be done for what libibverbs calls. */
static int next_dereg(struct ibv_mr *mr, bool done)
{
	bool was = below;
	int error;

	below = was || done;
	error = NEXT(ibv_dereg_mr, ENOSYS, mr);
	below = was;
	return error;
}

static struct ibv_mr *reg_pinned(const struct wanted *w)
{
	struct rdm_pin *pin = rdm_pins_add(w->addr, w->length);
	struct ibv_mr *mr;
	int error;

	rdm_assert(!below);
	if (!pin)
		return NULL;
	mr = next_reg(w);
	if (mr) {
		rdm_pins_name(pin, mr);
		return mr;
	}
	error = errno;
	rdm_pins_drop(pin);
	errno = error;
	return NULL;
}

static int dereg_pinned(struct ibv_mr *mr)
{
	/* First: the address is another registration's as soon as this one has ended. */
	struct rdm_pin *pin = below ? NULL : rdm_pins_take(mr);
	/* Of what was only announced libibverbs withdraws the range. */
	int error = next_dereg(mr, pin);

	if (pin && !error)
		rdm_pins_drop(pin);
	else if (pin)
		rdm_pins_name(pin, mr);
	return error;
}

/* What was kept and is too much, or all that is idle. False: there was nothing. */
static bool end_kept(bool all)
{
	struct rdm_region *region;
	bool any = false;

	while ((region = rdm_reuse_evict(all))) {
		int error = dereg_pinned(rdm_reuse_real(region));

		if (error)
			rdm_log(RDM_LOG_WARN,
				"mr_reuse: a registration cannot be ended (%s): its memory stays "
				"registered",
				strerror(error));
		rdm_reuse_ended(region);
		any = true;
	}
	return any;
}

static struct ibv_mr *reg_anew(const struct wanted *w)
{
	struct ibv_mr *mr = reg_pinned(w);

	if (mr || errno != ENOMEM)
		return mr;
	/* What is kept may be what is missing: RLIMIT_MEMLOCK, vm.max_map_count. */
	if (end_kept(true))
		return reg_pinned(w);
	errno = ENOMEM;
	return NULL;
}

static struct ibv_mr *reg(const struct wanted *w)
{
	struct ibv_mr *real, *alias;

	if (is_bypassed(w))
		return next_reg(w);
	if (w->function == REG_MR_EX || !w->length ||
	    !rdm_reuse_covers(w->addr, w->length, w->iova, w->access))
		return reg_anew(w);
	alias = rdm_reuse_get(w->pd, w->addr, w->length, w->access);
	if (alias)
		return alias;
	real = reg_anew(w);
	if (real)
		alias = rdm_reuse_add(real, w->access, true);
	return alias ? alias : real;
}

RDM_EXPORT struct ibv_mr *ibv_reg_mr(struct ibv_pd *pd, void *addr, size_t length, int access)
{
	return reg(&(struct wanted){ REG_MR, pd, addr, length, (uintptr_t)addr, (unsigned)access,
				     NULL });
}

RDM_EXPORT struct ibv_mr *ibv_reg_mr_iova(struct ibv_pd *pd, void *addr, size_t length,
					  uint64_t iova, int access)
{
	return reg(&(struct wanted){ REG_MR_IOVA, pd, addr, length, iova, (unsigned)access, NULL });
}

RDM_EXPORT struct ibv_mr *ibv_reg_mr_iova2(struct ibv_pd *pd, void *addr, size_t length,
					   uint64_t iova, unsigned access)
{
	return reg(&(struct wanted){ REG_MR_IOVA2, pd, addr, length, iova, access, NULL });
}

/* Memory that is named by a descriptor or belongs to the driver has other bits, too. */
RDM_EXPORT struct ibv_mr *ibv_reg_mr_ex(struct ibv_pd *pd, struct ibv_mr_init_attr *attr)
{
	const struct init_attr *init = (const void *)attr;

	if (!(init->mask & INIT_ADDR) || init->mask & ~(uint64_t)(INIT_ADDR | INIT_IOVA))
		return NEXT(ibv_reg_mr_ex, NULL, pd, attr);
	return reg(&(struct wanted){ REG_MR_EX, pd, init->addr, init->length, 0,
				     (unsigned)init->access, attr });
}

static int dereg(struct ibv_mr *mr)
{
	int error;

	if (!rdm_reuse_has(mr))
		return dereg_pinned(mr);
	error = rdm_reuse_put(mr);
	end_kept(false);
	return error;
}

RDM_EXPORT int ibv_dereg_mr(struct ibv_mr *mr)
{
	return dereg(mr);
}

/* All that is kept for it would make it busy. */
static void end_kept_of(const struct ibv_context *context, const struct ibv_pd *pd)
{
	rdm_reuse_forget(context, pd);
	end_kept(false);
	rdm_reuse_wait(context, pd);
}

RDM_EXPORT int ibv_dealloc_pd(struct ibv_pd *pd)
{
	end_kept_of(NULL, pd);
	return NEXT(ibv_dealloc_pd, ENOSYS, pd);
}

RDM_EXPORT void ibv_unimport_pd(struct ibv_pd *pd)
{
	end_kept_of(NULL, pd);
	NEXT(ibv_unimport_pd, (void)0, pd);
}

RDM_EXPORT int ibv_close_device(struct ibv_context *context)
{
	end_kept_of(context, NULL);
	return NEXT(ibv_close_device, -1, context);
}

static int next_rereg(struct ibv_mr *mr, int flags, struct ibv_pd *pd, void *addr, size_t length,
		      int access, bool done)
{
	bool was = below;
	int result;

	below = was || done;
	result = NEXT(ibv_rereg_mr, IBV_REREG_MR_ERR_INPUT, mr, flags, pd, addr, length, access);
	below = was;
	return result;
}

static bool is_rereg_valid(int flags, const void *addr, size_t length, int access)
{
	return !(flags & ~IBV_REREG_MR_FLAGS_SUPPORTED) &&
	       (!(flags & IBV_REREG_MR_CHANGE_TRANSLATION) || (addr && length)) &&
	       (!access || flags & IBV_REREG_MR_CHANGE_ACCESS);
}

/* Others may have aliases of the same region, which stays what it is: this one gets another. */
static int rereg_alias(struct ibv_mr *mr, int flags, struct ibv_pd *pd, void *addr, size_t length,
		       int access)
{
	bool moves = flags & IBV_REREG_MR_CHANGE_TRANSLATION;
	struct wanted w = {
		.function = REG_MR_IOVA2,
		.pd = flags & IBV_REREG_MR_CHANGE_PD ? pd : mr->pd,
		.addr = moves ? addr : mr->addr,
		.length = moves ? length : mr->length,
		.access = flags & IBV_REREG_MR_CHANGE_ACCESS ? (unsigned)access :
							       rdm_reuse_access(mr),
	};
	struct ibv_mr *now, *real;

	if (!is_rereg_valid(flags, addr, length, access)) {
		errno = EINVAL;
		return IBV_REREG_MR_ERR_INPUT;
	}
	w.iova = (uintptr_t)w.addr;
	real = reg(&w);
	now = real && !rdm_reuse_has(real) ? rdm_reuse_add(real, w.access, false) : real;
	if (!now) {
		if (real)
			dereg_pinned(real);
		errno = real ? ENOMEM : errno;
		return IBV_REREG_MR_ERR_INPUT;
	}
	rdm_reuse_swap(mr, now);
	dereg(now);
	return 0;
}

RDM_EXPORT int ibv_rereg_mr(struct ibv_mr *mr, int flags, struct ibv_pd *pd, void *addr,
			    size_t length, int access)
{
	struct rdm_pin *before, *after;
	int result;

	if (rdm_reuse_has(mr))
		return rereg_alias(mr, flags, pd, addr, length, access);
	before = flags & IBV_REREG_MR_CHANGE_TRANSLATION && length ? rdm_pins_take(mr) : NULL;
	/* libibverbs announces the new range, and withdraws the old one. */
	if (!before)
		return next_rereg(mr, flags, pd, addr, length, access, false);
	after = rdm_pins_add(addr, length);
	if (!after) {
		rdm_pins_name(before, mr);
		return IBV_REREG_MR_ERR_INPUT;
	}
	result = next_rereg(mr, flags, pd, addr, length, access, true);
	/* Otherwise the region is what it was, or none, but not ended. */
	if (!result || result == IBV_REREG_MR_ERR_DO_FORK_OLD) {
		struct rdm_pin *old = before;

		before = after;
		after = old;
	}
	rdm_pins_name(before, mr);
	rdm_pins_drop(after);
	return result;
}

static int next_dontfork(void *base, size_t size)
{
	/* Of our memory the marks are ours. */
	return rdm_reserve_has(base) ? 0 : NEXT(ibv_dontfork_range, ENOSYS, base, size);
}

static int next_dofork(void *base, size_t size)
{
	return rdm_reserve_has(base) ? 0 : NEXT(ibv_dofork_range, ENOSYS, base, size);
}

/* Drivers do this with their queues, wherever they lie, and libibverbs with what it registers. */
RDM_EXPORT int ibv_dontfork_range(void *base, size_t size)
{
	int error;

	if (!rdm_conf()->enabled)
		return NEXT(ibv_dontfork_range, ENOSYS, base, size);
	error = next_dontfork(base, size);
	if (error || below || !size || !rdm_pins_add_range(base, size))
		return error;
	error = errno;
	next_dofork(base, size);
	return error;
}

RDM_EXPORT int ibv_dofork_range(void *base, size_t size)
{
	if (!rdm_conf()->enabled)
		return NEXT(ibv_dofork_range, ENOSYS, base, size);
	if (!below && size)
		rdm_pins_drop_range(base, size);
	return next_dofork(base, size);
}
