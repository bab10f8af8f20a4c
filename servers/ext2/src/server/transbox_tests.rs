//! Tests of the transbox.

use std::collections::HashMap;
use std::vec::Vec;

use super::*;
use libhurd::errno::EDIED;
use proptest::prelude::*;

const OWNER: u32 = 1001;

fn start(boxes: &mut Boxes<u32>, node: u32) -> Ticket {
    match boxes.visit(node, OWNER, true) {
        Ok(Visit::Start(ticket)) => ticket,
        other => panic!("expected a start, got {other:?}"),
    }
}

#[test]
fn one_starts_and_the_others_wait() {
    let mut boxes = Boxes::new(4);
    assert_eq!(boxes.visit(7, OWNER, false), Ok(Visit::Plain));
    let ticket = start(&mut boxes, 7);
    assert_eq!(boxes.visit(7, OWNER, true), Ok(Visit::Wait(ticket)));
    assert!(boxes.is_busy(7) && !boxes.is_busy(8));
    assert_eq!(boxes.outcome(ticket), Outcome::Pending);
    assert_eq!(boxes.started(ticket, 55), None);
    assert_eq!(boxes.outcome(ticket), Outcome::Ready(55));
    assert_eq!(boxes.visit(7, OWNER, true), Ok(Visit::Active(55)));
    assert_eq!(boxes.visit(7, OWNER, false), Ok(Visit::Active(55)), "active without a record");
}

#[test]
fn a_failure_reaches_the_waiters_and_the_next_visitor_tries_anew() {
    let mut boxes = Boxes::new(4);
    let ticket = start(&mut boxes, 7);
    assert!(boxes.failed(ticket, EDIED));
    assert!(!boxes.failed(ticket, 5), "the first report counts");
    assert_eq!(boxes.outcome(ticket), Outcome::Failed(EDIED));
    let second = start(&mut boxes, 7);
    assert_ne!(ticket, second);
    assert_eq!(boxes.outcome(ticket), Outcome::Forgotten);
    assert_eq!(boxes.started(ticket, 1), Some(1), "a late success is handed back");
    assert_eq!(boxes.outcome(second), Outcome::Pending);
}

#[test]
fn a_dead_translator_is_forgotten_once() {
    let mut boxes = Boxes::new(4);
    let ticket = start(&mut boxes, 7);
    boxes.started(ticket, 55);
    assert_eq!(boxes.died(7, &54), None, "another one");
    assert_eq!(boxes.died(7, &55), Some(55));
    assert_eq!(boxes.died(7, &55), None);
    assert_eq!(boxes.outcome(ticket), Outcome::Forgotten);
    let again = start(&mut boxes, 7);
    boxes.started(again, 56);
    assert_eq!(boxes.forget(|control| *control == 56), Some(56));
    assert_eq!(boxes.forget(|control| *control == 56), None);
}

#[test]
fn setting_waits_for_a_start_or_says_busy() {
    let mut boxes = Boxes::new(4);
    let ticket = start(&mut boxes, 7);
    assert_eq!(boxes.set(7, OWNER, Some(9), false), Err(Refused::Starting(ticket)));
    assert_eq!(boxes.set(7, OWNER, Some(9), true), Err(Refused::Code(EBUSY)));
    assert_eq!(boxes.outcome(ticket), Outcome::Pending, "nothing changed");
    boxes.started(ticket, 8);
    assert_eq!(boxes.set(7, OWNER, Some(9), true), Err(Refused::Code(EBUSY)));
    assert_eq!(boxes.set(7, OWNER, Some(9), false), Ok(Some(8)));
    assert_eq!(boxes.active(7), Some(9));
    assert_eq!(boxes.set(7, OWNER, None, false), Ok(Some(9)));
    assert_eq!(boxes.active(7), None);
    assert_eq!(boxes.set(6, OWNER, None, true), Ok(None), "nothing to remove");
}

#[test]
fn a_full_table_and_a_greedy_owner() {
    let mut boxes = Boxes::<u32>::new(MAX_PER_OWNER + 2);
    for node in 1..=MAX_PER_OWNER as u32 {
        start(&mut boxes, node);
    }
    assert_eq!(boxes.visit(1000, OWNER, true), Err(KERN_RESOURCE_SHORTAGE));
    assert!(matches!(boxes.visit(1000, OWNER + 1, true), Ok(Visit::Start(_))), "others still find room");
    assert!(matches!(boxes.visit(1001, 0, true), Ok(Visit::Start(_))));
    assert_eq!(boxes.visit(1002, 0, true), Err(KERN_RESOURCE_SHORTAGE), "full for everybody");
    assert_eq!(boxes.set(1002, 0, Some(1), false), Err(Refused::Code(KERN_RESOURCE_SHORTAGE)));
}

