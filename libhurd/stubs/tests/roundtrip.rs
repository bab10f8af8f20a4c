//! Client to server and back for routines that together use every kind of item; then the same requests and replies cut at
//! every length and with every field changed: the right code, and never a panic.

mod common;

use common::{Loop, descriptors};
use drover_abi::message::{BITS_COMPLEX, Header, TypeWord, msgt};
use drover_abi::returns::{MIG_BAD_ARGUMENTS, MIG_BAD_ID, MIG_REPLY_MISMATCH, MIG_TYPE_ERROR};
use hurd_stubs::{account, auth, exec, fs, gnumach, io, mach, mach_port};
use mig_runtime::{
    Array, Bounded, Data, Donation, FixedStr, Loan, Ool, OutData, Outcome, Port, PortName, Ports, Request,
    Retain, RpcError, Text, Transport,
};
use zerocopy::{FromBytes, IntoBytes};

const ALL: &Donation = &Donation::ALL;
const HERE: PortName = PortName(0x21);

/// A server of everything; it notes what it was asked.
#[derive(Default)]
struct Server {
    asked: String,
    ool: bool,
}

impl fs::FsServer for Server {
    fn dir_lookup(
        &mut self,
        request: &Request<'_>,
        file_name: &Text<1024>,
        flags: i32,
        mode: u32,
        retry_name: &mut Text<1024>,
        _: Retain,
    ) -> Result<fs::DirLookupOut, i32> {
        let file_name = file_name.as_bytes();
        self.asked = format!("{} {flags} {mode:o} at {:#x}", file_name.escape_ascii(), request.target());
        if file_name == b"missing" {
            return Err(0x4000_0002);
        }
        retry_name.set(b"rest/of/it")?;
        Ok(fs::DirLookupOut { do_retry: 1, result: Port::make_send(PortName(9)) })
    }
    fn file_statfs(&mut self, _: &Request<'_>) -> Result<fs::FileStatfsReply, i32> {
        let mut info = <hurd_stubs::types::FsysStatfsbuf as mig_runtime::Value>::ZERO;
        (info.f_type, info.f_flag, info.f_spare) = (7, u64::MAX, [1, 2, 3]);
        Ok(fs::FileStatfsReply { info })
    }
    fn dir_readdir(
        &mut self,
        _: &Request<'_>,
        entry: i32,
        nentries: i32,
        bufsiz: u64,
    ) -> Result<fs::DirReaddirReply, i32> {
        self.asked = format!("{entry} {nentries} {bufsiz}");
        let data = if self.ool {
            OutData::Ool(Ool::moved(0x5000, 4096))
        } else {
            OutData::from_slice(b"entries").unwrap()
        };
        Ok(fs::DirReaddirReply { data, amount: 3 })
    }
}

impl io::IoServer for Server {
    fn io_write(
        &mut self,
        _: &Request<'_>,
        data: Loan<'_, u8>,
        offset: i64,
    ) -> Result<io::IoWriteReply, i32> {
        self.asked = match data.inline() {
            Some(bytes) => format!("{} @{offset}", bytes.as_bytes().escape_ascii()),
            None => format!("{} bytes out of line @{offset}", data.len()),
        };
        Ok(io::IoWriteReply { amount: data.len() as u64 })
    }
    fn io_stat(&mut self, _: &Request<'_>) -> Result<io::IoStatReply, i32> {
        let mut stat_info = <hurd_stubs::types::IoStatbuf as mig_runtime::Value>::ZERO;
        stat_info.st_size = -5;
        stat_info.st_spare = [1, 2, 3, 4, 5, 6, 7, 8];
        stat_info.st_mode = 0o100_644;
        Ok(io::IoStatReply { stat_info })
    }
    fn io_reauthenticate(&mut self, _: &Request<'_>, rendezvous2: Port, _: Retain) -> Result<(), i32> {
        self.asked = format!("{rendezvous2:?}");
        Err(4)
    }
}

