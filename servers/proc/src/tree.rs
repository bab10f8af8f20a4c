//! Processes as plain records: who is whose child, who has ended how, who may wait for whom. Pure; ports and waiting are the program's.
//!
//! A process that has ended stays as a zombie until its parent asks, or is gone; children of an ended process become init's. Pids count up and are
//! used again after 30000.

extern crate alloc;
use alloc::vec::Vec;

/// Most processes, zombies included.
pub(crate) const MAX_PROCESSES: usize = 512;
/// The first process, which inherits orphans.
pub(crate) const INIT: i32 = 1;
/// Largest pid.
const MAX_PID: i32 = 30_000;
/// Status of a process that ended without saying how: killed by signal 9.
const KILLED: i32 = 9;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) pid: i32,
    pub(crate) status: i32,
    pub(crate) sigcode: i32,
}

/// One process.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    /// Its task's port name; 0 once it has died.
    pub(crate) task: u32,
    /// Its parent is init because its own has ended.
    pub(crate) adopted: bool,
    /// User that it runs for.
    pub(crate) owner: u32,
    /// Who paid for its making.
    pub(crate) payer: u64,
    /// What it said before it ended.
    pub(crate) said: Option<(i32, i32)>,
    /// It has executed a program.
    pub(crate) execed: bool,
    /// The system needs it.
    pub(crate) important: bool,
    /// File that it runs.
    pub(crate) exe: Vec<u8>,
}

impl Process {
    pub(crate) const fn is_zombie(&self) -> bool {
        self.task == 0
    }
}

/// Why a process cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// There are [`MAX_PROCESSES`].
    Table,
    /// The payer has its share of them.
    Payer,
}

/// What a parent learns that asks for an ended child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reaped {
    /// One has ended; it is gone now.
    Child(Ended),
    /// None yet.
    NotYet,
    /// There is no such child.
    NoChild,
}

/// All processes.
#[derive(Debug)]
pub(crate) struct Tree {
    list: Vec<Process>,
    last: i32,
}

impl Tree {
    /// None.
    pub(crate) const fn new() -> Self {
        Self { list: Vec::new(), last: 0 }
    }

    pub(crate) fn get(&self, pid: i32) -> Option<&Process> {
        self.list.iter().find(|process| process.pid == pid)
    }

    pub(crate) fn get_mut(&mut self, pid: i32) -> Option<&mut Process> {
        self.list.iter_mut().find(|process| process.pid == pid)
    }

    pub(crate) fn by_task(&self, task: u32) -> Option<&Process> {
        self.list.iter().find(|process| process.task == task && task != 0)
    }

    pub(crate) fn pids(&self) -> impl Iterator<Item = i32> {
        self.list.iter().map(|process| process.pid)
    }

    fn next_pid(&mut self) -> i32 {
        // There are fewer processes than pids, so this ends.
        loop {
            self.last = if self.last >= MAX_PID { INIT + 1 } else { self.last + 1 };
            if self.get(self.last).is_none() {
                return self.last;
            }
        }
    }

    /// A new process, child of `parent`, with its parent's owner. One payer may have at most `share` of them.
    pub(crate) fn add(&mut self, task: u32, parent: i32, payer: u64, share: usize) -> Result<i32, Full> {
        if self.list.len() >= MAX_PROCESSES || self.list.try_reserve(1).is_err() {
            return Err(Full::Table);
        }
        if self.list.iter().filter(|process| process.payer == payer).count() >= share {
            return Err(Full::Payer);
        }
        let owner = self.get(parent).map_or(0, |parent| parent.owner);
        let pid = self.next_pid();
        self.list.push(Process {
            pid,
            parent,
            task,
            adopted: false,
            owner,
            payer,
            said: None,
            execed: false,
            important: false,
            exe: Vec::new(),
        });
        Ok(pid)
    }

    /// Takes a process back that could not be made.
    pub(crate) fn forget(&mut self, pid: i32) {
        self.list.retain(|process| process.pid != pid);
    }

    /// The task died. Its process becomes a zombie, its children init's; the parent's pid, to be told.
    pub(crate) fn died(&mut self, task: u32) -> Option<i32> {
        let (pid, parent) = self.by_task(task).map(|process| (process.pid, process.parent))?;
        // Nobody is left to ask for its zombies, and nobody will ask for a child that init has only adopted.
        self.list.retain(|child| child.parent != pid || !child.is_zombie());
        for child in self.list.iter_mut().filter(|child| child.parent == pid) {
            (child.parent, child.adopted) = (INIT, true);
        }
        let adopted = self.get(pid).is_some_and(|process| process.adopted);
        if adopted || self.get(parent).is_none_or(Process::is_zombie) {
            self.forget(pid);
        } else if let Some(process) = self.get_mut(pid) {
            process.task = 0;
            process.exe = Vec::new();
        }
        Some(parent)
    }

