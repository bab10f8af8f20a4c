//! One routine, random arguments: the bytes of both clients are equal, the bytes of both servers are equal, and every
//! pair of client and server hands over the same values.

use std::rc::Rc;

use libtest_mimic::Failed;
use mig_rs::model::{Argument, Role, Routine, Shape};

use super::exchange::{self, FROM_KERNEL, INTERRUPTIBLE, Server, Trace, Whose};
use super::objects::{self, Ran};
use super::plain::{Call, Plain, RECORDER, Recorder, Seen, Wire};
use super::random::{FILLS, Fill, Random, memory, size_of};
use super::{Interface, Subject, ffi};

/// Rounds for each way of filling.
const ROUNDS: usize = 4;

/// What one call came to.
struct Outcome {
    trace: Trace,
    /// What the server was given.
    seen: Vec<Seen>,
    /// What the client was given.
    result: Result<Vec<Seen>, i32>,
    /// The server's translations and destructors.
    ran: Vec<Ran>,
}

/// Arguments and answers of one call.
pub(crate) struct Values {
    pub(crate) ins: Vec<Plain>,
    pub(crate) answers: Rc<Vec<Plain>>,
    pub(crate) code: i32,
    /// Of the port that the request comes to.
    pub(crate) payload: Option<u64>,
    /// The translation that fails.
    pub(crate) fails: Option<String>,
}

impl Values {
    pub(crate) fn random(routine: &Routine, random: &mut Random, fill: Fill, code: i32) -> Self {
        let (mut ins, mut answers) = (Vec::new(), Vec::new());
        for argument in &routine.arguments {
            let room = random.room(argument);
            let mut given = match argument.role {
                Role::Out => Plain::default(),
                // Everything but what makes it a call.
                Role::MsgOption => Plain::new(&(random.next() as u32 & 0x7fff_fffc).to_le_bytes(), 1),
                _ => random.value(argument, fill, None),
            };
            given.room = room;
            ins.push(given);
            answers.push(match argument.role.in_reply() {
                true => {
                    random.value(argument, fill, Some(if argument.count_in_out { room } else { u32::MAX }))
                }
                false => Plain::default(),
            });
        }
        Self { ins, answers: Rc::new(answers), code, payload: None, fails: None }
    }

    /// A server that answers so.
    pub(crate) fn recorder(&self) -> Recorder {
        Recorder { answers: Rc::clone(&self.answers), code: self.code, ..Recorder::default() }
    }

    pub(crate) fn register(&self) {
        ffi::register(&[&self.ins, &self.answers]);
    }
}

/// What the C client was given, as Rust would have it.
fn results(arguments: &[Argument], outs: &[Plain], results: &[ffi::Got], kernel: bool) -> Vec<Seen> {
    let mut list = Vec::new();
    for (i, (argument, (own, result))) in arguments.iter().zip(outs.iter().zip(results)).enumerate() {
        if !argument.role.in_reply() {
            continue;
        }
        let (size, is_string) = match &argument.wire.shape {
            Shape::Fixed(elem) | Shape::Variable(elem, _) => (size_of(elem, kernel), false),
            Shape::Str { .. } => (1, true),
        };
        let count = if argument.wire.is_variable() && !is_string { result.count } else { 1 };
        let bytes = match (is_string, result.elsewhere || own.out_of_line) {
            (true, _) => Some(super::plain::text(own).to_vec()),
            (false, true) if count == 0 => Some(Vec::new()),
            (false, true) => ffi::read(result.address, count as usize * size),
            (false, false) => own.bytes().get(..count as usize * size).map(<[u8]>::to_vec),
        };
        // None is none, in C.
        let told = argument.wire.receive == 0xff;
        list.push(Seen {
            argument: i,
            bytes,
            count,
            disposition: told.then_some(result.disposition).filter(|&d| d != 0),
        });
    }
    list
}

/// Calls a routine through one of its clients.
pub(crate) fn call(
    subject: &Subject,
    routine: &Routine,
    whose: Whose,
    values: &Values,
) -> Result<Vec<Seen>, i32> {
    match whose {
        Whose::Ours => (subject.ours(routine))(&Wire::ALL, &values.ins),
        Whose::Gnu => {
            let kernel = subject.is_kernel();
            let given = routine.arguments.iter().zip(&values.ins);
            let mut outs: Vec<Plain> = given.map(|(a, given)| memory(a, given, kernel)).collect();
            let (code, got) = subject.stubs.call(subject.gnu(routine), &values.ins, &mut outs);
            if code == 0 { Ok(results(&routine.arguments, &outs, &got, kernel)) } else { Err(code) }
        }
    }
}

