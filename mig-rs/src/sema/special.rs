//! Arguments that are no data: destination, reply port, time-out, options, sequence number.

use super::Checker;
use crate::model::{Argument, Elem, Placement, Prim, Role, Shape, Wire, msgt};
use crate::source::Diagnostic;

impl Checker {
    /// Of several destinations the last counts, as in GNU MIG, and so with the others. A reply port that the client passes and one
    /// that the server sees are two.
    pub(super) fn only_one(&mut self, arguments: &mut [Argument], new: &Argument) {
        for earlier in arguments.iter_mut() {
            let left = match (earlier.role, new.role) {
                (
                    Role::ReplyPort { user, server },
                    Role::ReplyPort { user: new_user, server: new_server },
                ) => {
                    let left = (user && !new_user, server && !new_server);
                    if left == (user, server) {
                        continue;
                    }
                    match left {
                        (false, false) => Role::Unused,
                        (user, server) => Role::ReplyPort { user, server },
                    }
                }
                (Role::RequestPort | Role::WaitTime | Role::MsgOption | Role::MsgSeqno, role)
                    if role == earlier.role =>
                {
                    Role::Unused
                }
                _ => continue,
            };
            let on = if left == Role::Unused {
                "this argument is not used"
            } else {
                "one side still uses this one"
            };
            self.diagnostics.push(
                Diagnostic::error(new.span, format!("{} takes the place of {}", new.name, earlier.name))
                    .warning()
                    .related(earlier.span, on)
                    .note("a routine has one destination, one reply port on each side, one time-out, one option and one sequence number")
                    .help("drop one of them"),
            );
            earlier.role = left;
        }
    }

    /// What the special arguments that count must be. Those whose place another one has taken may be anything.
    pub(super) fn special_arguments(&mut self, arguments: &[Argument]) {
        for argument in arguments {
            let (fits, wants, note, help) = match argument.role {
                Role::RequestPort => (
                    is_port(&argument.wire),
                    "port",
                    "the first argument without a direction is the port that the request goes to: one send or send-once right",
                    "give it a port type, or the direction `in` and put a port before it",
                ),
                Role::ReplyPort { .. } => (
                    is_port(&argument.wire),
                    "port",
                    "the reply port of a routine is one send or send-once right",
                    "use a type such as mach_port_t",
                ),
                Role::WaitTime | Role::MsgOption | Role::MsgSeqno => (
                    is_word(&argument.wire),
                    "32-bit integer",
                    "time-outs, options and sequence numbers are MACH_MSG_TYPE_INTEGER_32",
                    "use a type such as natural_t",
                ),
                Role::In | Role::Out | Role::InOut | Role::Unused => continue,
            };
            if !fits {
                self.diagnostics.push(
                    Diagnostic::error(argument.span, format!("{} is no {wants}", argument.type_name))
                        .note(note)
                        .help(help),
                );
            }
        }
    }
}

/// A single right in a header: one to send with, or one that is known when the message is sent.
fn is_port(wire: &Wire) -> bool {
    const SEND: u32 = 17;
    const SEND_ONCE: u32 = 18;
    matches!(wire.shape, Shape::Fixed(Elem::Prim(Prim::Right)))
        && matches!(wire.receive, SEND | SEND_ONCE | msgt::POLYMORPHIC)
        && wire.placement == Placement::Inline
}

fn is_word(wire: &Wire) -> bool {
    (wire.send, wire.bits, wire.number) == (msgt::INTEGER_32, 32, 1) && wire.placement == Placement::Inline
}