impl auth::AuthServer for Server {
    fn auth_makeauth(
        &mut self,
        _: &Request<'_>,
        other_handles: Data<'_, PortName>,
        euids: Data<'_, u32>,
        _: Data<'_, u32>,
        _: Data<'_, u32>,
        agids: Data<'_, u32>,
        _: Retain,
    ) -> Result<auth::AuthMakeauthReply, i32> {
        let names: Vec<u32> =
            other_handles.inline().into_iter().flat_map(|a| a.iter()).map(|n| n.0).collect();
        let ids: Vec<u32> = euids.inline().into_iter().flat_map(|a| a.iter()).collect();
        self.asked = format!("{names:?} {} {ids:?} {}", other_handles.disposition(), agids.len());
        Ok(auth::AuthMakeauthReply { newhandle: PortName(0x99) })
    }
}

impl mach::MachServer for Server {
    fn task_info(
        &mut self,
        _: &Request<'_>,
        flavor: i32,
        task_info_out_count: u32,
    ) -> Result<mach::TaskInfoReply, i32> {
        self.asked = format!("{flavor} {task_info_out_count}");
        Ok(mach::TaskInfoReply { task_info_out: Bounded::from_slice(&[1, -2, 3]).unwrap() })
    }
    fn vm_map(
        &mut self,
        _: &Request<'_>,
        address: u64,
        size: u64,
        mask: u64,
        anywhere: bool,
        memory_object: Port,
        offset: u64,
        copy: bool,
        cur_protection: i32,
        max_protection: i32,
        inheritance: i32,
    ) -> Result<mach::VmMapReply, i32> {
        self.asked = format!(
            "{address:#x} {size} {mask} {anywhere} {memory_object:?} {offset} {copy} {cur_protection} {max_protection} {inheritance}"
        );
        Ok(mach::VmMapReply { address: address + 4096 })
    }
    fn task_threads(&mut self, _: &Request<'_>) -> Result<mach::TaskThreadsReply, i32> {
        Ok(mach::TaskThreadsReply { thread_list: Ool::moved(0x8000, 3) })
    }
    fn vm_write(&mut self, _: &Request<'_>, address: u64, data: Ool) -> Result<(), i32> {
        self.asked = format!("{address:#x} {} {}", data.count, data.element);
        Ok(())
    }
}

impl mach_port::MachPortServer for Server {
    fn mach_port_insert_right(&mut self, _: &Request<'_>, name: PortName, poly: Port) -> Result<(), i32> {
        self.asked = format!("{} {poly:?}", name.0);
        Ok(())
    }
    fn mach_port_request_notification(
        &mut self,
        _: &Request<'_>,
        name: PortName,
        id: i32,
        sync: u32,
        notify: Port,
    ) -> Result<mach_port::MachPortRequestNotificationReply, i32> {
        self.asked = format!("{} {id} {sync} {notify:?}", name.0);
        Ok(mach_port::MachPortRequestNotificationReply { previous: Port::move_send_once(PortName::NULL) })
    }
    fn mach_port_get_receive_status(
        &mut self,
        _: &Request<'_>,
        _: PortName,
    ) -> Result<mach_port::MachPortGetReceiveStatusReply, i32> {
        let mut status = <hurd_stubs::types::MachPortStatus as mig_runtime::Value>::ZERO;
        (status.mps_qlimit, status.mps_nsrequest) = (5, true);
        Ok(mach_port::MachPortGetReceiveStatusReply { status })
    }
}

impl gnumach::GnumachServer for Server {
    fn task_set_name(&mut self, _: &Request<'_>, name: &[u8]) -> Result<(), i32> {
        self.asked = name.escape_ascii().to_string();
        Ok(())
    }
    fn thread_get_name(&mut self, _: &Request<'_>) -> Result<gnumach::ThreadGetNameReply, i32> {
        Ok(gnumach::ThreadGetNameReply { name: FixedStr::new(b"worker").unwrap() })
    }
}

impl account::AccountServer for Server {
    fn account_info(&mut self, _: &Request<'_>) -> Result<account::AccountInfoReply, i32> {
        Ok(account::AccountInfoReply { info: core::array::from_fn(|i| i as u64) })
    }
}

