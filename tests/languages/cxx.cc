/* SPDX-License-Identifier: BSD-2-Clause */
/* rdmalloc.hpp: who owns what, and what fails how. */
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <list>
#include <map>
#include <string>
#include <system_error>
#include <vector>

#include <rdmalloc.hpp>

namespace
{

void must_at(bool true_, int line, const char *what)
{
	if (true_)
		return;
	std::fprintf(stderr, "line %d: %s is not so\n", line, what);
	std::exit(1);
}
#define must(what) must_at((what), __LINE__, #what)

/* The errno of what it throws; 0: nothing. */
int error_of(const std::function<void()> &call)
{
	try {
		call();
	} catch (const std::system_error &e) {
		return e.code().value();
	} catch (const std::bad_alloc &) {
		return ENOMEM;
	}
	return 0;
}

struct counted {
	static int alive;
	int number = 0;

	counted()
	{
		if (alive == 5)
			throw std::runtime_error("enough");
		alive++;
	}
	explicit counted(int n) : counted()
	{
		number = n;
	}
	~counted()
	{
		alive--;
	}
};
int counted::alive;

struct alignas(4096) page {
	char bytes[4096];
};

void containers(const rdm::pool &pool)
{
	rdm::memory_resource resource(pool), twin(pool);
	std::vector<float, rdm::allocator<float>> numbers(1000, 1.0f, rdm::allocator<float>(pool));
	std::list<int, rdm::allocator<int>> list{ rdm::allocator<int>(pool) };
	std::pmr::map<int, std::pmr::string> map(&resource);
	std::vector<page, rdm::allocator<page>> pages(3, rdm::allocator<page>(pool));

	list.push_back(1);
	map[1] = "a string that is too long for a string's own room";
	must(rdm_pool_of(numbers.data()) == pool.get());
	must(rdm_pool_of(&list.front()) == pool.get());
	must(rdm_pool_of(map[1].data()) == pool.get());
	must(reinterpret_cast<uintptr_t>(pages.data()) % 4096 == 0);
	must(resource == twin && resource != *std::pmr::new_delete_resource());
	auto moved = std::move(numbers);
	must(moved.get_allocator() == rdm::allocator<char>(pool));
	must(error_of([&] { (void)rdm::allocator<page>(pool).allocate(SIZE_MAX / 2); }) == ENOMEM);
}

void objects(const rdm::pool &pool)
{
	auto one = rdm::make_unique<counted>(pool, 3);
	auto some = rdm::make_unique<counted[]>(pool, 4);
	auto zeros = rdm::make_unique<int[]>(pool, 100);

	must(one->number == 3 && counted::alive == 5);
	must(zeros[0] == 0 && zeros[99] == 0);
	/* A constructor that throws leaves no block. */
	size_t live = pool.stats().live_blocks;
	bool thrown = false;
	try {
		rdm::make_unique<counted>(pool);
	} catch (const std::runtime_error &) {
		thrown = true;
	}
	must(thrown && pool.stats().live_blocks == live);
	some.reset();
	must(counted::alive == 1);
	try {
		thrown = false;
		rdm::make_unique<counted[]>(pool, 9);
	} catch (const std::runtime_error &) {
		thrown = true;
	}
	must(thrown && counted::alive == 1);
}

void pools()
{
	struct rdm_pool_config wrong = RDM_POOL_CONFIG_INIT;

	wrong.slab_size = 1;
	must(error_of([&] { rdm::pool pool(wrong); }) == EINVAL);
	rdm::pool one, two(std::move(one));
	must(!one.get() && two.get());
	one = std::move(two);
	must(one.get() && !two.get());
	{
		auto block = rdm::make_unique<int>(one, 1);
		must(error_of([&] { one.destroy(); }) == EBUSY && one.get());
		must(error_of([&] { (void)rdm::key(block.get()); }) == ENOENT);
		must(error_of([&] { (void)rdm::key(&one); }) == EINVAL);
		must(error_of([&] { one.remove_rail(0); }) == ENOENT);
	}
	one.reserve(8 << 20);
	must(one.stats().slab_bytes >= 8u << 20);
	must(one.audit().violations == 0);
	one.trim();
	must(one.stats().slab_bytes == 0);
	one.destroy();
	must(!one.get());
	wrong.slab_size = 0;
	wrong.limit = 4 << 20;
	rdm::pool small(wrong);
	must(error_of([&] { (void)rdm::allocator<char>(small).allocate(64 << 20); }) == ENOMEM);
}

} /* namespace */

int main()
{
	rdm::pool pool;

	containers(pool);
	objects(pool);
	must(pool.stats().live_blocks == 0 && counted::alive == 0);
	pools();
	return 0;
}
