/* SPDX-License-Identifier: BSD-2-Clause */
#include "sync/interrupted.h"

#ifdef RDM_PRELOAD
__thread volatile unsigned rdm_calls_under_way;
#endif
