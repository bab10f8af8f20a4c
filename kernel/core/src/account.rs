//! Accounts: who pays.
//!
//! Per resource: limit, charged, given, escrow. Creating or enlarging a child *moves* limit from the parent, so a charge is one
//! comparison and never walks the tree. Frames, objects and calls are stocks; CPU and I/O are flows (charged only grows).
//!
//! Invariant: charged + given + escrow <= limit, for every account and resource; `given` = sum of the children's limits for stocks.
//! The account object lives in a frame of its parent: creating an account is itself charged.
//! Deliberately absent: borrowing, overdrafts, priorities. Destruction is in [`crate::destroy`].

use drover_abi::account::{ACCOUNT_SESSION, CPU, FRAMES, IO, RESOURCES, Resource, UNLIMITED};
use drover_abi::returns::{KERN_INVALID_ARGUMENT, KERN_RESOURCE_SHORTAGE, KERN_TERMINATED};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::activation::Activation;
use crate::kernel::{Kernel, Stop};
use crate::machine::Machine;
use crate::object::{CLASSES, Head, Kind, Object, Ref};
use crate::port::Port;
use crate::thread::Thread;
use crate::tree::{Links, Node};

/// An account.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct Account {
    /// `flags`: [`drover_abi::account::ACCOUNT_SESSION`]; `state`: open or closing.
    pub head: Head,
    /// The parent; none for root.
    pub parent: Ref<Account>,
    /// Never reused; root is 1.
    pub id: u64,
    /// First child.
    pub children: Ref<Account>,
    /// Next child of the parent.
    pub next: Ref<Account>,
    /// Previous child of the parent.
    pub prev: Ref<Account>,
    /// Head of the list of frames that are no slabs.
    pub frames_head: u32,
    /// The resources.
    pub resources: [Resource; RESOURCES],
    /// Slab frames with room, by class.
    pub slabs: [u32; CLASSES],
    /// Head of the list of slab frames.
    pub slabs_head: u32,
    /// Its kernel port.
    pub port: Ref<Port>,
    /// Session: its client, in whose turns it runs: the nearest account above that is no session. None otherwise.
    pub client: Ref<Account>,
    /// Threads that this account pays for and that have not ended.
    pub threads: u32,
    /// The port that servers get of an account that calls them: for sessions only.
    pub patron_port: Ref<Port>,
    /// Place in the tree of runnable accounts; the key is the virtual time.
    pub run: Links,
    /// Ready threads, first.
    pub ready_head: Ref<Thread>,
    /// Ready threads, last.
    pub ready_tail: Ref<Thread>,
    /// CPU share in 1/10000 after what was given to children.
    pub share: u32,
    /// CPU cap per period in ns; 0 = none.
    pub cap_ns: u32,
    /// Period of the cap.
    pub period_ns: u64,
    /// Start of the current period.
    pub period_start: u64,
    /// CPU used in the current period.
    pub period_used: u64,
    /// Virtual time.
    pub vtime: u64,
    /// Largest charge of frames seen.
    pub frames_peak: u64,
    /// CPU that servers burnt beyond their reserve on calls of this account.
    pub overrun_ns: u64,
    /// Threads that wait for the destruction to end, first.
    pub destroyer: Ref<Thread>,
    /// Not 0 while an exhausted cap keeps it off the run queue.
    pub throttled: u32,
    /// For people.
    pub name: [u8; 32],
    pad: [u8; 152],
}

impl Object for Account {
    const KIND: Kind = Kind::Account;
}

/// Tag of the tree of runnable accounts.
pub struct RunQueue;
impl Node<RunQueue> for Account {
    fn links(&self) -> &Links {
        &self.run
    }
    fn links_mut(&mut self) -> &mut Links {
        &mut self.run
    }
}

/// Who pays for an allocation: an account and, when the allocation is made on behalf of a call, the activation whose ceilings apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payer {
    /// The account charged.
    pub account: Ref<Account>,
    /// The activation whose ceilings apply too, or none.
    pub call: Ref<Activation>,
}

impl Payer {
    /// An account, no ceilings.
    #[must_use]
    pub const fn account(account: Ref<Account>) -> Self {
        Self { account, call: Ref::NONE }
    }
}

/// Limits of a new account.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Per resource.
    pub resources: [u64; RESOURCES],
    /// CPU share in 1/10000.
    pub share: u32,
}

