//! `mach.defs`: tasks, threads, virtual memory.

use drover_abi::message::msgt;
use drover_abi::port::{EXCEPTION_PORT, TASK_BOOTSTRAP_PORT, TASK_KERNEL_PORT};
use drover_abi::returns::{KERN_FAILURE, KERN_INVALID_ARGUMENT, KERN_INVALID_TASK};
use hurd_stubs::mach::{
    MachServer, TaskCreateReply, TaskGetSpecialPortReply, TaskInfoReply, TaskThreadsReply, ThreadCreateReply,
    ThreadGetSpecialPortReply, ThreadGetStateReply, ThreadInfoReply, VmAllocateReply, VmMapReply,
    VmReadReply, VmRegionReply, VmStatisticsReply,
};
use hurd_stubs::types::{TaskBasicInfo, TaskThreadTimesInfo, ThreadBasicInfo, TimeValue, TimeValue64};
use mig_runtime::{Array, Bounded, Ool, Port as PortArg, PortName, Request, Value};

use crate::lifecycle::{bootstrap_slot, exception_slot};
use crate::machine::Machine;
use crate::memory::Memory;
use crate::object::{Kind, Ref};
use crate::right::SlotRef;
use crate::rpc::Rpc;
use crate::task::{TASK_ALIVE, Task};
use crate::thread::{BLOCKED, ENDING, READY, Thread};
use crate::vm::Map;

/// Bytes of the longest info struct.
const INFO_BYTES: usize = 128;
/// `TH_STATE_RUNNING`, `TH_STATE_STOPPED`, `TH_STATE_WAITING`.
const RUNNING: i32 = 1;
const STOPPED: i32 = 2;
const WAITING: i32 = 3;
/// Most threads listed at once.
const LIST: usize = 1024;

fn time(ns: u64) -> (TimeValue, TimeValue64) {
    let (seconds, rest) = ((ns / 1_000_000_000) as i64, ns % 1_000_000_000);
    (
        TimeValue { seconds, microseconds: (rest / 1000) as i32 },
        TimeValue64 { seconds, nanoseconds: rest as i64 },
    )
}

/// An info struct as words. Its last `late` bytes are younger than some callers, who have no room for them.
fn words<T: Value, const N: usize>(info: T, late: usize, count: u32) -> Result<Bounded<i32, N>, i32> {
    let mut bytes = [0; INFO_BYTES];
    info.store(&mut bytes);
    let used = if count as usize >= T::SIZE / 4 { T::SIZE / 4 } else { (T::SIZE - late) / 4 };
    if (count as usize) < used {
        return Err(KERN_INVALID_ARGUMENT);
    }
    let mut words = [0; INFO_BYTES / 4];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = i32::load(bytes);
    }
    words.get(..used).and_then(Bounded::from_slice).ok_or(KERN_FAILURE)
}

impl<M: Machine> Rpc<'_, M> {
    /// The destination as a live task.
    pub(crate) fn task(&self) -> Result<Ref<Task>, i32> {
        let task: Ref<Task> = self.target(Kind::Task, KERN_INVALID_TASK)?;
        if self.k.get(task).head.state == TASK_ALIVE { Ok(task) } else { Err(KERN_INVALID_TASK) }
    }

    fn thread(&self) -> Result<Ref<Thread>, i32> {
        let thread: Ref<Thread> = self.target(Kind::Thread, KERN_INVALID_ARGUMENT)?;
        if self.k.get(thread).head.flags & ENDING == 0 { Ok(thread) } else { Err(KERN_INVALID_ARGUMENT) }
    }

    fn set_special(&mut self, slot: SlotRef, holder: u32, port: PortArg) -> Result<(), i32> {
        let right = self.take(port)?;
        if right.port.is_some() {
            self.k.special_set(slot, right.port, holder);
        } else {
            self.k.special_set(slot, Ref::NONE, holder);
        }
        self.k.right_drop(right);
        Ok(())
    }

    /// A task's port as the caller gets it.
    pub(crate) fn task_name(&mut self, task: Ref<Task>) -> Result<PortName, i32> {
        let port = self.k.get(task).port;
        self.name_for(port)
    }
}

