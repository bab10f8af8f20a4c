//! The kernel's root: the few words of state that are not in objects, and how an operation ends.

use drover_abi::account::{FRAMES, Resource, UNLIMITED};
use drover_abi::regs::UserRegs;

use crate::account::{Account, Payer};
use crate::frame::{FrameInfo, FrameKind, NONE};
use crate::machine::{Frame, Machine};
use crate::memory::Memory;
use crate::object::{Kind, Ref};
use crate::port::Port;
use crate::task::Task;
use crate::thread::Thread;
use crate::user::{TRANSLATIONS, Translation};

/// Why an operation did not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It failed with this code and changed nothing.
    Error(i32),
    /// It did a bounded part; the trap is restarted after others had a chance to run.
    Again,
    /// The current thread is parked (its continuation is in its object).
    Blocked,
    /// The current registers belong to another context now (a call migrated, an activation was popped): write no result.
    Switched,
}

impl From<i32> for Stop {
    fn from(code: i32) -> Self {
        Self::Error(code)
    }
}

/// Most ranges of RAM that boot may hand over.
pub const RANGES: usize = 32;
/// Most boot modules.
pub const MODULES: usize = 32;
/// Buckets of the hash table of word waits (part of the constant reserve).
pub const WORD_BUCKETS: usize = 256;
/// Longest kernel command line kept.
pub const COMMAND_LINE: usize = 1024;

/// A file that the boot loader put into memory.
#[derive(Clone, Copy, Debug)]
pub struct Module {
    /// Its name, NUL-padded.
    pub name: [u8; 128],
    /// First frame.
    pub start: Frame,
    /// Bytes.
    pub size: u64,
    /// The memory object made of it.
    pub object: Ref<Memory>,
}

/// What boot hands over.
pub struct Boot<'a> {
    /// RAM: (first frame, frames), free of everything else; the frame table is taken from the first range that can hold it.
    pub ranges: &'a [(Frame, u32)],
    /// Modules: (name, first frame, bytes). Their frames are in no range.
    pub modules: &'a [(&'a [u8], Frame, u64)],
    /// The command line.
    pub command_line: &'a [u8],
    /// Frames that the kernel image and boot structures take, for the reserve that is printed.
    pub kernel_frames: u32,
}

/// The kernel.
pub struct Kernel<M> {
    /// The machine.
    pub machine: M,
    /// First frame of the frame table.
    pub(crate) table: Frame,
    /// Frames of the frame table.
    pub table_frames: u32,
    /// Frames of the kernel image and boot structures.
    pub kernel_frames: u32,
    pub(crate) free_list: Frame,
    /// Free frames that were page tables and are all zeros.
    pub(crate) free_tables: Frame,
    /// Frames that nobody uses.
    pub free_frames: u32,
    /// Frames handed over at boot (without the reserve), modules included.
    pub total_frames: u32,
    pub(crate) fresh: [(Frame, u32); RANGES],
    pub(crate) fresh_at: usize,
    /// The root account.
    pub root: Ref<Account>,
    next_id: u64,
    random: u64,
    /// The thread whose registers are in `regs`, or none.
    pub current: Ref<Thread>,
    /// User registers of the current thread.
    pub regs: UserRegs,
    /// Accounts with ready threads, by virtual time.
    pub(crate) run_queue: Ref<Account>,
    /// Virtual time of the last dispatch.
    pub(crate) vnow: u64,
    /// Threads that wait for a time.
    pub(crate) timers: Ref<Thread>,
    /// Accounts whose cap is used up, by the start of their next period.
    pub(crate) throttled: Ref<Account>,
    /// Whose turn it is: the account whose virtual time grows.
    pub(crate) turn: Ref<Account>,
    /// Dying tasks that are being taken apart, a list.
    pub(crate) reaping: Ref<Task>,
    /// Dying ports, a list.
    pub(crate) dying: Ref<Port>,
    /// Thread that waits for console input.
    pub(crate) console_reader: Ref<Thread>,
    /// Threads that wait on words, by hash of the word's address.
    pub(crate) words: [Ref<Thread>; WORD_BUCKETS],
    /// The last thread of each of those lists.
    pub(crate) words_tail: [Ref<Thread>; WORD_BUCKETS],
    /// Lists of threads that waited for one that has ended, by their first: to be woken.
    pub(crate) orphans: Ref<Thread>,
    /// The last translations of user addresses.
    pub(crate) translations: [Translation; TRANSLATIONS],
    /// Until when the current thread may run.
    pub(crate) quantum_end: u64,
    /// When CPU time was last charged.
    pub(crate) charged_until: u64,
    /// CPU time spent idle.
    pub idle_ns: u64,
    /// CPU time charged to accounts since boot (dead ones included).
    pub charged_ns: u64,
    /// Time of boot.
    pub boot_ns: u64,
    /// The unprivileged host port.
    pub host: Ref<Port>,
    /// The privileged host port.
    pub host_priv: Ref<Port>,
    /// The console device port.
    pub console: Ref<Port>,
    /// Boot modules.
    pub modules: [Module; MODULES],
    /// How many there are.
    pub module_count: usize,
    /// Command line, NUL-padded.
    pub command_line: [u8; COMMAND_LINE],
    /// Run the conservation checker every so many kernel operations; 0 = never.
    pub check_every: u32,
    pub(crate) operations: u64,
    /// Checks run.
    pub checks: u64,
    /// Violations found.
    pub violations: u64,
    /// The first violation, as text.
    pub first_violation: [u8; 128],
}

/// Frames needed for a frame table that covers frames 0..n.
fn table_size(n: u32) -> u32 {
    n.div_ceil(128)
}

