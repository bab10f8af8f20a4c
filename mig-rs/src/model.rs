//! The checked model of an interface: types resolved, ids given, messages laid out.

use std::rc::Rc;

use crate::ast::{Expression, Resource, Sides};
use crate::source::Span;

/// `msgt_name` values that this compiler must know.
pub mod msgt {
    #![allow(missing_docs, reason = "the names are Mach's")]
    pub const BOOLEAN: u32 = 0;
    pub const INTEGER_16: u32 = 1;
    pub const INTEGER_32: u32 = 2;
    pub const CHAR: u32 = 8;
    pub const BYTE: u32 = 9;
    pub const REAL: u32 = 10;
    pub const INTEGER_64: u32 = 11;
    pub const STRING: u32 = 12;
    pub const PORT_NAME: u32 = 15;
    pub const COPY_SEND: u32 = 19;
    pub const MAKE_SEND_ONCE: u32 = 21;
    pub const POLYMORPHIC: u32 = 0xff;

    /// Any port right.
    #[must_use]
    pub fn is_port(name: u32) -> bool {
        (16..=21).contains(&name)
    }
}

/// Bytes that an array of open size may have inside a message.
pub const MAX_INLINE: u32 = 2048;

/// A value that Rust has a type for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prim {
    /// `boolean_t`: 32 bits.
    Bool,
    /// An integer of that many bits; signed if a type name on the way says so.
    Int {
        /// 8, 16, 32 or 64.
        bits: u32,
        /// `None`: no name has decided, it counts as unsigned.
        signed: Option<bool>,
    },
    /// 32 or 64 bits.
    Float(u32),
    /// A name, as data.
    PortName,
    /// A right.
    Right,
}

/// A field of a struct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its type.
    pub elem: Elem,
    /// Bytes from the start of the struct.
    pub offset: u32,
}

/// `struct { ... }`, laid out as C does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StructDef {
    /// The type's name.
    pub name: String,
    /// Fields in order.
    pub fields: Vec<Field>,
    /// Bytes, padding at the end included.
    pub size: u32,
    /// 1, 2, 4 or 8.
    pub align: u32,
    /// The comment before the type.
    pub doc: Option<String>,
}

/// One element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Elem {
    /// A plain value.
    Prim(Prim),
    /// A struct.
    Struct(Rc<StructDef>),
    /// A fixed number of elements.
    Array(Box<Elem>, u32),
}

impl Elem {
    /// Bytes in memory (a right counts as its name).
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Self::Prim(Prim::Bool | Prim::PortName | Prim::Right) => 4,
            Self::Prim(Prim::Int { bits, .. } | Prim::Float(bits)) => u64::from(bits / 8),
            Self::Struct(s) => u64::from(s.size),
            Self::Array(elem, n) => elem.size().saturating_mul(u64::from(*n)),
        }
    }

    /// Alignment in C.
    #[must_use]
    pub fn align(&self) -> u32 {
        match self {
            Self::Struct(s) => s.align,
            Self::Array(elem, _) => elem.align(),
            Self::Prim(_) => self.size() as u32,
        }
    }

    /// Its memory in Rust is its image on the wire.
    #[must_use]
    pub fn is_flat(&self) -> bool {
        match self {
            Self::Prim(p) => *p != Prim::Bool,
            Self::Array(elem, _) => elem.is_flat(),
            Self::Struct(_) => false,
        }
    }

    /// A right, or rights.
    #[must_use]
    pub fn is_right(&self) -> bool {
        match self {
            Self::Prim(p) => *p == Prim::Right,
            Self::Array(elem, _) => elem.is_right(),
            Self::Struct(_) => false,
        }
    }
}

/// How many elements, for Rust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One, or a fixed number.
    Fixed(Elem),
    /// From none to that many (`None`: no bound but memory).
    Variable(Elem, Option<u32>),
    /// A C string in so many bytes; if variable, only those in use travel.
    Str {
        /// Bytes, the NUL included.
        size: u32,
        /// Only the bytes in use travel.
        variable: bool,
    },
}

/// Where the data are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// In the message.
    Inline,
    /// The sender chooses.
    Chosen,
    /// Out of line.
    OutOfLine,
}

/// What becomes of the sender's out-of-line memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dealloc {
    /// It keeps it.
    No,
    /// It goes with the message.
    Yes,
    /// The caller says.
    Dynamic,
}

