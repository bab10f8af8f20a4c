//! How a client stub reaches a port.

use drover_abi::donation::Donation;
use drover_abi::returns::KERN_INVALID_ARGUMENT;

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

    /// As [`Transport::call`], with what the interface says of the message call. A transport that does not implement this has neither clock
    /// nor options: it refuses what it cannot do.
    ///
    /// # Errors
    /// As for [`Transport::call`]; `MACH_SEND_TIMED_OUT` when the time is over before the request could be sent, `MACH_RCV_TIMED_OUT` when it
    /// is over before the reply has come; `KERN_INVALID_ARGUMENT`, or the code of `mach_msg`, for what the transport cannot do.
    fn call_with(
        &self,
        msg: &mut [u8],
        send_size: usize,
        how: CallOptions,
        donation: &Donation,
    ) -> Result<usize, i32> {
        how.nothing()?;
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
        how.nothing()?;
        self.send(msg, size, donation)
    }
}

/// What an interface says of the message call itself: `waittime` and `msgoption`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallOptions {
    /// How long to wait for the reply, in ms; `None`: as long as the donation allows.
    pub wait_ms: Option<u32>,
    /// More `mach_msg` options, such as `MACH_SEND_TIMEOUT`.
    pub option: u32,
}

impl CallOptions {
    /// Holds that nothing is said: for a transport that could do nothing about it.
    ///
    /// # Errors
    /// `KERN_INVALID_ARGUMENT`: something is said.
    pub const fn nothing(self) -> Result<(), i32> {
        match self {
            Self { wait_ms: None, option: 0 } => Ok(()),
            _ => Err(KERN_INVALID_ARGUMENT),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers everything, and knows of no options.
    struct Plain;

    impl Transport for Plain {
        fn call(&self, _: &mut [u8], size: usize, _: &Donation) -> Result<usize, i32> {
            Ok(size)
        }
        fn send(&self, _: &mut [u8], _: usize, _: &Donation) -> Result<(), i32> {
            Ok(())
        }
    }

    #[test]
    fn what_a_transport_cannot_do_it_refuses() {
        let offer = &Donation::ALL;
        let plain = CallOptions::default();
        let by_reference = &&Plain;
        assert_eq!(Plain.call_with(&mut [], 7, plain, offer), Ok(7));
        assert_eq!(Plain.send_with(&mut [], 7, plain, offer), Ok(()));
        for how in [CallOptions { wait_ms: Some(0), ..plain }, CallOptions { option: 0x10, ..plain }] {
            assert_eq!(Plain.call_with(&mut [], 7, how, offer), Err(KERN_INVALID_ARGUMENT));
            assert_eq!(by_reference.send_with(&mut [], 7, how, offer), Err(KERN_INVALID_ARGUMENT));
        }
    }
}