impl exec::ExecServer for Server {
    fn exec_exec_paths(
        &mut self,
        _: &Request<'_>,
        file: Port,
        _: Port,
        flags: i32,
        path: &Text<1024>,
        abspath: &Text<1024>,
        argv: Data<'_, u8>,
        envp: Data<'_, u8>,
        dtable: Data<'_, PortName>,
        _: Data<'_, PortName>,
        intarray: Data<'_, i32>,
        _: Data<'_, PortName>,
        destroynames: Data<'_, PortName>,
        _: Retain,
    ) -> Result<(), i32> {
        self.asked = format!(
            "{} {flags} {} {} {} {} {} {:?} {:?}",
            file.disposition,
            path.as_bytes().escape_ascii(),
            abspath.as_bytes().escape_ascii(),
            argv.len(),
            envp.len(),
            dtable.len(),
            intarray.inline(),
            destroynames.inline()
        );
        Ok(())
    }
}

/// All interfaces behind one entry, as a real server has them.
fn serve(server: &mut Server, raw: bool, request: &[u8], reply: &mut [u8]) -> Outcome {
    let mode = if raw { mig_runtime::Mode::Raw } else { mig_runtime::Mode::Received };
    macro_rules! chain {
        ($($module:ident)*) => {
            $(match $module::dispatch_as(server, mode, request, reply) {
                Outcome::NotMine => {}
                outcome => return outcome,
            })*
        };
    }
    chain!(fs io auth mach mach_port gnumach account exec);
    Request::new(mode, request).map_or(Outcome::NoReply, |r| r.bad_id(reply))
}

/// Runs `call` against a fresh server: what was asked, the call's result, the request as received.
fn with<R>(raw: bool, ool: bool, call: impl FnOnce(&dyn Transport) -> R) -> (String, R, Vec<u8>) {
    let mut server = Server { ool, ..Server::default() };
    let (result, got) = {
        let mut transport =
            Loop::new(|request: &[u8], reply: &mut [u8]| serve(&mut server, raw, request, reply));
        transport.raw = raw;
        let result = call(&transport);
        let got = transport.got.borrow().clone();
        (result, got)
    };
    (server.asked, result, got)
}

#[test]
fn strings_and_polymorphic_ports() {
    let (asked, reply, got) = with(false, false, |t| fs::dir_lookup(&t, HERE, b"usr/bin", 5, 0o644, ALL));
    let reply = reply.unwrap();
    assert_eq!(asked, "usr/bin 5 644 at 0x21");
    assert_eq!((reply.do_retry, reply.retry_name.as_bytes()), (1, &b"rest/of/it"[..]));
    assert_eq!(reply.result, Port::new(PortName(9), msgt::PORT_SEND));
    assert_eq!(got.len(), 1096);
}

#[test]
fn a_routines_own_code_comes_back() {
    let (_, reply, _) = with(false, false, |t| fs::dir_lookup(&t, HERE, b"missing", 0, 0, ALL));
    assert_eq!(reply, Err(RpcError::Routine(0x4000_0002)));
    let (_, reply, _) = with(false, false, |t| fs::file_chmod(&t, HERE, 0o600, ALL));
    assert_eq!(reply, Err(RpcError::Mig(MIG_BAD_ID)));
}

#[test]
fn strings_that_do_not_fit_are_not_sent() {
    for name in [&[b'x'; 1024][..], b"with\0nul"] {
        let (asked, reply, got) = with(false, false, |t| fs::dir_lookup(&t, HERE, name, 0, 0, ALL));
        assert_eq!((asked.as_str(), reply.map(drop), got.len()), ("", Err(RpcError::Mig(-307)), 0));
    }
    let (_, reply, _) = with(false, false, |t| fs::dir_lookup(&t, HERE, &[b'x'; 1023], 0, 0, ALL));
    assert!(reply.is_ok());
}

#[test]
fn data_go_in_the_message_or_out_of_line() {
    let (asked, reply, got) = with(false, false, |t| io::io_write(&t, HERE, b"hello", -1, ALL));
    assert_eq!((asked.as_str(), reply.unwrap().amount, got.len()), ("hello @-1", 5, 64));
    let (asked, _, got) = with(false, false, |t| io::io_write(&t, HERE, &[1; 2048], 0, ALL));
    assert!(asked.ends_with("@0") && got.len() == 2104);
    let (asked, reply, got) = with(false, false, |t| io::io_write(&t, HERE, &[1; 2049], 7, ALL));
    assert_eq!((asked.as_str(), reply.unwrap().amount, got.len()), ("2049 bytes out of line @7", 2049, 64));
    let (_, reply, _) = with(false, false, |t| fs::dir_readdir(&t, HERE, 2, -1, 0, ALL));
    assert_eq!(reply.unwrap().data.inline(), Some(&b"entries"[..]));
    let (_, reply, _) = with(false, true, |t| fs::dir_readdir(&t, HERE, 2, -1, 0, ALL));
    let ool = reply.unwrap().data.ool().unwrap();
    assert_eq!((ool.address, ool.count, ool.element, ool.dealloc), (0x5000, 4096, 1, true));
}

