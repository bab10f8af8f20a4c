/* The C library's and the kernel's part in GNU MIG's stubs, and the way to the test. */
#include <stdlib.h>
#include <mach/mig_support.h>
#include <ipc/ipc_port.h>
#include <kern/ipc_mig.h>
#include "wire.h"

struct wire_host wire_host;

void
wire_start (const struct wire_host *host)
{
  wire_host = *host;
}

mach_msg_return_t
__mach_msg (mach_msg_header_t *message, mach_msg_option_t option, mach_msg_size_t send_size,
            mach_msg_size_t receive_size, mach_port_name_t receive_name, mach_msg_timeout_t timeout, mach_port_name_t notify)
{
  struct wire_sent sent
    = { WIRE_MACH_MSG, option, send_size, receive_size, receive_name, timeout, notify };
  return wire_host.message (message, &sent);
}

mach_msg_return_t
__interruptible_mach_msg (mach_msg_header_t *message, mach_msg_option_t option, mach_msg_size_t send_size,
                          mach_msg_size_t receive_size, mach_port_name_t receive_name, mach_msg_timeout_t timeout,
                          mach_port_name_t notify)
{
  struct wire_sent sent
    = { WIRE_INTERRUPTIBLE, option, send_size, receive_size, receive_name, timeout, notify };
  return wire_host.message (message, &sent);
}

mach_msg_return_t
__mach_msg_send_from_kernel (mach_msg_header_t *message, mach_msg_size_t send_size)
{
  struct wire_sent sent = { WIRE_FROM_KERNEL, MACH_SEND_MSG, send_size };
  return wire_host.message (message, &sent);
}

mach_msg_return_t
__mach_msg_rpc_from_kernel (mach_msg_header_t *message, mach_msg_size_t send_size, mach_msg_size_t reply_size)
{
  struct wire_sent sent = { WIRE_FROM_KERNEL, MACH_SEND_MSG | MACH_RCV_MSG, send_size, reply_size };
  return wire_host.message (message, &sent);
}

boolean_t
__ipc_port_check_circularity (ipc_port_t right, ipc_port_t destination)
{
  return FALSE;
}

void
__ipc_port_release_send (ipc_port_t right)
{
}

mach_port_name_t
__mig_get_reply_port (void)
{
  return 0;
}

void
__mig_dealloc_reply_port (mach_port_name_t port)
{
}

void
__mig_put_reply_port (mach_port_name_t port)
{
}

void
__mig_allocate (vm_offset_t *address, vm_size_t size)
{
  *address = (vm_offset_t) wire_host.allocate (size);
}

/* The test owns all memory out of line. */
void
__mig_deallocate (vm_offset_t address, vm_size_t size)
{
}

mach_msg_return_t
__vm_deallocate (mach_port_name_t task, vm_offset_t address, vm_size_t size)
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

/* The same under another `-subrprefix`. */
#define OTHER(name) extern __typeof__ (__##name) other_##name __attribute__ ((alias ("__" #name)));
OTHER (mach_msg)
OTHER (mig_get_reply_port)
OTHER (mig_dealloc_reply_port)
OTHER (mig_put_reply_port)
OTHER (mig_allocate)
OTHER (mig_deallocate)
OTHER (mig_strncpy)
OTHER (vm_deallocate)
