//! Launching: making a task whose image is loaded run, with arguments, descriptors and ports. For exec, and for whoever starts programs without it.
//!
//! See `drover_abi::startup` for what the program finds. All memory and rights are the new task's account's; a right given twice is one name there.

use alloc::vec::Vec;

use drover_abi::PAGE_SIZE;
use drover_abi::message::msgt;
use drover_abi::port::{RIGHT_SEND, TASK_BOOTSTRAP_PORT, type_bit};
use drover_abi::returns::{KERN_INVALID_ARGUMENT, KERN_NAME_EXISTS, KERN_NO_SPACE, KERN_RIGHT_EXISTS};
use drover_abi::startup::{INIT_PORT_BOOTSTRAP, STARTUP_BASE, STARTUP_MAGIC, StartupBlock};
use drover_abi::window::HOME_BASE;
use hurd_stubs::{account, mach, mach_port};
use mig_runtime::{OutData, Port, PortName};
use zerocopy::IntoBytes;

use crate::errno::E2BIG;
use crate::port::SendRight;
use crate::rpc::{ALL, Mach};
use crate::{ool, thread};

/// Longest arguments and environment together.
pub const MAX_ARGUMENTS: usize = 1 << 20;
/// Most descriptors, and most initial ports.
pub const MAX_PORTS: usize = 256;
/// Rights are put under names from here on.
const FIRST_NAME: u32 = 0x100;
/// Names tried before giving up.
const NAME_TRIES: u32 = 4096;

/// What the program inherits. The names are the launching task's; null ones stay null.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inheritance<'a> {
    /// Arguments.
    pub argv: &'a [u8],
    /// Environment.
    pub envp: &'a [u8],
    /// File descriptors.
    pub dtable: &'a [PortName],
    /// Initial ports; the bootstrap port becomes the task's special port too.
    pub ports: &'a [PortName],
    /// Initial integers.
    pub ints: &'a [i32],
    /// Flags.
    pub flags: u64,
}

/// The startup block at `base` and all that it points to, with port names of the new task.
fn image(base: u64, inheritance: &Inheritance<'_>, dtable: &[u32], ports: &[u32]) -> Vec<u8> {
    let mut bytes = Vec::from([0; size_of::<StartupBlock>()]);
    let mut add = |part: &[u8]| {
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let at = base + bytes.len() as u64;
        bytes.extend_from_slice(part);
        if part.is_empty() { 0 } else { at }
    };
    let block = StartupBlock {
        magic: STARTUP_MAGIC,
        flags: inheritance.flags,
        argv: add(inheritance.argv),
        argv_len: inheritance.argv.len() as u64,
        envp: add(inheritance.envp),
        envp_len: inheritance.envp.len() as u64,
        dtable: add(dtable.as_bytes()),
        dtable_count: dtable.len() as u64,
        ports: add(ports.as_bytes()),
        ports_count: ports.len() as u64,
        ints: add(inheritance.ints.as_bytes()),
        ints_count: inheritance.ints.len() as u64,
        reserved: [0; 4],
    };
    bytes[..size_of::<StartupBlock>()].copy_from_slice(block.as_bytes());
    bytes
}

/// Rights that have been put into the new task: by our name, its name.
struct Given {
    task: PortName,
    next: u32,
    names: Vec<(PortName, u32)>,
}

impl Given {
    fn give(&mut self, name: PortName) -> Result<u32, i32> {
        if !name.is_valid() {
            return Ok(0);
        }
        if let Some(&(_, there)) = self.names.iter().find(|given| given.0 == name) {
            return Ok(there);
        }
        for _ in 0..NAME_TRIES {
            let there = self.next;
            self.next += 1;
            let inserted = mach_port::mach_port_insert_right(
                &Mach,
                self.task,
                PortName(there),
                Port::copy_send(name),
                ALL,
            );
            match inserted.map_err(i32::from) {
                Ok(()) => {
                    self.names.push((name, there));
                    return Ok(there);
                }
                Err(KERN_NAME_EXISTS) => {}
                // An old task that gets a new program may have it from before.
                Err(KERN_RIGHT_EXISTS) => {
                    let there = self.known_as(name)?.ok_or(KERN_RIGHT_EXISTS)?;
                    self.names.push((name, there));
                    return Ok(there);
                }
                Err(code) => return Err(code),
            }
        }
        Err(KERN_NO_SPACE)
    }

