/* SPDX-License-Identifier: BSD-2-Clause */
#include "rdmalloc.h"

#define TEXT(x) #x
#define VERSION(major, minor, patch) TEXT(major) "." TEXT(minor) "." TEXT(patch)

const char *rdm_version(void)
{
	return VERSION(RDM_VERSION_MAJOR, RDM_VERSION_MINOR, RDM_VERSION_PATCH);
}