fn run(subject: &Subject, routine: &Routine, client: Whose, server: Whose, values: &Values) -> Outcome {
    values.register();
    RECORDER.set(values.recorder());
    objects::start(values.fails.as_deref());
    exchange::connect(subject.server(server, routine), values.payload);
    let result = call(subject, routine, client, values);
    let seen = std::mem::take(&mut RECORDER.take().seen);
    Outcome { trace: exchange::trace(), seen, result, ran: ordered(routine, objects::ran()) }
}

/// What has run, in the order of the phases: C calls translations where it passes their results on, in no order.
pub(crate) fn ordered(routine: &Routine, mut ran: Vec<Ran>) -> Vec<Ran> {
    let all = || routine.arguments.iter().filter_map(|a| a.translation.as_deref());
    let takes = |r: &Ran| {
        let is = |f: &Option<String>| f.as_deref() == Some(&r.function);
        all().any(|t| is(&t.intran) || is(&t.intran_payload))
    };
    let first = ran.iter().position(|r| !takes(r)).unwrap_or(ran.len());
    ran[..first].sort_by(|a, b| (&a.function, &a.from).cmp(&(&b.function, &b.from)));
    ran
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .chunks(8)
        .enumerate()
        .map(|(i, c)| {
            format!("\n    {:4} {}", i * 8, c.iter().map(|b| format!("{b:02x}")).collect::<String>())
        })
        .take(48)
        .collect()
}

fn differ(what: &str, a: &Outcome, b: &Outcome) -> Failed {
    let show = |o: &Outcome| {
        format!(
            "sent {:?}\n  request {}\n  seen {:?}\n  ran {:?}\n  reply {}\n  result {:?}",
            o.trace.sent,
            hex(&o.trace.request),
            o.seen,
            o.ran,
            o.trace.reply.as_ref().map_or("none".into(), |r| hex(r)),
            o.result
        )
    };
    format!("{what}\n  --- one: {}\n  --- other: {}", show(a), show(b)).into()
}

/// Runs all rounds of one routine.
pub(crate) fn check(subject: &Subject, routine: &Routine) -> Result<(), Failed> {
    let name = format!("{}::{}", subject.interface.name, routine.name);
    let mut random = Random::new(&name, subject.is_kernel());
    for fill in FILLS {
        for round in 0..ROUNDS {
            // The last round of each fails in the server, the routine's own way or saying that it answers later.
            let code = match round {
                3 if fill == Fill::Empty => -305,
                3 => 0x4000_000d,
                _ => 0,
            };
            let mut values = Values::random(routine, &mut random, fill, code);
            if round % 2 == 1 && !subject.model.kernel_server {
                values.payload = Some(random.next());
            }
            let about = format!("{name}, {fill:?}, round {round}");
            let outcome = one(subject, routine, &values, &about)?;
            // The same with every translation failing in turn.
            let functions: Vec<String> =
                outcome.ran.iter().filter(|r| !r.made.is_empty()).map(|r| r.function.clone()).collect();
            for function in functions {
                values.fails = Some(function);
                failing(subject, routine, &values, &about)?;
            }
        }
    }
    Ok(())
}