    /// The name under which the task has our port `name` already. One call per name of the task: their number is its own account's matter.
    fn known_as(&self, name: PortName) -> Result<Option<u32>, i32> {
        let reply = mach_port::mach_port_names(&Mach, self.task, ALL)?;
        let names: Vec<PortName> = ool::take_values(OutData::<PortName, 1>::Ool(reply.names));
        let types: Vec<u32> = ool::take_values(OutData::<u32, 1>::Ool(reply.types));
        for (there, kind) in names.into_iter().zip(types) {
            if kind & type_bit(RIGHT_SEND) == 0 {
                continue;
            }
            let extracted = mach_port::mach_port_extract_right(&Mach, self.task, there, msgt::COPY_SEND, ALL);
            // A right that died meanwhile is none.
            let Ok(reply) = extracted else { continue };
            if SendRight::received(reply.poly)?.name() == name {
                return Ok(Some(there.0));
            }
        }
        Ok(None)
    }

    fn give_all(&mut self, names: &[PortName]) -> Result<Vec<u32>, i32> {
        names.iter().map(|&name| self.give(name)).collect()
    }
}

/// Gives `task` what it inherits, a home slot and a thread at `entry`, and lets it run. `payer` pays for the thread's work; null: the task's account.
///
/// # Errors
/// `E2BIG` for what is beyond the bounds; the kernel's. On failure the task is of no use.
pub fn launch(
    task: PortName,
    entry: u64,
    payer: PortName,
    inheritance: &Inheritance<'_>,
) -> Result<SendRight, i32> {
    let Inheritance { argv, envp, dtable, ports, .. } = *inheritance;
    if argv.len() + envp.len() > MAX_ARGUMENTS || dtable.len() > MAX_PORTS || ports.len() > MAX_PORTS {
        return Err(E2BIG);
    }
    let mut given = Given { task, next: FIRST_NAME, names: Vec::new() };
    let image = image(STARTUP_BASE, inheritance, &given.give_all(dtable)?, &given.give_all(ports)?);
    if let Some(&bootstrap) = ports.get(INIT_PORT_BOOTSTRAP)
        && bootstrap.is_valid()
    {
        mach::task_set_special_port(&Mach, task, TASK_BOOTSTRAP_PORT, bootstrap, ALL)?;
    }
    let size = image.len().next_multiple_of(PAGE_SIZE) as u64;
    mach::vm_allocate(&Mach, task, STARTUP_BASE, size, false, ALL)?;
    mach::vm_write(&Mach, task, STARTUP_BASE, &image, ALL)?;
    thread::map_home(task, HOME_BASE)?;
    let thread = if payer.is_valid() {
        account::account_thread_create(&Mach, payer, task, ALL)?.child_thread
    } else {
        mach::thread_create(&Mach, task, ALL)?.child_thread
    };
    if !thread.is_valid() {
        return Err(KERN_INVALID_ARGUMENT);
    }
    let thread = SendRight::from_name(thread);
    thread::set_start(thread.name(), entry, thread::initial_stack(HOME_BASE), STARTUP_BASE)?;
    mach::thread_resume(&Mach, thread.name(), ALL)?;
    Ok(thread)
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromBytes;

    #[test]
    fn the_block_points_at_its_parts() {
        let inheritance = Inheritance {
            argv: b"cat\0file\0",
            envp: b"world=classic\0",
            ints: &[0o22, 0],
            flags: 4,
            ..Inheritance::default()
        };
        let base = 0x1000;
        let bytes = image(base, &inheritance, &[1, 0, 3], &[]);
        let (block, _) = StartupBlock::read_from_prefix(&bytes).unwrap();
        assert_eq!((block.magic, block.flags), (STARTUP_MAGIC, 4));
        let part = |at: u64, len: u64| &bytes[(at - base) as usize..][..len as usize];
        assert_eq!(part(block.argv, block.argv_len), b"cat\0file\0");
        assert_eq!(part(block.envp, block.envp_len), b"world=classic\0");
        assert_eq!(part(block.dtable, block.dtable_count * 4), [1, 0, 3].map(u32::to_le).as_bytes());
        assert_eq!(part(block.ints, block.ints_count * 4), [0o22, 0i32].as_bytes());
        assert_eq!((block.ports, block.ports_count), (0, 0));
        for at in [block.argv, block.envp, block.dtable, block.ints] {
            assert_eq!(at % 8, 0);
        }
    }

    #[test]
    fn bounds_come_first() {
        let argv = std::vec![b'x'; MAX_ARGUMENTS + 1];
        let inheritance = Inheritance { argv: &argv, ..Inheritance::default() };
        let refused = launch(PortName(1), 0, PortName::NULL, &inheritance);
        assert_eq!(refused.map(|_| ()), Err(E2BIG));
    }
}
