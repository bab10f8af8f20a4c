/* The C library's part in GNU MIG's stubs, and the way to the test. */
#include <stdlib.h>
#include <mach/mig_support.h>
#include "wire.h"

struct wire_host wire_host;

void
wire_start (const struct wire_host *host)
{
  wire_host = *host;
}

mach_msg_return_t
__mach_msg (mach_msg_header_t *message, mach_msg_option_t option, mach_msg_size_t send_size,
            mach_msg_size_t receive_size, mach_port_t receive_name, mach_msg_timeout_t timeout, mach_port_t notify)
{
  return wire_host.message (message, option, send_size, receive_size);
}

mach_port_t
__mig_get_reply_port (void)
{
  return 0;
}

void
__mig_dealloc_reply_port (mach_port_t port)
{
}

void
__mig_put_reply_port (mach_port_t port)
{
}

/* Of a client whose room was too small; the test is over soon. */
void
__mig_allocate (vm_offset_t *address, vm_size_t size)
{
  *address = (vm_offset_t) malloc (size + 1);
}

/* The test owns all memory out of line. */
void
__mig_deallocate (vm_offset_t address, vm_size_t size)
{
}

mach_msg_return_t
__vm_deallocate (mach_port_t task, vm_offset_t address, vm_size_t size)
{
  return 0;
}

/* Returns the length without the NUL that always ends the copy. */
vm_size_t
__mig_strncpy (char *to, const char *from, vm_size_t size)
{
  vm_size_t length = size ? strnlen (from, size - 1) : 0;
  if (size)
    {
      memcpy (to, from, length);
      memset (to + length, 0, size - length);
    }
  return length;
}
