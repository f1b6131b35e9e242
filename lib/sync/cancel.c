/* SPDX-License-Identifier: BSD-2-Clause */
#include "sync/cancel.h"

#include <pthread.h>

#include "base/ablate.h"

static __thread struct {
	unsigned depth;
	int state, type; /* what they were */
} own;

/* In this order: a signal handler that comes in between finds its way, and leaves no trace. */
void rdm_cancel_off(void)
{
	if (!own.depth && !rdm_ablated(RDM_ABLATE_CANCEL)) {
		int state, type;

		/* A signal that is on its way looks at the type only, up to glibc 2.36 at least. */
		pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &type);
		pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
		own.type = type;
		own.state = state;
	}
	own.depth++;
}

void rdm_cancel_on(void)
{
	int state = own.state, type = own.type;

	/* A child whose thread pointer is another than its parent's lets locks go that it never took. */
	if (!own.depth || --own.depth)
		return;
	if (rdm_ablated(RDM_ABLATE_CANCEL))
		return;
	pthread_setcancelstate(state, NULL);
	if (type != PTHREAD_CANCEL_DEFERRED)
		pthread_setcanceltype(type, NULL);
}
