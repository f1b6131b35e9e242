/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDMALLOC_HPP
#define RDMALLOC_HPP

/*
 * rdmalloc for C++17 and later: pools that end with their scope, an allocator for containers, a
 * std::pmr::memory_resource, and buffers that free themselves. All of it is in this header, and
 * calls librdmalloc.
 *
 * What fails throws: std::bad_alloc where a block could not be had, else std::system_error with the
 * errno that rdmalloc.h documents for the call of that name; one line on stderr says what to do.
 * Threads and fork() are as there, too.
 */

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <memory_resource>
#include <new>
#include <system_error>
#include <type_traits>
#include <utility>

#include <rdmalloc.h>

namespace rdm
{

namespace detail
{

[[noreturn]] inline void fail(const char *what)
{
	throw std::system_error(errno, std::generic_category(), what);
}

inline int check(int result, const char *what)
{
	if (result < 0)
		fail(what);
	return result;
}

/* Never NULL. */
inline void *allocate(rdm_pool *pool, std::size_t bytes, std::size_t alignment)
{
	/* Blocks of rdm_malloc() have these, and it is quicker. */
	void *block = alignment <= 64 ? rdm_malloc(pool, bytes) :
					rdm_aligned_alloc(pool, alignment, bytes);

	if (!block)
		throw std::bad_alloc();
	return block;
}

} /* namespace detail */

/* What rdm_pool_create() takes, with every field at its default. */
inline rdm_pool_config config()
{
	return RDM_POOL_CONFIG_INIT;
}

/* The keys of a pointer into any block, on one rail. */
inline struct rdm_key key(const void *pointer, int rail = 0)
{
	struct rdm_key found;

	detail::check(rdm_key(pointer, rail, &found), "rdm_key");
	return found;
}

/*
 * A pool that its owner's end destroys. While blocks are live that is refused, because a device
 * may still use them: a destructor cannot say so otherwise than by rdmalloc's one line, and
 * leaves the pool; destroy() throws.
 */
class pool
{
      public:
	explicit pool(const rdm_pool_config &wanted = config()) : handle(rdm_pool_create(&wanted))
	{
		if (!handle)
			detail::fail("rdm_pool_create");
	}
	pool(pool &&other) noexcept : handle(std::exchange(other.handle, nullptr))
	{
	}
	pool &operator=(pool &&other) noexcept
	{
		std::swap(handle, other.handle);
		return *this;
	}
	pool(const pool &) = delete;
	pool &operator=(const pool &) = delete;
	~pool()
	{
		if (handle)
			(void)rdm_pool_destroy(handle);
	}

	/* As rdm_pool_destroy(): when it throws, the pool is as before. */
	void destroy()
	{
		detail::check(rdm_pool_destroy(handle), "rdm_pool_destroy");
		handle = nullptr;
	}
	/* NULL after a move, destroy() or release(). */
	rdm_pool *get() const noexcept
	{
		return handle;
	}
	/* The pool is the caller's from now on. */
	rdm_pool *release() noexcept
	{
		return std::exchange(handle, nullptr);
	}

	/* Each returns the number of the rail. */
	int add_verbs(ibv_pd *pd, int access)
	{
		return detail::check(rdm_pool_add_verbs(handle, pd, access), "rdm_pool_add_verbs");
	}
	int add_uring(io_uring *ring, unsigned slots = 0)
	{
		return detail::check(rdm_pool_add_uring(handle, ring, slots), "rdm_pool_add_uring");
	}
	int add_rail(const rdm_registrar &registrar, void *context)
	{
		return detail::check(rdm_pool_add_rail(handle, &registrar, context),
				     "rdm_pool_add_rail");
	}
	void remove_rail(int rail)
	{
		detail::check(rdm_pool_remove_rail(handle, rail), "rdm_pool_remove_rail");
	}

	void reserve(std::size_t bytes)
	{
		detail::check(rdm_pool_reserve(handle, bytes), "rdm_pool_reserve");
	}
	void trim(std::size_t keep = 0)
	{
		detail::check(rdm_pool_trim(handle, keep), "rdm_pool_trim");
	}
	void reset()
	{
		detail::check(rdm_pool_reset(handle), "rdm_pool_reset");
	}
	rdm_stats stats() const
	{
		rdm_stats found;

		found.size = sizeof(found);
		detail::check(rdm_pool_stats(handle, &found), "rdm_pool_stats");
		return found;
	}
	rdm_audit audit() const
	{
		rdm_audit found;

		found.size = sizeof(found);
		detail::check(rdm_pool_audit(handle, &found), "rdm_pool_audit");
		return found;
	}