#[test]
fn arrays_of_rights_and_ids() {
    let names = [PortName(3), PortName(4)];
    let (asked, reply, got) = with(false, false, |t| {
        auth::auth_makeauth(&t, HERE, Ports::copy_send(&names), &[0, 1000], &[], &[], &[5], ALL)
    });
    assert_eq!(asked, "[3, 4] 17 [0, 1000] 1");
    assert_eq!(reply.unwrap().newhandle, PortName(0x99));
    assert_eq!(got.len(), 72 + 16 + 8 + 8);
    // More than 256 rights go out of line, four bytes each.
    let many = [PortName(1); 257];
    let (asked, reply, _) = with(false, false, |t| {
        auth::auth_makeauth(&t, HERE, Ports::move_send(&many), &[], &[], &[], &[], ALL)
    });
    assert_eq!((asked.as_str(), reply.is_ok()), ("[] 17 [] 0", true));
    let (_, reply, _) = with(false, false, |t| mach::task_threads(&t, HERE, ALL));
    let list = reply.unwrap().thread_list;
    assert_eq!((list.address, list.count, list.element, list.disposition), (0x8000, 3, 4, msgt::PORT_SEND));
    let (asked, reply, _) = with(false, false, |t| mach::vm_write(&t, HERE, 0x1000, &[0; 10], ALL));
    assert_eq!((asked.as_str(), reply), ("0x1000 10 1", Ok(())));
}

#[test]
fn structs_and_fixed_arrays() {
    let (_, reply, _) = with(false, false, |t| io::io_stat(&t, HERE, ALL));
    let info = reply.unwrap().stat_info;
    assert_eq!((info.st_size, info.st_mode, info.st_spare[7]), (-5, 0o100_644, 8));
    let (_, reply, _) = with(false, false, |t| fs::file_statfs(&t, HERE, ALL));
    let info = reply.unwrap().info;
    assert_eq!((info.f_type, info.f_flag, info.f_spare), (7, u64::MAX, [1, 2, 3]));
    let (_, reply, _) =
        with(false, false, |t| mach_port::mach_port_get_receive_status(&t, HERE, PortName(1), ALL));
    assert!(reply.unwrap().status.mps_nsrequest);
    let (_, reply, _) = with(false, false, |t| account::account_info(&t, HERE, ALL));
    assert_eq!(reply.unwrap().info[30], 30);
}

#[test]
fn counts_and_variable_strings() {
    let (asked, reply, got) = with(false, false, |t| mach::task_info(&t, HERE, 1, 5000, ALL));
    assert_eq!(
        (asked.as_str(), &reply.unwrap().task_info_out[..], got.len()),
        ("1 1024", &[1, -2, 3][..], 64)
    );
    let (asked, reply, got) = with(false, false, |t| gnumach::task_set_name(&t, HERE, b"exec", ALL));
    assert_eq!((asked.as_str(), reply, got.len()), ("exec", Ok(()), 48));
    let (_, reply, _) = with(false, false, |t| gnumach::task_set_name(&t, HERE, &[b'n'; 64], ALL));
    assert_eq!(reply, Err(RpcError::Mig(-307)));
    let (_, reply, _) = with(false, false, |t| gnumach::thread_get_name(&t, HERE, ALL));
    assert_eq!(reply.unwrap().name.as_bytes(), b"worker");
}

