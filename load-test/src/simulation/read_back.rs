//! What a node has stored of a fleet, held against the books.

use std::{
    collections::BTreeSet,
    io::{self, BufRead as _},
};

use waymesh::{
    client::{Client, ExportFilter, PositionJson, TimeRange},
    types::{ids::VehicleId, time::UnixMillis},
};

use crate::books::Books;

/// Vehicles whose track is read as a whole, to see that it is in order of time.
const TRACKS_CHECKED: usize = 50;

/// What the tracks of some vehicles are like.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tracks {
    /// Vehicles whose track was read.
    pub(super) n_checked: u64,
    /// Vehicles that have one.
    pub(super) n_vehicles: u64,
    pub(super) n_out_of_order: u64,
}

/// Enters all that the node has of vehicles whose name begins with `identity` since `from`. Blocking.
pub(super) fn read_back(
    client: &Client,
    from: UnixMillis,
    identity: &str,
    mut books: Books,
) -> io::Result<(Books, Tracks)> {
    let range = TimeRange {
        from: Some(from),
        to: None,
    };
    let filter = ExportFilter {
        range,
        ..ExportFilter::default()
    };
    let reader = client.export(&filter).map_err(io::Error::other)?;
    let mut vehicles = BTreeSet::new();
    for line in reader.lines() {
        let position: PositionJson = serde_json::from_str(&line?)?;
        // A node that runs has other vehicles too.
        if position.vehicle.starts_with(identity) {
            books.note_found(&position);
            vehicles.insert(position.vehicle);
        }
    }
    let mut tracks = Tracks {
        n_vehicles: vehicles.len() as u64,
        ..Tracks::default()
    };
    for vehicle in vehicles
        .iter()
        .step_by((vehicles.len() / TRACKS_CHECKED).max(1))
    {
        let id = VehicleId::parse(vehicle.as_bytes()).map_err(io::Error::other)?;
        let track = client.track(&id, range, 500);
        let times = track.map(|position| position.map(|position| position.time));
        let times = times
            .collect::<Result<Vec<_>, _>>()
            .map_err(io::Error::other)?;
        tracks.n_checked += 1;
        tracks.n_out_of_order += u64::from(!times.is_sorted_by(|one, other| one < other));
    }
    Ok((books, tracks))
}
