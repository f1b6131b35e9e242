/* SPDX-License-Identifier: BSD-2-Clause */
#include "pool/foreign.h"

#include <errno.h>
#include <string.h>

#include "base/blame.h"
#include "base/contract.h"
#include "base/kernel.h"
#include "base/log.h"
#include "memory/meta.h"
#include "memory/prepare.h"
#include "memory/rail.h"
#include "memory/reserve.h"
#include "pool/foreign_index.h"
#include "pool/foreign_memory.h"
#include "rdmalloc.h"
#include "slab/registration.h"
#include "sync/quiesce.h"

/* Under the quiesce lock. */
static uint64_t births;
static struct rdm_foreign *unused;

static void retire(struct rdm_foreign *record)
{
	rdm_foreign_take_out(record);
	record->next = unused;
	unused = record;
}

/* Pages that no other record keeps are the children's again. */
static void let_children_have(const struct rdm_foreign *record)
{
	char *at = record->kept, *end = record->kept + record->kept_length;
	const struct rdm_foreign *other = NULL;

	while (at < end && (other = rdm_foreign_next(other))) {
		if (other == record || !other->kept_length ||
		    other->kept + other->kept_length <= at)
			continue;
		if (other->kept >= end)
			break;
		if (other->kept > at)
			rdm_kernel_advise(at, (size_t)(other->kept - at), MADV_DOFORK);
		at = other->kept + other->kept_length;
	}
	if (at < end)
		rdm_kernel_advise(at, (size_t)(end - at), MADV_DOFORK);
}

/* ibv_dereg_mr() may have called madvise(MADV_DOFORK) on what others keep. */
static void keep_others(const struct rdm_foreign *record)
{
	const struct rdm_foreign *other = NULL;

	while ((other = rdm_foreign_next(other)))
		if (other != record && other->kept_length &&
		    other->kept < record->kept + record->kept_length &&
		    other->kept + other->kept_length > record->kept)
			rdm_prepare_dontfork(other->kept, other->kept_length);
}

static int register_with(struct rdm_foreign *record, int rail)
{
	struct rdm_slab_set *set = &record->pool->slabs;
	size_t max = set->rails[rail].registrar.max_len;
	struct rdm_mr mr;
	int error;

	rdm_assert(!(atomic_load(&record->keyed) >> rail & 1));
	if (max && record->length > max) {
		rdm_log(RDM_LOG_ERROR, "%s registers at most %zu bytes at a time, not %zu",
			set->rails[rail].registrar.name, max, record->length);
		return EFBIG;
	}
	/* Paging, KSM or a fork may have undone an earlier write. */
	if (record->kept_length) {
		rdm_prepare_unmerge(record->kept, record->kept_length);
		rdm_prepare_dirty(record->kept, record->kept_length);
	}
	error = rdm_rail_register(&set->rails[rail], record->base, record->length, &mr);
	if (error)
		return error;
	__atomic_store_n(&record->mr[rail].lkey, mr.lkey, __ATOMIC_RELEASE);
	__atomic_store_n(&record->mr[rail].rkey, mr.rkey, __ATOMIC_RELEASE);
	__atomic_store_n(&record->mr[rail].handle, mr.handle, __ATOMIC_RELEASE);
	atomic_fetch_add(&set->registrations, 1);
	atomic_fetch_or_explicit(&record->keyed, 1U << rail, memory_order_release);
	return 0;
}

static int deregister_from(struct rdm_foreign *record, int rail)
{
	struct rdm_slab_set *set = &record->pool->slabs;
	int error;

	if (!(atomic_load(&record->keyed) >> rail & 1) || atomic_load(&record->inherited))
		return 0;
	atomic_fetch_and(&record->keyed, ~(1U << rail));
	error = rdm_rail_deregister(&set->rails[rail], record->base, record->length,
				    &record->mr[rail]);
	if (error)
		atomic_fetch_or(&record->keyed, 1U << rail);
	else
		set->deregistrations++;
	return error;
}

/* It has no user. 0 or an errno value: then it is as it was, for some rail. */
static int end(struct rdm_foreign *record)
{
	int error = 0;

	for (int rail = 0; rail < RDM_RAILS_MAX; rail++) {
		int failed = deregister_from(record, rail);

		error = failed ? failed : error;
	}
	if (error)
		return error;
	if (record->kept_length && !atomic_load(&record->inherited)) {
		let_children_have(record);
		keep_others(record);
	}
	retire(record);
	return 0;
}

/* Keeps its pages from children, and registers it. 0 or an errno value. */
static int begin(struct rdm_foreign *record)
{
	unsigned rails = rdm_slabs_open_rails(&record->pool->slabs);
	int error =
		record->kept_length ? rdm_prepare_dontfork(record->kept, record->kept_length) : 0;

	for (int rail = 0; !error && rail < RDM_RAILS_MAX; rail++)
		if (rails >> rail & 1)
			error = register_with(record, rail);
	return error;
}

