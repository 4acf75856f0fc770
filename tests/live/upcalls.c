/* Has the USDT probes of ovs-vswitchd: for each number that it reads, so many datagrams are taken for upcalls, and then
 * answered, the last one first. With FUNCTIONS it has its functions in place of them. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#ifdef FUNCTIONS
#include "lib/dpif.h"
#else
#include <sys/sdt.h>
#endif

#define MOST 8
#define KEY_BYTES 200
#define BEFORE 6 /* in front of the packet in its memory */

static char packets[MOST][1 << 16], keys[MOST][KEY_BYTES];
static unsigned bytes[MOST];

#ifdef FUNCTIONS
static struct dpif_upcall upcalls[MOST];

static void receive(int i, int fd)
{
	upcalls[i].packet.base_ = packets[i];
	upcalls[i].packet.data_ofs = BEFORE;
	upcalls[i].key = packets[i] + BEFORE;
	upcalls[i].key_len = KEY_BYTES;
	dpif_recv(NULL, 0, &upcalls[i], fd);
}

static void answer(int count)
{
	struct dpif_op ops[3 * MOST], *pointers[3 * MOST];
	int n = 0;

	for (int i = count; i--; n += 3) {
		memcpy(keys[i], packets[i] + BEFORE, KEY_BYTES);
		ops[n] = (struct dpif_op){ DPIF_OP_FLOW_PUT, .flow_put = { 1, NULL, keys[i], KEY_BYTES } };
		ops[n + 1] = (struct dpif_op){ DPIF_OP_FLOW_GET };
		ops[n + 2] = (struct dpif_op){ DPIF_OP_EXECUTE, .execute = { .packet = &upcalls[i].packet } };
	}
	for (int i = 0; i < n; i++)
		pointers[i] = &ops[i];
	dpif_netlink_operate(NULL, pointers, n);
}
#else
struct flow_put {
	int flags;
	const void *key;
	size_t key_len;
};

static void receive(int i, int fd)
{
	bytes[i] = recv(fd, packets[i], sizeof(packets[i]), 0);
	DTRACE_PROBE6(dpif_recv, recv_upcall, "system@ovs-system", 0, packets[i], bytes[i], packets[i],
		      (size_t)KEY_BYTES);
}

static void answer(int count)
{
	for (int i = count; i--;) {
		struct flow_put put = { 1, keys[i], KEY_BYTES };

		memcpy(keys[i], packets[i], KEY_BYTES);
		DTRACE_PROBE4(dpif_netlink_operate__, op_flow_put, 1, &put, 2, 3);
		DTRACE_PROBE5(dpif_netlink_operate__, op_flow_execute, 1, 2, packets[i], bytes[i], 3);
	}
}
#endif

int main(int argc, char **argv)
{
	struct sockaddr_in here = { .sin_family = AF_INET, .sin_port = htons(atoi(argv[argc - 1])) };
	int fd = socket(AF_INET, SOCK_DGRAM, 0), ok = bind(fd, (void *)&here, sizeof(here));
	char line[20];

	printf("%d\n", ok);
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		int count = atoi(line);

		if (count > MOST)
			count = MOST;
		for (int i = 0; i < count; i++)
			receive(i, fd);
		answer(count);
		printf("%d\n", count);
		fflush(stdout);
	}
	return 0;
}
