/* Calls and serves two routines through GNU MIG's stubs, for counting instructions. The counted functions are count_*;
   what capture_* and handle_* do is not counted, and the Rust program beside this one has the same. */
#include <string.h>
#include <mach/message.h>
#include <mach/mig_support.h>
#include "null/user.h"
#include "fs/user.h"

/* Not from <stdlib.h>, whose types are not the Hurd's. */
extern int atoi (const char *);
extern void abort (void);

extern boolean_t s_null_null_server (mach_msg_header_t *, mach_msg_header_t *);
extern boolean_t s_fs_fs_server (mach_msg_header_t *, mach_msg_header_t *);

static char request[2048] __attribute__ ((aligned (8)));
static uint32_t request_size;
static char answer[2048] __attribute__ ((aligned (8)));
static uint32_t answer_size;

/* The first call's request is kept, and answered with an empty reply; later ones get the reply that a server made. */
__attribute__ ((noinline)) mach_msg_return_t
capture_message (mach_msg_header_t *message, mach_msg_size_t size)
{
  if (request_size == 0)
    {
      memcpy (request, message, size);
      request_size = size;
      return MACH_SEND_INVALID_DEST;
    }
  memcpy (message, answer, answer_size);
  return MACH_MSG_SUCCESS;
}

mach_msg_return_t
__mach_msg (mach_msg_header_t *message, mach_msg_option_t option, mach_msg_size_t send_size,
            mach_msg_size_t receive_size, mach_port_t receive_name, mach_msg_timeout_t timeout, mach_port_t notify)
{
  return capture_message (message, send_size);
}

mach_port_t __mig_get_reply_port (void) { return 7; }
void __mig_dealloc_reply_port (mach_port_t port) {}
void __mig_put_reply_port (mach_port_t port) {}
void __mig_allocate (vm_offset_t *address, vm_size_t size) { abort (); }
void __mig_deallocate (vm_offset_t address, vm_size_t size) {}
mach_msg_return_t __vm_deallocate (mach_port_t task, vm_offset_t address, vm_size_t size) { return 0; }

/* As the Hurd's C library has it. */
vm_size_t
__mig_strncpy (char *to, const char *from, vm_size_t size)
{
  if (size == 0)
    return 0;
  char *end = stpncpy (to, from, size - 1);
  vm_size_t length = end - to;
  if (length == size - 1)
    *end = 0;
  return length;
}

__attribute__ ((noinline)) kern_return_t
handle_null (mach_port_t server)
{
  return 0;
}

__attribute__ ((noinline)) kern_return_t
handle_lookup (mach_port_t directory, const char *name, int flags, unsigned mode, int *do_retry, char *retry_name,
               unsigned *result)
{
  *do_retry = 1;
  strcpy (retry_name, "etc/passwd");
  *result = 0x103;
  return 0;
}

kern_return_t s_null_null_call (mach_port_t server) { return handle_null (server); }

kern_return_t
s_fs_dir_lookup (file_t directory, const_string_t name, int flags, mode_t mode, retry_type *do_retry,
                 string_t retry_name, mach_port_send_t *result, mach_msg_type_name_t *kind)
{
  *kind = MACH_MSG_TYPE_MOVE_SEND;
  return handle_lookup (directory, name, flags, mode, do_retry, retry_name, result);
}

__attribute__ ((noinline)) int
count_null_client (mach_port_t port)
{
  return u_null_null_call (port);
}

static int do_retry;
static char retry_name[1024];
static unsigned result;

__attribute__ ((noinline)) int
count_lookup_client (mach_port_t port, const char *name)
{
  return u_fs_dir_lookup (port, name, 1, 0644, &do_retry, retry_name, &result);
}

__attribute__ ((noinline)) int
count_null_server (void)
{
  return s_null_null_server ((void *) request, (void *) answer);
}

__attribute__ ((noinline)) int
count_lookup_server (void)
{
  return s_fs_fs_server ((void *) request, (void *) answer);
}

static int
call (int lookup)
{
  return lookup ? count_lookup_client (0x101, "etc/passwd") : count_null_client (0x101);
}

/* count WHAT ROUNDS: null_client, null_server, lookup_client or lookup_server. */
int
main (int argc, char **argv)
{
  int lookup = strncmp (argv[1], "lookup", 6) == 0;
  int server = strstr (argv[1], "server") != NULL;
  int rounds = atoi (argv[2]);
  call (lookup);
  mach_msg_header_t *head = (void *) request;
  head->msgh_bits = MACH_MSGH_BITS (MACH_MSG_TYPE_PORT_SEND_ONCE, MACH_MSG_TYPE_PORT_SEND);
  int served = lookup ? count_lookup_server () : count_null_server ();
  answer_size = ((mach_msg_header_t *) answer)->msgh_size;
  if (!served || ((mig_reply_header_t *) answer)->RetCode != 0)
    return 2;
  for (int i = 0; i < rounds; i++)
    {
      int bad = server ? !(lookup ? count_lookup_server () : count_null_server ()) : call (lookup);
      if (bad)
        return 3;
    }
  if (!server && lookup && rounds > 0 && (result != 0x103 || strcmp (retry_name, "etc/passwd") != 0))
    return 4;
  return 0;
}
