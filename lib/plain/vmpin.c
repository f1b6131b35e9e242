/* SPDX-License-Identifier: BSD-2-Clause */
#include "plain/vmpin.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/contract.h"
#include "base/page.h"

#define AT_ONCE 512

/* Goes through the text a byte at a time, because the line may be cut anywhere. */
struct search {
	enum { LOOKING, BEFORE_NUMBER, IN_NUMBER, FOUND } at;
	unsigned matched;
	size_t kib;
};

static void look_at(struct search *search, char byte)
{
	static const char name[] = "\nVmPin:";

	if (search->at == LOOKING) {
		/* The newline is nowhere else in the name. */
		if (byte == name[search->matched])
			search->matched++;
		else
			search->matched = byte == name[0];
		if (search->matched == sizeof(name) - 1)
			search->at = BEFORE_NUMBER;
	} else if (byte >= '0' && byte <= '9') {
		search->at = IN_NUMBER;
		search->kib = 10 * search->kib + (size_t)(byte - '0');
	} else if (search->at == IN_NUMBER) {
		search->at = FOUND;
	}
}

static bool search_file(int fd, struct search *search)
{
	char text[AT_ONCE];
	ssize_t got;

	while (search->at != FOUND && (got = syscall(SYS_read, fd, text, sizeof(text))) > 0)
		for (ssize_t i = 0; i < got && search->at != FOUND; i++)
			look_at(search, text[i]);
	return search->at == FOUND;
}

static bool read_now(size_t *pages)
{
	struct search search = { .at = LOOKING };
	int saved = errno;
	int fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/status", O_RDONLY | O_CLOEXEC);
	bool found = fd >= 0 && search_file(fd, &search);

	if (fd >= 0)
		syscall(SYS_close, fd);
	errno = saved;
	if (found)
		*pages = search.kib * 1024 >> rdm_page_shift();
	return found;
}

enum { OPEN, CLOSED_WITH_NONE, CLOSED };
static int door = OPEN;

void rdm_vmpin_read_last(void)
{
	size_t pages;

	if (!rdm_vmpin_is_closed())
		__atomic_store_n(&door, read_now(&pages) && !pages ? CLOSED_WITH_NONE : CLOSED,
				 __ATOMIC_RELAXED);
}

bool rdm_vmpin_is_closed(void)
{
	return __atomic_load_n(&door, __ATOMIC_RELAXED) != OPEN;
}

bool rdm_vmpin_read(size_t *pages)
{
	rdm_assert(pages);
	if (!rdm_vmpin_is_closed())
		return read_now(pages);
	*pages = 0;
	return __atomic_load_n(&door, __ATOMIC_RELAXED) == CLOSED_WITH_NONE;
}