/// A type on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wire {
    /// `msgt_name` put by the sender; 0xff: chosen at run time.
    pub send: u32,
    /// `msgt_name` seen by the receiver; 0xff: any.
    pub receive: u32,
    /// `msgt_size`: bits of one unit.
    pub bits: u32,
    /// `msgt_number`: units; of variable arrays the most that go inline, 0 if always out of line.
    pub number: u32,
    /// Where.
    pub placement: Placement,
    /// Forced by a flag.
    pub longform: Option<bool>,
    /// Out-of-line memory.
    pub dealloc: Dealloc,
    /// For Rust.
    pub shape: Shape,
}

impl Wire {
    /// The number of elements is decided by the sender.
    #[must_use]
    pub fn is_variable(&self) -> bool {
        matches!(self.shape, Shape::Variable(..) | Shape::Str { variable: true, .. })
    }

    /// The longform bit.
    #[must_use]
    pub fn is_long(&self) -> bool {
        self.longform.unwrap_or_else(|| {
            (self.is_variable() && self.placement != Placement::Inline)
                || self.bits >= 256
                || self.number >= 4096
        })
    }

    /// Bytes that the data take in a message at most, without padding.
    #[must_use]
    pub fn data_length(&self) -> u64 {
        match self.placement {
            Placement::OutOfLine => 8,
            // There is always room for an address, even where not one element fits.
            Placement::Chosen => (u64::from(self.bits) * u64::from(self.number) / 8).max(8),
            Placement::Inline => u64::from(self.bits) * u64::from(self.number) / 8,
        }
    }

    /// Bytes that the data take in a message at least, without padding.
    #[must_use]
    pub fn min_data_length(&self) -> u64 {
        if self.is_variable() && self.placement != Placement::OutOfLine { 0 } else { self.data_length() }
    }

    /// A client may pass the data as a borrowed slice: it keeps them, and their memory can go out of line as it is.
    #[must_use]
    pub fn takes_slice(&self) -> bool {
        match (&self.shape, self.placement) {
            (Shape::Variable(..), Placement::Inline) => true,
            (Shape::Variable(elem, _), _) => self.dealloc == Dealloc::No && elem.is_flat(),
            _ => false,
        }
    }

    /// Rights travel in it, on either side.
    #[must_use]
    pub fn carries_rights(&self) -> bool {
        match &self.shape {
            Shape::Fixed(elem) | Shape::Variable(elem, _) => elem.is_right(),
            Shape::Str { .. } => false,
        }
    }
}

/// What an argument is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The destination.
    RequestPort,
    /// The reply port, passed by the user, seen by the server, or both.
    ReplyPort {
        /// The user passes it.
        user: bool,
        /// The server sees it.
        server: bool,
    },
    /// Time-out of the call in ms.
    WaitTime,
    /// Options of the message call.
    MsgOption,
    /// Sequence number of the request.
    MsgSeqno,
    /// Data of the request.
    In,
    /// Data of the reply.
    Out,
    /// Both.
    InOut,
    /// Nothing: a later argument has taken its place as the destination.
    Unused,
}

impl Role {
    /// It is in the body of the request.
    #[must_use]
    pub fn in_request(self) -> bool {
        matches!(self, Self::In | Self::InOut)
    }
    /// It is in the body of the reply.
    #[must_use]
    pub fn in_reply(self) -> bool {
        matches!(self, Self::Out | Self::InOut)
    }
}

/// How an argument's memory crosses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// The interface does not say; as the wire has it.
    Unsaid,
    /// The receiver gets its own.
    Copy,
    /// The receiver looks at it until the reply.
    Loan,
    /// Memory and charge move.
    Gift,
}

/// Default and bounds of one resource: ns, frames, units of 512 bytes, calls; of a deadline, ns from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ceiling {
    /// What is offered if the caller says nothing; `u64::MAX`: all that remains.
    pub default: u64,
    /// Less is refused.
    pub least: u64,
    /// More is refused; `u64::MAX`: no bound.
    pub most: u64,
}

impl Ceiling {
    /// Nothing is said.
    pub const FREE: Self = Self { default: u64::MAX, least: 0, most: u64::MAX };
}

/// What a call of a routine may spend, in the order of [`Resource::ALL`](crate::ast::Resource::ALL).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Donation(pub [Ceiling; 7]);

impl Donation {
    /// What is said of one resource.
    #[must_use]
    pub fn of(&self, resource: Resource) -> Ceiling {
        let at = Resource::ALL.iter().position(|r| *r == resource);
        at.and_then(|at| self.0.get(at)).copied().unwrap_or(Ceiling::FREE)
    }

    /// Frames that the server may retain after the reply.
    #[must_use]
    pub fn retains(&self) -> u64 {
        self.of(Resource::Retain).most
    }
}

