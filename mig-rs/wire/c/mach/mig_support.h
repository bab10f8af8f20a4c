/* What GNU MIG's stubs need of a C library; wire.c has it. */
#ifndef WIRE_MIG_SUPPORT_H
#define WIRE_MIG_SUPPORT_H
#include <string.h>
#include <mach/port.h>
#include <mach/message.h>
#include <mach/kern_return.h>

extern mach_port_t __mig_get_reply_port (void);
extern void __mig_dealloc_reply_port (mach_port_t port);
extern void __mig_put_reply_port (mach_port_t port);
extern void __mig_allocate (vm_offset_t *address, vm_size_t size);
extern void __mig_deallocate (vm_offset_t address, vm_size_t size);
extern vm_size_t __mig_strncpy (char *to, const char *from, vm_size_t size);
extern mach_msg_return_t __mach_msg (mach_msg_header_t *message, mach_msg_option_t option, mach_msg_size_t send_size,
                                     mach_msg_size_t receive_size, mach_port_t receive_name,
                                     mach_msg_timeout_t timeout, mach_port_t notify);
extern mach_msg_return_t __vm_deallocate (mach_port_t task, vm_offset_t address, vm_size_t size);
#endif
