/* SPDX-License-Identifier: BSD-2-Clause */
#include "heap/static_tls.h"

#include "heap/magazine.h"

#ifdef RDM_STATIC_TLS

intptr_t rdm_static_tls;

bool rdm_static_tls_open(void)
{
	intptr_t pointer, distance;
	const intptr_t *descriptor;

	__asm__("mov %%fs:0, %0" : "=r"(pointer));
	distance = (intptr_t)&rdm_magazine_tls - pointer;
	/* Where the program itself contains us, the linker puts the distance here instead. */
	__asm__("lea rdm_magazine_tls@tlsdesc(%%rip), %0" : "=a"(descriptor));
	if ((intptr_t)descriptor != distance &&
	    ((intptr_t)descriptor < 0 || descriptor[1] != distance))
		return false;
	rdm_static_tls = distance;
	return true;
}

#else

bool rdm_static_tls_open(void)
{
	return true;
}

#endif
