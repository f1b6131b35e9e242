/* SPDX-License-Identifier: BSD-2-Clause */
#include "program.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
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
	const char *found = NULL;
	struct stat info;
	char *text;

	if (fstat(fd, &info) || !info.st_size)
		return NULL;
	text = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (text == MAP_FAILED)
		return NULL;
	for (size_t i = 0; !found && i < sizeof(known) / sizeof(known[0]); i++)
		if (memmem(text, (size_t)info.st_size, known[i].symbol,
			   strlen(known[i].symbol) + 1))
			found = known[i].name;
	munmap(text, (size_t)info.st_size);
	return found;
}

int program_read(const char *path, struct program *elf)
{
	_Alignas(Elf64_Ehdr) unsigned char head[256] = { 0 };
	int fd = open(path, O_RDONLY | O_CLOEXEC);
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