/// What an account may still use or give away of a resource (nothing of a budget that the end of a turn overdrew).
pub(crate) const fn unused(r: &Resource) -> u64 {
    r.limit.saturating_sub(r.charged).saturating_sub(r.given).saturating_sub(r.escrow)
}

impl<M: Machine> Kernel<M> {
    /// Charges `n` of a stock.
    ///
    /// # Errors
    /// `KERN_RESOURCE_SHORTAGE`: the call's ceiling or the account's limit; `KERN_TERMINATED`: the account is being destroyed.
    /// An activation that is unwinding draws on its escrow instead, past ceiling and limit.
    #[inline]
    pub fn charge(&mut self, payer: Payer, resource: usize, n: u64) -> Result<(), Stop> {
        if payer.call.is_some() && resource == FRAMES {
            let act = self.get(payer.call);
            if act.left.frames < n {
                return self.charge_escrow(payer, n);
            }
        }
        let account = self.get(payer.account);
        if unused(&account.resources[resource]) < n {
            if payer.call.is_some() && resource == FRAMES {
                return self.charge_escrow(payer, n);
            }
            return Err(Stop::Error(KERN_RESOURCE_SHORTAGE));
        }
        if account.head.state != 0 {
            if payer.call.is_some() && resource == FRAMES {
                return self.charge_escrow(payer, n);
            }
            return Err(Stop::Error(KERN_TERMINATED));
        }
        let account = self.get_mut(payer.account);
        let r = &mut account.resources[resource];
        r.charged += n;
        if resource == FRAMES {
            if r.charged > account.frames_peak {
                account.frames_peak = r.charged;
            }
            if payer.call.is_some() {
                let act = self.get_mut(payer.call);
                act.left.frames -= n;
            }
        }
        Ok(())
    }

    /// Frames for an activation that is unwinding or inside a critical section: from its escrow.
    #[cold]
    fn charge_escrow(&mut self, payer: Payer, n: u64) -> Result<(), Stop> {
        let act = self.get_mut(payer.call);
        if !act.may_use_escrow() || act.escrow_frames < n {
            return Err(Stop::Error(KERN_RESOURCE_SHORTAGE));
        }
        act.escrow_frames -= n;
        let r = &mut self.get_mut(payer.account).resources[FRAMES];
        r.escrow -= n;
        r.charged += n;
        Ok(())
    }

    /// Takes back a charge.
    #[inline]
    pub fn uncharge(&mut self, account: Ref<Account>, resource: usize, n: u64) {
        let r = &mut self.get_mut(account).resources[resource];
        debug_assert!(r.charged >= n, "uncharged more than was charged");
        r.charged -= n;
    }

    /// Sets frames aside for the unwinding of a call.
    ///
    /// # Errors
    /// `KERN_RESOURCE_SHORTAGE` (nothing changed).
    pub fn escrow(&mut self, account: Ref<Account>, n: u64) -> Result<(), Stop> {
        let r = &mut self.get_mut(account).resources[FRAMES];
        if unused(r) < n {
            return Err(Stop::Error(KERN_RESOURCE_SHORTAGE));
        }
        r.escrow += n;
        Ok(())
    }

    /// Gives back what is left of an escrow.
    pub fn unescrow(&mut self, account: Ref<Account>, n: u64) {
        self.get_mut(account).resources[FRAMES].escrow -= n;
    }

    /// A child of `parent` with the given limits, which move from the parent. The object is charged to the parent.
    ///
    /// # Errors
    /// `KERN_RESOURCE_SHORTAGE`, `KERN_TERMINATED` (nothing changed).
    pub fn account_create(&mut self, parent: Ref<Account>, limits: &Limits) -> Result<Ref<Account>, Stop> {
        if self.get(parent).head.state != 0 {
            return Err(Stop::Error(KERN_TERMINATED));
        }
        if limits.share > self.get(parent).share {
            return Err(Stop::Error(KERN_RESOURCE_SHORTAGE));
        }
        let child = self.new_object::<Account>(Payer::account(parent))?;
        let short = (0..RESOURCES).any(|i| !self.can_give(parent, i, limits.resources[i]));
        if short {
            self.free_object(child);
            return Err(Stop::Error(KERN_RESOURCE_SHORTAGE));
        }
        for i in 0..RESOURCES {
            self.give(parent, child, i, limits.resources[i]);
        }
        self.get_mut(parent).share -= limits.share;
        let id = self.next_id();
        let sibling = self.get(parent).children;
        let vtime = self.virtual_now();
        let new = self.get_mut(child);
        new.parent = parent;
        new.id = id;
        new.next = sibling;
        new.share = limits.share;
        new.vtime = vtime;
        if sibling.is_some() {
            self.get_mut(sibling).prev = child;
        }
        self.get_mut(parent).children = child;
        Ok(child)
    }

