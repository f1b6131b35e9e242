/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_CONTRACT_H
#define RDM_CONTRACT_H

/*
 * Contracts that are checked: in the checking build (configure --enable-checking) a contract
 * that is broken ends the process with a line, in every other build it costs nothing.
 */

#include "base/log.h"

#ifdef RDM_CHECKING
#define rdm_assert(condition)                                                                    \
	do {                                                                                     \
		if (__builtin_expect(!(condition), 0))                                           \
			rdm_die("%s:%d: %s: it should be that %s", __FILE__, __LINE__, __func__, \
				#condition);                                                     \
	} while (0)
#else
/* Looked at by the compiler only. */
#define rdm_assert(condition) ((void)sizeof((condition) ? 1 : 0))
#endif

#endif
