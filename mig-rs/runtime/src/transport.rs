//! How a client stub reaches a port.

use drover_abi::donation::Donation;

/// Sends requests and brings back replies. Implemented over a trap in user space, and over plain functions in tests.
pub trait Transport {
    /// Sends the request in `msg[..send_size]` and receives its reply into `msg`.
    ///
    /// `msg` is aligned to 8 and as long as the larger of request and reply. If the local port of the header is null the
    /// transport puts its own reply port there, with `MAKE_SEND_ONCE`; otherwise the interface has named the reply port,
    /// and the reply is to be received from that one. `donation` is what the call may spend; the caller's account pays.
    ///
    /// Returns the size of the reply in bytes.
    ///
    /// # Errors
    /// The `mach_msg_return_t` of the transport, or a `kern_return_t` with which the kernel refused the call.
    fn call(&self, msg: &mut [u8], send_size: usize, donation: &Donation) -> Result<usize, i32>;

    /// Sends the one-way message in `msg[..size]`.
    ///
    /// # Errors
    /// As for [`Transport::call`].
    fn send(&self, msg: &mut [u8], size: usize, donation: &Donation) -> Result<(), i32>;
}

impl<T: Transport + ?Sized> Transport for &T {
    fn call(&self, msg: &mut [u8], send_size: usize, donation: &Donation) -> Result<usize, i32> {
        (**self).call(msg, send_size, donation)
    }
    fn send(&self, msg: &mut [u8], size: usize, donation: &Donation) -> Result<(), i32> {
        (**self).send(msg, size, donation)
    }
}
