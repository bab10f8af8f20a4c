//! What `fixtures.rs` expects compiles, and works.

#[allow(dead_code, reason = "not every stub is tried")]
#[rustfmt::skip]
#[path = "fixtures/kinds/expected.rs"]
mod kinds;
#[allow(dead_code, reason = "not every stub is tried")]
#[rustfmt::skip]
#[path = "fixtures/donation/expected.rs"]
mod donation;
#[allow(dead_code, reason = "not every stub is tried")]
#[rustfmt::skip]
#[path = "fixtures/kernel/expected.rs"]
mod kernel;
#[allow(dead_code, reason = "not every stub is tried")]
#[rustfmt::skip]
#[path = "fixtures/macros/expected.rs"]
mod macros;
#[allow(dead_code, reason = "not every stub is tried")]
#[rustfmt::skip]
#[path = "fixtures/names/expected.rs"]
mod names;
#[allow(dead_code, reason = "not every stub is tried")]
#[rustfmt::skip]
#[path = "fixtures/null/expected.rs"]
mod null;

#[allow(dead_code, reason = "not every stub is tried")]
#[rustfmt::skip]
#[path = "fixtures/rare/expected.rs"]
mod rare;
#[allow(dead_code, reason = "not every stub is tried")]
#[rustfmt::skip]
#[path = "fixtures/translations/expected.rs"]
mod translations;
#[allow(dead_code, reason = "not every stub is tried")]
#[rustfmt::skip]
#[path = "fixtures/words/expected.rs"]
mod words;

/// For the fixture `words`: milliseconds.
const PATIENCE: u32 = 250;

/// For the fixture `translations`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Protection(i32);

impl From<i32> for Protection {
    fn from(bits: i32) -> Self {
        Self(bits)
    }
}

impl From<Protection> for i32 {
    fn from(protection: Protection) -> Self {
        protection.0
    }
}

/// Generated code can be used: a server by hand, its request by hand.
#[test]
fn generated_code_serves() {
    use mig_runtime::{Outcome, Request};
    struct Server;
    impl null::NullServer for Server {
        fn null_ping(&mut self, _: &Request<'_>) -> Result<(), i32> {
            Ok(())
        }
    }
    let mut request = [0u8; 32];
    request[4] = 32;
    request[28..].copy_from_slice(&null::id::NULL_PING.to_le_bytes());
    let mut reply = [0u8; 64];
    assert_eq!(null::dispatch(&mut Server, &request, &mut reply), Outcome::Reply(48));
    assert_eq!((&reply[28..32], reply[40]), (&600i32.to_le_bytes()[..], 0));
    request[28..].copy_from_slice(&502i32.to_le_bytes());
    assert_eq!(null::dispatch(&mut Server, &request, &mut reply), Outcome::NoReply);
    request[28..].copy_from_slice(&501i32.to_le_bytes());
    assert_eq!(null::dispatch(&mut Server, &request, &mut reply), Outcome::NotMine);
    assert_eq!((kinds::BASE, macros::id::MACROS_TWO), (600, 104));
}

