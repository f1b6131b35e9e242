/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/ablate.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

static const struct {
	const char *name;
	enum rdm_ablation step;
} steps[] = {
	{ "dontfork", RDM_ABLATE_DONTFORK },
	{ "write", RDM_ABLATE_WRITE },
	{ "reassert", RDM_ABLATE_REASSERT },
	{ "merge", RDM_ABLATE_MERGE },
	{ "quiesce", RDM_ABLATE_QUIESCE },
	{ "wait", RDM_ABLATE_WAIT },
	{ "gate", RDM_ABLATE_GATE },
	{ "first", RDM_ABLATE_FIRST },
	{ "interrupted", RDM_ABLATE_INTERRUPTED },
	{ "unseen", RDM_ABLATE_UNSEEN },
	{ "cancel", RDM_ABLATE_CANCEL },
	{ "leave", RDM_ABLATE_LEAVE },
	{ "notes", RDM_ABLATE_NOTES },
};

static unsigned dropped;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void read_environment(void)
{
	const char *word = getenv("RDMALLOC_ABLATE");

	while (word && *word) {
		size_t length = strcspn(word, ",");
		unsigned found = 0;

		for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
			if (strlen(steps[i].name) == length &&
			    !strncmp(steps[i].name, word, length))
				found = steps[i].step;
		if (!found)
			rdm_die("RDMALLOC_ABLATE: no step is called '%.*s'", (int)length, word);
		dropped |= found;
		word += length + (word[length] == ',');
	}
}

bool rdm_ablated(enum rdm_ablation step)
{
	pthread_once(&once, read_environment);
	return dropped & step;
}
