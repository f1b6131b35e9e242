/* SPDX-License-Identifier: BSD-2-Clause */
#include "heap/tls.h"

#include "heap/cache.h"

struct rdm_cache rdm_tls_no_cache = { .heap = RDM_NO_HEAP };

__thread struct rdm_tls rdm_tls = { .hot = { [0 ... RDM_TLS_PLACES - 1] = &rdm_tls_no_cache } };

void rdm_tls_cool(void)
{
	for (size_t i = 0; i < RDM_TLS_PLACES; i++)
		rdm_tls.hot[i] = &rdm_tls_no_cache;
}

#ifdef RDM_STATIC_TLS

intptr_t rdm_tls_distance;

bool rdm_tls_open(void)
{
	intptr_t pointer, distance;
	const intptr_t *descriptor;

	__asm__("mov %%fs:0, %0" : "=r"(pointer));
	distance = (intptr_t)&rdm_tls - pointer;
	/* Where the program itself contains us, the linker puts the distance here instead. */
	__asm__("lea rdm_tls@tlsdesc(%%rip), %0" : "=a"(descriptor));
	if ((intptr_t)descriptor != distance &&
	    ((intptr_t)descriptor < 0 || descriptor[1] != distance))
		return false;
	rdm_tls_distance = distance;
	return true;
}

#else

bool rdm_tls_open(void)
{
	return true;
}

#endif
