//! The server's half: the request as a whole, and what becomes of it.

use drover_abi::message::{BITS_COMPLEX, HEADER_SIZE, Header, local_disposition, msgt, remote_disposition};
use drover_abi::returns::{MIG_ARRAY_TOO_LARGE, MIG_BAD_ID, MIG_NO_REPLY};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::decode::RETURN_CODE;
use crate::port::received;
use crate::{
    Bad, Bounds, Decoder, Encoder, KernelPort, Name, Offer, Overflow, Port, PortName, Retain, Shape,
};

/// Who looks at the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A server that received it: rights are `PORT_RECEIVE`, `PORT_SEND` or `PORT_SEND_ONCE`, the remote port is the reply port.
    Received,
    /// The same, and the buffer for the reply holds nothing that the client may not see, such as memory that is fresh with every
    /// call: what a reply leaves unused of it is not cleared.
    Clean,
    /// The kernel, reading its caller's own words: names are the caller's, rights are as the caller sends them, the local
    /// port is the reply port. The reply is written as the caller must receive it.
    Raw,
}

/// A request while it is being served.
#[derive(Clone, Copy, Debug)]
pub struct Request<'m> {
    /// Who looks at it.
    pub mode: Mode,
    /// What was offered for it.
    pub offer: Offer,
    message: &'m Message,
}

/// A message: read where it lies, and only what is needed of it.
#[derive(Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Message {
    header: [u8; HEADER_SIZE],
    items: [u8],
}

/// What [dispatching](Request) came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The id belongs to another interface; nothing was written. See [`Request::bad_id`].
    NotMine,
    /// Served, and there is nothing to send: a one-way message, or the server answers later itself.
    NoReply,
    /// The reply is in the buffer, that many bytes long.
    Reply(usize),
}

impl<'m> Request<'m> {
    /// The request in `message`; `None` if it is shorter than a header.
    #[must_use]
    #[inline(always)]
    pub fn new(mode: Mode, message: &'m [u8]) -> Option<Self> {
        let message = Message::ref_from_bytes(message).ok()?;
        Some(Self { mode, offer: Offer::Unknown, message })
    }

    /// Its header.
    #[must_use]
    #[inline(always)]
    pub fn header(&self) -> Header {
        zerocopy::transmute!(self.message.header)
    }

    /// The same request, of which it is known what was offered.
    #[must_use]
    #[inline]
    pub const fn with_offer(mut self, offer: Offer) -> Self {
        self.offer = offer;
        self
    }

    /// Judges the offer by the interface. For generated code: what a method may retain comes as its argument.
    ///
    /// # Errors
    /// `DROVER_OFFER_REFUSED`: it is out of bounds.
    #[doc(hidden)]
    #[inline]
    pub fn admit(&self, bounds: &Bounds) -> Result<Retain, i32> {
        bounds.admit(&self.offer)
    }

    /// The protected payload or the name of the receive right in a received request; the destination's name in a raw one.
    #[must_use]
    #[inline]
    pub fn target(&self) -> u64 {
        match self.mode {
            Mode::Received | Mode::Clean => self.header().local,
            Mode::Raw => self.header().remote,
        }
    }

    /// The protected payload, if the receiver had set one.
    #[must_use]
    #[inline]
    pub fn payload(&self) -> Option<u64> {
        match self.mode {
            Mode::Received | Mode::Clean
                if local_disposition(self.header().bits) == msgt::PROTECTED_PAYLOAD =>
            {
                Some(self.header().local)
            }
            _ => None,
        }
    }

    /// The port that the request came to, or, in a raw one, is sent to.
    #[must_use]
    #[inline]
    pub fn request_port(&self) -> Port {
        match self.mode {
            Mode::Received | Mode::Clean => {
                Port::new(PortName(self.header().local as u32), local_disposition(self.header().bits))
            }
            Mode::Raw => {
                Port::new(PortName(self.header().remote as u32), remote_disposition(self.header().bits))
            }
        }
    }

    /// The reply port; null if the reply goes back another way, or none is wanted.
    #[must_use]
    #[inline]
    pub fn reply_port(&self) -> Port {
        match self.mode {
            Mode::Received | Mode::Clean => {
                Port::new(PortName(self.header().remote as u32), remote_disposition(self.header().bits))
            }
            Mode::Raw => {
                Port::new(PortName(self.header().local as u32), local_disposition(self.header().bits))
            }
        }
    }

    /// As [`Request::request_port`], for a kernel.
    #[must_use]
    #[inline]
    pub fn request_right<N: Name>(&self) -> Port<N> {
        Port::new(N::of_word(self.target()), self.request_port().disposition)
    }

