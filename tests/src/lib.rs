//! Tests that cross crates. `tests/qemu.rs` makes every in-guest test an ordinary verdict; the guest's side is in `guest/`.
#![forbid(unsafe_code)]
