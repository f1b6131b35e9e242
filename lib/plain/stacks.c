/* SPDX-License-Identifier: BSD-2-Clause */
#include "plain/stacks.h"

#include <stdint.h>

#include "base/contract.h"
#include "base/log.h"
#include "memory/meta.h"
#include "sync/lock.h"

#define SPARED_MAX 64

struct rdm_stack {
	struct rdm_stack *next;
	char *end;
};

static struct rdm_stack *stacks;

static const char *spared[SPARED_MAX];
static unsigned spares;

struct rdm_stack *rdm_stacks_make(char *end)
{
	struct rdm_stack *stack = rdm_meta_alloc(sizeof(*stack));

	if (stack)
		stack->end = end;
	else
		rdm_log(RDM_LOG_WARN,
			"no memory to remember a thread's stack: register nothing on it");
	return stack;
}

void rdm_stacks_add(struct rdm_stack *stack)
{
	rdm_assert(rdm_lock_has_rank(RDM_RANK_PINS));
	stack->next = stacks;
	__atomic_store_n(&stacks, stack, __ATOMIC_RELAXED);
}

struct rdm_stack *rdm_stacks_take(const void *block, size_t length)
{
	struct rdm_stack **link = &stacks, *taken = NULL;

	rdm_assert(rdm_lock_has_rank(RDM_RANK_PINS));
	while (*link) {
		struct rdm_stack *stack = *link;

		if ((uintptr_t)stack->end - 1 - (uintptr_t)block >= length) {
			link = &stack->next;
			continue;
		}
		__atomic_store_n(link, stack->next, __ATOMIC_RELAXED);
		stack->next = taken;
		taken = stack;
	}
	return taken;
}

void rdm_stacks_free(struct rdm_stack *list)
{
	while (list) {
		struct rdm_stack *next = list->next;

		rdm_meta_free(list);
		list = next;
	}
}

bool rdm_stacks_any(void)
{
	return __atomic_load_n(&stacks, __ATOMIC_RELAXED) != NULL;
}

void rdm_stacks_for_each(void (*call)(const void *stack))
{
	for (const struct rdm_stack *stack = stacks; stack; stack = stack->next)
		call(stack->end - 1);
}

void rdm_stacks_spare_at(const void *stack)
{
	rdm_assert(spares <= SPARED_MAX);
	if (spares < SPARED_MAX)
		spared[spares++] = stack;
	else
		rdm_log(RDM_LOG_WARN,
			"fork: more than %d threads have registered memory at the end of their stacks: "
			"the child may not find them all",
			SPARED_MAX);
}

void rdm_stacks_spare_none(void)
{
	spares = 0;
}

bool rdm_stacks_are_spared(void)
{
	return spares != 0;
}

bool rdm_stacks_spare(const char *page)
{
	for (unsigned i = 0; i < spares; i++)
		if ((uintptr_t)page - ((uintptr_t)spared[i] - RDM_SPARED_BYTES) <
		    2 * RDM_SPARED_BYTES)
			return true;
	return false;
}
