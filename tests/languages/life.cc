/* SPDX-License-Identifier: BSD-2-Clause */
/* A buffer's life, see life.c. */
#include <algorithm>
#include <array>
#include <cstdio>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rdmalloc.hpp>

namespace
{

constexpr size_t length = 10000;
constexpr uint32_t lkey = 7;

int reg(void *context, void *, size_t, rdm_mr *mr)
{
	++*static_cast<unsigned *>(context);
	*mr = { lkey, 0, nullptr };
	return 0;
}

int dereg(void *context, const rdm_mr *mr)
{
	--*static_cast<unsigned *>(context);
	return mr->lkey != lkey;
}

void must(bool done, const char *what)
{
	if (!done)
		throw std::system_error(errno, std::generic_category(), what);
}

template <typename Bytes> bool all_are(const Bytes &bytes, unsigned char value)
{
	return std::all_of(bytes.begin(), bytes.end(),
			   [=](unsigned char byte) { return byte == value; });
}

void live()
{
	rdm_pool_config config = rdm::config();
	rdm_registrar registrar = { sizeof(registrar), "a pipe", 0, reg, dereg };
	unsigned registered = 0;
	std::array<unsigned char, length> received;
	int device[2], gate[2], status;
	char go = 0;

	config.name = "life";
	config.fork = RDM_FORK_COPY;
	rdm::pool pool(config);
	must(!pipe(device) && !pipe(gate), "pipe");
	std::printf("rail: %d\n", pool.add_rail(registrar, &registered));

	{
		using bytes = std::vector<unsigned char, rdm::allocator<unsigned char>>;
		bytes buffer(length, 1, rdm::allocator<unsigned char>(pool));
		std::printf("registered: %u\n", registered);
		auto key = rdm::key(&buffer.back());
		auto *base = static_cast<unsigned char *>(key.base);
		std::printf("key: %u, of all of it: %d\n", key.lkey,
			    base <= buffer.data() && base + key.length >= buffer.data() + length);

		iovec pages = { buffer.data(), length };
		must(vmsplice(device[1], &pages, 1, 0) == length, "vmsplice");
		pid_t child = fork();
		must(child >= 0, "fork");
		if (!child) {
			if (read(gate[0], &go, 1) != 1 || !all_are(buffer, 1))
				_exit(1);
			std::fill(buffer.begin(), buffer.end(), 3);
			_exit(0);
		}
		std::fill(buffer.begin(), buffer.end(), 2);
		must(write(gate[1], &go, 1) == 1 && waitpid(child, &status, 0) == child, "child");
		std::printf("the child read what was written before it: %d\n", !status);
		must(read(device[0], received.data(), length) == length, "read");
		std::printf("the device read what was written since: %d\n", all_are(received, 2));
		std::printf("and so did the parent: %d\n", all_are(buffer, 2));
	}
	std::printf("live: %zu\n", pool.stats().live_blocks);
	pool.destroy();
	std::printf("registered: %u\n", registered);
}

} /* namespace */

int main()
{
	try {
		live();
	} catch (const std::exception &e) {
		std::fprintf(stderr, "%s\n", e.what());
		return 1;
	}
}
