//! `account.defs`: accounts, and tasks and threads paid by them.

use drover_abi::account::{AccountInfo, CPU, FRAMES, IO, OBJECTS, UNLIMITED};
use drover_abi::message::msgt;
use drover_abi::returns::{KERN_INVALID_ARGUMENT, KERN_NO_ACCESS, KERN_RESOURCE_SHORTAGE};
use hurd_stubs::account::{
    AccountChildrenReply, AccountCreateReply, AccountInfoReply, AccountServer, AccountSessionCreateReply,
    AccountTaskCreateReply, AccountThreadCreateReply,
};
use mig_runtime::{Ool, Port as PortArg, PortName, Request, Text};
use zerocopy::transmute;

use crate::account::{Account, Limits, Payer};
use crate::kernel::{Kernel, Stop};
use crate::machine::Machine;
use crate::object::{Kind, Ref};
use crate::port::Port;
use crate::rpc::Rpc;
use crate::task::Task;
use crate::thread::{BLOCKED, ON_BUDGET, READY, Thread};

/// Words of an [`AccountInfo`].
pub(crate) const INFO_WORDS: usize = size_of::<AccountInfo>() / 8;
/// Most children listed at once: the youngest. (Who destroys those sees the next.)
const CHILDREN: u64 = 1024;
/// Longest period of a CPU cap, ns.
const PERIOD_MAX: u64 = 10_000_000_000;

impl<M: Machine> Kernel<M> {
    /// An account's row.
    pub(crate) fn account_row(&self, account: Ref<Account>) -> AccountInfo {
        let a = self.get(account);
        AccountInfo {
            id: a.id,
            parent: if a.parent.is_some() { self.get(a.parent).id } else { 0 },
            state: u32::from(a.head.state),
            flags: u32::from(a.head.flags),
            resources: a.resources,
            frames_peak: a.frames_peak,
            share: a.share,
            cap_ns: a.cap_ns,
            period_ns: a.period_ns,
            overrun_ns: a.overrun_ns,
            name: a.name,
        }
    }

    /// An account's port, made when first asked for (paid by the account).
    ///
    /// # Errors
    /// `KERN_RESOURCE_SHORTAGE`, `KERN_TERMINATED`.
    pub(crate) fn account_port(&mut self, account: Ref<Account>) -> Result<Ref<Port>, Stop> {
        let port = self.get(account).port;
        if port.is_some() {
            return Ok(port);
        }
        let port = self.kernel_port(Payer::account(account), Kind::Account, account.raw())?;
        self.get_mut(account).port = port;
        Ok(port)
    }

    /// The port by which a server may make sessions of an account that calls it, made when first asked for (paid by the account).
    ///
    /// # Errors
    /// `KERN_RESOURCE_SHORTAGE`, `KERN_TERMINATED`.
    pub(crate) fn patron_port(&mut self, account: Ref<Account>) -> Result<Ref<Port>, Stop> {
        let port = self.get(account).patron_port;
        if port.is_some() {
            return Ok(port);
        }
        let port = self.kernel_port(Payer::account(account), Kind::Patron, account.raw())?;
        self.get_mut(account).patron_port = port;
        Ok(port)
    }

    /// Threads at home that waited for CPU budget run again, those of sessions too. What is walked is bounded by the account's own charge.
    fn budget_wake(&mut self, account: Ref<Account>) {
        self.budget_wake_own(account);
        let mut end = account;
        while end.is_some() && self.get(end).next.is_none() {
            end = self.get(end).parent;
        }
        let end = if end.is_some() { self.get(end).next } else { end };
        let mut at = self.next_account(account);
        while at != end {
            if self.get(at).client == account {
                self.budget_wake_own(at);
            }
            at = self.next_account(at);
        }
    }

    fn budget_wake_own(&mut self, account: Ref<Account>) {
        let mut frame = self.get(account).slabs_head;
        while frame != crate::frame::NONE {
            for slot in 0..64 {
                let Some((kind, raw)) = self.slab_object(frame, slot) else { continue };
                if kind == Kind::Thread as u8 {
                    let thread = Ref::<Thread>::from_raw(raw);
                    let t = self.get_mut(thread);
                    if t.head.state == BLOCKED && t.waiting == ON_BUDGET {
                        (t.head.state, t.waiting) = (READY, 0);
                        self.enqueue(thread);
                    }
                }
            }
            frame = self.info(frame).next;
        }
    }
}

