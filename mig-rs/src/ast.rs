//! What the parser makes of a `.defs` file: statements as written, nothing looked up.

use crate::source::Span;

/// An identifier and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The identifier.
    pub text: String,
    /// Where it is used.
    pub span: Span,
}

/// An expression of C, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    /// Its text.
    pub text: String,
    /// Where.
    pub span: Span,
}

/// Which of the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sides {
    /// Both.
    Both,
    /// The user (client) only.
    User,
    /// The server only.
    Server,
}

/// One statement.
#[derive(Clone, Debug)]
pub enum Statement {
    /// `subsystem [KernelUser] [KernelServer] name base`
    Subsystem {
        /// Its name.
        name: Name,
        /// The id of its first routine.
        base: i32,
        /// `KernelUser`.
        kernel_user: bool,
        /// `KernelServer`.
        kernel_server: bool,
        /// The comment before it.
        doc: Option<String>,
    },
    /// `skip [n]`
    Skip(u32),
    /// `routine` or `simpleroutine`.
    Routine(Routine),
    /// `type name = ...`
    Type {
        /// Its name.
        name: Name,
        /// What it is.
        spec: TypeSpec,
        /// The comment before it.
        doc: Option<String>,
    },
    /// `import`, `uimport`, `simport`
    Import {
        /// For which side.
        sides: Sides,
        /// The file, in its quotes or angle brackets.
        file: String,
    },
    /// `serverprefix name`
    ServerPrefix(Name),
    /// `userprefix name`
    UserPrefix(Name),
    /// `serverdemux name`
    ServerDemux(Name),
    /// `waittime expression`; `None` for `nowaittime`.
    WaitTime(Option<Expression>),
    /// `msgoption expression`
    MsgOption(Expression),
    /// `rcsid "..."`
    RcsId(String),
    /// `donation_default ( ... )`, for all routines that follow.
    DonationDefault(Vec<Ceiling>),
}

/// What of a donation is spoken of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// CPU time.
    Cpu,
    /// Frames at any one moment.
    Frames,
    /// I/O in units of 512 bytes.
    Io,
    /// Further calls deep.
    Depth,
    /// Time until the end.
    Deadline,
    /// Frames of gifts in the reply.
    Accept,
    /// Frames that servers may retain.
    Retain,
}

impl Resource {
    /// All of them, in the order of the ABI.
    pub const ALL: [Self; 7] =
        [Self::Cpu, Self::Frames, Self::Io, Self::Deadline, Self::Depth, Self::Accept, Self::Retain];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Frames => "frames",
            Self::Io => "io",
            Self::Depth => "depth",
            Self::Deadline => "deadline",
            Self::Accept => "accept",
            Self::Retain => "retain",
        }
    }
}

/// `cpu 5 ms at least 1 ms at most 20 ms`; amounts are in ns, frames, units of 512 bytes or calls.
#[derive(Clone, Debug)]
pub struct Ceiling {
    /// Of what.
    pub resource: Resource,
    /// What is offered if the caller says nothing else; `u64::MAX` for `all`.
    pub default: Option<u64>,
    /// `at least`
    pub least: Option<u64>,
    /// `at most`
    pub most: Option<u64>,
    /// Where.
    pub span: Span,
}

/// A routine as written.
#[derive(Clone, Debug)]
pub struct Routine {
    /// Its name.
    pub name: Name,
    /// `simpleroutine`: no reply.
    pub simple: bool,
    /// Its arguments.
    pub arguments: Vec<Argument>,
    /// The comment before it.
    pub doc: Option<String>,
    /// `donation ( ... )` before it.
    pub donation: Option<Vec<Ceiling>>,
    /// The whole statement.
    pub span: Span,
}

/// The word before an argument's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "MIG's words")]
pub enum Direction {
    None,
    In,
    Out,
    InOut,
    RequestPort,
    ReplyPort,
    SReplyPort,
    UReplyPort,
    WaitTime,
    MsgOption,
    MsgSeqno,
}

/// A word after an argument's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "MIG's words")]
pub enum Flag {
    IsLong,
    IsNotLong,
    Dealloc,
    DeallocDynamic,
    NotDealloc,
    ServerCopy,
    CountInOut,
    RetCode,
    Copy,
    Loan,
    Gift,
}

/// An argument as written.
#[derive(Clone, Debug)]
pub struct Argument {
    /// The word before its name.
    pub direction: Direction,
    /// Its name.
    pub name: Name,
    /// Its type's name (for an inline definition, the name it gets).
    pub type_name: Name,
    /// An inline definition.
    pub spec: Option<TypeSpec>,
    /// Words after it.
    pub flags: Vec<(Flag, Span)>,
    /// All of it with spaces made uniform, as the list of ids shows it.
    pub text: String,
}

/// A type with its translations.
#[derive(Clone, Debug)]
pub struct TypeSpec {
    /// The type on the wire.
    pub base: Base,
    /// `ctype:`
    pub ctype: Option<String>,
    /// `cusertype:`
    pub cusertype: Option<String>,
    /// `cservertype:`
    pub cservertype: Option<String>,
    /// `intran:`, `intranpayload:`, `outtran:` and `destructor:`, each with its words.
    pub translations: Vec<(String, Vec<String>)>,
}

/// A `MACH_MSG_TYPE_*` symbol or `polymorphic` or a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// As written.
    pub text: String,
    /// Where.
    pub span: Span,
}

/// The bound of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// `[]` and `[*]`
    Indefinite,
    /// `[* : n]`
    AtMost(u32),
    /// `[n]`
    Exactly(u32),
}

/// A type on the wire as written.
#[derive(Clone, Debug)]
pub enum Base {
    /// `symbol`, `symbol | symbol`
    Symbols(Symbol, Option<Symbol>),
    /// `( symbol [| symbol] , size {, flag} )`
    Sized {
        /// Put by the sender.
        send: Symbol,
        /// Seen by the receiver.
        receive: Option<Symbol>,
        /// Bits of one element.
        bits: u32,
        /// Flags.
        flags: Vec<(Flag, Span)>,
    },
    /// An earlier type.
    Named(Name),
    /// `array [bound] of base`
    Array(Bound, Box<Base>, Span),
    /// `^ base`
    OutOfLine(Box<Base>, Span),
    /// `struct [n] of base`
    StructArray(u32, Box<Base>, Span),
    /// `struct { type field; ... }`
    Struct(Vec<(Base, Name)>, Span),
    /// `c_string [n]`, `c_string [* : n]`
    CString {
        /// Bytes, the NUL included.
        size: u32,
        /// Only the bytes in use travel.
        variable: bool,
        /// Where.
        span: Span,
    },
}
