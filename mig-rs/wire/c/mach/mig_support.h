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

/* The names of rights in a message, side by side; see `mended` in glue.rs. */
static inline mach_port_name_t *
wire_names (mach_port_name_inlined_t *rights, mach_msg_type_number_t count)
{
  mach_port_name_t *names = (mach_port_name_t *) rights;
  for (mach_msg_type_number_t i = 0; i < count; i++)
    names[i] = rights[i].name;
  return names;
}
#endif
