//! What the command says of itself.

pub(crate) const USAGE: &str = "\
mig-rs: Mach interface definitions (.defs) to Rust, wire-identical with GNU MIG

usage: mig-rs COMMAND [OPTION]... FILE...        (FILE `-` is the standard input)

commands
  gen FILE...             Rust: ids, client functions, server trait, demultiplexer
  check FILE...           only says what is wrong, and how to mend it
  layout FILE...          where every field of every message lies
  ids FILE...             message ids
  explain ROUTINE FILE    draws the request and the reply of one routine
  workspace [--check]     regenerates this workspace's stubs (in its root directory)
  help COMMAND            more about a command, with an example

options for all
  -I DIR  -D NAME[=VALUE]  -U NAME  -imacros FILE   as for a C preprocessor
  --kernel-server         the server is a kernel: defines KERNEL_SERVER
  --kernel-user           the client is a kernel: defines KERNEL_USER
  --json                  of layout, ids and explain: an array of objects instead of lines
";

/// More about one command.
pub(crate) fn about(command: &str) -> Option<&'static str> {
    Some(match command {
        "gen" => GEN,
        "check" => CHECK,
        "layout" => LAYOUT,
        "ids" => IDS,
        "explain" => EXPLAIN,
        "workspace" => WORKSPACE,
        _ => return None,
    })
}

const GEN: &str = "\
mig-rs gen [OPTION]... FILE...

Writes Rust: to the standard output, or with -o DIR to DIR/STEM.rs. The code needs the crate mig-runtime, and neither
allocation nor std nor unsafe.

  -o DIR                  where to
  -prefix NAME            put before the names of client functions and server methods, as in GNU MIG
  -subrprefix NAME        accepted; in Rust there is nothing that it would name
  --import FILE=PATH      `import FILE` becomes `use PATH`: --import ports.h='crate::ports::*'
  --type NAME=PATH        what Rust has for a type of C: --type vm_prot_t=crate::Protection (From both ways)
  --types PATH            structs are in module PATH instead of the output
  --translate             intran, outtran, intranpayload and destructor become types and functions of the server's trait
  --kernel-port PATH      what rights are in an interface that says KernelServer or KernelUser: a type with mig_runtime::Name;
                          otherwise mig_runtime::KernelPort, the 64 bits in the message

A first client and server
  mig-rs gen counter.defs > src/counter.rs
  counter::counter_get(&transport, port, &Donation::ALL.cpu(1_000_000))?     // what the call may spend comes last
  impl counter::CounterServer for Mine { ... }                                // then counter::dispatch(&mut mine, request, reply)

What an interface says of offers (`DONATION (cpu 5 ms, retain 8)`, see <donation.defs>) is in module `offer`:
  counter::counter_get(&transport, port, offer!(counter::offer::COUNTER_GET, cpu_ns: 1_000_000))?   // checked when compiled
";

const CHECK: &str = "\
mig-rs check FILE...

Prints every mistake and warning with its place, the rule and the mend; through includes and macros. Nothing is written.
A file that only defines types has no subsystem: check a file that includes it.
";

const LAYOUT: &str = "\
mig-rs layout [--side user|server] [--kernel-server|--kernel-user] [--json] FILE...

One row for every message, tab-separated:
  routine  Routine|SimpleRoutine  id  reply-id (0: none)  req|rep  fixed|var  least bytes  most bytes  fields
A field is name@descriptor/data/bytes/name:bits:number:in|OOL[:long][:dealloc][/most elements]; offsets and bytes with all variable
parts at their maximum. Messages are compacted on the wire: what follows a variable part moves up.

--side says who looks (default user): a sender shows what it writes, a receiver what it checks. --json prints one array of objects.

  mig-rs layout -I defs --side server defs/io.defs | grep '^io_read'
";

const IDS: &str = "\
mig-rs ids [--json] FILE...

One row for every routine, tab-separated: id  id of the reply (- if none)  routine|simpleroutine  name  arguments.
";

const EXPLAIN: &str = "\
mig-rs explain [--json] ROUTINE FILE...

Draws the request and the reply of one routine: offsets, descriptors as words and in words, what moves, who pays. The last line says how
a descriptor is read. --json prints the two rows that `layout --json` has of it.

  mig-rs explain dir_lookup -I libhurd/defs libhurd/defs/fs.defs
";

const WORKSPACE: &str = "\
mig-rs workspace [--check]

Regenerates libhurd/stubs from libhurd/defs in the current directory; with --check only says whether they are current.
";
