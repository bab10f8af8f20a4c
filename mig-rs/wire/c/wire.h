/* Between GNU MIG's stubs and the test, which is in Rust. An argument is data of `count` elements as they lie in C. */
#ifndef WIRE_H
#define WIRE_H
#include <stdint.h>

struct wire_value
{
  void *data;
  /* Elements; of an `out` array, the room for them. */
  uint32_t count;
  /* msgt_name of rights, where the sender chooses. */
  uint32_t disposition;
  /* Where the sender chooses: the memory goes with the message. */
  uint32_t dealloc;
  /* Of a result: out of line. */
  uint32_t out_of_line;
};

/* How a client went to the kernel. */
enum wire_way
{
  WIRE_MACH_MSG,
  WIRE_INTERRUPTIBLE,
  WIRE_FROM_KERNEL,
};

/* The parameters of `mach_msg` behind the message. */
struct wire_sent
{
  uint32_t way;
  uint32_t option;
  uint32_t send_size;
  uint32_t receive_size;
  uint32_t receive_name;
  uint32_t timeout;
  uint32_t notify;
};

/* What the test does for the stubs. */
struct wire_host
{
  int (*message) (void *message, const struct wire_sent *sent);
  /* Memory for a client whose room was too small. */
  void *(*allocate) (uint64_t size);
  /* A server was passed this argument; disposition 0: it was not told. `sure`: the data are surely there. */
  void (*seen) (uint32_t argument, const void *data, uint64_t size, uint32_t count, uint32_t disposition,
                uint32_t sure);
  /* What the server answers: a value for each argument, and its code. */
  const struct wire_value *(*answer) (void);
  int (*code) (void);
  /* A translation has run; not 0: it is to fail. A destructor makes nothing. */
  int (*translated) (const char *function, const void *from, uint32_t from_size, const void *made, uint32_t made_size);
  /* What a server answers that was handed nothing. */
  int (*refused) (void);
};

struct wire_routine
{
  const char *name;
  int (*call) (const struct wire_value *in, struct wire_value *out);
};

struct wire_interface
{
  const char *name;
  int (*serve) (void *request, void *reply);
  uint32_t count;
  const struct wire_routine *routines;
};

extern struct wire_host wire_host;
void wire_start (const struct wire_host *host);
extern const struct wire_interface *const wire_interfaces[];
extern const uint32_t wire_interface_count;
#endif