/// One round; what both C came to.
fn one(subject: &Subject, routine: &Routine, values: &Values, about: &str) -> Result<Outcome, Failed> {
    let mut outcomes = Vec::new();
    for client in [Whose::Gnu, Whose::Ours] {
        for server in [Whose::Gnu, Whose::Ours] {
            outcomes.push(run(subject, routine, client, server, values));
        }
    }
    let [gnu_gnu, gnu_ours, ours_gnu, ours_ours] = &outcomes[..] else { return Err("four".into()) };
    if gnu_gnu.trace.request != ours_gnu.trace.request {
        let what = format!("{about}: requests differ (GNU MIG's client, ours)");
        return Err(differ(&what, gnu_gnu, ours_gnu));
    }
    sent(subject, routine, &gnu_gnu.trace, &ours_gnu.trace)
        .map_err(|what| differ(&format!("{about}: {what}"), gnu_gnu, ours_gnu))?;
    if unserved(routine, values.payload.is_some()) {
        // No translation for a port without a payload: GNU MIG warns and hands the bare name to the server, mig-rs refuses.
        let refused = ours_ours.seen.is_empty() && ours_ours.result == Err(-304);
        return match refused {
            true => Ok(outcomes.swap_remove(0)),
            false => Err(differ(&format!("{about}: a port without payload"), gnu_gnu, ours_ours)),
        };
    }
    if gnu_gnu.trace.reply != gnu_ours.trace.reply {
        let what = format!("{about}: replies differ (GNU MIG's server, ours)");
        return Err(differ(&what, gnu_gnu, gnu_ours));
    }
    for (other, who) in
        [(gnu_ours, "C client, Rust server"), (ours_gnu, "Rust client, C server"), (ours_ours, "both Rust")]
    {
        if other.seen != gnu_gnu.seen || other.result != gnu_gnu.result || other.ran != gnu_gnu.ran {
            let what = format!("{about}: values differ between both C and {who}");
            return Err(differ(&what, gnu_gnu, other));
        }
    }
    arrived(routine, values, gnu_gnu)
        .map_err(|what| differ(&format!("{about}: {what}"), gnu_gnu, ours_ours))?;
    Ok(outcomes.swap_remove(0))
}

/// The interface translates payloads of this routine's port, but no ports.
pub(crate) fn unserved(routine: &Routine, payload: bool) -> bool {
    !payload
        && routine
            .arguments
            .iter()
            .filter(|a| a.role == Role::RequestPort)
            .any(|a| a.translation.as_ref().is_some_and(|t| t.intran.is_none() && t.intran_payload.is_some()))
}

/// Both clients went to the kernel in the same way.
fn sent(subject: &Subject, routine: &Routine, gnu: &Trace, ours: &Trace) -> Result<(), String> {
    let (gnu, ours) = (gnu.sent, ours.sent);
    let way = match () {
        () if subject.model.kernel_user => FROM_KERNEL,
        () if subject.interface.name.ends_with("_interruptible") => INTERRUPTIBLE,
        () => 0,
    };
    if gnu.way != way {
        return Err(format!("GNU MIG's client goes the way {}, not {way}", gnu.way));
    }
    let largest = routine.reply.as_ref().map_or(0, |r| r.max.max(48)) as u32;
    if gnu.receive_size != largest || ours.receive_size < largest {
        return Err(format!("replies have up to {largest} bytes"));
    }
    let mut want = exchange::Sent { way: 0, receive_size: ours.receive_size, ..gnu };
    if subject.model.kernel_user {
        // What a kernel calls knows of no time and no options, and has its own reply port.
        want = exchange::Sent { option: ours.option & 3, send_size: gnu.send_size, ..ours };
        if gnu.option != want.option {
            return Err("one client waits for a reply, the other does not".into());
        }
        want.option = ours.option;
    }
    if ours == want { Ok(()) } else { Err("the parameters of mach_msg differ".into()) }
}

/// A round in which a translation fails: nothing arrives, what was made is ended, and the client is told.
fn failing(subject: &Subject, routine: &Routine, values: &Values, about: &str) -> Result<(), Failed> {
    let function = values.fails.as_deref().unwrap_or_default();
    let outs = routine.arguments.iter().filter(|a| a.role.in_reply());
    let comes_out =
        outs.filter_map(|a| a.translation.as_ref()).any(|t| t.outtran.as_deref() == Some(function));
    let [gnu, ours] =
        [Whose::Gnu, Whose::Ours].map(|server| run(subject, routine, Whose::Gnu, server, values));
    let told = match &routine.reply {
        Some(_) => ours.result == Err(objects::REFUSED),
        None => ours.result.is_ok(),
    };
    // In C only what comes in can fail.
    let alike = comes_out
        || (gnu.trace.reply == ours.trace.reply && gnu.result == ours.result && gnu.seen.is_empty());
    let ended = |o: &Outcome| {
        routine.arguments.iter().filter(|a| a.role != Role::InOut && !a.role.in_reply()).all(|a| {
            let Some(t) = a.translation.as_ref() else { return true };
            let (Some(intran), Some(end)) = (&t.intran, &t.destructor) else { return true };
            let of = |function: &str| o.ran.iter().filter(|r| r.function == function).count();
            let payload = t.intran_payload.as_deref().map_or(0, of);
            // What goes in and out is the server's, to which it never came here.
            let kept = routine.arguments.iter().filter(|b| b.role == Role::InOut);
            let kept = kept.filter_map(|b| b.translation.as_ref()).any(|b| b.intran == t.intran);
            kept || of(intran) + payload == of(end)
        })
    };
    if told && alike && (comes_out || ours.seen.is_empty()) && ended(&gnu) && ended(&ours) {
        return Ok(());
    }
    Err(differ(&format!("{about}: {function} fails (GNU MIG's server, ours)"), &gnu, &ours))
}

