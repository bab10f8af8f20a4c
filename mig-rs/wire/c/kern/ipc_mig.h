/* What a kernel's clients call; wire.c has it. */
#ifndef WIRE_IPC_MIG_H
#define WIRE_IPC_MIG_H
#include <mach/message.h>

extern mach_msg_return_t __mach_msg_send_from_kernel (mach_msg_header_t *message, mach_msg_size_t send_size);
extern mach_msg_return_t __mach_msg_rpc_from_kernel (mach_msg_header_t *message, mach_msg_size_t send_size,
                                                     mach_msg_size_t reply_size);
#endif