/* What is asked for, by which function. */
struct request {
	const char *caller;
	struct rdm_pool *pool;
	char *address;
	size_t length;
	unsigned accepted; /* enum rdm_unsafe, what the caller takes */
};

/* Overlapping records of a child's parent mean nothing for memory that is registered now. */
static int make_way(const struct request *request)
{
	const char *from = request->address, *to = from + request->length;
	struct rdm_foreign *other = NULL, *next = rdm_foreign_next(NULL);

	while ((other = next)) {
		next = rdm_foreign_next(other);
		if (other->base >= to || other->base + other->length <= from)
			continue;
		if (atomic_load(&other->inherited)) {
			retire(other);
		} else if (other->pool != request->pool) {
			rdm_log(RDM_LOG_ERROR,
				"%s: pool %s has memory at %p registered: give one pool a rail for "
				"each device",
				request->caller, other->pool->name, (void *)other->base);
			return EBUSY;
		}
	}
	return 0;
}

static struct rdm_foreign *new_record(void)
{
	struct rdm_foreign *record = unused;

	if (!rdm_foreign_have_room())
		return NULL;
	if (!record)
		return rdm_meta_alloc(sizeof(*record));
	unused = record->next;
	return record;
}

static int add(const struct request *request, const struct rdm_foreign_memory *memory)
{
	int error = make_way(request);
	struct rdm_foreign *record = error ? NULL : new_record();

	if (error)
		return error;
	if (!record) {
		rdm_blame(RDM_LOG_ERROR, &rdm_meta_failure, "%s: no memory for a record",
			  request->caller);
		return ENOMEM;
	}
	record->pool = request->pool;
	record->base = request->address;
	record->kept = memory->kept;
	record->kept_length = memory->kept_length;
	record->born = births++;
	record->shadow = NULL;
	atomic_store(&record->uses, 0);
	atomic_store(&record->keyed, 0);
	atomic_store(&record->inherited, false);
	/* A fork while it is being made must find it. */
	rdm_foreign_insert(record, request->length);
	error = begin(record);
	if (!error)
		atomic_store(&record->uses, 1);
	/* Where a rail does not let go either, it stays without a user, to be tried again. */
	else if (end(record))
		rdm_log(RDM_LOG_ERROR, "%s: %zu bytes at %p stay half registered", request->caller,
			request->length, (void *)request->address);
	return error;
}

/* With the lock. 0 or an errno value: then it stays, and has that user still. */
static int release(struct rdm_foreign *record)
{
	int error;

	rdm_assert(rdm_quiesce_is_held());
	if (atomic_load(&record->uses) && atomic_fetch_sub(&record->uses, 1) > 1)
		return 0;
	error = end(record);
	if (error)
		atomic_store(&record->uses, 1);
	return error;
}

/* Changes the number of users, of one that has more than `least`. */
static bool count_user(struct rdm_foreign *record, size_t least, int step)
{
	size_t uses = atomic_load_explicit(&record->uses, memory_order_relaxed);

	while (uses > least)
		if (atomic_compare_exchange_weak(&record->uses, &uses, uses + (size_t)step))
			return true;
	return false;
}

/* The caller takes it as it is: 0, or an errno value with a line. */
static int judge(const struct request *request, const struct rdm_foreign_memory *memory)
{
	unsigned refused = memory->unsafe & ~request->accepted;

	if (!refused)
		return 0;
	rdm_log(RDM_LOG_ERROR, "%s: %zu bytes at %p cannot be kept through fork(): %s",
		request->caller, request->length, (void *)request->address,
		rdm_foreign_memory_why(refused));
	return refused & RDM_UNSAFE_READ_ONLY ? EACCES : EINVAL;
}

static int register_slowly(const struct request *request, unsigned *unsafe)
{
	uintptr_t start = (uintptr_t)request->address;
	struct rdm_foreign_memory memory;
	struct rdm_foreign *record;
	int error;

	rdm_assert(rdm_quiesce_is_held());
	if (atomic_load(&request->pool->heap.inherited)) {
		rdm_log(RDM_LOG_ERROR, "%s: pool %s was inherited through fork()", request->caller,
			request->pool->name);
		return ECHILD;
	}
	error = rdm_foreign_memory_look(request->caller, request->address, request->length,
					&memory);
	if (!error)
		error = judge(request, &memory);
	if (error)
		return error;
	*unsafe = memory.unsafe;
	record = rdm_foreign_find(start, start + request->length);
	if (record && record->pool == request->pool && !atomic_load(&record->inherited)) {
		/* One without a user is what a rail has not let go. */
		if (!atomic_load(&record->uses) && (error = end(record)))
			return error;
		if (atomic_load(&record->uses)) {
			atomic_fetch_add(&record->uses, 1);
			return 0;
		}
	}
	return add(request, &memory);
}

