//! One routine, random arguments: the bytes of both clients are equal, the bytes of both servers are equal, and every
//! pair of client and server hands over the same values.

use std::rc::Rc;

use libtest_mimic::Failed;
use mig_rs::model::{Argument, Role, Routine, Shape};

use super::exchange::{self, Server, Trace, Whose};
use super::plain::{Call, Plain, RECORDER, Recorder, Seen, Wire};
use super::random::{FILLS, Fill, Random, memory};
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
}

/// Arguments and answers of one call.
pub(crate) struct Values {
    pub(crate) ins: Vec<Plain>,
    pub(crate) answers: Rc<Vec<Plain>>,
    pub(crate) code: i32,
}

impl Values {
    pub(crate) fn random(routine: &Routine, random: &mut Random, fill: Fill, code: i32) -> Self {
        let (mut ins, mut answers) = (Vec::new(), Vec::new());
        for argument in &routine.arguments {
            let room = random.room(argument);
            let mut given = match argument.role {
                Role::Out => Plain::default(),
                // Waiting is not part of the message.
                Role::WaitTime | Role::MsgOption | Role::MsgSeqno => Plain::new(&[0; 8], 1),
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
        Self { ins, answers: Rc::new(answers), code }
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
fn results(arguments: &[Argument], outs: &[Plain], results: &[ffi::Got]) -> Vec<Seen> {
    let mut list = Vec::new();
    for (i, (argument, (own, result))) in arguments.iter().zip(outs.iter().zip(results)).enumerate() {
        if !argument.role.in_reply() {
            continue;
        }
        let (size, is_string) = match &argument.wire.shape {
            Shape::Fixed(elem) | Shape::Variable(elem, _) => (elem.size() as usize, false),
            Shape::Str { .. } => (1, true),
        };
        let count = if argument.wire.is_variable() && !is_string { result.count } else { 1 };
        let bytes = match (is_string, result.elsewhere || own.out_of_line) {
            (true, _) => Some(super::plain::text(own).to_vec()),
            (false, true) if count == 0 => Some(Vec::new()),
            (false, true) => ffi::read(result.address, count as usize * size),
            (false, false) => own.bytes().get(..count as usize * size).map(<[u8]>::to_vec),
        };
        let told = argument.wire.receive == 0xff;
        list.push(Seen { argument: i, bytes, count, disposition: told.then_some(result.disposition) });
    }
    list
}

fn run(
    subject: &Subject,
    routine: &Routine,
    client: (Whose, Call, usize),
    server: Whose,
    values: &Values,
) -> Outcome {
    values.register();
    RECORDER.set(values.recorder());
    exchange::connect(subject.server(server, routine));
    let (whose, call, index) = client;
    let result = match whose {
        Whose::Ours => call(&Wire, &values.ins),
        Whose::Gnu => {
            let mut outs: Vec<Plain> =
                routine.arguments.iter().zip(&values.ins).map(|(a, given)| memory(a, given)).collect();
            let (code, got) = subject.stubs.call(index, &values.ins, &mut outs);
            if code == 0 { Ok(results(&routine.arguments, &outs, &got)) } else { Err(code) }
        }
    };
    let seen = std::mem::take(&mut RECORDER.take().seen);
    Outcome { trace: exchange::trace(), seen, result }
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
            "request {}\n  seen {:?}\n  reply {}\n  result {:?}",
            hex(&o.trace.request),
            o.seen,
            o.trace.reply.as_ref().map_or("none".into(), |r| hex(r)),
            o.result
        )
    };
    format!("{what}\n  --- one: {}\n  --- other: {}", show(a), show(b)).into()
}

/// Runs all rounds of one routine.
pub(crate) fn check(subject: &Subject, routine: &Routine) -> Result<(), Failed> {
    let name = format!("{}::{}", subject.interface.name, routine.name);
    let (call, index) = subject.routine(routine)?;
    let mut random = Random::new(&name);
    for fill in FILLS {
        for round in 0..ROUNDS {
            // The last round of each fails in the server, the routine's own way or saying that it answers later.
            let code = match round {
                3 if fill == Fill::Empty => -305,
                3 => 0x4000_000d,
                _ => 0,
            };
            let values = Values::random(routine, &mut random, fill, code);
            let mut outcomes = Vec::new();
            for client in [Whose::Gnu, Whose::Ours] {
                for server in [Whose::Gnu, Whose::Ours] {
                    outcomes.push(run(subject, routine, (client, call, index), server, &values));
                }
            }
            let about = format!("{name}, {fill:?}, round {round}");
            let [gnu_gnu, gnu_ours, ours_gnu, ours_ours] = &outcomes[..] else { return Err("four".into()) };
            if gnu_gnu.trace.request != ours_gnu.trace.request {
                return Err(differ(
                    &format!("{about}: requests differ (GNU MIG's client, ours)"),
                    gnu_gnu,
                    ours_gnu,
                ));
            }
            if gnu_gnu.trace.reply != gnu_ours.trace.reply {
                return Err(differ(
                    &format!("{about}: replies differ (GNU MIG's server, ours)"),
                    gnu_gnu,
                    gnu_ours,
                ));
            }
            for (other, who) in [
                (gnu_ours, "C client, Rust server"),
                (ours_gnu, "Rust client, C server"),
                (ours_ours, "both Rust"),
            ] {
                if other.seen != gnu_gnu.seen || other.result != gnu_gnu.result {
                    return Err(differ(
                        &format!("{about}: values differ between both C and {who}"),
                        gnu_gnu,
                        other,
                    ));
                }
            }
            arrived(routine, &values, gnu_gnu)
                .map_err(|what| differ(&format!("{about}: {what}"), gnu_gnu, ours_ours))?;
        }
    }
    Ok(())
}

/// What was sent is what was seen, both ways.
fn arrived(routine: &Routine, values: &Values, outcome: &Outcome) -> Result<(), String> {
    let same = |argument: &Argument, sent: &Plain, seen: &Seen| match argument.wire.shape {
        Shape::Str { .. } => seen.bytes.as_deref() == Some(super::plain::text(sent)),
        _ => seen.bytes.as_deref() == Some(sent.bytes()) && seen.count == sent.count,
    };
    let of = |index: usize| &routine.arguments[index];
    for (i, argument) in routine.arguments.iter().enumerate().filter(|(_, a)| a.role.in_request()) {
        match outcome.seen.iter().find(|s| s.argument == i) {
            Some(seen) if same(argument, &values.ins[i], seen) => {}
            _ => return Err(format!("{} did not arrive", argument.name)),
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
        Server { whose, interface: self.interface, stubs: self.stubs, one_way }
    }

    /// Both clients of a routine.
    pub(crate) fn routine(&self, routine: &Routine) -> Result<(Call, usize), Failed> {
        let interface: &Interface = self.interface;
        let ours = interface.routines.iter().find(|(name, _)| *name == routine.name);
        let index = self.stubs.find(&routine.name);
        match (ours, index) {
            (Some((_, call)), Some(index)) => Ok((*call, index)),
            _ => Err(format!("{} is not in both", routine.name).into()),
        }
    }
}