/// Offers: constants are checked here, when this file is compiled; others by the server, before its method runs.
#[test]
fn offers_are_bounded() {
    use mig_runtime::{Donation, Offer, Offered, Outcome, PortName, Request, Retain, Transport, offer};

    /// Carries a request to the server below, as a kernel would, and notes what was offered.
    struct Local(std::cell::Cell<Option<Donation>>);
    struct Server;
    impl donation::DonationServer for Server {
        fn donation_bounded(
            &mut self,
            _: &Request<'_>,
            _: &mig_runtime::Text<64>,
            retain: Retain,
        ) -> Result<donation::DonationBoundedReply, i32> {
            Ok(donation::DonationBoundedReply { handle: PortName(retain.frames() as u32) })
        }
    }
    impl Transport for Local {
        fn call(&self, msg: &mut [u8], size: usize, donation: &Donation) -> Result<usize, i32> {
            self.0.set(Some(*donation));
            let request = msg[..size].to_vec();
            let offered = Offered { remaining: *donation, now_ns: 1_000_000 };
            let request = Request::new(mig_runtime::Mode::Raw, &request).ok_or(1)?;
            let request = request.with_offer(Offer::Known(offered));
            match donation::dispatch_request(&mut Server, &request, msg) {
                Outcome::Reply(size) => Ok(size),
                _ => Err(2),
            }
        }
        fn send(&self, _: &mut [u8], _: usize, _: &Donation) -> Result<(), i32> {
            Err(3)
        }
    }

    const CHEAP: Donation =
        donation::offer::DONATION_BOUNDED.check(Donation::ALL.cpu(60_000).frames(8).deadline(2_000_000));
    let local = Local(std::cell::Cell::new(None));
    let call = |offer: &Donation| {
        donation::donation_bounded(&local, PortName(1), b"x", offer).map(|r| r.handle.0).map_err(|e| e.code())
    };
    assert_eq!(call(&CHEAP), Ok(8));
    // "All that remains" becomes what the interface allows.
    assert_eq!(local.0.get().map(|d| (d.cpu_ns, d.retain)), Some((60_000, 8)));
    assert_eq!(call(&CHEAP.cpu(u64::MAX)), Ok(8));
    assert_eq!(local.0.get().map(|d| d.cpu_ns), Some(20_000_000));
    assert_eq!(call(&Donation { retain: 2, ..CHEAP }), Ok(2));
    // Nor is more retained than the interface says, whatever is offered.
    assert_eq!(call(&Donation { retain: 9, ..CHEAP }), Ok(8));
    assert_eq!(local.0.get().map(|d| d.retain), Some(8));
    let refused = Err(drover_abi::returns::DROVER_OFFER_REFUSED);
    assert_eq!(call(&CHEAP.cpu(20_000_001)), refused);
    assert_eq!(call(&CHEAP.deadline(u64::MAX)), refused);
    let plain = offer!(donation::offer::DONATION_PLAIN, cpu_ns: 1);
    assert_eq!((plain.cpu_ns, plain.frames, plain.depth, plain.retain), (1, 64, 4, 0));
}

/// Carries requests to a server in the raw form, and notes how.
struct Direct<F>(std::cell::RefCell<F>, std::cell::Cell<Option<mig_runtime::CallOptions>>);

impl<F: FnMut(&[u8], &mut [u8]) -> mig_runtime::Outcome> mig_runtime::Transport for Direct<F> {
    fn call(&self, msg: &mut [u8], size: usize, _: &mig_runtime::Donation) -> Result<usize, i32> {
        let request = msg[..size].to_vec();
        match (self.0.borrow_mut())(&request, msg) {
            mig_runtime::Outcome::Reply(size) => Ok(size),
            _ => Err(1),
        }
    }
    fn send(&self, msg: &mut [u8], size: usize, _: &mig_runtime::Donation) -> Result<(), i32> {
        let _ = (self.0.borrow_mut())(&msg[..size], &mut [0; 64]);
        Ok(())
    }
    fn call_with(
        &self,
        msg: &mut [u8],
        size: usize,
        how: mig_runtime::CallOptions,
        donation: &mig_runtime::Donation,
    ) -> Result<usize, i32> {
        self.1.set(Some(how));
        self.call(msg, size, donation)
    }
    fn send_with(
        &self,
        msg: &mut [u8],
        size: usize,
        how: mig_runtime::CallOptions,
        donation: &mig_runtime::Donation,
    ) -> Result<(), i32> {
        self.1.set(Some(how));
        self.send(msg, size, donation)
    }
}

