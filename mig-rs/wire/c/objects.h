/* What a server makes of values on the wire: the same bytes, each changed by a letter of the function's name, so that a
   translation that was left out, or was another, shows. */
#ifndef WIRE_OBJECTS_H
#define WIRE_OBJECTS_H
#include <string.h>
#include "wire.h"

typedef struct wire_object
{
  unsigned char bytes[24];
  uint32_t size;
  /* The translation has failed. */
  uint32_t is_null;
} wire_object;

static inline void
wire_change (const char *function, const void *from, void *to, uint32_t size)
{
  const unsigned char *in = from;
  unsigned char *out = to;
  uint32_t length = strlen (function);
  for (uint32_t i = 0; i < size; i++)
    out[i] = in[i] ^ function[i % length];
}

/* In. */
static inline wire_object
wire_take (const char *function, const void *value, uint32_t size)
{
  wire_object object = { .size = size };
  wire_change (function, value, object.bytes, size);
  if (wire_host.translated (function, value, size, object.bytes, size))
    return (wire_object) { .is_null = 1 };
  return object;
}

/* What a server answers, so that `function` makes of it what is at `value`. */
static inline wire_object
wire_answer (const char *function, const void *value, uint32_t size)
{
  wire_object object = { .size = size };
  wire_change (function, value, object.bytes, size);
  return object;
}

/* Out. */
static inline void
wire_give (const char *function, const wire_object *object, void *value, uint32_t size)
{
  wire_change (function, object->bytes, value, size);
  wire_host.translated (function, object->bytes, object->size, value, size);
}

static inline void
wire_end (const char *function, const wire_object *object)
{
  if (!object->is_null)
    wire_host.translated (function, object->bytes, object->size, 0, 0);
}

#define TAKE(type, function, wire) \
static inline type function (wire value) { return wire_take (#function, &value, sizeof value); }
#define GIVE(wire, function, type) \
static inline wire function (type object) { wire value; wire_give (#function, &object, &value, sizeof value); return value; }
#define END(function, type) \
static inline void function (type object) { wire_end (#function, &object); }
#endif
