/* SPDX-License-Identifier: BSD-2-Clause */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <dirent.h>
#include <time.h>
#include <unistd.h>

#if T_TSAN
const char *__tsan_default_options(void);
const char *__tsan_default_suppressions(void);

/*
 * Tests start threads in the child of a threaded parent on purpose, and jemalloc
 * holds more locks across a fork than the deadlock detector has room for.
 */
const char *__tsan_default_options(void)
{
	return "die_after_fork=0:detect_deadlocks=0:report_thread_leaks=0";
}

/*
 * jemalloc makes its locks anew in a child, where they are held, and what they order from
 * then on is lost on TSan: there jemalloc seems to race with itself when it clears memory.
 */
const char *__tsan_default_suppressions(void)
{
	return "mutex:jemalloc/internal/mutex.h\n"
	       "race:arena_malloc_small\n"
	       "race:bitmap_init\n";
}
#endif

static void say(int fd, const char *before, const char *fmt, va_list args)
{
	char line[1024];
	int used = snprintf(line, sizeof(line), "%s", before);
	int more = vsnprintf(line + used, sizeof(line) - (size_t)used - 1, fmt, args);

	used += more < (int)sizeof(line) - used - 1 ? more : (int)sizeof(line) - used - 2;
	line[used++] = '\n';
	(void)!write(fd, line, (size_t)used);
}

void t_fail(const char *file, int line, const char *fmt, ...)
{
	char before[128];
	va_list args;

	snprintf(before, sizeof(before), "%s:%d: [%d] ", file, line, (int)getpid());
	va_start(args, fmt);
	say(STDERR_FILENO, before, fmt, args);
	va_end(args);
	_exit(T_FAIL);
}

void t_skip(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say(STDOUT_FILENO, "SKIP: ", fmt, args);
	va_end(args);
	_exit(T_SKIP);
}

void t_say(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say(STDOUT_FILENO, "", fmt, args);
	va_end(args);
}

bool t_quick(void)
{
	static int quick = -1;
	const char *value;

	if (quick < 0) {
		value = getenv("RDM_TEST_QUICK");
		quick = value && *value && strcmp(value, "0");
		if (quick)
			t_say("RDM_TEST_QUICK: a short run");
	}
	return quick;
}

uint64_t t_seed(void)
{
	const char *value = getenv("RDM_TEST_SEED");
	struct timespec now;
	uint64_t seed;

	if (value && *value) {
		seed = strtoull(value, NULL, 0);
	} else {
		clock_gettime(CLOCK_REALTIME, &now);
		seed = (uint64_t)now.tv_sec * 1000000007 + (uint64_t)now.tv_nsec;
	}
	t_say("RDM_TEST_SEED=%llu", (unsigned long long)seed);
	return seed;
}

