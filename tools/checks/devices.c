/* SPDX-License-Identifier: BSD-2-Clause */
#include <glob.h>
#include <limits.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "config.h"
#include "read.h"
#include "traits.h"

#ifdef HAVE_VERBS
#include <errno.h>
#include <infiniband/verbs.h>
#endif

static const char *fork_variable(void)
{
	return getenv("RDMAV_FORK_SAFE") ? "RDMAV_FORK_SAFE" :
	       getenv("IBV_FORK_SAFE")   ? "IBV_FORK_SAFE" :
					   NULL;
}

static bool is_device_there(void)
{
	return !access("/sys/class/infiniband", F_OK);
}

#ifdef HAVE_VERBS

/* libibverbs asks through this, and takes silence for an old kernel. */
static bool can_be_asked(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_RDMA);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

void check_libibverbs(struct report *report)
{
	enum ibv_fork_status status;
	int number;
	/* This is what reads the variables. */
	struct ibv_device **list = ibv_get_device_list(&number);

	if (list)
		ibv_free_device_list(list);
	status = ibv_is_fork_initialized();
	if (status == IBV_FORK_UNNEEDED) {
		report_found(report, IS_FINE, "the kernel tells libibverbs that it copies on fork");
	} else if (status == IBV_FORK_ENABLED) {
		report_found(report, IS_FINE, "ibv_fork_init() is in force (%s)",
			     fork_variable() ? fork_variable() : "by itself");
	} else if (!can_be_asked()) {
		report_untested(report, "no RDMA in the kernel to ask");
	} else if (probe_trait_is(PROBE_PINNED_FORK, "yes")) {
		report_found(report, IS_NOTE,
			     "the kernel copies pinned pages on fork, and does not tell libibverbs "
			     "so: ibv_fork_init() is not needed");
	} else {
		report_found(report, IS_WARNING,
			     "libibverbs knows of no copy on fork: queues need ibv_fork_init()");
		advise(report, "rails of rdmalloc call it; for other programs:");
		advise_command(report, "export RDMAV_FORK_SAFE=1");
	}
}

static void refused_device(struct report *report, const char *name, int error)
{
	bool no_driver = error == ENODEV;

	report_found(report, IS_ERROR, "%s: libibverbs cannot open it: %s", name,
		     no_driver ? "no driver for it is installed" : strerror(error));
	advise(report, no_driver ? "install the drivers of rdma-core" :
				   "whoever uses it must be able to open uverbs*");
	if (no_driver)
		advise_command(report, "%sapt-get install ibverbs-providers",
			       geteuid() ? "sudo " : "");
	else
		advise_command(report, "ls -l /dev/infiniband");
}

static void show_attributes(struct report *report, const char *name, char *text, size_t size)
{
	struct ibv_device **list = ibv_get_device_list(NULL);
	struct ibv_device_attr attributes = { .max_mr = 0 };
	struct ibv_context *context = NULL;
	int error = ENODEV;

	for (size_t i = 0; list && list[i]; i++) {
		if (strcmp(ibv_get_device_name(list[i]), name) != 0)
			continue;
		context = ibv_open_device(list[i]);
		error = context ? ibv_query_device(context, &attributes) : errno;
		break;
	}
	if (error)
		refused_device(report, name, error);
	else
		snprintf(text, size, ", max_mr_size %s, %d regions",
			 bytes_text(attributes.max_mr_size), attributes.max_mr);
	if (context)
		ibv_close_device(context);
	if (list)
		ibv_free_device_list(list);
}

#else

void check_libibverbs(struct report *report)
{
	report_untested(report, "built without libibverbs");
}

static void show_attributes(struct report *report, const char *name, char *text, size_t size)
{
	(void)report, (void)name;
	snprintf(text, size, ", max_mr_size unknown (built without libibverbs)");
}

#endif

void check_fork_variables(struct report *report)
{
	const char *set = fork_variable();
	bool huge = getenv("RDMAV_HUGEPAGES_SAFE");
	const char *copies = probe_trait(PROBE_PINNED_FORK)->answer;

	if (!set) {
		report_found(report, huge ? IS_NOTE : IS_FINE,
			     huge ? "RDMAV_HUGEPAGES_SAFE alone does nothing" :
				    "RDMAV_FORK_SAFE and its like are not set");
	} else if (!strcmp(copies, "yes")) {
		report_found(report, IS_WARNING,
			     "%s is set, and not needed here: children find holes where memory is "
			     "registered",
			     set);
		advise(report, "unset it, unless fork() must not copy, for its time");
		advise_command(report, "unset RDMAV_FORK_SAFE IBV_FORK_SAFE RDMAV_HUGEPAGES_SAFE");
	} else {
		report_found(report, huge ? IS_FINE : IS_NOTE, "%s is set%s", set,
			     huge ? ", and RDMAV_HUGEPAGES_SAFE" : ": not good for huge pages");
		if (!huge)
			advise_command(report, "export RDMAV_HUGEPAGES_SAFE=1");
	}
}

