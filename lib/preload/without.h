/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_PRELOAD_WITHOUT_H
#define RDM_PRELOAD_WITHOUT_H

/* At the end of config.h: the preload has plain memory only, and brings no library into every program. */

#undef HAVE_VERBS
#undef HAVE_URING
#undef HAVE_NUMA

#endif