uint64_t t_rand(struct t_rng *rng)
{
	uint64_t z = rng->state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

uint64_t t_below(struct t_rng *rng, uint64_t n)
{
	return (uint64_t)((unsigned __int128)t_rand(rng) * n >> 64);
}

size_t t_log_uniform(struct t_rng *rng, size_t lo, size_t hi)
{
	unsigned first = 63 - (unsigned)__builtin_clzl(lo);
	unsigned last = 63 - (unsigned)__builtin_clzl(hi);
	size_t base = (size_t)1 << (first + t_below(rng, last - first + 1));
	size_t n = base + t_below(rng, base);

	return n < lo ? lo : n > hi ? hi : n;
}

size_t t_page(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

bool t_can_lock(size_t bytes)
{
	void *memory =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool can = memory != MAP_FAILED && !mlock(memory, bytes);

	if (memory != MAP_FAILED)
		munmap(memory, bytes);
	return can;
}

void t_configure(char **argv, const char *conf)
{
	if (getenv("RDMALLOC_CONF"))
		return;
	T_CHECK(!setenv("RDMALLOC_CONF", conf, 1));
	execv("/proc/self/exe", argv);
	T_CHECKF(false, "execv: %s", strerror(errno));
}

int t_again(const char *conf, size_t argument)
{
	char number[24];

	snprintf(number, sizeof(number), "%zu", argument);
	setenv("RDMALLOC_CONF", conf, 1);
	execl("/proc/self/exe", program_invocation_short_name, number, (char *)NULL);
	return T_FAIL;
}

/* One line of /proc/self/maps at a time; false at the end. */
static bool next_map(FILE *maps, uintptr_t *lo, uintptr_t *hi, char perms[5])
{
	char line[512];
	unsigned long first, last;

	while (fgets(line, sizeof(line), maps))
		if (sscanf(line, "%lx-%lx %4s", &first, &last, perms) == 3) {
			*lo = first;
			*hi = last;
			return true;
		}
	return false;
}

static FILE *open_maps(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");

	T_CHECKF(maps, "/proc/self/maps: %s", strerror(errno));
	return maps;
}

size_t t_vmas(uintptr_t lo, uintptr_t hi)
{
	FILE *maps = open_maps();
	uintptr_t first, last;
	char perms[5];
	size_t count = 0;

	while (next_map(maps, &first, &last, perms))
		count += first < hi && lo < last;
	fclose(maps);
	return count;
}

size_t t_vmas_total(void)
{
	return t_vmas(0, UINTPTR_MAX);
}

void t_reserve_of(uintptr_t addr, uintptr_t *lo, uintptr_t *hi)
{
	const uintptr_t gib = 1024 * T_MIB, most = 64 * gib;
	FILE *maps = open_maps();
	uintptr_t first, last;
	char perms[5];

	*lo = 0;
	while (!*lo && next_map(maps, &first, &last, perms))
		if (last > addr - most && first <= addr)
			*lo = first & ~(gib - 1);
	fclose(maps);
	T_CHECKF(*lo, "nothing is mapped at %p", (void *)addr);
	*hi = *lo + most;
}

size_t t_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	size_t count = 0;

	T_CHECK(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

size_t t_rss(void)
{
	FILE *statm = fopen("/proc/self/statm", "re");
	unsigned long pages = 0;

	T_CHECK(statm && fscanf(statm, "%*u %lu", &pages) == 1);
	fclose(statm);
	return pages * t_page();
}

static _Thread_local sigjmp_buf fault_return;

static void on_fault(int sig)
{
	(void)sig;
	siglongjmp(fault_return, 1);
}

bool t_faults(const volatile void *p, bool write)
{
	struct sigaction action = { .sa_handler = on_fault }, segv, bus;
	volatile unsigned char *byte = (volatile unsigned char *)p;
	volatile bool faulted = true;

	sigaction(SIGSEGV, &action, &segv);
	sigaction(SIGBUS, &action, &bus);
	if (!sigsetjmp(fault_return, 1)) {
		unsigned char value = *byte;

		if (write)
			*byte = value;
		faulted = false;
	}
	sigaction(SIGSEGV, &segv, NULL);
	sigaction(SIGBUS, &bus, NULL);
	return faulted;
}

int t_fork(int (*fn)(void *arg), void *arg)
{
	int status;
	pid_t pid = fork();

	T_CHECKF(pid >= 0, "fork: %s", strerror(errno));
	if (!pid)
		_exit(fn(arg));
	while (waitpid(pid, &status, 0) < 0)
		T_CHECKF(errno == EINTR, "waitpid: %s", strerror(errno));
	return status;
}

void t_fork_passes(int (*fn)(void *arg), void *arg)
{
	int status = t_fork(fn, arg);

	T_CHECKF(!status, "the child ended with status %#x", status);
}

void t_catch(struct t_caught *caught, int (*fn)(void *arg), void *arg)
{
	int fd[2];
	ssize_t got;
	pid_t pid;

	memset(caught, 0, sizeof(*caught));
	T_CHECK(!pipe2(fd, O_CLOEXEC));
	pid = fork();
	T_CHECKF(pid >= 0, "fork: %s", strerror(errno));
	if (!pid) {
		dup2(fd[1], STDERR_FILENO);
		close(fd[0]);
		close(fd[1]);
		_exit(fn(arg));
	}
	close(fd[1]);
	do {
		got = read(fd[0], caught->err + caught->len, sizeof(caught->err) - 1 - caught->len);
		if (got > 0)
			caught->len += (size_t)got;
	} while (got > 0 || (got < 0 && errno == EINTR));
	close(fd[0]);
	while (waitpid(pid, &caught->status, 0) < 0)
		T_CHECKF(errno == EINTR, "waitpid: %s", strerror(errno));
}

size_t t_lines(const char *text)
{
	size_t count = 0;

	for (; *text; text++)
		count += *text == '\n';
	return count;
}

void t_caught_abort(const struct t_caught *caught, const void *ptr, const char *word)
{
	char name[32];

	snprintf(name, sizeof(name), "%p", ptr);
	T_CHECKF(WIFSIGNALED(caught->status) && WTERMSIG(caught->status) == SIGABRT,
		 "status %#x is no SIGABRT; stderr: %s", caught->status, caught->err);
	T_CHECKF(t_lines(caught->err) == 1, "not one line: %s", caught->err);
	T_CHECKF(strstr(caught->err, name), "no %s in: %s", name, caught->err);
	T_CHECKF(strstr(caught->err, word), "no '%s' in: %s", word, caught->err);
}

void t_caught_line(const struct t_caught *caught, const char *a, const char *b)
{
	T_CHECKF(!caught->status, "the child ended with status %#x: %s", caught->status,
		 caught->err);
	T_CHECKF(t_lines(caught->err) == 1, "not one line: '%s'", caught->err);
	T_CHECKF(!a || strstr(caught->err, a), "no '%s' in: %s", a, caught->err);
	T_CHECKF(!b || strstr(caught->err, b), "no '%s' in: %s", b, caught->err);
}

void t_pin_take(struct t_pin *pin, void *addr, size_t len)
{
	struct iovec iov = { .iov_base = addr, .iov_len = len };
	ssize_t got;

	T_CHECK(!pipe2(pin->fd, O_CLOEXEC));
	got = vmsplice(pin->fd[1], &iov, 1, 0);
	T_CHECKF(got == (ssize_t)len, "vmsplice: %zd: %s", got, strerror(errno));
	pin->len = len;
}

void t_pin_read(struct t_pin *pin, void *buf)
{
	size_t done = 0;
	ssize_t got;

	while (done < pin->len) {
		got = read(pin->fd[0], (char *)buf + done, pin->len - done);
		T_CHECKF(got > 0, "read: %s", strerror(errno));
		done += (size_t)got;
	}
	close(pin->fd[0]);
	close(pin->fd[1]);
}

void t_event_init(struct t_event *event)
{
	T_CHECK(!pipe2(event->fd, O_CLOEXEC));
}

void t_event_set(struct t_event *event)
{
	T_CHECK(write(event->fd[1], "", 1) == 1);
}

void t_event_wait(struct t_event *event)
{
	char byte;
	ssize_t got;

	do
		got = read(event->fd[0], &byte, 1);
	while (got < 0 && errno == EINTR);
	T_CHECKF(got == 1, "read: %s", strerror(errno));
}

static bool is_set(struct t_event *event)
{
	struct pollfd ready = { .fd = event->fd[0], .events = POLLIN };

	return poll(&ready, 1, 0) == 1;
}

void t_event_destroy(struct t_event *event)
{
	close(event->fd[0]);
	close(event->fd[1]);
}

void t_meeting_init(struct t_meeting *meeting)
{
	t_event_init(&meeting->inside);
	t_event_init(&meeting->through);
	meeting->coming = 0;
	meeting->overtaken = false;
	meeting->armed = true;
}

void t_meeting_destroy(struct t_meeting *meeting)
{
	t_event_destroy(&meeting->inside);
	t_event_destroy(&meeting->through);
}

/* Of a thread of this process: 'R' while it wants the CPU. */
static char state_of(pid_t thread)
{
	char path[64], text[512] = "";
	const char *rest;
	FILE *stat;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)thread);
	stat = fopen(path, "re");
	T_CHECK(stat && fread(text, 1, sizeof(text) - 1, stat));
	fclose(stat);
	rest = strrchr(text, ')');
	T_CHECK(rest && rest[1] == ' ');
	return rest[2];
}

/* It may sleep for a moment on the way, too: in the kernel, or for a lock that is soon free. */
void t_meeting_stay(struct t_meeting *meeting)
{
	const struct timespec moment = { .tv_nsec = 1000000 };
	unsigned asleep = 0;

	if (!atomic_exchange(&meeting->armed, false))
		return;
	t_event_set(&meeting->inside);
	while (asleep < 50 && !meeting->overtaken) {
		pid_t coming = meeting->coming;

		asleep = coming && state_of(coming) == 'S' ? asleep + 1 : 0;
		meeting->overtaken = is_set(&meeting->through);
		nanosleep(&moment, NULL);
	}
}

void t_meeting_come(struct t_meeting *meeting)
{
	t_event_wait(&meeting->inside);
	meeting->coming = gettid();
}

void t_meeting_through(struct t_meeting *meeting)
{
	t_event_set(&meeting->through);
}

void t_spurts_start(struct t_spurts *spurts)
{
	pthread_mutex_lock(&spurts->lock);
	spurts->number++;
	pthread_cond_broadcast(&spurts->starts);
	pthread_mutex_unlock(&spurts->lock);
}

void t_spurts_await(struct t_spurts *spurts, uint64_t *last)
{
	pthread_mutex_lock(&spurts->lock);
	while (spurts->number <= *last)
		pthread_cond_wait(&spurts->starts, &spurts->lock);
	*last = spurts->number;
	pthread_mutex_unlock(&spurts->lock);
}
