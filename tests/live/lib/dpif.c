/* As in ovs-vswitchd: what was received is printed, in a function of its own. */
#include "dpif.h"

#include <sys/socket.h>

__attribute__((noinline)) void dpif_print_packet(void *dpif, struct dpif_upcall *upcall)
{
	__asm__ volatile("" : : "r"(dpif), "r"(upcall) : "memory");
}

int dpif_recv(void *dpif, uint32_t handler_id, struct dpif_upcall *upcall, int fd)
{
	char *base = upcall->packet.base_;

	upcall->packet.size_ = recv(fd, base + upcall->packet.data_ofs, 1 << 15, 0);
	upcall->type = DPIF_UC_MISS;
	dpif_print_packet(dpif, upcall);
	return handler_id;
}
