//! What servers make of values on the wire: translations in Rust that do what `c/objects.h` does in C, a record of which
//! ran, and Rust's types for types of C.

use std::cell::RefCell;

use mig_runtime::Value;

use super::plain::{Plain, Seen};

/// A constant that an interface's `waittime` names; `c/patience.h` has the same.
pub(crate) mod patience {
    /// Milliseconds.
    pub(crate) const PATIENCE: u32 = 1234;
}

/// `KERN_INVALID_ARGUMENT`: what a server answers that was handed nothing, because a translation has failed.
pub(crate) const REFUSED: i32 = 4;

/// A translation or a destructor that has run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ran {
    pub(crate) function: String,
    pub(crate) from: Vec<u8>,
    /// Nothing, of a destructor.
    pub(crate) made: Vec<u8>,
}

thread_local! {
    static RAN: RefCell<Vec<Ran>> = const { RefCell::new(Vec::new()) };
    /// The function that fails.
    static FAILS: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Forgets what has run; `fails` is the function that fails from now on.
pub(crate) fn start(fails: Option<&str>) {
    RAN.take();
    FAILS.set(fails.map(str::to_owned));
}

/// What has run, in order.
pub(crate) fn ran() -> Vec<Ran> {
    RAN.take()
}

/// Notes that a function has run, and whether it is to fail.
pub(crate) fn runs(function: &str, from: &[u8], made: &[u8]) -> bool {
    let fails = FAILS.with_borrow(|f| f.as_deref() == Some(function));
    let made = if fails { Vec::new() } else { made.to_vec() };
    if !fails {
        RAN.with_borrow_mut(|r| r.push(Ran { function: function.to_owned(), from: from.to_vec(), made }));
    }
    fails
}

/// The bytes that a function makes of others, and of these the first again.
pub(crate) fn changed(function: &str, bytes: &[u8]) -> Vec<u8> {
    bytes.iter().zip(function.bytes().cycle()).map(|(b, f)| b ^ f).collect()
}

/// What a server makes of a value on the wire. Its end is the destructor, if the interface has one, unless it is kept or
/// has become a value on the wire again.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) bytes: Vec<u8>,
    pub(crate) disposition: Option<u32>,
    destructor: Option<&'static str>,
}

impl Object {
    /// From the wire.
    pub(crate) fn take(function: &str, destructor: Option<&'static str>, value: Seen) -> Result<Self, i32> {
        let from = value.bytes.expect("a value of fixed size is in the message");
        let bytes = changed(function, &from);
        if runs(function, &from, &bytes) {
            return Err(REFUSED);
        }
        Ok(Self { bytes, disposition: value.disposition, destructor })
    }

    /// What a server answers, so that `function` makes of it what is in `value`.
    pub(crate) fn answer(function: &str, value: &Plain) -> Self {
        let disposition = Some(value.disposition);
        Self { bytes: changed(function, value.bytes()), disposition, destructor: None }
    }

    /// To the wire.
    pub(crate) fn give(mut self, function: &str) -> Result<Plain, i32> {
        self.destructor = None;
        let bytes = changed(function, &self.bytes);
        if runs(function, &self.bytes, &bytes) {
            return Err(REFUSED);
        }
        let mut plain = Plain::new(&bytes, 1);
        plain.disposition = self.disposition.unwrap_or(0);
        Ok(plain)
    }

    /// The server's own from now on.
    pub(crate) fn keep(mut self) {
        self.destructor = None;
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        if let Some(function) = self.destructor {
            runs(function, &self.bytes, &[]);
        }
    }
}

/// Declares a type that stands for a type of C. Its value differs from what is on the wire, so that a conversion that was
/// left out shows.
macro_rules! of_c {
    ($($(#[$doc:meta])* $name:ident($wire:ty) ^ $key:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub(crate) struct $name($wire);
        impl From<$wire> for $name {
            fn from(value: $wire) -> Self {
                Self(value ^ $key)
            }
        }
        impl From<$name> for $wire {
            fn from(value: $name) -> Self {
                value.0 ^ $key
            }
        }
        impl Value for $name {
            const SIZE: usize = <$wire as Value>::SIZE;
            const ZERO: Self = Self($key);
            fn load(bytes: &[u8]) -> Self {
                <$wire as Value>::load(bytes).into()
            }
            fn store(self, bytes: &mut [u8]) {
                <$wire>::from(self).store(bytes);
            }
        }
    )*};
}

of_c! {
    /// `cusertype: near_t`
    Near(i32) ^ 0x1111;
    /// `cservertype: far_t`
    Far(i32) ^ 0x2222;
    /// `ctype: both_t`
    Both(i64) ^ 0x3333;
}
