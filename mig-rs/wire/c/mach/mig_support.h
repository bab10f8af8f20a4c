/* What GNU MIG's stubs need of a C library, with each `-subrprefix`; wire.c has it. */
#ifndef WIRE_MIG_SUPPORT_H
#define WIRE_MIG_SUPPORT_H
#include <string.h>
#include <mach/port.h>
#include <mach/message.h>
#include <mach/kern_return.h>

#define WIRE_SUPPORT(prefix) \
extern mach_port_name_t prefix##mig_get_reply_port (void); \
extern void prefix##mig_dealloc_reply_port (mach_port_name_t port); \
extern void prefix##mig_put_reply_port (mach_port_name_t port); \
extern void prefix##mig_allocate (vm_offset_t *address, vm_size_t size); \
extern void prefix##mig_deallocate (vm_offset_t address, vm_size_t size); \
extern vm_size_t prefix##mig_strncpy (char *to, const char *from, vm_size_t size); \
extern mach_msg_return_t prefix##mach_msg (mach_msg_header_t *message, mach_msg_option_t option, \
                                           mach_msg_size_t send_size, mach_msg_size_t receive_size, \
                                           mach_port_name_t receive_name, mach_msg_timeout_t timeout, \
                                           mach_port_name_t notify); \
extern mach_msg_return_t prefix##vm_deallocate (mach_port_name_t task, vm_offset_t address, vm_size_t size);

WIRE_SUPPORT (__)
WIRE_SUPPORT (other_)
/* What an interface of interruptible calls makes of `__mach_msg`; see interruptible.h. */
WIRE_SUPPORT (__interruptible_)

/* The names of rights in a message, side by side; see `mended` in glue.rs. */
static inline mach_port_name_t *
wire_side_by_side (mach_port_name_inlined_t *rights, mach_msg_type_number_t count)
{
  mach_port_name_t *names = (mach_port_name_t *) rights;
  for (mach_msg_type_number_t i = 0; i < count; i++)
    names[i] = rights[i].name;
  return names;
}
#endif
