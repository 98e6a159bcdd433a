//! What the targets share: the limits that hold for whatever bytes come.

use cap::Cap;
use std::alloc::System;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// The longest string, buffer or entry that a reader accepts, in bytes.
pub const LIMIT: usize = 1 << 20;

/// Runs `decode`, which must not have more than a small multiple of its input in use at any moment: `times` its
/// length and `constant` bytes.
///
/// # Panics
/// It has.
pub fn within(input: &[u8], times: usize, constant: usize, decode: impl FnOnce()) {
    let allowed = ALLOCATOR.allocated() + input.len() * times + constant;
    // What goes beyond fails to be allocated, and that ends the process.
    ALLOCATOR.set_limit(allowed).expect("more was in use before");
    decode();
    ALLOCATOR.set_limit(usize::MAX).expect("there is no limit");
}