/// What was sent is what was seen, both ways.
fn arrived(routine: &Routine, values: &Values, outcome: &Outcome) -> Result<(), String> {
    let same = |argument: &Argument, sent: &Plain, seen: &Seen| match argument.wire.shape {
        Shape::Str { .. } => seen.bytes.as_deref() == Some(super::plain::text(sent)),
        _ => seen.bytes.as_deref() == Some(sent.bytes()) && seen.count == sent.count,
    };
    let of = |index: usize| &routine.arguments[index];
    for (i, argument) in routine.arguments.iter().enumerate().filter(|(_, a)| a.role.in_request()) {
        let seen = outcome.seen.iter().find(|s| s.argument == i);
        let made = argument.translation.as_ref().and_then(|t| t.intran.as_deref());
        let seen = seen.map(|seen| match made {
            Some(function) => Seen {
                bytes: seen.bytes.as_deref().map(|bytes| objects::changed(function, bytes)),
                ..seen.clone()
            },
            None => seen.clone(),
        });
        match seen {
            Some(seen) if same(argument, &values.ins[i], &seen) => {}
            _ => return Err(format!("{} did not arrive", argument.name)),
        }
    }
    let special = routine.arguments.iter().enumerate().filter(|(_, a)| match a.role {
        Role::RequestPort | Role::MsgSeqno => true,
        Role::ReplyPort { server, .. } => server,
        _ => false,
    });
    for (i, argument) in special {
        let Some(seen) = outcome.seen.iter().find(|s| s.argument == i) else {
            return Err(format!("{} did not arrive", argument.name));
        };
        // A port is passed on as it is, unless the server has its own idea of it.
        let bare = argument.role == Role::RequestPort && values.payload.is_none();
        let same = |a: &[u8], b: &[u8]| a.first_chunk::<4>() == b.first_chunk::<4>();
        let seen = seen.bytes.as_deref().unwrap_or(&[]);
        if bare && argument.translation.is_none() && !same(seen, values.ins[i].bytes()) {
            return Err(format!("{} did not arrive", argument.name));
        }
    }
    match &outcome.result {
        Ok(list) if routine.reply.is_some() => {
            let out = routine.arguments.iter().filter(|a| a.role.in_reply()).count();
            if list.len() != out {
                return Err(format!("{} results, not {out}", list.len()));
            }
            match list.iter().find(|s| !same(of(s.argument), &values.answers[s.argument], s)) {
                Some(seen) => Err(format!("{} did not come back", of(seen.argument).name)),
                None if values.code == 0 => Ok(()),
                None => Err(format!("the code {} did not come back", values.code)),
            }
        }
        Ok(_) => Ok(()),
        Err(code) if values.code != 0 && (*code == values.code || *code == exchange::NO_ANSWER) => Ok(()),
        Err(code) => Err(format!("the call failed with {code:#x}")),
    }
}

impl Subject {
    /// The server's side of this interface.
    pub(crate) fn server(&self, whose: Whose, routine: &Routine) -> Server {
        let one_way = routine.reply.is_none();
        let (kernel, narrow) = (self.model.kernel_server, self.model.kernel_user);
        Server { whose, interface: self.interface, stubs: self.stubs, one_way, kernel, narrow }
    }

    /// One side is a kernel: ports are as large as addresses.
    pub(crate) fn is_kernel(&self) -> bool {
        self.model.kernel_server || self.model.kernel_user
    }

    /// The client of mig-rs.
    fn ours(&self, routine: &Routine) -> Call {
        let interface: &Interface = self.interface;
        let found = interface.routines.iter().find(|(name, _)| *name == routine.name);
        found.unwrap_or_else(|| panic!("Rust has no {}", routine.name)).1
    }

    /// The place of GNU MIG's client.
    fn gnu(&self, routine: &Routine) -> usize {
        self.stubs.find(&routine.name).unwrap_or_else(|| panic!("C has no {}", routine.name))
    }
}
