//! One outbox: order, window, sessions.

use super::*;
use crate::delivery::forwarding::testing::{large_parcel, parcel};

fn acks(session: u64, below: u64, refused: &[u64]) -> Acks {
    Acks {
        session,
        below,
        refused: refused.to_vec(),
    }
}

fn tokens(parcels: impl IntoIterator<Item = Parcel<u64>>) -> Vec<u64> {
    parcels.into_iter().map(|parcel| parcel.token).collect()
}

#[test]
fn parcels_share_a_frame_up_to_its_limits() {
    let mut outbox = Outbox::new(1);
    (0..600).for_each(|number| outbox.push(parcel("a", number)));
    let frames: Vec<_> = std::iter::from_fn(|| outbox.next_frame()).collect();
    assert_eq!(frames.len(), 3, "256, 256 and the rest");
    let numbers = frames.iter().map(|frame| {
        let (frame, batch) = wire::read_records(frame).unwrap();
        (frame.session, frame.number, batch.n_records())
    });
    assert_eq!(
        numbers.collect::<Vec<_>>(),
        [(1, 0, 256), (1, 1, 256), (1, 2, 88)]
    );
    let returned = outbox.acknowledged(&acks(1, 2, &[1])).unwrap();
    assert_eq!(tokens(returned.delivered), (0..256).collect::<Vec<_>>());
    assert_eq!(tokens(returned.refused), (256..512).collect::<Vec<_>>());
    assert!(!outbox.is_empty());
    outbox.acknowledged(&acks(1, 3, &[])).unwrap();
    assert!(outbox.is_empty() && outbox.n_bytes() == 0);
}

#[test]
fn no_more_than_the_window_flies_but_one_parcel_always_may() {
    let mut outbox = Outbox::new(1);
    (0..40).for_each(|number| outbox.push(large_parcel(1_000, number)));
    let n_bytes = large_parcel(1_000, 0).n_bytes();
    let n_frames = std::iter::from_fn(|| outbox.next_frame()).count();
    assert_eq!(n_frames, WINDOW_BYTES / n_bytes);
    outbox.acknowledged(&acks(1, 1, &[])).unwrap();
    assert!(outbox.next_frame().is_some() && outbox.next_frame().is_none());
    let mut outbox = Outbox::new(1);
    outbox.push(large_parcel(2 * WINDOW_BYTES / 50, 0));
    outbox.push(parcel("a", 1));
    assert!(outbox.next_frame().is_some(), "alone it may");
    assert!(outbox.next_frame().is_none(), "and others wait for it");
}

#[test]
fn over_a_new_link_everything_goes_again_in_its_order() {
    let mut outbox = Outbox::new(1);
    (0..300).for_each(|number| outbox.push(parcel("a", number)));
    assert_eq!(std::iter::from_fn(|| outbox.next_frame()).count(), 2);
    outbox.acknowledged(&acks(1, 1, &[])).unwrap();
    outbox.push(parcel("a", 300));
    outbox.restart(2);
    // Late words of the session before.
    let late = outbox.acknowledged(&acks(1, 2, &[])).unwrap();
    assert!(late.delivered.is_empty() && late.refused.is_empty());
    let (frame, batch) = wire::read_records(&outbox.next_frame().unwrap()).unwrap();
    assert_eq!((frame.session, frame.number, batch.n_records()), (2, 0, 45));
    assert_eq!(
        tokens(outbox.into_parcels()),
        (256..=300).collect::<Vec<_>>()
    );
}

#[test]
fn what_was_not_sent_cannot_be_acknowledged() {
    let mut outbox = Outbox::new(1);
    outbox.push(parcel("a", 0));
    outbox.next_frame().unwrap();
    for wrong in [acks(1, 2, &[]), acks(1, 1, &[1]), acks(1, 0, &[0])] {
        assert!(outbox.acknowledged(&wrong).is_err(), "{wrong:?}");
    }
    assert!(outbox.acknowledged(&acks(1, 0, &[])).is_ok());
    assert_eq!(
        outbox
            .acknowledged(&acks(1, 1, &[]))
            .unwrap()
            .delivered
            .len(),
        1
    );
    assert!(
        outbox.acknowledged(&acks(1, 1, &[0])).is_err(),
        "a second time"
    );
}
