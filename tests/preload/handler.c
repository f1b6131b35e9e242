/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A library whose constructor, which comes before the preload's, registers fork handlers:
 * the child's one looks at memory that is registered later.
 */
#include <pthread.h>
#include <stddef.h>

extern unsigned char *volatile handler_block;
extern volatile unsigned handler_saw;

unsigned char *volatile handler_block;
volatile unsigned handler_saw;

static void look(void)
{
	if (handler_block)
		handler_saw = handler_block[0];
}

__attribute__((constructor)) static void begin(void)
{
	pthread_atfork(NULL, NULL, look);
}
