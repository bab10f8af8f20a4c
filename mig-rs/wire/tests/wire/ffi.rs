//! The shared object of GNU MIG's stubs: loading it, calling its clients and servers, and what it calls back. All
//! `unsafe` of this crate is here.
//!
//! Memory that a message names is only read if it lies in memory that the test has registered.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;

use super::exchange::{self, Sent};
use super::objects;
use super::plain::{Plain, RECORDER, Seen};

unsafe extern "C" {
    fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    fn dlerror() -> *const c_char;
}

/// `RTLD_NOW`.
const NOW: c_int = 2;

/// `struct wire_value`.
#[repr(C)]
#[derive(Clone, Copy)]
struct CValue {
    data: *mut c_void,
    count: u32,
    disposition: u32,
    dealloc: u32,
    out_of_line: u32,
}

/// `struct wire_host`.
#[repr(C)]
struct Host {
    message: extern "C" fn(*mut c_void, *const Sent) -> c_int,
    allocate: extern "C" fn(u64) -> *mut c_void,
    seen: extern "C" fn(u32, *const c_void, u64, u32, u32, u32),
    answer: extern "C" fn() -> *const CValue,
    code: extern "C" fn() -> c_int,
    translated: extern "C" fn(*const c_char, *const c_void, u32, *const c_void, u32) -> c_int,
    refused: extern "C" fn() -> c_int,
}

/// `struct wire_routine`.
#[repr(C)]
struct CRoutine {
    name: *const c_char,
    call: extern "C" fn(*const CValue, *mut CValue) -> c_int,
}

/// `struct wire_interface`.
#[repr(C)]
struct CInterface {
    name: *const c_char,
    serve: extern "C" fn(*mut c_void, *mut c_void) -> c_int,
    count: u32,
    routines: *const CRoutine,
}

/// GNU MIG's stubs of one interface. They stay loaded until the process ends.
#[derive(Clone, Copy)]
pub(crate) struct Stubs {
    interface: &'static CInterface,
    routines: &'static [CRoutine],
}

// SAFETY: the tables are constants of the shared object, and the functions keep nothing between calls but `wire_host`,
// which is written once, before there is a `Stubs`.
unsafe impl Send for Stubs {}
// SAFETY: as above.
unsafe impl Sync for Stubs {}

thread_local! {
    /// Memory that messages may name, as (address, bytes).
    static MEMORY: RefCell<Vec<(u64, usize)>> = const { RefCell::new(Vec::new()) };
    /// Memory that clients have allocated since.
    static ALLOCATED: RefCell<Vec<Plain>> = const { RefCell::new(Vec::new()) };
    /// The answer of the C server, while it is asked for it.
    static ANSWER: RefCell<Vec<CValue>> = const { RefCell::new(Vec::new()) };
}

/// Loads the shared object.
pub(crate) fn load(path: &Path) -> Result<Vec<(String, Stubs)>, String> {
    let name = CString::new(path.to_string_lossy().into_owned()).map_err(|e| e.to_string())?;
    // SAFETY: the name is a C string; the object's initialisers are those of any C library, none of its own.
    let library = unsafe { dlopen(name.as_ptr(), NOW) };
    if library.is_null() {
        // SAFETY: after a failure `dlerror` returns a C string that lives until its next call.
        let error = unsafe { CStr::from_ptr(dlerror()) };
        return Err(error.to_string_lossy().into_owned());
    }
    let symbol = |name: &CStr| {
        // SAFETY: the library is loaded, the name is a C string.
        let found = unsafe { dlsym(library, name.as_ptr()) };
        if found.is_null() { Err(format!("no symbol {}", name.to_string_lossy())) } else { Ok(found) }
    };
    let start = symbol(c"wire_start")?;
    // SAFETY: `wire_start` has this type in `wire.h`.
    let start: extern "C" fn(*const Host) = unsafe { std::mem::transmute(start) };
    start(&Host { message, allocate, seen, answer, code, translated, refused });
    let count = symbol(c"wire_interface_count")?.cast::<u32>();
    // SAFETY: it is a constant `uint32_t` of the object.
    let count = unsafe { *count };
    let table = symbol(c"wire_interfaces")?.cast::<&'static CInterface>();
    // SAFETY: it is an array of so many pointers to constants of the object, which is never unloaded.
    let table = unsafe { std::slice::from_raw_parts(table, count as usize) };
    let stubs = |interface: &&'static CInterface| {
        // SAFETY: `name` is a C string constant of the object.
        let name = unsafe { CStr::from_ptr(interface.name) };
        // SAFETY: `routines` has `count` constant elements.
        let routines = unsafe { std::slice::from_raw_parts(interface.routines, interface.count as usize) };
        (name.to_string_lossy().into_owned(), Stubs { interface, routines })
    };
    Ok(table.iter().map(stubs).collect())
}

/// Registers memory that messages may name, instead of what was registered before.
pub(crate) fn register(values: &[&[Plain]]) {
    ALLOCATED.take();
    MEMORY.with_borrow_mut(|memory| {
        memory.clear();
        memory.extend(values.iter().flat_map(|v| v.iter()).map(|p| (p.address(), p.bytes().len())));
    });
}

/// Reads registered memory.
pub(crate) fn read(address: u64, size: usize) -> Option<Vec<u8>> {
    let end = address.checked_add(size as u64)?;
    let registered =
        MEMORY.with_borrow(|m| m.iter().any(|&(start, n)| start <= address && end <= start + n as u64));
    if !registered {
        return None;
    }
    // SAFETY: the range lies in a vector of the test that was registered for this round and lives longer than it.
    Some(unsafe { std::slice::from_raw_parts(address as *const u8, size) }.to_vec())
}