/// What a server makes of a type on the wire: `intran`, `intranpayload`, `outtran`, `destructor`, with the names in the `.defs`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Translation {
    /// The server's own type.
    pub server_type: String,
    /// From the wire to the server's type.
    pub intran: Option<String>,
    /// From a protected payload to the server's type.
    pub intran_payload: Option<String>,
    /// From the server's type to the wire.
    pub outtran: Option<String>,
    /// What ends a value of the server's type.
    pub destructor: Option<String>,
}

/// An argument.
#[derive(Clone, Debug)]
pub struct Argument {
    /// Its name.
    pub name: String,
    /// Where.
    pub span: Span,
    /// What for.
    pub role: Role,
    /// Name of its type.
    pub type_name: String,
    /// Its type, with the argument's flags applied.
    pub wire: Wire,
    /// The client sends how many elements it has room for.
    pub count_in_out: bool,
    /// The server is told whether the data were out of line.
    pub server_copy: bool,
    /// How its memory crosses.
    pub transfer: Transfer,
    /// What the server makes of it.
    pub translation: Option<Rc<Translation>>,
    /// Its type in C at the client: `cusertype`, else `ctype`, else the type's name.
    pub user_type: String,
    /// Its type in C at the server: `cservertype`, else the translation's, else `ctype`, else the type's name.
    pub server_type: String,
    /// As in the list of ids.
    pub text: String,
}

/// One item of a message.
#[derive(Clone, Debug)]
pub struct Item {
    /// The argument's name, with `Cnt` for its count; `RetCode`.
    pub name: String,
    /// Index of the argument; `None`: the return code.
    pub argument: Option<usize>,
    /// It is the hidden count of a `CountInOut` argument.
    pub is_count: bool,
    /// Its type.
    pub wire: Wire,
    /// Bytes from the start of the message, variable parts before it at their maximum.
    pub type_offset: u64,
}

impl Item {
    /// Where the data begin.
    #[must_use]
    pub fn data_offset(&self) -> u64 {
        self.type_offset + 8
    }
}

/// The complex bit of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Complex {
    /// Plain data.
    Never,
    /// A right or memory out of line is always there.
    Always,
    /// The data decide.
    Maybe,
}

/// A message.
#[derive(Clone, Debug)]
pub struct Message {
    /// Items in order.
    pub items: Vec<Item>,
    /// Bytes, variable parts empty.
    pub min: u64,
    /// Bytes, variable parts at their maximum.
    pub max: u64,
    /// The complex bit.
    pub complex: Complex,
}

impl Message {
    /// It has variable parts.
    #[must_use]
    pub fn is_variable(&self) -> bool {
        self.items.iter().any(|i| i.wire.is_variable() && i.wire.placement != Placement::OutOfLine)
    }
}

/// A routine.
#[derive(Clone, Debug)]
pub struct Routine {
    /// Its name.
    pub name: String,
    /// Its name at the client: with `userprefix`.
    pub user_name: String,
    /// Its name at the server: with `serverprefix`.
    pub server_name: String,
    /// `waittime`: how long the client waits, in ms.
    pub wait_time: Option<Expression>,
    /// `msgoption`: options of the client's message call.
    pub msg_option: Option<Expression>,
    /// Where.
    pub span: Span,
    /// Message id of the request.
    pub id: i32,
    /// Arguments in order.
    pub arguments: Vec<Argument>,
    /// The request.
    pub request: Message,
    /// The reply; `None` for a simpleroutine.
    pub reply: Option<Message>,
    /// What its calls may spend; `None`: the interface does not say.
    pub donation: Option<Donation>,
    /// The comment before it.
    pub doc: Option<String>,
}

/// An interface.
#[derive(Clone, Debug)]
pub struct Subsystem {
    /// Its name.
    pub name: String,
    /// Id of the first routine.
    pub base: i32,
    /// Ids in use, skipped ones included.
    pub count: u32,
    /// `KernelUser`.
    pub kernel_user: bool,
    /// `KernelServer`.
    pub kernel_server: bool,
    /// The comment before it.
    pub doc: Option<String>,
    /// Routines by id.
    pub routines: Vec<Routine>,
    /// Structs that were defined, in order.
    pub structs: Vec<Rc<StructDef>>,
    /// `import`s.
    pub imports: Vec<(Sides, String)>,
    /// `serverdemux`: the name of the demultiplexer.
    pub server_demux: Option<String>,
    /// `rcsid`.
    pub rcsid: Option<String>,
}