    /// Makes an account that was just created a session of its parent.
    pub(crate) fn make_session(&mut self, account: Ref<Account>) {
        let parent = self.get(account).parent;
        let above = self.get(parent).client;
        let a = self.get_mut(account);
        a.head.flags = ACCOUNT_SESSION as u8;
        a.client = if above.is_some() { above } else { parent };
    }

    /// Whether nothing may be begun at an account's expense any more: it is being destroyed, or its client is.
    pub(crate) fn is_closing(&self, account: Ref<Account>) -> bool {
        let a = self.get(account);
        a.head.state != 0 || a.client.is_some() && self.get(a.client).head.state != 0
    }

    /// Unlinks and frees an account that has no frames, threads or children any more; its limits return to the parent.
    pub(crate) fn account_free(&mut self, account: Ref<Account>) {
        let a = *self.get(account);
        debug_assert!(a.frames_head == 0 && a.slabs_head == 0 && a.children.is_none() && a.threads == 0);
        let parent = a.parent;
        for (i, r) in a.resources.iter().enumerate() {
            let up = &mut self.get_mut(parent).resources[i];
            if i == CPU || i == IO {
                // A flow: what was used stays used (a budget of CPU may be overdrawn by the end of a turn).
                up.charged = up.charged.saturating_add(r.charged);
                if r.limit != UNLIMITED {
                    up.given -= r.limit;
                }
            } else {
                up.given -= r.limit;
            }
        }
        self.get_mut(parent).share += a.share;
        if a.prev.is_none() {
            self.get_mut(parent).children = a.next;
        } else {
            self.get_mut(a.prev).next = a.next;
        }
        if a.next.is_some() {
            self.get_mut(a.next).prev = a.prev;
        }
        self.wake_destroyer(account);
        let moved = self.leave_scheduler(account);
        self.free_object(account);
        self.enqueue_all(moved);
    }

    fn can_give(&self, parent: Ref<Account>, resource: usize, n: u64) -> bool {
        let r = &self.get(parent).resources[resource];
        if resource == CPU || resource == IO {
            // "No limit" can be handed on by whoever has no limit.
            return n == UNLIMITED && r.limit == UNLIMITED || n != UNLIMITED && unused(r) >= n;
        }
        unused(r) >= n
    }

    fn give(&mut self, parent: Ref<Account>, child: Ref<Account>, resource: usize, n: u64) {
        if n != UNLIMITED {
            self.get_mut(parent).resources[resource].given += n;
        }
        self.get_mut(child).resources[resource].limit = n;
    }

    /// Moves `amount` of limit from the parent to `child` (negative: back).
    ///
    /// # Errors
    /// `KERN_INVALID_ARGUMENT`: no such resource, or root; `KERN_RESOURCE_SHORTAGE`: the giver has not that much free.
    pub fn account_transfer(
        &mut self,
        child: Ref<Account>,
        resource: usize,
        amount: i64,
    ) -> Result<(), Stop> {
        let parent = self.get(child).parent;
        if resource >= RESOURCES || parent.is_none() || self.get(child).resources[resource].limit == UNLIMITED
        {
            return Err(Stop::Error(KERN_INVALID_ARGUMENT));
        }
        let n = amount.unsigned_abs();
        if amount >= 0 {
            if self.get(child).head.state != 0 {
                return Err(Stop::Error(KERN_TERMINATED));
            }
            if n == UNLIMITED || !self.can_give(parent, resource, n) {
                return Err(Stop::Error(KERN_RESOURCE_SHORTAGE));
            }
            self.get_mut(parent).resources[resource].given += n;
            self.get_mut(child).resources[resource].limit += n;
        } else {
            let r = &mut self.get_mut(child).resources[resource];
            if unused(r) < n {
                return Err(Stop::Error(KERN_RESOURCE_SHORTAGE));
            }
            r.limit -= n;
            self.get_mut(parent).resources[resource].given -= n;
        }
        Ok(())
    }
}
