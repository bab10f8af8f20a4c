/* A constant of the clients of calls.defs. */
#define PATIENCE 1234
