/* The server's own types and translations of translations.defs. */
#include "objects.h"

/* GNU MIG assigns a port to it where there is no payload. */
typedef uint64_t hidden_t;
typedef wire_object thing_t;
typedef wire_object bare_t;
typedef wire_object any_thing_t;
typedef wire_object once_t;
typedef wire_object kelvin_t;
typedef wire_object wide_t;
typedef wire_object twin_t;
typedef wire_object teller_t;

typedef int celsius_t;
typedef int64_t big_t;
typedef struct { int64_t a; int b; } pair_t;
typedef int told_t;
typedef int near_t;
typedef int far_t;
typedef int64_t both_t;

TAKE (thing_t, begin_thing, mach_port_t)
TAKE (thing_t, begin_thing_payload, uint64_t)
GIVE (mach_port_t, port_of_thing, thing_t)
END (end_thing, thing_t)
static inline hidden_t
begin_hidden_payload (uint64_t payload)
{
  hidden_t hidden;
  wire_object object = wire_take ("begin_hidden_payload", &payload, sizeof payload);
  memcpy (&hidden, object.bytes, sizeof hidden);
  return object.is_null ? 0 : hidden;
}
static inline void
end_hidden (hidden_t hidden)
{
  if (hidden != 0)
    wire_host.translated ("end_hidden", &hidden, sizeof hidden, 0, 0);
}
TAKE (bare_t, take_bare, mach_port_t)
GIVE (mach_port_t, give_bare, bare_t)
TAKE (any_thing_t, take_any, mach_port_t)
GIVE (mach_port_t, give_any, any_thing_t)
END (end_any, any_thing_t)
TAKE (once_t, take_once, mach_port_t)
TAKE (kelvin_t, to_kelvin, celsius_t)
GIVE (celsius_t, to_celsius, kelvin_t)
END (end_kelvin, kelvin_t)
TAKE (wide_t, take_wide, big_t)
GIVE (big_t, give_wide, wide_t)
TAKE (twin_t, take_pair, pair_t)
GIVE (pair_t, give_pair, twin_t)
END (end_pair, twin_t)
GIVE (told_t, tell, teller_t)