#[test]
fn exec_with_everything() {
    let ints = [7, -7];
    let (asked, reply, got) = with(false, false, |t| {
        exec::exec_exec_paths(
            &t,
            HERE,
            Port::move_send(PortName(5)),
            PortName(6),
            1,
            b"sh",
            b"/bin/sh",
            b"sh\0-c\0",
            &[b'e'; 3000],
            Ports::EMPTY,
            Ports::EMPTY,
            &ints,
            &[],
            &[PortName(8)],
            ALL,
        )
    });
    assert_eq!(reply, Ok(()));
    assert_eq!(asked, "17 1 sh /bin/sh 6 3000 0 Some([7, -7]) Some([PortName(8)])");
    assert_eq!(got.len(), 2200 + 8 + 8 + 8 + 8);
}

#[test]
fn the_kernel_reads_its_callers_words() {
    let (asked, reply, _) = with(true, false, |t| {
        mach_port::mach_port_insert_right(&t, HERE, PortName(7), Port::make_send(PortName(7)), ALL)
    });
    assert_eq!(reply, Ok(()));
    assert_eq!(asked, "7 Port { name: PortName(7), disposition: 20 }");
    let notify = Port::make_send_once(PortName(8));
    let (asked, reply, _) = with(true, false, |t| {
        mach_port::mach_port_request_notification(&t, HERE, PortName(1), 70, 0, notify, ALL)
    });
    assert_eq!(asked, "1 70 0 Port { name: PortName(8), disposition: 21 }");
    assert_eq!(reply.unwrap().previous, Port::move_send_once(PortName::NULL));
    // A send right where a send-once right belongs is as wrong in the raw form as in the received one.
    for raw in [true, false] {
        let wrong = Port::copy_send(PortName(8));
        let (_, reply, _) = with(raw, false, |t| {
            mach_port::mach_port_request_notification(&t, HERE, PortName(1), 70, 0, wrong, ALL)
        });
        assert_eq!(reply.map(drop), Err(RpcError::Mig(MIG_BAD_ARGUMENTS)));
    }
    let (_, reply, _) = with(true, false, |t| mach::task_threads(&t, HERE, ALL));
    assert_eq!(reply.unwrap().thread_list.disposition, msgt::PORT_SEND);
}

#[test]
fn one_way_messages_have_no_reply() {
    let (asked, reply, got) =
        with(false, false, |t| io::io_reauthenticate(&t, HERE, Port::make_send(PortName(2)), ALL));
    assert_eq!((asked.contains("disposition: 17"), reply), (true, Ok(())));
    let mut server = Server::default();
    assert_eq!(serve(&mut server, false, &got, &mut [0; 128]), Outcome::NoReply);
}

/// Requests of all kinds, as received.
fn requests() -> Vec<Vec<u8>> {
    let names = [PortName(3), PortName(4)];
    vec![
        with(false, false, |t| fs::dir_lookup(&t, HERE, b"a", 5, 0, ALL)).2,
        with(false, false, |t| io::io_write(&t, HERE, b"hello", -1, ALL)).2,
        with(false, false, |t| io::io_write(&t, HERE, &[1; 3000], -1, ALL)).2,
        with(false, false, |t| {
            auth::auth_makeauth(&t, HERE, Ports::copy_send(&names), &[1], &[], &[], &[5], ALL)
        })
        .2,
        with(false, false, |t| mach::task_info(&t, HERE, 1, 10, ALL)).2,
        with(false, false, |t| mach::vm_map(&t, HERE, 0, 1, 0, true, PortName(4), 0, false, 3, 7, 1, ALL)).2,
        with(false, false, |t| mach::vm_write(&t, HERE, 0, &[1; 3], ALL)).2,
        with(false, false, |t| gnumach::task_set_name(&t, HERE, b"exec", ALL)).2,
        with(false, false, |t| {
            mach_port::mach_port_insert_right(&t, HERE, PortName(1), Port::copy_send(HERE), ALL)
        })
        .2,
    ]
}

/// The code in the error reply, or `None` if the request was served.
fn verdict(request: &[u8]) -> Option<i32> {
    let mut reply = vec![0x55; 64 * 1024];
    let outcome = serve(&mut Server::default(), false, request, &mut reply);
    let Outcome::Reply(size) = outcome else { return None };
    let code = i32::from_le_bytes(reply[40..44].try_into().unwrap());
    if code != 0 {
        assert_eq!(size, 48);
        assert_eq!(descriptors(&reply[..size]), [32]);
    }
    (code != 0).then_some(code)
}

