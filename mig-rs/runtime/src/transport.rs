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

    /// As [`Transport::call`], with what the interface says of the message call. A transport without a clock waits as long as the
    /// donation allows, and one without options has none: that is what this does unless it is implemented.
    ///
    /// # Errors
    /// As for [`Transport::call`]; `MACH_RCV_TIMED_OUT` when the time is over.
    fn call_with(
        &self,
        msg: &mut [u8],
        send_size: usize,
        how: CallOptions,
        donation: &Donation,
    ) -> Result<usize, i32> {
        let _ = how;
        self.call(msg, send_size, donation)
    }

    /// As [`Transport::send`], with options of the message call; see [`Transport::call_with`].
    ///
    /// # Errors
    /// As for [`Transport::send`].
    fn send_with(
        &self,
        msg: &mut [u8],
        size: usize,
        how: CallOptions,
        donation: &Donation,
    ) -> Result<(), i32> {
        let _ = how;
        self.send(msg, size, donation)
    }
}

/// What an interface says of the message call itself: `waittime` and `msgoption`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallOptions {
    /// How long to wait for the reply, in ms; `None`: as long as the donation allows.
    pub wait_ms: Option<u32>,
    /// More `mach_msg` options, such as `MACH_SEND_NOTIFY`.
    pub option: u32,
}

impl<T: Transport + ?Sized> Transport for &T {
    fn call(&self, msg: &mut [u8], send_size: usize, donation: &Donation) -> Result<usize, i32> {
        (**self).call(msg, send_size, donation)
    }
    fn send(&self, msg: &mut [u8], size: usize, donation: &Donation) -> Result<(), i32> {
        (**self).send(msg, size, donation)
    }
    fn call_with(
        &self,
        msg: &mut [u8],
        send_size: usize,
        how: CallOptions,
        donation: &Donation,
    ) -> Result<usize, i32> {
        (**self).call_with(msg, send_size, how, donation)
    }
    fn send_with(
        &self,
        msg: &mut [u8],
        size: usize,
        how: CallOptions,
        donation: &Donation,
    ) -> Result<(), i32> {
        (**self).send_with(msg, size, how, donation)
    }
}
