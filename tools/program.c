/* SPDX-License-Identifier: BSD-2-Clause */
#include "program.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void read_script(const char *head, struct program *elf)
{
	const char *word = head + 2 + strspn(head + 2, " \t");

	elf->is_script = true;
	snprintf(elf->interpreter, sizeof(elf->interpreter), "%.*s", (int)strcspn(word, " \t\n"),
		 word);
}

/* The fields that count are in the same places in both classes' headers, but for these. */
static bool has_interpreter(int fd, const unsigned char *head, unsigned class)
{
	const Elf64_Ehdr *wide = (const void *)head;
	const Elf32_Ehdr *narrow = (const void *)head;
	bool is_wide = class == ELFCLASS64;
	off_t at = is_wide ? (off_t)wide->e_phoff : (off_t)narrow->e_phoff;
	unsigned count = is_wide ? wide->e_phnum : narrow->e_phnum;
	size_t size = is_wide ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);

	for (unsigned i = 0; i < count; i++) {
		Elf32_Word type;

		if (pread(fd, &type, sizeof(type), at + (off_t)(i * size)) != sizeof(type))
			return false;
		if (type == PT_INTERP)
			return true;
	}
	return false;
}

/* As long as those that are looked for. */
#define NAME_BYTES ((size_t)16)

/* Its runtime has a malloc of its own, and the program refers to that by name. */
static const char *find_sanitizer(int fd)
{
	static const struct {
		const char *symbol, *name;
	} known[] = {
		{ "__asan_init", "AddressSanitizer" },
		{ "__tsan_init", "ThreadSanitizer" },
		{ "__msan_init", "MemorySanitizer" },
	};
	static char text[1 << 16];
	struct stat info;
	size_t kept = 0;
	ssize_t got;

	/* No further than it was at first, and not mapped: somebody may write to it. */
	if (fstat(fd, &info))
		return NULL;
	for (off_t at = 0; at < info.st_size; at += got) {
		got = pread(fd, text + kept, sizeof(text) - kept, at);
		if (got <= 0)
			return NULL;
		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
			if (memmem(text, kept + (size_t)got, known[i].symbol,
				   strlen(known[i].symbol) + 1))
				return known[i].name;
		kept += (size_t)got;
		/* A name may be cut in two. */
		if (kept > NAME_BYTES) {
			memmove(text, text + kept - NAME_BYTES, NAME_BYTES);
			kept = NAME_BYTES;
		}
	}
	return NULL;
}

/*
 * Only a file can be run, as execve(2) says it. What is none is not even opened: a pipe would
 * wait for somebody who writes, and a device may do anything.
 */
static int open_file(const char *path)
{
	struct stat info;
	int fd;

	if (stat(path, &info))
		return -1;
	if (!S_ISREG(info.st_mode)) {
		errno = EACCES;
		return -1;
	}
	/* It may be another one by now. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd >= 0 && (fstat(fd, &info) || !S_ISREG(info.st_mode))) {
		close(fd);
		errno = EACCES;
		return -1;
	}
	return fd;
}

int program_read(const char *path, struct program *elf)
{
	_Alignas(Elf64_Ehdr) unsigned char head[256] = { 0 };
	int fd = open_file(path);
	ssize_t got;

	*elf = (struct program){ .is_elf = false };
	if (fd < 0)
		return -1;
	got = read(fd, head, sizeof(head) - 1);
	if (got > 2 && head[0] == '#' && head[1] == '!') {
		read_script((const char *)head, elf);
	} else if (got >= (ssize_t)sizeof(Elf32_Ehdr) && !memcmp(head, ELFMAG, SELFMAG)) {
		elf->is_elf = true;
		elf->class = head[EI_CLASS];
		elf->machine = ((const Elf64_Ehdr *)(const void *)head)->e_machine;
		elf->is_dynamic = has_interpreter(fd, head, elf->class);
		elf->sanitizer = find_sanitizer(fd);
	}
	close(fd);
	return 0;
}

const char *machine_name(unsigned machine)
{
	static char number[32];

	switch (machine) {
	case EM_X86_64:
		return "x86-64";
	case EM_386:
		return "i386";
	case EM_AARCH64:
		return "aarch64";
	case EM_ARM:
		return "arm";
	case EM_PPC64:
		return "ppc64";
	case EM_S390:
		return "s390";
	case EM_RISCV:
		return "riscv";
	default:
		snprintf(number, sizeof(number), "ELF machine %u", machine);
		return number;
	}
}