    /// An ended child of `parent`: the one with `pid`, or any if it is not positive.
    pub(crate) fn reap(&mut self, parent: i32, pid: i32) -> Reaped {
        let asked = |child: &Process| child.parent == parent && (pid <= 0 || child.pid == pid);
        let Some(found) = self.list.iter().position(|child| asked(child) && child.is_zombie()) else {
            return if self.list.iter().any(asked) { Reaped::NotYet } else { Reaped::NoChild };
        };
        let child = self.list.swap_remove(found);
        let (status, sigcode) = child.said.unwrap_or((KILLED, 0));
        Reaped::Child(Ended { pid: child.pid, status, sigcode })
    }

    /// Whether `pid` is `ancestor` or below it.
    pub(crate) fn is_below(&self, mut pid: i32, ancestor: i32) -> bool {
        for _ in 0..=MAX_PROCESSES {
            if pid == ancestor {
                return true;
            }
            match self.get(pid) {
                Some(process) if process.parent != pid => pid = process.parent,
                _ => return false,
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        let mut tree = Tree::new();
        assert_eq!(tree.add(100, 0, 1, 99), Ok(INIT));
        tree
    }

    #[test]
    fn a_child_ends_and_is_reaped_once() {
        let mut tree = tree();
        let child = tree.add(7, INIT, 1, 99).unwrap();
        tree.get_mut(child).unwrap().said = Some((3 << 8, 0));
        assert_eq!(tree.reap(INIT, child), Reaped::NotYet);
        assert_eq!(tree.died(7), Some(INIT));
        assert_eq!(tree.reap(INIT, -1), Reaped::Child(Ended { pid: child, status: 3 << 8, sigcode: 0 }));
        assert_eq!(tree.reap(INIT, child), Reaped::NoChild);
        assert_eq!(tree.died(7), None, "a task dies once");
    }

    #[test]
    fn silent_ends_are_kills() {
        let mut tree = tree();
        let child = tree.add(7, INIT, 1, 99).unwrap();
        tree.died(7);
        assert_eq!(tree.reap(INIT, child), Reaped::Child(Ended { pid: child, status: KILLED, sigcode: 0 }));
    }

    #[test]
    fn orphans_go_to_init_and_their_zombies_away() {
        let mut tree = tree();
        let parent = tree.add(2, INIT, 1, 99).unwrap();
        let living = tree.add(3, parent, 1, 99).unwrap();
        let zombie = tree.add(4, parent, 1, 99).unwrap();
        let own_zombie = tree.add(5, INIT, 1, 99).unwrap();
        tree.died(5);
        tree.died(4);
        tree.died(2);
        assert!(tree.get(zombie).is_none(), "nobody will ask for it");
        assert_eq!(tree.get(living).unwrap().parent, INIT);
        assert!(tree.get(parent).unwrap().is_zombie(), "init made it and may ask");
        assert!(tree.is_below(living, INIT) && !tree.is_below(INIT, living));
        assert_eq!(tree.died(3), Some(INIT));
        assert!(tree.get(living).is_none(), "adopted ones leave nothing");
        assert!(tree.get(own_zombie).unwrap().is_zombie());
    }

    #[test]
    fn bounded_for_all_and_for_each_payer() {
        let mut tree = tree();
        for n in 0..4 {
            assert!(tree.add(200 + n, INIT, 5, 4).is_ok());
        }
        assert_eq!(tree.add(300, INIT, 5, 4), Err(Full::Payer));
        assert!(tree.add(300, INIT, 6, 4).is_ok());
        for n in tree.pids().count()..MAX_PROCESSES {
            assert!(tree.add(1000 + n as u32, INIT, 1, usize::MAX).is_ok());
        }
        assert_eq!(tree.add(9999, INIT, 1, usize::MAX), Err(Full::Table));
    }

    #[test]
    fn pids_wrap_around_the_living() {
        let mut tree = tree();
        tree.last = MAX_PID - 1;
        assert_eq!(tree.add(2, INIT, 1, 99), Ok(MAX_PID));
        assert_eq!(tree.add(3, INIT, 1, 99), Ok(2));
        tree.last = 1;
        assert_eq!(tree.add(4, INIT, 1, 99), Ok(3), "2 is taken");
    }

    #[test]
    fn owners_are_inherited() {
        let mut tree = tree();
        let user = tree.add(2, INIT, 1, 99).unwrap();
        tree.get_mut(user).unwrap().owner = 1000;
        let child = tree.add(3, user, 1, 99).unwrap();
        assert_eq!(tree.get(child).unwrap().owner, 1000);
    }
}
