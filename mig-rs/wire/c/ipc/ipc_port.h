/* What GNU MIG's stubs of a kernel's server know of ports: addresses that they do not look behind. */
#ifndef WIRE_IPC_PORT_H
#define WIRE_IPC_PORT_H
#include <mach/boolean.h>

typedef struct ipc_port *ipc_port_t;
#define IP_VALID(port) ((port) != 0 && (port) != (ipc_port_t) -1)

/* Whether a receive right is sent to the port itself, which only a kernel with ports can know. */
extern boolean_t __ipc_port_check_circularity (ipc_port_t right, ipc_port_t destination);
/* Of a right that went into a reply whose receiver is gone. */
extern void __ipc_port_release_send (ipc_port_t right);
#endif