static bool check_range(const char *caller, const void *address, size_t length)
{
	uintptr_t start = (uintptr_t)address;

	if (address && length && start + length > start && !rdm_reserve_has(address) &&
	    !rdm_reserve_has((const char *)address + length - 1))
		return true;
	rdm_log(RDM_LOG_ERROR,
		"%s: %zu bytes at %p are no memory of the program's (a pool's own has its keys)",
		caller, length, address);
	errno = EINVAL;
	return false;
}

static int register_range(const struct request *request, unsigned *unsafe)
{
	if (!rdm_pool_check(request->pool, request->caller) ||
	    !check_range(request->caller, request->address, request->length) ||
	    !rdm_quiesce_enter(request->caller))
		return -1;
	return rdm_quiesce_leave(register_slowly(request, unsafe));
}

int rdm_register(rdm_pool *pool, void *address, size_t length)
{
	const struct request request = { "rdm_register", pool, address, length, 0 };
	uintptr_t start = (uintptr_t)address;
	unsigned seen, unsafe;
	struct rdm_foreign *record = rdm_foreign_find_quickly(pool, start, start + length, &seen);
	int result;

	if (!record || !count_user(record, 0, 1))
		return register_range(&request, &unsafe);
	if (!rdm_foreign_has_changed(seen))
		return 0;
	/* It may be that of another range by now. */
	result = register_range(&request, &unsafe);
	if (rdm_quiesce_enter("rdm_register"))
		rdm_quiesce_leave(release(record));
	return result;
}

int rdm_register_unsafe(rdm_pool *pool, void *address, size_t length)
{
	const struct request request = { "rdm_register_unsafe", pool, address, length, ~0U };
	unsigned unsafe = 0;

	return register_range(&request, &unsafe) ? -1 : (int)unsafe;
}

static int deregister_slowly(const struct rdm_pool *pool, void *address, size_t length)
{
	struct rdm_foreign *record =
		rdm_foreign_find((uintptr_t)address, (uintptr_t)address + length);

	rdm_assert(rdm_quiesce_is_held());
	if (!record || record->pool != pool) {
		rdm_log(RDM_LOG_ERROR, "rdm_deregister: pool %s has no %zu bytes at %p registered",
			pool->name, length, address);
		return ENOENT;
	}
	return release(record);
}

int rdm_deregister(rdm_pool *pool, void *address, size_t length)
{
	uintptr_t start = (uintptr_t)address;
	unsigned seen;
	struct rdm_foreign *record = rdm_foreign_find_quickly(pool, start, start + length, &seen);

	/* The caller's own use keeps it what it is. */
	if (record && count_user(record, 1, -1))
		return 0;
	if (!rdm_pool_check(pool, "rdm_deregister") ||
	    !check_range("rdm_deregister", address, length) || !rdm_quiesce_enter("rdm_deregister"))
		return -1;
	return rdm_quiesce_leave(deregister_slowly(pool, address, length));
}

int rdm_foreign_attach(struct rdm_pool *pool, int rail)
{
	struct rdm_foreign *record = NULL;
	int error = 0;

	rdm_assert(rdm_quiesce_is_held());
	while (!error && (record = rdm_foreign_next(record)))
		if (record->pool == pool && !atomic_load(&record->inherited))
			error = register_with(record, rail);
	return error;
}

int rdm_foreign_detach(struct rdm_pool *pool, int rail)
{
	struct rdm_foreign *record = NULL;
	int error = 0;

	rdm_assert(rdm_quiesce_is_held());
	while ((record = rdm_foreign_next(record))) {
		int failed = record->pool == pool ? deregister_from(record, rail) : 0;

		error = failed ? failed : error;
		if (record->pool == pool && record->kept_length && !atomic_load(&record->inherited))
			rdm_prepare_dontfork(record->kept, record->kept_length);
	}
	return error;
}

size_t rdm_foreign_count(const struct rdm_pool *pool)
{
	const struct rdm_foreign *record = NULL;
	size_t n = 0;

	rdm_assert(rdm_quiesce_is_held());
	while ((record = rdm_foreign_next(record)))
		n += record->pool == pool && !atomic_load(&record->inherited) &&
		     atomic_load(&record->uses);
	return n;
}

int rdm_foreign_end(struct rdm_pool *pool)
{
	struct rdm_foreign *record, *next = rdm_foreign_next(NULL);
	int error = 0;

	rdm_assert(rdm_quiesce_is_held());
	while ((record = next)) {
		int failed = 0;

		next = rdm_foreign_next(record);
		if (record->pool == pool) {
			atomic_store(&record->uses, 0);
			failed = end(record);
		}
		error = failed ? failed : error;
	}
	return error;
}
