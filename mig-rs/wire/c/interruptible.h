/* Calls that a signal may interrupt, as the C library of the Hurd has them: only the way to the kernel is another. */
#define __mach_msg __interruptible_mach_msg
