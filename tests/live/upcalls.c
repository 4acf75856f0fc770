/* Has the USDT probes of ovs-vswitchd: for each number that it reads, so many datagrams are taken for upcalls, and then
 * answered, the last one first. */
#include <sys/sdt.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define MOST 8
#define KEY_BYTES 200

static char packets[MOST][1 << 15], keys[MOST][KEY_BYTES];

struct flow_put {
	int flags;
	const void *key;
	size_t key_len;
};

static void answer(int i, size_t bytes)
{
	struct flow_put put = { 1, keys[i], KEY_BYTES };

	memcpy(keys[i], packets[i], KEY_BYTES);
	DTRACE_PROBE4(dpif_netlink_operate__, op_flow_put, 1, &put, 2, 3);
	DTRACE_PROBE5(dpif_netlink_operate__, op_flow_execute, 1, 2, packets[i], (unsigned)bytes, 3);
}

int main(int argc, char **argv)
{
	struct sockaddr_in here = { .sin_family = AF_INET, .sin_port = htons(atoi(argv[argc - 1])) };
	int fd = socket(AF_INET, SOCK_DGRAM, 0), ok = bind(fd, (void *)&here, sizeof(here));
	size_t bytes[MOST];
	char line[20];

	printf("%d\n", ok);
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		int count = atoi(line);

		for (int i = 0; i < count && i < MOST; i++) {
			bytes[i] = recv(fd, packets[i], sizeof(packets[i]), 0);
			DTRACE_PROBE6(dpif_recv, recv_upcall, "system@ovs-system", 0, packets[i], (unsigned)bytes[i],
				      packets[i], (size_t)KEY_BYTES);
		}
		for (int i = count; i--;)
			answer(i, bytes[i]);
		printf("%d\n", count);
		fflush(stdout);
	}
	return 0;
}
