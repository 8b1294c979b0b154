//! Whatever lies on whichever node: the merged answer is that of one node that has it all.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;

use super::{
    answering::reading_of,
    wire::{Part, Question},
};
use crate::{
    delivery::{
        forwarding::testing::record as position,
        merge::{Disorder, Merge, Newest, Next, Order, Sourced, first_copy, last_of, newest},
    },
    node::reading::Reading,
    store::{
        index::{Index as _, MapIndex},
        retention::ShownIndex,
    },
    types::{
        ids::VehicleId,
        record::{Body, Flags, Kind, Record, RecordKey},
        time::UnixMillis,
    },
};

type Key = (Kind, RecordKey);

/// A record of few vehicles, times and hashes, so that many meet.
fn any_record() -> impl Strategy<Value = Record> {
    let flags =
        prop_oneof![4 => Just(Flags::default()), 1 => Just(Flags::FUTURE), 1 => Just(Flags::LATE)];
    let event = prop::bool::weighted(0.2);
    ("[ab]{1,2}", 0..6_i64, 0..3_u64, 0..4_i64, flags, event).prop_map(
        |(vehicle, time, hash, received, flags, is_event)| {
            let mut record = position(&vehicle, time);
            record.key.hash = hash;
            record.received = UnixMillis(received);
            record.flags = flags;
            if is_event {
                record.body = Body::Event;
            }
            record
        },
    )
}

/// What each of up to five nodes has; a store has one copy of a record, the one that came first.
fn any_stores() -> impl Strategy<Value = Vec<BTreeMap<Key, Record>>> {
    let store = prop::collection::vec(any_record(), 0..25).prop_map(|records| {
        let mut store = BTreeMap::new();
        for record in records {
            let key = (record.kind(), record.key.clone());
            store.entry(key).or_insert(record);
        }
        store
    });
    prop::collection::vec(store, 1..6)
}

fn shown<'a>(records: impl IntoIterator<Item = &'a Record>) -> ShownIndex {
    let index = MapIndex::new();
    let records: Vec<Record> = records.into_iter().cloned().collect();
    index.apply(&records).unwrap();
    ShownIndex::new(Arc::new(index), Arc::default())
}

/// One node that has all that the others have, of each record the copy that counts.
fn union(stores: &[BTreeMap<Key, Record>]) -> ShownIndex {
    let mut all: BTreeMap<Key, Vec<Sourced>> = BTreeMap::new();
    for (number, store) in stores.iter().enumerate() {
        for (key, record) in store {
            let copies = all.entry(key.clone()).or_default();
            copies.push((number, record.clone()));
        }
    }
    let counting: Vec<Record> = all
        .into_values()
        .filter_map(|mut copies| first_copy(&mut copies))
        .collect();
    shown(&counting)
}

/// What one node answers, page by page.
fn alone(index: &ShownIndex, question: &Question) -> Vec<Record> {
    let mut reading = reading_of(question.clone()).unwrap();
    let mut records = Vec::new();
    while let Some(page) = reading.next_page(index).unwrap() {
        records.extend(page);
    }
    records
}

/// What several nodes answer together: as `Stream` does it, without tasks and links.
fn together(indexes: &[ShownIndex], question: &Question, order: Order, step: usize) -> Vec<Record> {
    let mut readings: Vec<Reading> = indexes
        .iter()
        .map(|_| reading_of(question.clone()).unwrap())
        .collect();
    let mut merge = Merge::new(order, indexes.len());
    let (mut group, mut answer) = (Vec::new(), Vec::new());
    loop {
        match merge.next(&mut group) {
            Next::Over => return answer,
            Next::Wants(source) => match readings[source].next_page(&indexes[source]).unwrap() {
                Some(page) => {
                    for part in page.chunks(step) {
                        merge.push(source, part.to_vec()).unwrap();
                    }
                }
                None => merge.end(source),
            },
            Next::Group if order == Order::Key => answer.extend(first_copy(&mut group)),
            Next::Group => match newest(&mut group).unwrap() {
                Newest::Sure(record) => answer.push(record),
                Newest::Tied {
                    vehicle,
                    time,
                    sources,
                } => {
                    let tied: Vec<_> = sources.iter().map(|one| indexes[*one].clone()).collect();
                    let at = track(&vehicle, Some(time), Some(UnixMillis(time.0 + 1)));
                    answer.extend(last_of(together(&tied, &at, Order::Key, step)));
                }
            },
        }
    }
}

fn track(vehicle: &VehicleId, from: Option<UnixMillis>, to: Option<UnixMillis>) -> Question {
    Question::Track {
        vehicle: vehicle.clone(),
        part: Part {
            kind: Kind::Position,
            from,
            to,
        },
        after: None,
        limit: None,
    }
}