    /// As [`Request::reply_port`], for a kernel.
    #[must_use]
    #[inline]
    pub fn reply_right<N: Name>(&self) -> Port<N> {
        let word = match self.mode {
            Mode::Received | Mode::Clean => self.header().remote,
            Mode::Raw => self.header().local,
        };
        Port::new(N::of_word(word), self.reply_port().disposition)
    }

    /// Starts to decode. For generated code, which knows whether the request is raw.
    ///
    /// # Errors
    /// [`Bad`] if the message as a whole is not as the interface says.
    #[inline(always)]
    pub fn body<const RAW: bool>(&self, shape: Shape) -> Result<Decoder<'m>, Bad> {
        Decoder::request(&self.message.header, &self.message.items, RAW, shape)
    }

    /// Starts a reply that says success, before the method runs: what it needs of the request need not be kept while it does.
    /// `size`: what the reply takes, if that is fixed; `id`: the request's. For generated code.
    ///
    /// # Errors
    /// [`Overflow`] if it does not fit.
    #[inline(always)]
    pub fn reply<'r, const RAW: bool, const CLEAN: bool>(
        &self,
        buffer: &'r mut [u8],
        size: Option<usize>,
        id: i32,
    ) -> Result<Encoder<'r>, Overflow> {
        let buffer = match size {
            Some(size) => buffer.get_mut(..size).ok_or(Overflow)?,
            None => buffer,
        };
        let mut encoder = match (RAW, CLEAN) {
            (true, _) => Encoder::received(buffer),
            (false, true) => Encoder::clean(buffer),
            (false, false) => Encoder::new(buffer),
        };
        self.open::<RAW>(&mut encoder, id, size.unwrap_or(0))?;
        encoder.value(RETURN_CODE, 0u64)?;
        Ok(encoder)
    }

    #[inline(always)]
    fn open<const RAW: bool>(&self, encoder: &mut Encoder<'_>, id: i32, size: usize) -> Result<(), Overflow> {
        let id = id.wrapping_add(100);
        if RAW {
            // The caller's own word; a kernel's may have 64 bits.
            let name = KernelPort(self.header().local);
            let disposition = received(local_disposition(self.header().bits));
            return encoder.open(id, size, Port::default(), Port::new(name, disposition));
        }
        let name = PortName(self.header().remote as u32);
        encoder.open(id, size, Port::new(name, remote_disposition(self.header().bits)), Port::default())
    }

    /// An error reply: [`ERROR_REPLY_SIZE`](crate::ERROR_REPLY_SIZE) bytes; none for `MIG_NO_REPLY`.
    #[cold]
    #[inline(never)]
    pub fn error(&self, code: i32, buffer: &mut [u8]) -> Outcome {
        if code == MIG_NO_REPLY {
            return Outcome::NoReply;
        }
        let written = (|| {
            let mut encoder = Encoder::new(buffer);
            match self.mode {
                Mode::Received | Mode::Clean => self.open::<false>(&mut encoder, self.header().id, 0)?,
                Mode::Raw => self.open::<true>(&mut encoder, self.header().id, 0)?,
            }
            encoder.value(RETURN_CODE, code)?;
            encoder.end()
        })();
        match written {
            Ok(size) => Outcome::Reply(size),
            Err(Overflow) => Outcome::NoReply,
        }
    }

    /// The answer when the buffer is too small for the reply. For generated code.
    #[cold]
    #[inline(never)]
    pub fn no_room(&self, buffer: &mut [u8]) -> Outcome {
        self.error(MIG_ARRAY_TOO_LARGE, buffer)
    }

    /// The answer to a message that no interface of the server knows.
    pub fn bad_id(&self, buffer: &mut [u8]) -> Outcome {
        self.error(MIG_BAD_ID, buffer)
    }

    /// The message carries rights or memory out of line, which somebody must release.
    #[must_use]
    #[inline]
    pub fn is_complex(&self) -> bool {
        self.header().bits & BITS_COMPLEX != 0
    }

    /// Somebody waits for a reply at a port.
    #[must_use]
    #[inline]
    pub fn wants_reply(&self) -> bool {
        let port = self.reply_port();
        port.name.is_valid() && msgt::is_port(port.disposition)
    }
}

/// Writes the error reply with `code` to the request in `request`, for a server that got no further than its header.
pub fn write_error(request: &[u8], code: i32, reply: &mut [u8]) -> Outcome {
    match Request::new(Mode::Received, request) {
        Some(request) => request.error(code, reply),
        None => Outcome::NoReply,
    }
}
