/* SPDX-License-Identifier: BSD-2-Clause */
/* Takes most of the static TLS that the loader keeps for late libraries. */

__thread char tls_user_bytes[1200] __attribute__((tls_model("initial-exec")));

char *tls_user_touch(void);
char *tls_user_touch(void)
{
	tls_user_bytes[0]++;
	return tls_user_bytes;
}
