/* SPDX-License-Identifier: BSD-2-Clause */
#include "plain/stacks.h"

#include <stdint.h>

#include "base/contract.h"
#include "base/log.h"
#include "base/page.h"
#include "memory/meta.h"
#include "sync/lock.h"

#define SPARED_MAX 64

struct rdm_stack {
	struct rdm_stack *next;
	const char *own; /* of the C library, from there to the end */
	char *end;
};

static struct rdm_stack *stacks;

static struct range {
	uintptr_t from, end;
} spared[SPARED_MAX];
static unsigned spares;

/* Of the thread: where its caller's frames begin. */
static __thread const char *frames;

struct rdm_stack *rdm_stacks_make(char *end)
{
	struct rdm_stack *stack = rdm_meta_alloc(sizeof(*stack));

	if (stack)
		*stack = (struct rdm_stack){ .own = end - RDM_STACK_ENDS_MAX, .end = end };
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

void rdm_stacks_set_own(const char *own, const char *end)
{
	rdm_assert(rdm_lock_has_rank(RDM_RANK_PINS));
	for (struct rdm_stack *stack = stacks; stack; stack = stack->next)
		if (stack->end == end && own > stack->own)
			stack->own = own;
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

void rdm_stacks_for_each(void (*call)(const char *from, const char *end))
{
	for (const struct rdm_stack *stack = stacks; stack; stack = stack->next)
		call(stack->own, stack->end);
}

void rdm_stacks_set_caller(const char *caller)
{
	frames = caller;
}

const char *rdm_stacks_above(const char *stack)
{
	/* A coroutine's stack may be another than the one where that was said. */
	if (frames > stack && (size_t)(frames - stack) < RDM_STACK_BELOW)
		return frames;
	return stack + RDM_STACK_ABOVE;
}

void rdm_stacks_spare_range(const char *from, const char *end)
{
	rdm_assert(spares <= SPARED_MAX);
	rdm_assert(from < end);
	if (spares < SPARED_MAX)
		spared[spares++] = (struct range){ (uintptr_t)from, (uintptr_t)end };
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
	uintptr_t at = (uintptr_t)page;

	for (unsigned i = 0; i < spares; i++)
		if (at < spared[i].end && at + rdm_page_size() > spared[i].from)
			return true;
	return false;
}