/// All pages of `n_page` items, each asked for behind the last item of the one before.
fn paged(n_page: usize, mut ask: impl FnMut(Option<&Record>) -> Vec<Record>) -> Vec<Record> {
    let mut all: Vec<Record> = Vec::new();
    loop {
        let page = ask(all.last());
        let is_last = page.len() < n_page;
        all.extend(page.into_iter().take(n_page));
        if is_last {
            return all;
        }
    }
}

fn vehicles() -> impl Iterator<Item = VehicleId> {
    let ids = ["a", "aa", "ab", "b", "ba", "bb"];
    ids.into_iter()
        .map(|id| VehicleId::parse(id.as_bytes()).unwrap())
}

proptest! {
    #[test]
    fn last_positions_of_many_nodes_are_those_of_one(
        stores in any_stores(),
        n_page in 1..5_usize,
        step in 1..4_usize,
    ) {
        let one = union(&stores);
        let many: Vec<_> = stores.iter().map(|store| shown(store.values())).collect();
        for vehicle in vehicles() {
            let question = Question::Last(vehicle);
            prop_assert_eq!(
                together(&many, &question, Order::Vehicle, step),
                alone(&one, &question)
            );
        }
        let all = Question::Vehicles { after: None, limit: None };
        let merged = paged(n_page, |last| {
            let after = last.map(|record| record.key.vehicle.clone());
            let limit = Some(n_page as u32);
            together(&many, &Question::Vehicles { after, limit }, Order::Vehicle, step)
        });
        prop_assert_eq!(merged, alone(&one, &all));
    }

    #[test]
    fn tracks_of_many_nodes_are_those_of_one(
        stores in any_stores(),
        (from, to) in (prop::option::of(0..6_i64), prop::option::of(0..8_i64)),
        n_page in 1..5_usize,
        step in 1..4_usize,
    ) {
        let one = union(&stores);
        let many: Vec<_> = stores.iter().map(|store| shown(store.values())).collect();
        for vehicle in vehicles() {
            let question = track(&vehicle, from.map(UnixMillis), to.map(UnixMillis));
            let merged = paged(n_page, |last| {
                let mut question = question.clone();
                if let Question::Track { after, limit, .. } = &mut question {
                    *after = last.map(|record| (record.key.time, record.key.hash));
                    *limit = Some(n_page as u32);
                }
                together(&many, &question, Order::Key, step)
            });
            prop_assert_eq!(merged, alone(&one, &question));
        }
    }

    #[test]
    fn an_export_of_many_nodes_has_each_record_once_as_that_of_one(
        stores in any_stores(),
        (from, to) in (prop::option::of(0..6_i64), prop::option::of(0..8_i64)),
        is_event in any::<bool>(),
        step in 1..4_usize,
    ) {
        let one = union(&stores);
        let many: Vec<_> = stores.iter().map(|store| shown(store.values())).collect();
        let kind = if is_event { Kind::Event } else { Kind::Position };
        let (from, to) = (from.map(UnixMillis), to.map(UnixMillis));
        let question = Question::Export(Part { kind, from, to });
        let merged = together(&many, &question, Order::Key, step);
        prop_assert!(merged.is_sorted_by(|one, other| one.key < other.key));
        prop_assert_eq!(merged, alone(&one, &question));
    }

    #[test]
    fn the_answer_does_not_depend_on_who_is_asked(stores in any_stores(), turn in 0..5_usize) {
        let many: Vec<_> = stores.iter().map(|store| shown(store.values())).collect();
        let mut turned = many.clone();
        turned.rotate_left(turn % many.len());
        let all = Question::Vehicles { after: None, limit: None };
        prop_assert_eq!(
            together(&many, &all, Order::Vehicle, 1),
            together(&turned, &all, Order::Vehicle, 1)
        );
    }
}

#[test]
fn two_that_disagree_about_the_last_of_one_time_are_asked_for_all_of_it() {
    let at = |received: i64, hash: u64| {
        let mut record = position("a", 5);
        record.key.hash = hash;
        record.received = UnixMillis(received);
        record
    };
    // The first node has both, and takes the first for the last; the second has an older copy of it.
    let stores = [vec![at(9, 1), at(8, 2)], vec![at(7, 1)]];
    let many: Vec<_> = stores.iter().map(shown).collect();
    let question = Question::Last(VehicleId::parse(b"a").unwrap());
    assert_eq!(together(&many, &question, Order::Vehicle, 1), [at(8, 2)]);
}

#[test]
fn a_source_that_breaks_its_order_is_found_out() {
    let mut merge = Merge::new(Order::Key, 1);
    let mut group = Vec::new();
    assert_eq!(merge.next(&mut group), Next::Wants(0));
    assert_eq!(merge.push(0, vec![position("a", 2)]), Ok(()));
    assert_eq!(merge.next(&mut group), Next::Group);
    let late = vec![position("a", 2)];
    assert_eq!(merge.push(0, late), Err(Disorder), "it was given before");
    let turned = vec![position("b", 2), position("b", 1)];
    assert_eq!(merge.push(0, turned), Err(Disorder));
    merge.end(0);
    assert_eq!(merge.next(&mut group), Next::Over);
}
