//! The board: a memory object that the experiment's driver shares with victims and attacker, for orders and samples.
//!
//! 64-bit words, each written by one side only and copied whole. The driver made the object and pays for its pages; whoever maps it pays for the mapping.

use libhurd::abi::PAGE_SIZE;
use libhurd::abi::vm::{VM_PROT_READ, VM_PROT_WRITE};
use libhurd::clock::now;
use libhurd::mig::PortName;
use libhurd::ool::SharedMapping;
use libhurd::port::SendRight;
use libhurd::stubs::drover_vm::vm_object_create;
use libhurd::{ALL, Mach, task};

/// Places for victims, and one for the attacker.
pub const PLACES: usize = 5;
/// The attacker's place.
pub const ATTACKER: usize = 4;
/// Samples kept for one place; later ones replace the oldest.
pub const SAMPLES: usize = 4096;
/// The descriptor under which victims and attacker find the board.
pub const DESCRIPTOR: usize = 3;

/// Words of one sample.
const SAMPLE_WORDS: usize = 3;
/// Words of one place before its samples.
const PLACE_HEAD: usize = 8;
const PLACE_WORDS: usize = PLACE_HEAD + SAMPLES * SAMPLE_WORDS;
/// Words of orders.
const HEAD: usize = 8;
const BYTES: u64 = ((HEAD + PLACES * PLACE_WORDS) * 8) as u64;

const PHASE: usize = 0;
const ORDER: usize = 1;
const STEPPED: usize = 2;
const ENTER_ATTACKER: usize = 3;

const COUNT: usize = 0;
const BEGAN: usize = 1;

/// What victims and attacker are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Order {
    /// Begin nothing new.
    Hold = 0,
    /// Take samples; the attacker does nothing.
    Run = 1,
    /// The same; the attacker burns its share.
    Burn = 2,
    /// The same; the attacker opens its node again and again.
    Attack = 3,
    /// The same; the attacker lets a victim step on the node first.
    AttackAfterVictim = 4,
    /// The attacker opens its node again and again; nobody else begins anything.
    AttackAlone = 5,
}

impl Order {
    /// Victims begin nothing new.
    #[must_use]
    pub const fn holds_victims(self) -> bool {
        matches!(self, Self::Hold | Self::AttackAlone)
    }
}

/// One turn of a victim, or one attempt of the attacker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Phase in which it began.
    pub phase: u32,
    /// Begin, ns since boot.
    pub at: u64,
    /// Duration, ns.
    pub took: u64,
    /// Code, 0 for success.
    pub error: i32,
}

/// The board, mapped.
#[derive(Debug)]
pub struct Board(SharedMapping);

impl Board {
    /// A new board, all of it present (so that what is written later takes no frames), and the right to its object.
    ///
    /// # Errors
    /// The kernel's.
    pub fn create() -> Result<(Self, SendRight), i32> {
        let object = SendRight::from_name(vm_object_create(&Mach, task::this(), BYTES, ALL)?.memory_object);
        let board = Self::map(object.name())?;
        (0..BYTES as usize / 8).step_by(PAGE_SIZE / 8).for_each(|word| board.set(word, 0));
        Ok((board, object))
    }

    /// The board behind a right.
    ///
    /// # Errors
    /// The kernel's.
    pub fn map(object: PortName) -> Result<Self, i32> {
        Ok(Self(SharedMapping::new(object, BYTES, VM_PROT_READ | VM_PROT_WRITE)?))
    }

    fn get(&self, word: usize) -> u64 {
        let mut bytes = [0; 8];
        self.0.read(word as u64 * 8, &mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn set(&self, word: usize, value: u64) {
        self.0.write(word as u64 * 8, &value.to_le_bytes());
    }

    /// The running phase.
    #[must_use]
    pub fn phase(&self) -> u32 {
        self.get(PHASE) as u32
    }

    /// What is to be done.
    #[must_use]
    pub fn order(&self) -> Order {
        match self.get(ORDER) {
            1 => Order::Run,
            2 => Order::Burn,
            3 => Order::Attack,
            4 => Order::AttackAfterVictim,
            5 => Order::AttackAlone,
            _ => Order::Hold,
        }
    }

    /// Gives an order, in a phase.
    pub fn command(&self, phase: u32, order: Order) {
        self.set(PHASE, u64::from(phase));
        self.set(ORDER, order as u64);
    }

    /// Whether `find` looks into the attacker's home.
    #[must_use]
    pub fn enters_attacker(&self) -> bool {
        self.get(ENTER_ATTACKER) != 0
    }

    /// Says whether it does.
    pub fn enter_attacker(&self, enter: bool) {
        self.set(ENTER_ATTACKER, u64::from(enter));
    }

    /// A victim is about to look at the attacker's node.
    pub fn step(&self) {
        self.set(STEPPED, 1);
    }

    /// A victim has done so.
    #[must_use]
    pub fn was_stepped(&self) -> bool {
        self.get(STEPPED) != 0
    }

    const fn place(place: usize) -> usize {
        HEAD + place * PLACE_WORDS
    }

    /// A sample begins; when.
    #[must_use]
    pub fn begin(&self, place: usize) -> (u32, u64) {
        let (phase, at) = (self.phase(), now());
        self.set(Self::place(place) + BEGAN, at);
        (phase, at)
    }

    /// A sample has ended.
    pub fn end(&self, place: usize, (phase, at): (u32, u64), error: i32) {
        let took = now().saturating_sub(at);
        let count = self.count(place);
        let words = Self::place(place) + PLACE_HEAD + count as usize % SAMPLES * SAMPLE_WORDS;
        self.set(words, at);
        self.set(words + 1, took);
        self.set(words + 2, u64::from(phase) << 32 | u64::from(error as u32));
        self.set(Self::place(place) + COUNT, count + 1);
        self.set(Self::place(place) + BEGAN, 0);
    }

    /// Samples that have ended.
    #[must_use]
    pub fn count(&self, place: usize) -> u64 {
        self.get(Self::place(place) + COUNT)
    }

    /// When the running sample began, if one runs.
    #[must_use]
    pub fn began(&self, place: usize) -> Option<u64> {
        Some(self.get(Self::place(place) + BEGAN)).filter(|&at| at != 0)
    }

    /// The samples from number `first` on that are still there.
    pub fn samples(&self, place: usize, first: u64) -> impl Iterator<Item = Sample> {
        let count = self.count(place);
        (first.max(count.saturating_sub(SAMPLES as u64))..count).map(move |index| {
            let words = Self::place(place) + PLACE_HEAD + index as usize % SAMPLES * SAMPLE_WORDS;
            let last = self.get(words + 2);
            Sample {
                phase: (last >> 32) as u32,
                at: self.get(words),
                took: self.get(words + 1),
                error: last as u32 as i32,
            }
        })
    }
}