fn c_value(plain: &Plain) -> CValue {
    CValue {
        data: plain.address() as *mut c_void,
        count: plain.count,
        disposition: plain.disposition,
        dealloc: u32::from(plain.dealloc),
        out_of_line: u32::from(plain.out_of_line),
    }
}

/// A result of a C client.
pub(crate) struct Got {
    /// Address of the elements.
    pub(crate) address: u64,
    /// Elements.
    pub(crate) count: u32,
    pub(crate) disposition: u32,
    /// Not in the client's own memory.
    pub(crate) elsewhere: bool,
}

impl Stubs {
    /// The routine's place in the table.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.routines.iter().position(|r| {
            // SAFETY: `name` is a C string constant of the object.
            unsafe { CStr::from_ptr(r.name) }.to_bytes() == name.as_bytes()
        })
    }

    /// Calls a routine through its C stub. `outs` has room for every result.
    pub(crate) fn call(&self, routine: usize, ins: &[Plain], outs: &mut [Plain]) -> (i32, Vec<Got>) {
        let values: Vec<CValue> = ins.iter().map(c_value).collect();
        // The room must be writable even where it is for nothing.
        let own = |p: &mut Plain| CValue { data: p.bytes_mut().as_mut_ptr().cast(), ..c_value(p) };
        let mut results: Vec<CValue> = outs.iter_mut().map(own).collect();
        for ((result, plain), given) in results.iter_mut().zip(&*outs).zip(ins) {
            if plain.out_of_line {
                // An `inout` argument out of line is sent from where it is given.
                result.data = given.address() as *mut c_void;
            }
        }
        let code = (self.routines[routine].call)(values.as_ptr(), results.as_mut_ptr());
        let result = |r: &CValue| Got {
            address: r.data as u64,
            count: r.count,
            disposition: r.disposition,
            elsewhere: r.out_of_line != 0,
        };
        (code, results.iter().map(result).collect())
    }

    /// Serves a request that was received. `request` and `reply` have slack behind what the messages need.
    pub(crate) fn serve(&self, request: &mut [u64], reply: &mut [u64]) -> bool {
        MEMORY.with_borrow_mut(|m| m.push((request.as_ptr() as u64, request.len() * 8)));
        let answer = RECORDER.with_borrow(|r| r.answers.iter().map(c_value).collect());
        ANSWER.set(answer);
        let known = (self.interface.serve)(request.as_mut_ptr().cast(), reply.as_mut_ptr().cast());
        MEMORY.with_borrow_mut(Vec::pop);
        known != 0
    }
}

extern "C" fn message(message: *mut c_void, sent: *const Sent) -> c_int {
    // SAFETY: wire.c passes a `struct wire_sent` of its own.
    let sent = unsafe { *sent };
    let receives = sent.option & 2 != 0;
    let size = if receives { sent.send_size.max(sent.receive_size) } else { sent.send_size } as usize;
    // SAFETY: a stub's message is a union of request and reply, in which `send_size` bytes are written and which has
    // room for `receive_size`; nobody else looks at it during the call. The stubs are compiled so that the rest is zeros.
    let bytes = unsafe { std::slice::from_raw_parts_mut(message.cast::<u8>(), size) };
    match exchange::exchange(bytes, sent) {
        Ok(_) => 0,
        Err(code) => code,
    }
}

/// Memory that is registered, too, and lives until other memory is.
extern "C" fn allocate(size: u64) -> *mut c_void {
    let mut plain = Plain::new(&vec![0; usize::try_from(size).unwrap_or(0)], 1);
    let address = plain.bytes_mut().as_mut_ptr();
    MEMORY.with_borrow_mut(|m| m.push((address as u64, plain.bytes().len())));
    ALLOCATED.with_borrow_mut(|a| a.push(plain));
    address.cast()
}

extern "C" fn seen(argument: u32, data: *const c_void, size: u64, count: u32, disposition: u32, sure: u32) {
    let bytes = match (size, sure) {
        (0, _) => Some(Vec::new()),
        // SAFETY: the glue vouches for data in the message and on its stack, whose size the interface fixes.
        (_, 1) => Some(unsafe { std::slice::from_raw_parts(data.cast::<u8>(), size as usize) }.to_vec()),
        _ => read(data as u64, usize::try_from(size).unwrap_or(usize::MAX)),
    };
    let disposition = (disposition != 0).then_some(disposition);
    RECORDER.with_borrow_mut(|r| r.saw(Seen { argument: argument as usize, bytes, count, disposition }));
}

extern "C" fn answer() -> *const CValue {
    ANSWER.with_borrow(|a| a.as_ptr())
}

extern "C" fn code() -> c_int {
    RECORDER.with_borrow_mut(|r| {
        r.reached = true;
        r.code
    })
}

extern "C" fn translated(
    function: *const c_char,
    from: *const c_void,
    from_size: u32,
    made: *const c_void,
    made_size: u32,
) -> c_int {
    let bytes = |at: *const c_void, size: u32| match size {
        0 => Vec::new(),
        // SAFETY: objects.h passes so many bytes of objects of its own.
        _ => unsafe { std::slice::from_raw_parts(at.cast::<u8>(), size as usize) }.to_vec(),
    };
    // SAFETY: objects.h passes the name of a function.
    let function = unsafe { CStr::from_ptr(function) }.to_string_lossy();
    c_int::from(objects::runs(&function, &bytes(from, from_size), &bytes(made, made_size)))
}

extern "C" fn refused() -> c_int {
    objects::REFUSED
}
