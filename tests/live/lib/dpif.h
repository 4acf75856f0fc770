/* Of what ovs-vswitchd calls so, what tests need: members are elsewhere than there. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum dpif_op_type { DPIF_OP_FLOW_PUT = 1, DPIF_OP_FLOW_DEL, DPIF_OP_EXECUTE, DPIF_OP_FLOW_GET };

struct dp_packet {
	long before;
	void *base_;
	uint16_t allocated_, data_ofs;
	uint32_t size_;
};

struct dpif_upcall {
	enum { DPIF_UC_MISS, DPIF_UC_ACTION } type;
	struct dp_packet packet;
	void *key;
	size_t key_len;
};

struct dpif_flow_put {
	int flags;
	const void *mask, *key;
	size_t key_len;
};

struct dpif_execute {
	const void *actions;
	bool needs_help;
	struct dp_packet *packet;
};

struct dpif_op {
	enum dpif_op_type type;
	int error;
	union {
		struct dpif_flow_put flow_put;
		struct dpif_execute execute;
	};
};

int dpif_recv(void *dpif, uint32_t handler_id, struct dpif_upcall *upcall, int fd);
void dpif_print_packet(void *dpif, struct dpif_upcall *upcall);
void dpif_netlink_operate(void *dpif, struct dpif_op **ops, size_t n_ops);