impl<M: Machine> Kernel<M> {
    /// Builds the kernel: frame table, root account, module objects. Every frame handed over is the root account's afterwards.
    ///
    /// # Panics
    /// When boot's ranges cannot hold the frame table (no machine is that small).
    pub fn new(mut machine: M, boot: &Boot<'_>) -> Self {
        let mut fresh = [(0, 0); RANGES];
        let n = boot.ranges.len().min(RANGES);
        fresh[..n].copy_from_slice(&boot.ranges[..n]);
        let end = |(s, c): &(u32, u32)| s + c;
        let modules_end = boot.modules.iter().map(|m| m.1 + frames_of(m.2)).max().unwrap_or(0);
        let top = fresh.iter().map(end).max().unwrap_or(0).max(modules_end);
        let table_frames = table_size(top);
        let at = fresh.iter().position(|r| r.1 > table_frames).expect("enough memory for the frame table");
        let table = fresh[at].0;
        fresh[at] = (table + table_frames, fresh[at].1 - table_frames);
        for i in 0..table_frames {
            machine.zero(table + i);
        }
        // Frame 0 is never handed out: 0 means "none".
        if let Some(r) = fresh.iter_mut().find(|r| r.0 == 0 && r.1 > 0) {
            *r = (1, r.1 - 1);
        }
        let mut ranges = [(0, 0); RANGES];
        for (range, r) in ranges.iter_mut().zip(fresh.iter().filter(|r| r.1 > 0)) {
            *range = *r;
        }
        let free: u32 = ranges.iter().map(|r| r.1).sum();
        let now = machine.now();
        let mut command_line = [0; COMMAND_LINE];
        let len = boot.command_line.len().min(COMMAND_LINE - 1);
        command_line[..len].copy_from_slice(&boot.command_line[..len]);
        let mut kernel = Self {
            machine,
            table,
            table_frames,
            kernel_frames: boot.kernel_frames,
            free_list: NONE,
            free_tables: NONE,
            free_frames: free,
            total_frames: free,
            fresh: ranges,
            fresh_at: 0,
            root: Ref::NONE,
            next_id: 1,
            random: 0x9e37_79b9_7f4a_7c15,
            current: Ref::NONE,
            regs: UserRegs::default(),
            run_queue: Ref::NONE,
            vnow: 0,
            timers: Ref::NONE,
            throttled: Ref::NONE,
            turn: Ref::NONE,
            reaping: Ref::NONE,
            dying: Ref::NONE,
            console_reader: Ref::NONE,
            words: [Ref::NONE; WORD_BUCKETS],
            words_tail: [Ref::NONE; WORD_BUCKETS],
            orphans: Ref::NONE,
            translations: [Translation::default(); TRANSLATIONS],
            quantum_end: 0,
            charged_until: now,
            idle_ns: 0,
            charged_ns: 0,
            boot_ns: now,
            host: Ref::NONE,
            host_priv: Ref::NONE,
            console: Ref::NONE,
            modules: [Module { name: [0; 128], start: 0, size: 0, object: Ref::NONE }; MODULES],
            module_count: 0,
            command_line,
            check_every: 0,
            operations: 0,
            checks: 0,
            violations: 0,
            first_violation: [0; 128],
        };
        kernel.make_root();
        kernel.adopt_modules(boot);
        kernel
    }

    /// The root account lives in the first slab frame, which it pays for itself.
    fn make_root(&mut self) {
        let (frame, count) = self.fresh[0];
        self.fresh[0] = (frame + 1, count - 1);
        if count == 1 {
            self.fresh_at = 1;
        }
        self.free_frames -= 1;
        self.machine.zero(frame);
        let root = Ref::<Account>::from_raw(frame << 6);
        self.machine.page_mut(frame).0[0] = Kind::Account as u8;
        let total = u64::from(self.total_frames);
        let id = self.next_id();
        let account = self.get_mut(root);
        account.id = id;
        account.share = 10_000;
        account.slabs_head = frame;
        account.frames_peak = 1;
        let stock = |limit, charged| Resource { limit, charged, given: 0, escrow: 0 };
        account.resources =
            [stock(total, 1), stock(total * 64, 1), stock(4096, 0), stock(UNLIMITED, 0), stock(UNLIMITED, 0)];
        account.name[..4].copy_from_slice(b"root");
        account.slabs[3] = frame;
        *self.info_mut(frame) = FrameInfo {
            owner: root,
            kind: FrameKind::Slab as u8,
            class: 3,
            bitmap: 1,
            ..FrameInfo::default()
        };
        self.root = root;
    }

    /// Module frames become the root account's, as pages of memory objects.
    fn adopt_modules(&mut self, boot: &Boot<'_>) {
        for &(name, start, size) in boot.modules.iter().take(MODULES) {
            let frames = frames_of(size);
            self.total_frames += frames;
            self.get_mut(self.root).resources[FRAMES].limit += u64::from(frames);
            self.get_mut(self.root).resources[FRAMES].charged += u64::from(frames);
            let peak = self.get(self.root).resources[FRAMES].charged;
            self.get_mut(self.root).frames_peak = peak;
            let object = self.memory_of_frames(Payer::account(self.root), start, frames);
            let module = &mut self.modules[self.module_count];
            let len = name.len().min(127);
            module.name[..len].copy_from_slice(&name[..len]);
            (module.start, module.size, module.object) = (start, size, object);
            self.module_count += 1;
        }
    }

    /// A number never used before (accounts, tasks, threads).
    pub fn next_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    /// Priorities for treaps (xorshift64*).
    pub(crate) fn random(&mut self) -> u32 {
        let mut x = self.random;
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.random = x;
        (x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }
}

/// Frames that `bytes` take.
#[must_use]
pub const fn frames_of(bytes: u64) -> u32 {
    bytes.div_ceil(4096) as u32
}
