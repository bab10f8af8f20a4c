//! `fixtures/CASE/in.defs` gives `fixtures/CASE/expected.rs`, and that compiles and works: see the end.
//!
//! `MIG_RS_BLESS=1 cargo test -p mig-rs` rewrites the expected files.

use std::path::{Path, PathBuf};

use mig_rs::{EmitOptions, Options, compile, emit};

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

/// Compares with a file, or writes it.
fn expect(path: &Path, found: &str) {
    if std::env::var_os("MIG_RS_BLESS").is_some() {
        std::fs::write(path, found).expect("write");
        return;
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    assert!(expected == found, "{} differs; found:\n{found}", path.display());
}

#[test]
fn generated_code_is_as_expected() {
    let mut cases = 0;
    for entry in std::fs::read_dir(directory("fixtures")).expect("fixtures") {
        let case = entry.expect("entry").path();
        let compiled = compile(case.join("in.defs"), &Options::default()).unwrap_or_else(|f| panic!("{f}"));
        assert!(compiled.warnings.is_empty());
        let text = emit(&compiled.subsystem, "in.defs", &EmitOptions::default()).expect("Rust");
        expect(&case.join("expected.rs"), &text);
        cases += 1;
    }
    assert!(cases >= 3);
}

#[test]
fn diagnostics_are_as_expected() {
    let mut cases = 0;
    for entry in std::fs::read_dir(directory("ui")).expect("ui") {
        let path = entry.expect("entry").path();
        if path.extension().is_none_or(|e| e != "defs") {
            continue;
        }
        let options = Options { include: vec![directory("ui/include")], ..Options::default() };
        let text = match compile(&path, &options) {
            Ok(compiled) => {
                assert!(!compiled.warnings.is_empty(), "{} compiles without a word", path.display());
                compiled.warnings.iter().map(|w| w.render(&compiled.sources) + "\n").collect()
            }
            Err(failure) => format!("{failure}\n"),
        };
        let text = text.replace(&format!("{}/", directory("ui").display()), "");
        expect(&path.with_extension("stderr"), &text);
        cases += 1;
    }
    assert!(cases >= 12);
}

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
#[path = "fixtures/macros/expected.rs"]
mod macros;
#[allow(dead_code, reason = "not every stub is tried")]
#[rustfmt::skip]
#[path = "fixtures/null/expected.rs"]
mod null;

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
            _: &[u8],
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
    let refused = Err(drover_abi::returns::DROVER_OFFER_REFUSED);
    assert_eq!(call(&CHEAP.cpu(20_000_001)), refused);
    assert_eq!(call(&CHEAP.deadline(u64::MAX)), refused);
    let plain = offer!(donation::offer::DONATION_PLAIN, cpu_ns: 1);
    assert_eq!((plain.cpu_ns, plain.frames, plain.depth, plain.retain), (1, 64, 4, 0));
}
