//! Destroying accounts: in bounded steps, whatever what they pay for does meanwhile.

use crate::account::{Account, Limits, Payer};
use crate::kernel::Stop;
use crate::object::Ref;
use crate::sched::QUANTUM_NS;
use crate::sim::Sim;
use crate::thread::Thread;
use crate::trap::Event;

/// Destroys an account on behalf of `destroyer` while all others compute; how many times somebody else ran.
fn destroy(s: &mut Sim, destroyer: Ref<Thread>, account: Ref<Account>) -> u32 {
    let mut others = 0;
    for _ in 0..10_000 {
        if s.run() != destroyer {
            others += 1;
            s.k.machine.time += QUANTUM_NS;
            s.k.event(Event::Interrupt);
            continue;
        }
        match s.k.account_destroy(account) {
            Ok(()) => return others,
            Err(Stop::Again) => {
                s.k.machine.time += QUANTUM_NS / 4;
                s.k.event(Event::Interrupt);
            }
            Err(Stop::Blocked) => s.k.regs.rip += 2,
            Err(stop) => panic!("{stop:?}"),
        }
    }
    panic!("not destroyed");
}

#[test]
fn what_computes_in_a_session_does_not_hold_up_the_end_of_its_client() {
    let mut s = Sim::new(3000);
    let own = s.account(300, 1000);
    let task = s.task(own);
    let destroyer = s.thread(task);
    let client = s.account(600, 1000);
    // The destroyer comes to the last account first.
    let session = s.k.account_create(client, &limits(200)).expect("a session");
    s.k.make_session(session);
    let home = s.k.task_create(Payer::account(session), Ref::NONE, false).expect("a task");
    let runner = s.k.thread_create(Payer::account(session), home).expect("a thread");
    s.k.thread_resume(runner).expect("it was suspended");
    let later = s.k.account_create(client, &limits(100)).expect("an account");
    for _ in 0..20 {
        let _ = s.k.task_create(Payer::account(later), Ref::NONE, false).expect("a task");
    }
    let free = s.k.get(s.k.root).resources[0].given;
    s.run_thread(destroyer);
    let others = destroy(&mut s, destroyer, client);
    assert!(others < 5, "{others}");
    assert_eq!(s.k.get(s.k.root).resources[0].given, free - 600);
}

fn limits(frames: u64) -> Limits {
    Limits { resources: [frames, 500, 5, u64::MAX, u64::MAX], share: 0 }
}
