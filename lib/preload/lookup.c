/* SPDX-License-Identifier: BSD-2-Clause */
#include "preload/lookup.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/contract.h"

/* Of a symbol's version: it is not the one that a name alone means. */
#define NOT_DEFAULT 0x8000

extern ElfW(Dyn) _DYNAMIC[] __attribute__((visibility("hidden")));
/* Where this library begins and ends, as the linker says. */
extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char _end[] __attribute__((visibility("hidden")));

/* The last object that was there when constructors began; NULL: they have not. */
static const struct link_map *last_at_start;

struct object {
	uintptr_t base;
	const ElfW(Sym) * symbols;
	const char *strings;
	size_t strings_size;
	const ElfW(Half) * versions;
	const uint32_t *hash;  /* as GNU has it, or NULL */
	const uint32_t *table; /* as System V has it, or NULL */
};

/* The loader relocates these pointers, but not in every object. */
static const void *pointer(const struct link_map *map, ElfW(Addr) value)
{
	return (const void *)(value < map->l_addr ? value + map->l_addr : value);
}

static bool read_object(const struct link_map *map, struct object *object)
{
	*object = (struct object){ .base = map->l_addr };
	for (const ElfW(Dyn) *entry = map->l_ld; entry && entry->d_tag != DT_NULL; entry++) {
		const void *at = pointer(map, entry->d_un.d_ptr);

		if (entry->d_tag == DT_SYMTAB)
			object->symbols = at;
		else if (entry->d_tag == DT_STRTAB)
			object->strings = at;
		else if (entry->d_tag == DT_STRSZ)
			object->strings_size = entry->d_un.d_val;
		else if (entry->d_tag == DT_VERSYM)
			object->versions = at;
		else if (entry->d_tag == DT_GNU_HASH)
			object->hash = at;
		else if (entry->d_tag == DT_HASH)
			object->table = at;
	}
	return object->symbols && object->strings && (object->hash || object->table);
}

static bool has_name(const struct object *object, uint32_t i, const char *name)
{
	return !strcmp(object->strings + object->symbols[i].st_name, name);
}

/* Whether it is a function's definition that a name alone means. */
static bool is_definition(const struct object *object, uint32_t i)
{
	unsigned type = ELF64_ST_TYPE(object->symbols[i].st_info);

	return object->symbols[i].st_shndx != SHN_UNDEF &&
	       (type == STT_FUNC || type == STT_NOTYPE) &&
	       ELF64_ST_BIND(object->symbols[i].st_info) != STB_LOCAL &&
	       !(object->versions && object->versions[i] & NOT_DEFAULT);
}

static uint32_t hash_of(const char *name)
{
	uint32_t hash = 5381;

	for (; *name; name++)
		hash = hash * 33 + (unsigned char)*name;
	return hash;
}

/* The number of the definition, or 0. */
static uint32_t find_by_hash(const struct object *object, const char *name, uint32_t hash)
{
	const uint32_t buckets = object->hash[0], first = object->hash[1];
	const uint32_t words = object->hash[2], shift = object->hash[3];
	const unsigned bits = 8 * sizeof(ElfW(Addr));
	const ElfW(Addr) *filter = (const void *)(object->hash + 4);
	const uint32_t *bucket = (const void *)(filter + words);
	const uint32_t *chain = bucket + buckets;
	ElfW(Addr) word = filter[hash / bits % words];

	if (!buckets || !(word >> hash % bits & word >> (hash >> shift) % bits & 1))
		return 0;
	for (uint32_t i = bucket[hash % buckets]; i >= first; i++) {
		uint32_t its = chain[i - first];

		if ((its | 1) == (hash | 1) && has_name(object, i, name) &&
		    is_definition(object, i))
			return i;
		if (its & 1)
			break;
	}
	return 0;
}

static void *find_in(const struct link_map *map, const char *name, uint32_t hash)
{
	struct object object;
	uint32_t found = 0;

	if (!read_object(map, &object))
		return NULL;
	if (object.hash)
		found = find_by_hash(&object, name, hash);
	else
		for (uint32_t i = object.table[1] - 1; i && !found; i--)
			if (is_definition(&object, i) && has_name(&object, i, name))
				found = i;
	return found ? (void *)(object.base + object.symbols[found].st_value) : NULL;
}

