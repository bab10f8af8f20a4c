/* What every stub of GNU MIG includes. */
#include <mach/boolean.h>
#include <mach/kern_return.h>
#include <mach/port.h>
#include <mach/message.h>
#include <mach/notify.h>
#include <mach/mach_types.h>
#include <mach/mig_errors.h>
#include <mach/mig_support.h>
#ifdef KERNEL
#include <ipc/ipc_port.h>
#include <kern/ipc_mig.h>
#endif
#include <stdint.h>