impl<M: Machine> MachServer for Rpc<'_, M> {
    fn task_create(&mut self, _: &Request<'_>, inherit_memory: bool) -> Result<TaskCreateReply, i32> {
        let parent = self.task()?;
        let payer = self.k.payer_for(self.k.get(parent).account);
        let task = self.k.task_create(payer, parent, inherit_memory);
        let task = self.end(task)?;
        match self.task_name(task) {
            Ok(child_task) => Ok(TaskCreateReply { child_task }),
            Err(code) => {
                let _ = self.k.task_terminate(task);
                Err(code)
            }
        }
    }

    fn task_terminate(&mut self, _: &Request<'_>) -> Result<(), i32> {
        let task = self.task()?;
        let result = self.k.task_terminate(task);
        self.end(result)
    }

    fn task_threads(&mut self, _: &Request<'_>) -> Result<TaskThreadsReply, i32> {
        let task = self.task()?;
        let count = (self.k.get(task).thread_count as usize).min(LIST);
        if count == 0 {
            return Ok(TaskThreadsReply { thread_list: Ool::EMPTY });
        }
        let address = self.filled(count as u64 * 4, |rpc, address| {
            let mut thread = rpc.k.get(task).threads;
            for i in 0..count {
                let port = rpc.k.get(thread).port;
                let name = rpc.name_for(port)?;
                let written = rpc.k.write_u32(rpc.caller, address + i as u64 * 4, name.0);
                rpc.end(written)?;
                thread = rpc.k.get(thread).home_next;
            }
            Ok(())
        })?;
        Ok(TaskThreadsReply {
            thread_list: Ool::moved(address, count as u32).with_disposition(msgt::PORT_SEND),
        })
    }

    fn task_info(&mut self, _: &Request<'_>, flavor: i32, count: u32) -> Result<TaskInfoReply, i32> {
        let task = self.task()?;
        let t = self.k.get(task);
        let (account, (time, time64)) = (t.account, time(t.cpu_ns));
        let task_info_out = match flavor {
            1 => {
                let info = TaskBasicInfo {
                    suspend_count: t.suspended as i32,
                    virtual_size: t.virtual_size,
                    resident_size: self.k.get(account).resources[0].charged * 4096,
                    user_time: time,
                    user_time64: time64,
                    ..TaskBasicInfo::ZERO
                };
                words(info, 3 * TimeValue64::SIZE, count)?
            }
            3 => {
                let info =
                    TaskThreadTimesInfo { user_time: time, user_time64: time64, ..TaskThreadTimesInfo::ZERO };
                words(info, 2 * TimeValue64::SIZE, count)?
            }
            _ => return Err(KERN_INVALID_ARGUMENT),
        };
        Ok(TaskInfoReply { task_info_out })
    }

    fn thread_terminate(&mut self, _: &Request<'_>) -> Result<(), i32> {
        let thread = self.thread()?;
        let mine = thread == self.k.current;
        self.k.thread_terminate(thread);
        if mine && self.k.current.is_none() {
            self.stop = Some(crate::kernel::Stop::Switched);
        }
        Ok(())
    }

    fn thread_get_state(
        &mut self,
        _: &Request<'_>,
        flavor: i32,
        count: u32,
    ) -> Result<ThreadGetStateReply, i32> {
        let thread = self.thread()?;
        let mut words = [0u32; 64];
        let room = (count as usize).min(words.len());
        let used = self.k.thread_state(thread, flavor, &mut words[..room]);
        let used = self.end(used)?;
        Ok(ThreadGetStateReply { old_state: Bounded::from_slice(&words[..used]).ok_or(KERN_FAILURE)? })
    }

    fn thread_set_state(
        &mut self,
        _: &Request<'_>,
        flavor: i32,
        new_state: Array<'_, u32>,
    ) -> Result<(), i32> {
        let thread = self.thread()?;
        let mut words = [0u32; 64];
        let count = new_state.len();
        if count > words.len() {
            return Err(KERN_INVALID_ARGUMENT);
        }
        for (word, value) in words.iter_mut().zip(new_state.iter()) {
            *word = value;
        }
        let result = self.k.thread_set_state(thread, flavor, &words[..count]);
        self.end(result)
    }

    fn thread_info(&mut self, _: &Request<'_>, flavor: i32, count: u32) -> Result<ThreadInfoReply, i32> {
        let thread = self.thread()?;
        if flavor != 1 {
            return Err(KERN_INVALID_ARGUMENT);
        }
        let t = self.k.get(thread);
        let (user_time, user_time64) = time(t.cpu_ns);
        let run_state = match t.head.state {
            READY => RUNNING,
            BLOCKED => WAITING,
            _ => STOPPED,
        };
        let suspend_count = t.suspended as i32;
        let info =
            ThreadBasicInfo { user_time, user_time64, run_state, suspend_count, ..ThreadBasicInfo::ZERO };
        Ok(ThreadInfoReply { thread_info_out: words(info, 3 * TimeValue64::SIZE, count)? })
    }

    fn vm_allocate(
        &mut self,
        _: &Request<'_>,
        address: u64,
        size: u64,
        anywhere: bool,
    ) -> Result<VmAllocateReply, i32> {
        let task = self.task()?;
        let payer = self.k.payer_in(task);
        let address = self.k.vm_allocate(task, payer, address, size, anywhere);
        self.end(address).map(|address| VmAllocateReply { address })
    }

    fn vm_deallocate(&mut self, _: &Request<'_>, address: u64, size: u64) -> Result<(), i32> {
        let task = self.task()?;
        let result = self.k.vm_deallocate(task, address, size);
        self.end(result)
    }

    fn vm_protect(
        &mut self,
        _: &Request<'_>,
        address: u64,
        size: u64,
        set_maximum: bool,
        new_protection: i32,
    ) -> Result<(), i32> {
        let task = self.task()?;
        let result = self.k.vm_protect(task, address, size, set_maximum, new_protection);
        self.end(result)
    }

    fn vm_inherit(&mut self, _: &Request<'_>, address: u64, size: u64, inheritance: i32) -> Result<(), i32> {
        let task = self.task()?;
        let result = self.k.vm_inherit(task, address, size, inheritance);
        self.end(result)
    }

    fn vm_read(&mut self, _: &Request<'_>, address: u64, size: u64) -> Result<VmReadReply, i32> {
        let task = self.task()?;
        let count = u32::try_from(size).map_err(|_| KERN_INVALID_ARGUMENT)?;
        if count == 0 {
            return Ok(VmReadReply { data: Ool::EMPTY });
        }
        let data = self.memory(size)?;
        let copied = self.k.copy_user(task, address, self.caller, data, size);
        if let Err(stop) = copied {
            while self.k.vm_deallocate(self.caller, data, size) == Err(crate::kernel::Stop::Again) {}
            return self.end(Err(stop));
        }
        Ok(VmReadReply { data: Ool::moved(data, count) })
    }

    fn vm_write(&mut self, _: &Request<'_>, address: u64, data: Ool) -> Result<(), i32> {
        let task = self.task()?;
        let size = data.bytes();
        let result = self.k.copy_user(self.caller, data.address, task, address, size);
        self.end(result)?;
        if data.dealloc && size > 0 {
            while self.k.vm_deallocate(self.caller, data.address, size) == Err(crate::kernel::Stop::Again) {}
        }
        Ok(())
    }

    fn vm_copy(&mut self, _: &Request<'_>, source: u64, size: u64, dest: u64) -> Result<(), i32> {
        let task = self.task()?;
        let result = self.k.vm_copy(task, source, size, dest);
        self.end(result)
    }

    fn vm_region(&mut self, _: &Request<'_>, address: u64) -> Result<VmRegionReply, i32> {
        let task = self.task()?;
        let region = self.k.vm_region(task, address);
        let region = self.end(region)?;
        let object_name = self.name_for(region.port)?;
        Ok(VmRegionReply {
            address: region.address,
            size: region.size,
            protection: region.prot,
            max_protection: region.max_prot,
            inheritance: region.inheritance,
            is_shared: region.shared,
            object_name,
            offset: region.offset,
        })
    }

    fn vm_statistics(&mut self, _: &Request<'_>) -> Result<VmStatisticsReply, i32> {
        self.task()?;
        let mut vm_stats = [0; 13];
        vm_stats[0] = 4096;
        vm_stats[1] = self.k.free_frames as i32;
        vm_stats[2] = (self.k.total_frames - self.k.free_frames) as i32;
        Ok(VmStatisticsReply { vm_stats })
    }

    fn task_suspend(&mut self, _: &Request<'_>) -> Result<(), i32> {
        let task = self.task()?;
        let result = self.k.task_suspend(task);
        self.end(result)
    }

    fn task_resume(&mut self, _: &Request<'_>) -> Result<(), i32> {
        let task = self.task()?;
        let result = self.k.task_resume(task);
        self.end(result)
    }

    fn task_get_special_port(&mut self, _: &Request<'_>, which: i32) -> Result<TaskGetSpecialPortReply, i32> {
        let task = self.task()?;
        let port = match which {
            TASK_KERNEL_PORT => self.k.get(task).port,
            EXCEPTION_PORT => self.k.special_get(exception_slot(task)),
            TASK_BOOTSTRAP_PORT => self.k.special_get(bootstrap_slot(task)),
            _ => return Err(KERN_INVALID_ARGUMENT),
        };
        self.name_for(port).map(|special_port| TaskGetSpecialPortReply { special_port })
    }

    fn task_set_special_port(&mut self, _: &Request<'_>, which: i32, port: PortArg) -> Result<(), i32> {
        let task = self.task()?;
        let slot = match which {
            EXCEPTION_PORT => exception_slot(task),
            TASK_BOOTSTRAP_PORT => bootstrap_slot(task),
            _ => return Err(KERN_INVALID_ARGUMENT),
        };
        self.set_special(slot, task.raw(), port)
    }

    fn thread_create(&mut self, _: &Request<'_>) -> Result<ThreadCreateReply, i32> {
        let task = self.task()?;
        let payer = self.k.payer_for(self.k.get(task).account);
        let thread = self.k.thread_create(payer, task);
        let thread = self.end(thread)?;
        let port = self.k.get(thread).port;
        match self.name_for(port) {
            Ok(child_thread) => Ok(ThreadCreateReply { child_thread }),
            Err(code) => {
                self.k.thread_terminate(thread);
                Err(code)
            }
        }
    }

    fn thread_suspend(&mut self, _: &Request<'_>) -> Result<(), i32> {
        let thread = self.thread()?;
        let result = self.k.thread_suspend(thread);
        self.end(result)
    }

    fn thread_resume(&mut self, _: &Request<'_>) -> Result<(), i32> {
        let thread = self.thread()?;
        let result = self.k.thread_resume(thread);
        self.end(result)
    }

    fn thread_abort(&mut self, _: &Request<'_>) -> Result<(), i32> {
        let thread = self.thread()?;
        self.k.thread_abort(thread);
        Ok(())
    }

    fn thread_get_special_port(
        &mut self,
        _: &Request<'_>,
        which: i32,
    ) -> Result<ThreadGetSpecialPortReply, i32> {
        let thread = self.thread()?;
        let port = match which {
            TASK_KERNEL_PORT => self.k.get(thread).port,
            EXCEPTION_PORT => self.k.special_get(thread_exception_slot(thread)),
            _ => return Err(KERN_INVALID_ARGUMENT),
        };
        self.name_for(port).map(|special_port| ThreadGetSpecialPortReply { special_port })
    }

    fn thread_set_special_port(&mut self, _: &Request<'_>, which: i32, port: PortArg) -> Result<(), i32> {
        let thread = self.thread()?;
        if which != EXCEPTION_PORT {
            return Err(KERN_INVALID_ARGUMENT);
        }
        self.set_special(thread_exception_slot(thread), thread.raw(), port)
    }

    fn vm_map(
        &mut self,
        _: &Request<'_>,
        address: u64,
        size: u64,
        mask: u64,
        anywhere: bool,
        memory_object: PortArg,
        offset: u64,
        copy: bool,
        cur_protection: i32,
        max_protection: i32,
        inheritance: i32,
    ) -> Result<VmMapReply, i32> {
        let task = self.task()?;
        let object = if memory_object.name.is_valid() {
            self.object_of::<Memory>(memory_object, Kind::Memory)?
        } else {
            Ref::NONE
        };
        let payer = self.k.payer_in(task);
        let map = Map {
            address,
            size,
            mask,
            anywhere,
            object,
            offset,
            copy,
            prot: cur_protection,
            max_prot: max_protection,
            inheritance,
        };
        let address = self.k.vm_map(task, payer, &map);
        let address = self.end(address)?;
        self.done_with(memory_object);
        Ok(VmMapReply { address })
    }
}

