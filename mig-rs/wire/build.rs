//! Stubs of every interface that is compared, and the glue.
fn main() {}
