//! Queues of message ports, and the threads that wait at them.
//!
//! A woken thread tries again when it runs: a receiver takes what is there then, a sender executes its trap once more. So nothing is handed over in advance, and a
//! message belongs to the queue until a receiver has it. A wake-up that its thread can no longer use (it ended first) is passed on by [`Kernel::pass_wake`].

use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::message::{IN_HAND, Message, QUEUED};
use crate::object::Ref;
use crate::port::{PORT_ALIVE, Port, SET};
use crate::right::SEND_ONCE;
use crate::thread::{ON_RECEIVE, RESUME_USER, Thread};

impl<M: Machine> Kernel<M> {
    /// Puts a message into the queue of a live message port (whatever its limit) and wakes a receiver.
    pub(crate) fn queue_add(&mut self, port: Ref<Port>, message: Ref<Message>) {
        let tail = self.get(port).queue_tail;
        let m = self.get_mut(message);
        (m.head.flags, m.next, m.prev) = (QUEUED, Ref::NONE, tail);
        if tail.is_some() {
            self.get_mut(tail).next = message;
        }
        let p = self.get_mut(port);
        if p.queue_head.is_none() {
            p.queue_head = message;
        }
        p.queue_tail = message;
        p.queued += 1;
        self.set_ready(port);
        self.wake_receiver(port);
    }

    /// Takes a message out of a queue; lets blocked senders try again.
    pub(crate) fn queue_remove(&mut self, port: Ref<Port>, message: Ref<Message>) {
        let m = self.get_mut(message);
        let (next, prev, accepted) = (m.next, m.prev, m.accepted);
        (m.head.flags, m.next, m.prev, m.accepted) = (IN_HAND, Ref::NONE, Ref::NONE, Ref::NONE);
        if next.is_some() {
            self.get_mut(next).prev = prev;
        }
        if prev.is_some() {
            self.get_mut(prev).next = next;
        }
        let p = self.get_mut(port);
        if p.queue_head == message {
            p.queue_head = next;
        }
        if p.queue_tail == message {
            p.queue_tail = prev;
        }
        p.queued -= 1;
        if p.queue_head.is_none() && p.send_once_died == 0 {
            self.set_unready(port);
        }
        if accepted.is_some() {
            self.notify_accepted(accepted);
        }
        self.wake_senders(port);
    }

    /// Whether a send right may not add to the queue now.
    pub(crate) fn queue_full(&self, port: Ref<Port>, kind: u8) -> bool {
        let p = self.get(port);
        kind != SEND_ONCE && p.queued >= p.queue_limit
    }

    /// Wakes as many senders as there is room for.
    pub(crate) fn wake_senders(&mut self, port: Ref<Port>) {
        let p = self.get(port);
        for _ in p.queued..p.queue_limit {
            let sender = self.get(port).senders;
            if sender.is_none() {
                return;
            }
            self.wake(sender, 0);
        }
    }

    /// Wakes one thread that waits to receive from the port or its set.
    pub(crate) fn wake_receiver(&mut self, port: Ref<Port>) {
        let p = self.get(port);
        let (own, set) = (p.receivers, p.set);
        if own.is_some() {
            self.wake(own, 0);
        } else if set.is_some() && self.get(set).receivers.is_some() {
            self.wake(self.get(set).receivers, 0);
        }
    }

    /// Wakes all threads that wait to receive from a port or set, with a code. They are threads of the receiver's own task.
    pub(crate) fn wake_receivers(&mut self, port: Ref<Port>, code: i32) {
        while self.get(port).receivers.is_some() {
            self.wake(self.get(port).receivers, code);
        }
    }

    /// Puts the current thread at the end of a port's list of receivers (or senders); the caller parks it.
    pub(crate) fn wait_link(&mut self, port: Ref<Port>, waiting: u8) {
        let thread = self.current;
        let p = self.get_mut(port);
        let (head, tail) = if waiting == ON_RECEIVE {
            (&mut p.receivers, &mut p.receivers_tail)
        } else {
            (&mut p.senders, &mut p.senders_tail)
        };
        let last = *tail;
        if head.is_none() {
            *head = thread;
        }
        *tail = thread;
        let t = self.get_mut(thread);
        (t.wait_next, t.wait_prev) = (Ref::NONE, last);
        if last.is_some() {
            self.get_mut(last).wait_next = thread;
        }
    }

    /// Takes a parked thread off the list of the port that it waits at.
    pub(crate) fn wait_unlink(&mut self, thread: Ref<Thread>) {
        let t = *self.get(thread);
        let port = Ref::<Port>::from_raw(t.wait_on);
        if t.wait_next.is_some() {
            self.get_mut(t.wait_next).wait_prev = t.wait_prev;
        }
        if t.wait_prev.is_some() {
            self.get_mut(t.wait_prev).wait_next = t.wait_next;
        }
        let p = self.get_mut(port);
        let (head, tail) = if t.waiting == ON_RECEIVE {
            (&mut p.receivers, &mut p.receivers_tail)
        } else {
            (&mut p.senders, &mut p.senders_tail)
        };
        if *head == thread {
            *head = t.wait_next;
        }
        if *tail == thread {
            *tail = t.wait_prev;
        }
        let t = self.get_mut(thread);
        (t.wait_next, t.wait_prev) = (Ref::NONE, Ref::NONE);
    }

    /// Passes on the chance that a thread was woken for but does not take, because it ends: if there is something to receive or room to send where it
    /// waited, the next waiter is woken. At home only; its bottom activation is still there.
    pub(crate) fn pass_wake(&mut self, thread: Ref<Thread>) {
        let t = *self.get(thread);
        let task = self.get(t.bottom).task;
        if t.resume == RESUME_USER || task.is_none() {
            return;
        }
        let Some(s) = self.name_slot(task, t.receive.name) else { return };
        let port = self.slot(s).port;
        if port.is_none() || self.get(port).head.state != PORT_ALIVE {
            return;
        }
        let p = self.get(port);
        let (receivers, set) = (p.receivers, p.head.flags == SET);
        let something = if set { p.ready.is_some() } else { self.port_has_news(port) };
        if something {
            if set && receivers.is_some() {
                self.wake(receivers, 0);
            } else {
                self.wake_receiver(port);
            }
        }
        self.wake_senders(port);
    }

    /// Whether there is something to receive from a port.
    pub(crate) fn port_has_news(&self, port: Ref<Port>) -> bool {
        let p = self.get(port);
        p.queue_head.is_some() || p.send_once_died != 0
    }
}
