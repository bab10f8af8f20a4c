//! Port sets: receiving from several ports.
//!
//! A set is a port object of kind [`crate::port::SET`]. Members are on a list; those with something to receive are on a second one, which is served in turn,
//! so that receiving takes the same time whatever the number of members.

use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::object::Ref;
use crate::port::Port;

impl<M: Machine> Kernel<M> {
    /// Makes a port (in no set) a member of a set.
    pub(crate) fn set_insert(&mut self, port: Ref<Port>, set: Ref<Port>) {
        let head = self.get(set).member;
        let p = self.get_mut(port);
        (p.set, p.member, p.member_prev) = (set, head, Ref::NONE);
        if head.is_some() {
            self.get_mut(head).member_prev = port;
        }
        self.get_mut(set).member = port;
        self.set_ready(port);
    }

    /// Takes a port out of its set, if it is in one.
    pub(crate) fn set_remove(&mut self, port: Ref<Port>) {
        let set = self.get(port).set;
        if set.is_none() {
            return;
        }
        self.set_unready(port);
        let Port { member, member_prev, .. } = *self.get(port);
        if member_prev.is_some() {
            self.get_mut(member_prev).member = member;
        } else {
            self.get_mut(set).member = member;
        }
        if member.is_some() {
            self.get_mut(member).member_prev = member_prev;
        }
        let p = self.get_mut(port);
        (p.set, p.member, p.member_prev) = (Ref::NONE, Ref::NONE, Ref::NONE);
    }

    /// Puts a member with something to receive at the end of its set's turn list.
    pub(crate) fn set_ready(&mut self, port: Ref<Port>) {
        let p = *self.get(port);
        if p.set.is_none() || p.in_ready != 0 || p.queue_head.is_none() && p.send_once_died == 0 {
            return;
        }
        let tail = self.get(p.set).ready_prev;
        let p = self.get_mut(port);
        (p.in_ready, p.ready, p.ready_prev) = (1, Ref::NONE, tail);
        let set = p.set;
        if tail.is_some() {
            self.get_mut(tail).ready = port;
        } else {
            self.get_mut(set).ready = port;
        }
        self.get_mut(set).ready_prev = port;
    }

    /// Takes a member off its set's turn list.
    pub(crate) fn set_unready(&mut self, port: Ref<Port>) {
        let p = *self.get(port);
        if p.in_ready == 0 {
            return;
        }
        if p.ready_prev.is_some() {
            self.get_mut(p.ready_prev).ready = p.ready;
        } else {
            self.get_mut(p.set).ready = p.ready;
        }
        if p.ready.is_some() {
            self.get_mut(p.ready).ready_prev = p.ready_prev;
        } else {
            self.get_mut(p.set).ready_prev = p.ready_prev;
        }
        let p = self.get_mut(port);
        (p.in_ready, p.ready, p.ready_prev) = (0, Ref::NONE, Ref::NONE);
    }
}