/// The slot of a thread's exception port.
fn thread_exception_slot(thread: Ref<Thread>) -> SlotRef {
    SlotRef::in_object(thread, core::mem::offset_of!(Thread, exception))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_words_are_those_of_the_struct() {
        let (user_time, user_time64) = time(7_000_012_345);
        let info =
            TaskBasicInfo { suspend_count: 2, virtual_size: 1 << 32, user_time, user_time64, ..Value::ZERO };
        let all: Bounded<i32, 1024> = words(info, 48, 1024).unwrap();
        assert_eq!(all.as_slice().len(), 30);
        // virtual_size at byte 8, user_time at 24, user_time64 at 72: low word first.
        assert_eq!(&all.as_slice()[..10], &[2, 0, 0, 1, 0, 0, 7, 0, 12, 0]);
        assert_eq!(&all.as_slice()[18..22], &[7, 0, 12_345, 0]);
    }

    #[test]
    fn callers_older_than_the_last_fields_get_the_rest() {
        let of = |count| words::<_, 1024>(ThreadBasicInfo { run_state: WAITING, ..Value::ZERO }, 48, count);
        assert_eq!(of(32).unwrap().as_slice().len(), 32);
        assert_eq!(of(31).unwrap().as_slice().len(), 20);
        assert_eq!(of(20).unwrap().as_slice()[11], WAITING);
        assert_eq!(of(19).unwrap_err(), KERN_INVALID_ARGUMENT);
    }
}