static const struct link_map *ourselves(void)
{
	const struct link_map *map = _r_debug.r_map;

	while (map && map->l_ld != _DYNAMIC)
		map = map->l_next;
	return map;
}

void *rdm_lookup_next_at_start(const char *name)
{
	const struct link_map *map = ourselves();
	uint32_t hash = hash_of(name);
	void *found = NULL;

	rdm_assert(*name);
	while (map && map != last_at_start && !found)
		if ((map = map->l_next))
			found = find_in(map, name, hash);
	return found;
}

void *rdm_lookup_next(const char *name)
{
	void *found = rdm_lookup_next_at_start(name);

	return found ? found : dlsym(RTLD_NEXT, name);
}

void *rdm_lookup_for(const char *name, const void *code)
{
	void *library, *found = NULL;
	Dl_info info;

	if (!dladdr(code, &info) || !info.dli_fname)
		return NULL;
	library = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
	if (library) {
		found = dlsym(library, name);
		dlclose(library);
	}
	return found;
}

bool rdm_lookup_is_ours(const void *code)
{
	return (uintptr_t)code >= (uintptr_t)__ehdr_start && (uintptr_t)code < (uintptr_t)_end;
}

/* Code of the C library and the loader. */
static struct code {
	uintptr_t from, length;
} libcs[2];

/* Where an object's own tables say that its code is. */
static struct code code_of(uintptr_t base)
{
	const ElfW(Ehdr) *header = (const void *)base;
	const ElfW(Phdr) *part = (const void *)(base + header->e_phoff);

	for (unsigned i = 0; i < header->e_phnum; i++)
		if (part[i].p_type == PT_LOAD && part[i].p_flags & PF_X)
			return (struct code){ base + part[i].p_vaddr, part[i].p_memsz };
	return (struct code){ 0 };
}

static void note_libcs(void)
{
	const struct link_map *map = ourselves();
	uint32_t hash = hash_of("gnu_get_libc_version");

	while (map && !find_in(map, "gnu_get_libc_version", hash))
		map = map->l_next;
	if (map)
		libcs[0] = code_of(map->l_addr);
	libcs[1] = code_of(_r_debug.r_ldbase);
}

/* Before all other constructors, and so before anything can be opened. */
__attribute__((constructor(101))) static void note_last(void)
{
	const struct link_map *map = ourselves();

	while (map && map->l_next)
		map = map->l_next;
	last_at_start = map;
	note_libcs();
}

bool rdm_lookup_is_libcs(const void *code)
{
	uintptr_t at = (uintptr_t)code;

	return at - libcs[0].from < libcs[0].length || at - libcs[1].from < libcs[1].length;
}

const char *rdm_lookup_before(const char *name)
{
	const struct link_map *us = ourselves();
	uint32_t hash = hash_of(name);

	for (const struct link_map *map = _r_debug.r_map; us && map && map != us; map = map->l_next)
		if (find_in(map, name, hash))
			return map->l_name;
	return NULL;
}

/*
 * Nothing says how many symbols there are, only that the strings, which linkers put behind them,
 * are none. What else stands there has no name that is asked for.
 */
static bool wants(const struct object *object, const char *name)
{
	const ElfW(Sym) *symbol = object->symbols;
	const ElfW(Sym) *end = (const void *)object->strings;

	for (; symbol + 1 <= end; symbol++)
		if (symbol->st_shndx == SHN_UNDEF && symbol->st_name < object->strings_size &&
		    !strcmp(object->strings + symbol->st_name, name))
			return true;
	return false;
}

bool rdm_lookup_is_wanted(const char *name)
{
	struct object object;

	for (const struct link_map *map = _r_debug.r_map; map; map = map->l_next) {
		if (read_object(map, &object) && wants(&object, name))
			return true;
		if (map == last_at_start)
			break;
	}
	return false;
}
