/* SPDX-License-Identifier: BSD-2-Clause */
/* A library with more of each thread than the loader keeps room for: it comes from malloc. */

static __thread char plugin_bytes[20000];

void plugin_touch(void);
void plugin_touch(void)
{
	plugin_bytes[0]++;
	plugin_bytes[sizeof(plugin_bytes) - 1]++;
}