#[test]
fn requests_cut_at_every_length_are_refused() {
    for request in requests() {
        assert_eq!(verdict(&request), None);
        for length in 0..request.len() {
            // The header still claims the full size; then, that it has as many bytes as are there.
            let mut cut = request[..length].to_vec();
            if length >= 32 {
                assert_eq!(verdict(&cut), Some(MIG_BAD_ARGUMENTS), "{length}");
                cut[4..8].copy_from_slice(&(length as u32).to_le_bytes());
                assert_eq!(verdict(&cut), Some(MIG_BAD_ARGUMENTS), "{length}");
            } else {
                assert_eq!(verdict(&cut), None);
            }
        }
        let mut longer = request.clone();
        longer.extend([0; 8]);
        let size = longer.len() as u32;
        longer[4..8].copy_from_slice(&size.to_le_bytes());
        assert_eq!(verdict(&longer), Some(MIG_BAD_ARGUMENTS));
    }
}

#[test]
fn every_bit_of_a_fixed_descriptor_matters() {
    let mut changed = 0;
    for request in requests() {
        for at in descriptors(&request) {
            let word = TypeWord(u64::from_le_bytes(request[at..at + 8].try_into().unwrap()));
            // In variable items nobody compares the unused bits and the deallocate bit, and in `array[]` the inline bit
            // and the number are the sender's; those cases are judged by the next test.
            let plain = word.is_inline() && word.number() == 1 && word.0 & TypeWord::LONGFORM == 0;
            let any_right = msgt::is_port(word.name()) && request.len() == 64;
            if !plain || any_right {
                continue;
            }
            for bit in 0..64 {
                let mut bad = request.clone();
                bad[at..at + 8].copy_from_slice(&(word.0 ^ (1 << bit)).to_le_bytes());
                assert_eq!(verdict(&bad), Some(MIG_BAD_ARGUMENTS), "word at {at}, bit {bit}");
                changed += 1;
            }
        }
    }
    assert!(changed > 1000, "{changed}");
}

#[test]
fn any_bytes_get_an_answer() {
    // Every byte of every request set to values that lie at borders; nothing may panic, and what is refused is refused
    // with MIG's code or as an unknown id.
    for request in requests() {
        for at in 0..request.len().min(200) {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bad = request.clone();
                bad[at] = value;
                if let Some(code) = verdict(&bad) {
                    assert!([MIG_BAD_ARGUMENTS, MIG_BAD_ID].contains(&code), "{code}");
                }
            }
        }
    }
}

#[test]
fn a_message_with_rights_must_be_marked_complex() {
    for request in requests() {
        let mut plain = request.clone();
        let (mut header, _) = Header::read_from_prefix(&request).unwrap();
        let has_any = descriptors(&request).iter().any(|&at| {
            let word = TypeWord(u64::from_le_bytes(request[at..at + 8].try_into().unwrap()));
            msgt::is_port(word.name()) || !word.is_inline()
        });
        assert_eq!(header.bits & BITS_COMPLEX != 0, has_any);
        if has_any {
            header.bits &= !BITS_COMPLEX;
            header.write_to_prefix(&mut plain).unwrap();
            assert_eq!(verdict(&plain), Some(MIG_BAD_ARGUMENTS));
        }
    }
}

/// A transport that answers with given bytes.
struct Canned(Vec<u8>);

impl Transport for Canned {
    fn call(&self, msg: &mut [u8], _: usize, _: &Donation) -> Result<usize, i32> {
        let n = self.0.len().min(msg.len());
        msg[..n].copy_from_slice(&self.0[..n]);
        Ok(n)
    }
    fn send(&self, _: &mut [u8], _: usize, _: &Donation) -> Result<(), i32> {
        Ok(())
    }
}

/// The reply to a lookup, as received.
fn lookup_reply() -> Vec<u8> {
    let reply = std::cell::RefCell::new(Vec::new());
    let mut server = Server::default();
    let transport = Loop::new(|request: &[u8], buffer: &mut [u8]| {
        let outcome = serve(&mut server, false, request, buffer);
        if let Outcome::Reply(size) = outcome {
            let mut bytes = buffer[..size].to_vec();
            common::translate(&mut bytes);
            *reply.borrow_mut() = bytes;
        }
        outcome
    });
    fs::dir_lookup(&transport, HERE, b"a", 0, 0, ALL).unwrap();
    drop(transport);
    reply.into_inner()
}

