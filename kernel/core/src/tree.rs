//! Intrusive treaps: ordered sets of objects with the links inside the objects.
//!
//! Used for map entries (by address), runnable accounts (by virtual time) and timers (by deadline). Keys are 64-bit; equal keys are
//! ordered by reference. Priorities come from a generator that user space cannot steer, so the expected depth is logarithmic.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::object::{Object, Ref};

/// Links of a node.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct Links {
    /// The key. Change it only while the node is in no tree.
    pub key: u64,
    left: u32,
    right: u32,
    priority: u32,
    /// 1 while the node is in a tree.
    pub linked: u32,
}

/// An object that can be in one tree of tag `G`.
pub trait Node<G>: Object {
    /// Its links.
    fn links(&self) -> &Links;
    /// Its links, to change.
    fn links_mut(&mut self) -> &mut Links;
}

impl<M: Machine> Kernel<M> {
    fn node<G, T: Node<G>>(&self, raw: u32) -> Links {
        *self.get(Ref::<T>::from_raw(raw)).links()
    }

    fn node_mut<G, T: Node<G>>(&mut self, raw: u32) -> &mut Links {
        self.get_mut(Ref::<T>::from_raw(raw)).links_mut()
    }

    /// Inserts `node` (in no tree) and returns the new root.
    #[must_use]
    pub fn tree_insert<G, T: Node<G>>(&mut self, root: Ref<T>, node: Ref<T>) -> Ref<T> {
        let priority = self.random();
        let links = self.node_mut::<G, T>(node.raw());
        debug_assert_eq!(links.linked, 0);
        (links.left, links.right, links.priority, links.linked) = (0, 0, priority, 1);
        let key = links.key;
        let (left, right) = self.split::<G, T>(root.raw(), key, node.raw());
        let joined = self.join::<G, T>(left, node.raw());
        Ref::from_raw(self.join::<G, T>(joined, right))
    }

    /// Removes `node` and returns the new root.
    #[must_use]
    pub fn tree_remove<G, T: Node<G>>(&mut self, root: Ref<T>, node: Ref<T>) -> Ref<T> {
        let key = self.node::<G, T>(node.raw()).key;
        debug_assert_eq!(self.node::<G, T>(node.raw()).linked, 1);
        let mut parent = 0;
        let mut went_left = false;
        let mut at = root.raw();
        while at != node.raw() {
            let links = self.node::<G, T>(at);
            parent = at;
            went_left = (key, node.raw()) < (links.key, at);
            at = if went_left { links.left } else { links.right };
        }
        let links = self.node::<G, T>(at);
        let joined = self.join::<G, T>(links.left, links.right);
        self.node_mut::<G, T>(at).linked = 0;
        if parent == 0 {
            return Ref::from_raw(joined);
        }
        let up = self.node_mut::<G, T>(parent);
        if went_left {
            up.left = joined;
        } else {
            up.right = joined;
        }
        root
    }

    /// The node with the smallest key.
    pub fn tree_first<G, T: Node<G>>(&self, root: Ref<T>) -> Ref<T> {
        let mut at = root.raw();
        if at == 0 {
            return Ref::NONE;
        }
        loop {
            let left = self.node::<G, T>(at).left;
            if left == 0 {
                return Ref::from_raw(at);
            }
            at = left;
        }
    }

    /// The node with the largest key <= `key`.
    pub fn tree_floor<G, T: Node<G>>(&self, root: Ref<T>, key: u64) -> Ref<T> {
        let (mut at, mut best) = (root.raw(), 0);
        while at != 0 {
            let links = self.node::<G, T>(at);
            if links.key <= key {
                best = at;
                at = links.right;
            } else {
                at = links.left;
            }
        }
        Ref::from_raw(best)
    }

    /// The node with the smallest key >= `key`.
    pub fn tree_ceiling<G, T: Node<G>>(&self, root: Ref<T>, key: u64) -> Ref<T> {
        let (mut at, mut best) = (root.raw(), 0);
        while at != 0 {
            let links = self.node::<G, T>(at);
            if links.key >= key {
                best = at;
                at = links.left;
            } else {
                at = links.right;
            }
        }
        Ref::from_raw(best)
    }

    /// Splits into nodes before and after (key, raw).
    fn split<G, T: Node<G>>(&mut self, root: u32, key: u64, raw: u32) -> (u32, u32) {
        if root == 0 {
            return (0, 0);
        }
        let links = self.node::<G, T>(root);
        if (links.key, root) < (key, raw) {
            let (left, right) = self.split::<G, T>(links.right, key, raw);
            self.node_mut::<G, T>(root).right = left;
            (root, right)
        } else {
            let (left, right) = self.split::<G, T>(links.left, key, raw);
            self.node_mut::<G, T>(root).left = right;
            (left, root)
        }
    }

    /// Joins two trees, all of `left` before all of `right`.
    fn join<G, T: Node<G>>(&mut self, left: u32, right: u32) -> u32 {
        if left == 0 {
            return right;
        }
        if right == 0 {
            return left;
        }
        let (l, r) = (self.node::<G, T>(left), self.node::<G, T>(right));
        if l.priority > r.priority {
            let joined = self.join::<G, T>(l.right, right);
            self.node_mut::<G, T>(left).right = joined;
            left
        } else {
            let joined = self.join::<G, T>(left, r.left);
            self.node_mut::<G, T>(right).left = joined;
            right
        }
    }
}