#[test]
fn translations_convert_and_destroy() {
    use mig_runtime::{Donation, Port, PortName, Request};
    use std::{cell::Cell, rc::Rc};

    /// A node in use; its drop is the destructor.
    struct NodeRef(u32, Rc<Cell<u32>>);
    impl Drop for NodeRef {
        fn drop(&mut self) {
            self.1.set(self.1.get() + 1);
        }
    }
    #[derive(Clone, Copy)]
    struct Kelvin(i32);
    struct Server(Rc<Cell<u32>>, Vec<u32>);
    impl translations::TranslationsServer for Server {
        type NodeRef = NodeRef;
        type Kelvin = Kelvin;
        fn begin_using_node(&mut self, value: Port) -> Result<NodeRef, i32> {
            if value.name.0 == 0 { Err(4) } else { Ok(NodeRef(value.name.0, self.0.clone())) }
        }
        fn begin_using_node_payload(&mut self, payload: u64) -> Result<NodeRef, i32> {
            Ok(NodeRef(payload as u32 + 1000, self.0.clone()))
        }
        fn to_kelvin(&mut self, value: i32) -> Result<Kelvin, i32> {
            Ok(Kelvin(value + 273))
        }
        fn to_celsius(&mut self, value: Kelvin) -> Result<i32, i32> {
            if value.0 < 0 { Err(5) } else { Ok(value.0 - 273) }
        }
        fn port_of(&mut self, value: NodeRef) -> Result<PortName, i32> {
            Ok(PortName(value.0))
        }
        fn translations_step(
            &mut self,
            _: &Request<'_>,
            node: NodeRef,
            protection: Protection,
            mode: Protection,
            warmth: Kelvin,
            turn: Kelvin,
        ) -> Result<translations::TranslationsStepOut<Self>, i32> {
            Ok(translations::TranslationsStepOut {
                granted: Protection(protection.0 & mode.0),
                colder: Kelvin(warmth.0 - 10),
                turn,
                child: NodeRef(node.0 * 2, node.1.clone()),
            })
        }
        fn translations_touch(&mut self, _: &Request<'_>, node: NodeRef) -> Result<(), i32> {
            self.1.push(node.0);
            Ok(())
        }
    }
    let dropped = Rc::new(Cell::new(0));
    let mut server = Server(dropped.clone(), Vec::new());
    let direct = Direct(
        std::cell::RefCell::new(|request: &[u8], reply: &mut [u8]| {
            translations::dispatch_raw(&mut server, request, reply)
        }),
        Cell::new(None),
    );
    let step = |port: u32, warmth: i32| {
        let offer = Donation::ALL;
        translations::translations_step(
            &direct,
            PortName(port),
            Protection(7),
            Protection(5),
            warmth,
            1,
            &offer,
        )
    };
    let reply = step(21, 20).expect("reply");
    assert_eq!((reply.granted, reply.colder, reply.turn, reply.child), (Protection(5), 10, 1, PortName(42)));
    // Node and child.
    assert_eq!(dropped.get(), 2);
    assert_eq!(step(0, 20).map_err(|e| e.code()), Err(4));
    assert_eq!(step(21, -300).map_err(|e| e.code()), Err(5));
    assert_eq!(dropped.get(), 4);
    // A message that came with a payload.
    let mut request = [0u8; 32];
    request[1] = 23;
    request[4] = 32;
    request[16] = 9;
    request[28..].copy_from_slice(&translations::id::TRANSLATIONS_TOUCH.to_le_bytes());
    let mut server = Server(dropped, Vec::new());
    translations::dispatch(&mut server, &request, &mut [0; 64]);
    assert_eq!(server.1, [1009]);
}