#[test]
fn clients_check_replies() {
    let good = lookup_reply();
    let ask = |bytes: Vec<u8>| fs::dir_lookup(&Canned(bytes), HERE, b"a", 0, 0, ALL).map(|r| r.do_retry);
    assert_eq!(ask(good.clone()), Ok(1));
    for length in 0..good.len() {
        let mut cut = good[..length].to_vec();
        assert_eq!(ask(cut.clone()), Err(RpcError::Mig(MIG_TYPE_ERROR)), "{length}");
        if length >= 8 {
            cut[4..8].copy_from_slice(&(length as u32).to_le_bytes());
            assert_eq!(ask(cut), Err(RpcError::Mig(MIG_TYPE_ERROR)), "{length}");
        }
    }
    for at in descriptors(&good) {
        for bit in 0..64 {
            let mut bad = good.clone();
            bad[at + bit / 8] ^= 1 << (bit % 8);
            assert_eq!(ask(bad), Err(RpcError::Mig(MIG_TYPE_ERROR)), "word at {at}, bit {bit}");
        }
    }
    let with_id = |id: i32| {
        let mut other = good.clone();
        other[28..32].copy_from_slice(&id.to_le_bytes());
        ask(other)
    };
    assert_eq!(with_id(71), Err(RpcError::ServerDied));
    assert_eq!(with_id(20118 + 1), Err(RpcError::Mig(MIG_REPLY_MISMATCH)));
    assert_eq!(with_id(20118), Ok(1));
}

#[test]
fn errors_say_whose_they_are() {
    struct Refuses(i32);
    impl Transport for Refuses {
        fn call(&self, _: &mut [u8], _: usize, _: &Donation) -> Result<usize, i32> {
            Err(self.0)
        }
        fn send(&self, _: &mut [u8], _: usize, _: &Donation) -> Result<(), i32> {
            Err(self.0)
        }
    }
    for (code, error) in [
        (0x1000_0003, RpcError::Transport(0x1000_0003)),
        (0x1000_4003, RpcError::Ceiling(0x1000_4003)),
        (6, RpcError::Ceiling(6)),
        (100, RpcError::Ceiling(100)),
    ] {
        assert_eq!(io::io_readable(&Refuses(code), HERE, ALL).map(drop), Err(error));
        assert_eq!(gnumach::task_set_name(&Refuses(code), HERE, b"x", ALL), Err(error));
    }
}

#[test]
fn a_shared_server_is_served_by_reference() {
    struct Shared(std::sync::Mutex<u32>);
    impl io::IoServer for &Shared {
        fn io_readable(&mut self, _: &Request<'_>) -> Result<io::IoReadableReply, i32> {
            let mut calls = self.0.lock().unwrap();
            *calls += 1;
            Ok(io::IoReadableReply { amount: u64::from(*calls) })
        }
    }
    let shared = Shared(std::sync::Mutex::new(0));
    let transport = Loop::new(|request: &[u8], reply: &mut [u8]| io::dispatch(&mut &shared, request, reply));
    assert_eq!(io::io_readable(&transport, HERE, ALL).unwrap().amount, 1);
    assert_eq!(io::io_readable(&transport, HERE, ALL).unwrap().amount, 2);
}

#[test]
fn views_of_arrays_do_not_copy() {
    let (_, _, request) = with(false, false, |t| io::io_write(&t, HERE, b"hello", -1, ALL));
    struct Probe<'a>(&'a [u8]);
    impl io::IoServer for Probe<'_> {
        fn io_write(&mut self, _: &Request<'_>, data: Loan<'_, u8>, _: i64) -> Result<io::IoWriteReply, i32> {
            let view: Array<'_, u8> = data.inline().unwrap();
            assert!(self.0.as_ptr_range().contains(&view.as_bytes().as_ptr()));
            Ok(io::IoWriteReply { amount: 0 })
        }
    }
    assert_eq!(io::dispatch(&mut Probe(&request), &request, &mut [0; 256]), Outcome::Reply(64));
}