      private:
	rdm_pool *handle;
};

/*
 * For containers: std::vector<float, rdm::allocator<float>> v(pool). What it makes must be gone
 * before its pool is. Two are equal when they have the same pool, and go with what is moved,
 * copied or swapped: a container stays registered where it was.
 */
template <typename T> class allocator
{
      public:
	using value_type = T;
	using propagate_on_container_copy_assignment = std::true_type;
	using propagate_on_container_move_assignment = std::true_type;
	using propagate_on_container_swap = std::true_type;
	using is_always_equal = std::false_type;

	explicit allocator(rdm_pool *from) noexcept : handle(from)
	{
	}
	explicit allocator(const rdm::pool &from) noexcept : handle(from.get())
	{
	}
	template <typename U> allocator(const allocator<U> &other) noexcept : handle(other.pool())
	{
	}

	[[nodiscard]] T *allocate(std::size_t count)
	{
		if (count > std::numeric_limits<std::size_t>::max() / sizeof(T))
			throw std::bad_array_new_length();
		return static_cast<T *>(detail::allocate(handle, count * sizeof(T), alignof(T)));
	}
	void deallocate(T *block, std::size_t) noexcept
	{
		rdm_free(block);
	}
	rdm_pool *pool() const noexcept
	{
		return handle;
	}

      private:
	rdm_pool *handle;
};

template <typename T, typename U>
bool operator==(const allocator<T> &one, const allocator<U> &other) noexcept
{
	return one.pool() == other.pool();
}

template <typename T, typename U>
bool operator!=(const allocator<T> &one, const allocator<U> &other) noexcept
{
	return !(one == other);
}

/* For std::pmr's containers. The pool must outlive it, and it what it makes. */
class memory_resource : public std::pmr::memory_resource
{
      public:
	explicit memory_resource(rdm_pool *from) noexcept : handle(from)
	{
	}
	explicit memory_resource(const rdm::pool &from) noexcept : handle(from.get())
	{
	}
	rdm_pool *pool() const noexcept
	{
		return handle;
	}

      private:
	void *do_allocate(std::size_t bytes, std::size_t alignment) override
	{
		return detail::allocate(handle, bytes, alignment);
	}
	void do_deallocate(void *block, std::size_t, std::size_t) override
	{
		rdm_free(block);
	}
	bool do_is_equal(const std::pmr::memory_resource &other) const noexcept override
	{
		const auto *ours = dynamic_cast<const memory_resource *>(&other);

		return ours && ours->handle == handle;
	}

	rdm_pool *handle;
};

/* Ends what make_unique() made. */
template <typename T> struct deleter {
	void operator()(T *object) const noexcept
	{
		object->~T();
		rdm_free(object);
	}
};

/* An array remembers how many there are. */
template <typename T> struct deleter<T[]> {
	std::size_t count = 0;

	void operator()(T *objects) const noexcept
	{
		for (std::size_t i = count; i--;)
			objects[i].~T();
		rdm_free(objects);
	}
};

template <typename T> using unique_ptr = std::unique_ptr<T, deleter<T>>;

/* An object in a block of the pool's. */
template <typename T, typename... Arguments>
std::enable_if_t<!std::is_array_v<T>, unique_ptr<T>> make_unique(const pool &from,
								 Arguments &&...arguments)
{
	void *block = detail::allocate(from.get(), sizeof(T), alignof(T));

	try {
		return unique_ptr<T>(::new (block) T(std::forward<Arguments>(arguments)...));
	} catch (...) {
		rdm_free(block);
		throw;
	}
}

/* make_unique<T[]>(pool, count): each value-initialised, so numbers are 0. */
template <typename T>
std::enable_if_t<std::is_array_v<T> && !std::extent_v<T>, unique_ptr<T>>
make_unique(const pool &from, std::size_t count)
{
	using object = std::remove_extent_t<T>;
	object *block = allocator<object>(from).allocate(count);

	try {
		std::uninitialized_value_construct_n(block, count);
	} catch (...) {
		rdm_free(block);
		throw;
	}
	return unique_ptr<T>(block, deleter<T>{ count });
}

} /* namespace rdm */

#endif