#[test]
fn kernels_see_their_own_ports() {
    use mig_runtime::{Array, Bounded, Data, Donation, KernelPort, Ool, Port, PortName, Request};
    use std::cell::{Cell, RefCell};

    const HIGH: u64 = 0xffff_8000_0000_0000;
    struct Kernel;
    /// What a task is in this kernel.
    struct TaskObject(u64);
    impl kernel::ObjectsServer for Kernel {
        type TaskObject = TaskObject;
        type Address = u64;
        type Size = usize;
        fn convert_from_user_address(&mut self, value: u64) -> Result<u64, i32> {
            Ok(value)
        }
        fn convert_from_user_size(&mut self, value: u64) -> Result<usize, i32> {
            usize::try_from(value).map_err(|_| 1)
        }
        fn objects_end(
            &mut self,
            _: &Request<'_>,
            _: TaskObject,
            start: u64,
            length: usize,
        ) -> Result<kernel::ObjectsEndReply, i32> {
            Ok(kernel::ObjectsEndReply { end: start + length as u64 })
        }
        fn convert_port_to_task(&mut self, value: Port<KernelPort>) -> Result<TaskObject, i32> {
            assert_eq!(value.disposition, 19);
            Ok(TaskObject(value.name.0))
        }
        fn convert_task_to_port(&mut self, value: TaskObject) -> Result<KernelPort, i32> {
            Ok(KernelPort(value.0))
        }
        fn objects_rights(
            &mut self,
            _: &Request<'_>,
            task: TaskObject,
            _: Port<KernelPort>,
            right: Port<KernelPort>,
            any: Port<KernelPort>,
            name: PortName,
            few: Array<'_, KernelPort>,
            many: Ool,
            either: Data<'_, KernelPort>,
        ) -> Result<kernel::ObjectsRightsOut<Self>, i32> {
            // As the caller wrote them.
            assert_eq!((right.disposition, any.disposition, name), (19, 21, PortName(5)));
            // A right out of line is as large as one in the message.
            assert_eq!((many.count, many.element, many.disposition), (2, 8, 19));
            assert_eq!(either.inline().and_then(|e| e.get(1)), Some(KernelPort(HIGH + 9)));
            let mut few_back = Bounded::new();
            assert!(few.iter().all(|port| few_back.push(port)));
            Ok(kernel::ObjectsRightsOut {
                right_back: right.name,
                any_back: any,
                few_back,
                many_back: many,
                parent: TaskObject(task.0 + 1),
            })
        }
    }
    let direct = Direct(
        RefCell::new(|request: &[u8], reply: &mut [u8]| kernel::dispatch_raw(&mut Kernel, request, reply)),
        Cell::new(None),
    );
    let [a, b] = [KernelPort(HIGH + 8), KernelPort(HIGH + 9)];
    let once = Port::new(b, 21);
    let ports = [a, b];
    let reply = kernel::objects_rights(
        &direct,
        KernelPort(HIGH),
        a,
        once,
        PortName(5),
        &ports,
        &ports,
        &ports,
        &Donation::ALL,
    )
    .expect("reply");
    assert_eq!((reply.right_back, reply.any_back, reply.parent), (a, Port::new(b, 18), KernelPort(HIGH + 1)));
    assert_eq!(reply.few_back.as_slice(), ports);
    assert_eq!((reply.many_back.count, reply.many_back.element), (2, 8));
    let reply = kernel::objects_end(&direct, KernelPort(HIGH), 7, 8, &Donation::ALL).expect("reply");
    assert_eq!(reply.end, 15);
}

#[test]
fn interfaces_say_how_long_and_with_which_options() {
    use mig_runtime::{CallOptions, Donation, Outcome, Port, PortName, Request, option};
    struct Server;
    impl words::WordsServer for Server {
        fn my_S_words_first(&mut self, _: &Request<'_>) -> Result<words::WordsFirstReply, i32> {
            Ok(words::WordsFirstReply { answer: 42 })
        }
        fn my_S_words_second(&mut self, _: &Request<'_>, _: i32) -> Result<(), i32> {
            Ok(())
        }
        fn my_s_words_fourth(&mut self, _: &Request<'_>, reply: Port) -> Result<(), i32> {
            assert_eq!(reply.name, PortName(8));
            Ok(())
        }
    }
    let direct = Direct(
        std::cell::RefCell::new(|request: &[u8], reply: &mut [u8]| -> Outcome {
            assert_eq!(words::my_words_demux(&mut Server, &[0; 8], reply), Outcome::NotMine);
            words::dispatch_raw(&mut Server, request, reply)
        }),
        std::cell::Cell::new(None),
    );
    let (server, reply, offer) = (PortName(7), Port::make_send_once(PortName(8)), Donation::ALL);
    assert_eq!(words::my_nowait_words_first(&direct, server, &offer).map(|r| r.answer), Ok(42));
    let how = |wait_ms, option| Some(CallOptions { wait_ms, option });
    assert_eq!(direct.1.take(), how(Some(1000), option::SEND_NOTIFY));
    let second = |timeout, options| {
        words::my_nowait_words_second(&direct, server, reply.name, timeout, options, 1, &offer)
    };
    assert_eq!(second(5, 0x80), Ok(()));
    assert_eq!(direct.1.take(), how(Some(5), 0x80));
    assert_eq!(words::my_u_words_fourth(&direct, server, reply.name, &offer), Ok(()));
    assert_eq!(direct.1.take(), how(Some(PATIENCE), option::SEND_TIMEOUT));
    assert_eq!(words::RCSID, "$Id: words.defs 1.1$");
}
