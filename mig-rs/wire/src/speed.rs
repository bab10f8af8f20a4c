//! How fast mig-rs is beside GNU MIG, and how much its stubs execute beside GNU MIG's.
