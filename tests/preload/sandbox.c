/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * In a sandbox (seccomp) that a program has entered, malloc makes no system call that it does
 * not make without the preload: any other ends the process here. By each way in, before the
 * first large block and after, in threads that start there, in children, and at the end.
 */
#include "start.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* What glibc's malloc, a log line and the end of a process need. */
static const int always[] = { SYS_write,   SYS_exit,   SYS_exit_group,     SYS_brk,
			      SYS_mmap,    SYS_munmap, SYS_mremap,         SYS_mprotect,
			      SYS_madvise, SYS_futex,  SYS_rt_sigprocmask, SYS_rt_sigreturn,
			      SYS_getpid,  SYS_gettid, SYS_clock_gettime,  SYS_getrandom };
/* To start threads and children. */
static const int starting[] = { SYS_clone, SYS_clone3, SYS_set_robust_list,
				SYS_rseq,  SYS_wait4,  SYS_tgkill };
enum {
	ALWAYS = sizeof(always) / sizeof(always[0]),
	STARTING = sizeof(starting) / sizeof(starting[0])
};

static void refused(int number, siginfo_t *info, void *context)
{
	char line[80];
	int length = snprintf(line, sizeof(line), "# system call %d\n", info->si_syscall);

	(void)number;
	(void)context;
	(void)!write(STDERR_FILENO, line, (size_t)length);
	_exit(T_FAIL);
}

static void enter(bool by_prctl, bool with_starting)
{
	struct sock_filter filter[2 * (ALWAYS + STARTING) + 2];
	struct sock_fprog program = { .filter = filter };
	struct sigaction action = { .sa_sigaction = refused, .sa_flags = SA_SIGINFO };
	unsigned short n = 0;

	filter[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						   offsetof(struct seccomp_data, nr));
	for (unsigned i = 0; i < ALWAYS + (with_starting ? STARTING : 0); i++) {
		unsigned call = (unsigned)(i < ALWAYS ? always[i] : starting[i - ALWAYS]);

		filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1);
		filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	}
	filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
	program.len = n;
	T_CHECK(!sigaction(SIGSYS, &action, NULL));
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    (by_prctl ? prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) :
			(int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program)))
		_exit(T_SKIP);
}

static void use_all(void)
{
	static const size_t sizes[] = { 100, 9000, 100000, 2 * T_MIB, 40 * T_MIB, 70 * T_MIB };

	for (unsigned round = 0; round < 20; round++)
		for (unsigned i = 0; i < 6; i++) {
			char *block = malloc(sizes[i]);

			T_CHECK(block);
			block[sizes[i] - 1] = 1;
			block = realloc(block, 2 * sizes[i]);
			T_CHECK(block && block[sizes[i] - 1] == 1);
			block = realloc(block, sizes[i] / 2);
			free(block);
			block = calloc(1, sizes[i]);
			T_CHECK(block && !block[sizes[i] - 1]);
			block[0] = 1;
			free(block);
			T_CHECK(!posix_memalign((void **)&block, 8192, sizes[i]));
			free(block);
		}
}

static void *work(void *arg)
{
	use_all();
	return arg;
}

static void threads(void)
{
	pthread_t thread[4];

	for (unsigned i = 0; i < 4; i++)
		T_CHECK(!pthread_create(&thread[i], NULL, work, NULL));
	for (unsigned i = 0; i < 4; i++)
		T_CHECK(!pthread_join(thread[i], NULL));
}

/* What two threads need to exist is found out with one that is outside. */
static void *nothing(void *arg)
{
	return arg;
}

static void start_one(void)
{
	pthread_t thread;

	T_CHECK(!pthread_create(&thread, NULL, nothing, NULL));
	T_CHECK(!pthread_join(thread, NULL));
}

static void children(void)
{
	for (unsigned i = 0; i < 3; i++) {
		int status;
		pid_t pid = fork();

		T_CHECK(pid >= 0);
		if (!pid) {
			use_all();
			_exit(0);
		}
		T_CHECK(waitpid(pid, &status, 0) == pid);
		T_CHECKF(!status, "child: status %#x", (unsigned)status);
		use_all();
	}
}

static void try(const char *what)
{
	bool starts = strchr(what, 't') || strchr(what, 'f');

	if (strchr(what, 'w'))
		use_all();
	if (starts)
		start_one();
	enter(strchr(what, 'p'), starts);
	use_all();
	if (strchr(what, 't'))
		threads();
	if (strchr(what, 'f'))
		children();
}

int main(int argc, char **argv)
{
	/* p: by prctl(), else by the system call; w: with a pool; t: threads; f: fork(). */
	static const char *const ways[] = { "p", "s", "pw", "sw", "pt", "pwt", "pf", "swf" };
	static const char *const confs[] = { "log:warn", "threshold:0", "report:1" };

	if (argc > 1) {
		try(argv[1]);
		exit(0);
	}
	t_preload(argv, false, NULL);
	for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		for (unsigned j = 0; j < sizeof(confs) / sizeof(confs[0]); j++)
			if (t_run(argv, ways[i], confs[j]))
				t_skip("there is no seccomp here");
	return T_PASS;
}