impl<M: Machine> Rpc<'_, M> {
    fn account(&self) -> Result<Ref<Account>, i32> {
        self.target(Kind::Account, KERN_INVALID_ARGUMENT)
    }

    /// The destination as an account that may be looked at and have sessions made.
    fn patron(&self) -> Result<Ref<Account>, i32> {
        self.account().or_else(|_| self.target(Kind::Patron, KERN_INVALID_ARGUMENT))
    }

    fn account_name(&mut self, account: Ref<Account>) -> Result<PortName, i32> {
        let port = self.k.account_port(account);
        let port = self.end(port)?;
        self.name_for(port)
    }

    /// A new account with its port; undone if the caller can have no name for it.
    fn new_account(&mut self, parent: Ref<Account>, limits: &Limits, session: bool) -> Result<PortName, i32> {
        let child = self.k.account_create(parent, limits);
        let child = self.end(child)?;
        if session {
            self.k.make_session(child);
        }
        match self.account_name(child) {
            Ok(name) => Ok(name),
            Err(code) => {
                let port = self.k.get(child).port;
                if port.is_some() {
                    self.k.retire_port(port);
                }
                self.k.account_free(child);
                Err(code)
            }
        }
    }
}

impl<M: Machine> AccountServer for Rpc<'_, M> {
    fn account_create(
        &mut self,
        _: &Request<'_>,
        frames: u64,
        objects: u64,
        calls: u64,
        cpu_budget_ns: u64,
        io: u64,
        share: i32,
    ) -> Result<AccountCreateReply, i32> {
        let parent = self.account()?;
        let share = u32::try_from(share).map_err(|_| KERN_INVALID_ARGUMENT)?;
        let limits = Limits { resources: [frames, objects, calls, cpu_budget_ns, io], share };
        self.new_account(parent, &limits, false).map(|child| AccountCreateReply { child })
    }

    fn account_destroy(&mut self, _: &Request<'_>) -> Result<(), i32> {
        let account = self.account()?;
        let result = self.k.account_destroy(account);
        self.end(result)
    }

    fn account_transfer(&mut self, _: &Request<'_>, resource: i32, amount: i64) -> Result<(), i32> {
        let account = self.account()?;
        let resource = usize::try_from(resource).map_err(|_| KERN_INVALID_ARGUMENT)?;
        let result = self.k.account_transfer(account, resource, amount);
        self.end(result)?;
        if resource == CPU && amount > 0 {
            self.k.budget_wake(account);
        }
        Ok(())
    }

    fn account_info(&mut self, _: &Request<'_>) -> Result<AccountInfoReply, i32> {
        let account = self.patron()?;
        self.k.charge_time();
        let info: [u64; INFO_WORDS] = transmute!(self.k.account_row(account));
        Ok(AccountInfoReply { info })
    }

    fn account_children(&mut self, _: &Request<'_>) -> Result<AccountChildrenReply, i32> {
        let account = self.account()?;
        let mut count = 0;
        let mut child = self.k.get(account).children;
        while child.is_some() && count < CHILDREN {
            count += 1;
            child = self.k.get(child).next;
        }
        if count == 0 {
            return Ok(AccountChildrenReply { children: Ool::EMPTY });
        }
        let address = self.filled(count * 4, |rpc, address| {
            let mut child = rpc.k.get(account).children;
            for i in 0..count {
                let name = rpc.account_name(child)?;
                let written = rpc.k.write_u32(rpc.caller, address + i * 4, name.0);
                rpc.end(written)?;
                child = rpc.k.get(child).next;
            }
            Ok(())
        })?;
        Ok(AccountChildrenReply {
            children: Ool::moved(address, count as u32).with_disposition(msgt::PORT_SEND),
        })
    }

    fn account_set_cpu(
        &mut self,
        _: &Request<'_>,
        share: i32,
        cap_ns: u64,
        period_ns: u64,
    ) -> Result<(), i32> {
        let account = self.account()?;
        let share = u32::try_from(share).map_err(|_| KERN_INVALID_ARGUMENT)?;
        let cap = u32::try_from(cap_ns).map_err(|_| KERN_INVALID_ARGUMENT)?;
        if cap != 0 && (period_ns == 0 || cap_ns > period_ns) || period_ns > PERIOD_MAX {
            return Err(KERN_INVALID_ARGUMENT);
        }
        let a = *self.k.get(account);
        if a.parent.is_none() {
            return Err(KERN_NO_ACCESS);
        }
        let up = self.k.get(a.parent).share;
        if u64::from(share) > u64::from(a.share) + u64::from(up) {
            return Err(KERN_RESOURCE_SHORTAGE);
        }
        self.k.get_mut(a.parent).share = up + a.share - share;
        let a = self.k.get_mut(account);
        (a.share, a.cap_ns, a.period_ns) = (share, cap, period_ns);
        Ok(())
    }

    fn account_set_name(&mut self, _: &Request<'_>, name: &Text<32>) -> Result<(), i32> {
        let account = self.account()?;
        let a = self.k.get_mut(account);
        let name = name.as_bytes();
        a.name = [0; 32];
        let len = name.len().min(31);
        a.name[..len].copy_from_slice(&name[..len]);
        Ok(())
    }

    fn account_task_create(
        &mut self,
        _: &Request<'_>,
        parent_task: PortArg,
        inherit_memory: bool,
    ) -> Result<AccountTaskCreateReply, i32> {
        let account = self.account()?;
        let parent = if parent_task.name.is_valid() {
            self.object_of::<Task>(parent_task, Kind::Task)?
        } else {
            Ref::NONE
        };
        let payer = self.k.payer_for(account);
        let task = self.k.task_create(payer, parent, inherit_memory);
        let task = self.end(task)?;
        match self.task_name(task) {
            Ok(child_task) => {
                self.done_with(parent_task);
                Ok(AccountTaskCreateReply { child_task })
            }
            Err(code) => {
                let _ = self.k.task_terminate(task);
                Err(code)
            }
        }
    }

    fn account_thread_create(
        &mut self,
        _: &Request<'_>,
        task: PortArg,
    ) -> Result<AccountThreadCreateReply, i32> {
        let account = self.account()?;
        let home = self.object_of::<Task>(task, Kind::Task)?;
        let payer = self.k.payer_for(account);
        let thread = self.k.thread_create(payer, home);
        let thread = self.end(thread)?;
        let port = self.k.get(thread).port;
        match self.name_for(port) {
            Ok(child_thread) => {
                self.done_with(task);
                Ok(AccountThreadCreateReply { child_thread })
            }
            Err(code) => {
                self.k.thread_terminate(thread);
                Err(code)
            }
        }
    }

    fn account_session_create(
        &mut self,
        _: &Request<'_>,
        frames: u64,
        objects: u64,
    ) -> Result<AccountSessionCreateReply, i32> {
        let parent = self.patron()?;
        // In a call the offer's `retain` bounds what sessions may keep of the caller's.
        let act = self.k.here();
        let mine = self.k.get(act).lower.is_some() && self.k.get(act).payer == parent;
        if mine && self.k.get(act).left.retain < frames {
            return Err(KERN_RESOURCE_SHORTAGE);
        }
        // What a server knows of its client's account is good in that client's calls only, whose offers say how much: kept, it is worth nothing.
        if !mine && self.account().is_err() {
            return Err(KERN_NO_ACCESS);
        }
        let mut limits = Limits { resources: [0; 5], share: 0 };
        limits.resources[FRAMES] = frames;
        limits.resources[OBJECTS] = objects;
        // Time and I/O are charged to the client; a session's own limits of them are never drawn on.
        limits.resources[CPU] = UNLIMITED;
        limits.resources[IO] = UNLIMITED;
        if self.k.get(parent).resources[CPU].limit != UNLIMITED {
            limits.resources[CPU] = 0;
        }
        if self.k.get(parent).resources[IO].limit != UNLIMITED {
            limits.resources[IO] = 0;
        }
        let session = self.new_account(parent, &limits, true)?;
        if mine {
            // It stays when the call returns: off what every caller below offered, too.
            let mut at = act;
            while at.is_some() && self.k.get(at).payer == parent {
                let a = self.k.get_mut(at);
                a.left.retain = a.left.retain.saturating_sub(frames);
                at = a.lower;
            }
        }
        Ok(AccountSessionCreateReply { session })
    }
}