static void read_attribute(char *text, size_t size, const char *device, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", device, name);
	if (!file_line(text, size, path))
		snprintf(text, size, "unknown");
}

/* "4: ACTIVE" */
static bool read_state(char *text, size_t size, const char *port)
{
	char state[64];

	read_attribute(state, sizeof(state), port, "state");
	snprintf(text, size, "%s", strchr(state, ' ') ? strchr(state, ' ') + 1 : state);
	return !strcmp(text, "ACTIVE");
}

static void advise_port(struct report *report, const char *port, const char *layer)
{
	const char *sudo = geteuid() ? "sudo " : "";
	char card[64];

	if (!strcmp(layer, "InfiniBand")) {
		advise(report, "see to the cable, and that there is a subnet manager");
		advise_command(report, "%ssystemctl start opensm", sudo);
		return;
	}
	advise(report, "see to the cable, and that the network card is up");
	read_attribute(card, sizeof(card), port, "gid_attrs/ndevs/0");
	if (strcmp(card, "unknown") != 0)
		advise_command(report, "%sip link set %s up", sudo, card);
}

static void show_ports(struct report *report, const char *device)
{
	const char *name = strrchr(device, '/') + 1;
	unsigned active = 0;
	char pattern[PATH_MAX];
	glob_t ports;

	snprintf(pattern, sizeof(pattern), "%s/ports/*", device);
	if (glob(pattern, 0, NULL, &ports))
		return;
	for (size_t i = 0; i < ports.gl_pathc; i++) {
		char state[64];

		active += read_state(state, sizeof(state), ports.gl_pathv[i]);
	}
	for (size_t i = 0; i < ports.gl_pathc; i++) {
		const char *port = ports.gl_pathv[i];
		char state[64], layer[64], rate[64];
		bool up = read_state(state, sizeof(state), port);

		read_attribute(layer, sizeof(layer), port, "link_layer");
		read_attribute(rate, sizeof(rate), port, "rate");
		/* Of two ports often one is used. */
		report_found(report,
			     up     ? IS_FINE :
			     active ? IS_NOTE :
				      IS_WARNING,
			     "%s port %s: %s, %s, %s", name, strrchr(port, '/') + 1, state, layer,
			     rate);
		if (!active)
			advise_port(report, port, layer);
	}
	globfree(&ports);
}

static void show_device(struct report *report, const char *device)
{
	const char *name = strrchr(device, '/') + 1;
	char node[64], attributes[128] = "";

	read_attribute(node, sizeof(node), device, "device/numa_node");
	show_attributes(report, name, attributes, sizeof(attributes));
	report_found(report, IS_FINE, "%s: NUMA node %s%s", name, node, attributes);
	show_ports(report, device);
}

/* One to try soft-RoCE on: the first network card that is up, and no loop. */
static void some_card(char *card)
{
	struct if_nameindex *cards = if_nameindex();

	snprintf(card, IF_NAMESIZE, "eth0");
	for (struct if_nameindex *each = cards; each && each->if_index; each++) {
		char path[128], state[32];

		snprintf(path, sizeof(path), "/sys/class/net/%s/operstate", each->if_name);
		if (strcmp(each->if_name, "lo") != 0 && file_line(state, sizeof(state), path) &&
		    !strcmp(state, "up")) {
			snprintf(card, IF_NAMESIZE, "%s", each->if_name);
			break;
		}
	}
	if (cards)
		if_freenameindex(cards);
}

void check_devices(struct report *report)
{
	char card[IF_NAMESIZE];
	glob_t devices;

	if (is_device_there() && !glob("/sys/class/infiniband/*", 0, NULL, &devices)) {
		for (size_t i = 0; i < devices.gl_pathc; i++)
			show_device(report, devices.gl_pathv[i]);
		globfree(&devices);
		return;
	}
	some_card(card);
	report_found(report, IS_WARNING, "there is no RDMA device%s",
		     is_device_there() ? "" : ", and no driver is loaded");
	advise(report, "load its driver; to try without one, soft-RoCE:");
	advise_command(report, "%srdma link add rxe0 type rxe netdev %s", geteuid() ? "sudo " : "",
		       card);
}