#[test]
fn boxes_are_used_again() {
    let mut boxes = Boxes::<u32>::new(2);
    let first = start(&mut boxes, 1);
    boxes.failed(first, 5);
    let second = start(&mut boxes, 2);
    boxes.failed(second, 6);
    let third = start(&mut boxes, 3);
    assert_eq!(third.place, first.place, "the one that has been free for longest");
    assert_eq!(boxes.outcome(first), Outcome::Forgotten);
    assert_eq!(boxes.outcome(second), Outcome::Failed(6));
}

/// What the model knows of a node.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Model {
    Starting(Ticket),
    Active(u32),
}

proptest! {
    /// Any order of visits and reports, late and repeated ones included: at most one start per node at a time, nothing is lost, every control port
    /// that goes in is in a box or comes out exactly once.
    #[test]
    fn like_the_model(steps in prop::collection::vec((0u8..6, 1u32..6, any::<prop::sample::Index>()), 1..200)) {
        let mut boxes = Boxes::<u32>::new(3);
        let mut model: HashMap<u32, Model> = HashMap::new();
        let mut tickets: Vec<(u32, Ticket)> = Vec::new();
        let (mut next, mut inside, mut out) = (100, 0u32, 0u32);
        for (what, node, pick) in steps {
            let ticket = (!tickets.is_empty()).then(|| tickets[pick.index(tickets.len())]);
            match (what, ticket) {
                (0 | 1, _) => {
                    let busy = model.len();
                    match (boxes.visit(node, OWNER, true), model.get(&node)) {
                        (Ok(Visit::Start(ticket)), None) => {
                            prop_assert!(tickets.iter().all(|(_, old)| *old != ticket), "a ticket twice");
                            model.insert(node, Model::Starting(ticket));
                            tickets.push((node, ticket));
                        }
                        (Ok(Visit::Wait(ticket)), Some(Model::Starting(known))) => prop_assert_eq!(ticket, *known),
                        (Ok(Visit::Active(control)), Some(Model::Active(known))) => prop_assert_eq!(control, *known),
                        (Err(KERN_RESOURCE_SHORTAGE), None) => prop_assert_eq!(busy, 3),
                        other => prop_assert!(false, "{:?}", other),
                    }
                }
                (2, Some((node, ticket))) => {
                    next += 1;
                    let back = boxes.started(ticket, next);
                    if model.get(&node) == Some(&Model::Starting(ticket)) {
                        prop_assert_eq!(back, None);
                        model.insert(node, Model::Active(next));
                        inside += 1;
                    } else {
                        prop_assert_eq!(back, Some(next));
                    }
                }
                (3, Some((node, ticket))) => {
                    let news = boxes.failed(ticket, 5);
                    prop_assert_eq!(news, model.get(&node) == Some(&Model::Starting(ticket)));
                    if news {
                        model.remove(&node);
                        prop_assert_eq!(boxes.outcome(ticket), Outcome::Failed(5));
                    }
                }
                (4, _) => if let Some(&Model::Active(control)) = model.get(&node) {
                    prop_assert_eq!(boxes.died(node, &control), Some(control));
                    model.remove(&node);
                    out += 1;
                } else {
                    prop_assert_eq!(boxes.died(node, &1), None);
                },
                (5, _) => {
                    next += 1;
                    let result = boxes.set(node, OWNER, Some(next), false);
                    match (model.get(&node).copied(), result) {
                        (Some(Model::Starting(ticket)), Err(Refused::Starting(same))) => prop_assert_eq!(ticket, same),
                        (Some(Model::Active(old)), Ok(Some(back))) => {
                            prop_assert_eq!(old, back);
                            model.insert(node, Model::Active(next));
                            (inside, out) = (inside + 1, out + 1);
                        }
                        (None, Ok(None)) => {
                            model.insert(node, Model::Active(next));
                            inside += 1;
                        }
                        (None, Err(Refused::Code(KERN_RESOURCE_SHORTAGE))) => prop_assert_eq!(model.len(), 3),
                        other => prop_assert!(false, "{:?}", other),
                    }
                }
                _ => {}
            }
            for (&node, state) in &model {
                prop_assert!(boxes.is_busy(node));
                prop_assert_eq!(boxes.active(node), match state { Model::Active(c) => Some(*c), Model::Starting(_) => None });
            }
        }
        let active = model.values().filter(|state| matches!(state, Model::Active(_))).count() as u32;
        prop_assert_eq!(inside - out, active);
    }
}
