//! What a node gives back of a fleet, held against the books.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{self, BufRead as _},
    time::Duration,
};

use waymesh::{
    client::{Client, ExportFilter, PositionJson, TimeRange},
    types::{ids::VehicleId, time::UnixMillis},
};

use crate::books::Books;

/// Vehicles whose track is read as a whole, to see that it is in order of time.
const TRACKS_CHECKED: usize = 50;

/// How often an export is asked for that cannot be given just now, and the wait in between.
const N_TRIES: u32 = 5;
const BETWEEN_TRIES: Duration = Duration::from_millis(500);

/// What one node gave back.
#[derive(Debug)]
pub(super) struct Given {
    /// The books, with what was found.
    pub(super) books: Books,
    pub(super) tracks: Tracks,
    /// Of all lines of the export, in whatever order they came.
    pub(super) digest: u64,
}

/// What the tracks of some vehicles are like.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tracks {
    /// Vehicles whose track was read.
    pub(super) n_checked: u64,
    /// Vehicles that have one.
    pub(super) n_vehicles: u64,
    pub(super) n_out_of_order: u64,
    /// Tracks with another number of positions than the export has.
    pub(super) n_unlike_export: u64,
}

/// Enters all that each node has of vehicles whose name begins with `identity` since `from`; for each
/// node why it could not be read, or what it gave.
pub(super) async fn read_back(
    clients: Vec<Client>,
    (from, identity): (UnixMillis, String),
    books: &Books,
) -> Vec<io::Result<Given>> {
    let mut all = Vec::new();
    for client in clients {
        let mut tries = 1;
        let given = loop {
            let (client, identity, books) = (client.clone(), identity.clone(), books.clone());
            let reading =
                tokio::task::spawn_blocking(move || read_one(&client, from, &identity, books));
            let given = reading.await.map_err(io::Error::other).flatten();
            if given.is_ok() || tries == N_TRIES {
                break given;
            }
            tries += 1;
            tokio::time::sleep(BETWEEN_TRIES).await;
        };
        all.push(given);
    }
    all
}

fn read_one(
    client: &Client,
    from: UnixMillis,
    identity: &str,
    mut books: Books,
) -> io::Result<Given> {
    let range = TimeRange {
        from: Some(from),
        to: None,
    };
    let filter = ExportFilter {
        range,
        ..ExportFilter::default()
    };
    let reader = client.export(&filter).map_err(io::Error::other)?;
    let mut vehicles: BTreeMap<String, usize> = BTreeMap::new();
    let mut digest = 0_u64;
    for line in reader.lines() {
        let line = line?;
        let position: PositionJson = serde_json::from_str(&line)?;
        // A node that runs has other vehicles too.
        if position.vehicle.starts_with(identity) {
            digest = digest.wrapping_add(digest_of(&line));
            books.note_found(&position);
            *vehicles.entry(position.vehicle).or_default() += 1;
        }
    }
    let tracks = check_tracks(client, range, &vehicles)?;
    Ok(Given {
        books,
        tracks,
        digest,
    })
}

fn digest_of(line: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    line.hash(&mut hasher);
    hasher.finish()
}

fn check_tracks(
    client: &Client,
    range: TimeRange,
    vehicles: &BTreeMap<String, usize>,
) -> io::Result<Tracks> {
    let mut tracks = Tracks {
        n_vehicles: vehicles.len() as u64,
        ..Tracks::default()
    };
    for (vehicle, n_exported) in vehicles
        .iter()
        .step_by((vehicles.len() / TRACKS_CHECKED).max(1))
    {
        let id = VehicleId::parse(vehicle.as_bytes()).map_err(io::Error::other)?;
        let track = client.track(&id, range, 500);
        let times = track.map(|position| position.map(|position| position.time));
        let times = times
            .collect::<Result<Vec<_>, _>>()
            .map_err(io::Error::other)?;
        tracks.add(&times, *n_exported);
    }
    Ok(tracks)
}

impl Tracks {
    /// Takes in the times of a track, of a vehicle with so many positions in the export.
    fn add(&mut self, times: &[String], n_exported: usize) {
        self.n_checked += 1;
        self.n_out_of_order += u64::from(!times.is_sorted_by(|one, other| one < other));
        self.n_unlike_export += u64::from(times.len() != n_exported);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_track_is_in_order_and_as_long_as_the_export_says() {
        let check = |times: &[&str], n_exported| {
            let times: Vec<String> = times.iter().map(|time| (*time).to_owned()).collect();
            let mut tracks = Tracks::default();
            tracks.add(&times, n_exported);
            (tracks.n_out_of_order, tracks.n_unlike_export)
        };
        assert_eq!(check(&["1", "2"], 2), (0, 0));
        assert_eq!(check(&["2", "1"], 2), (1, 0));
        assert_eq!(check(&["1", "1"], 2), (1, 0));
        assert_eq!(check(&["1"], 2), (0, 1));
        assert_eq!(check(&[], 1), (0, 1));
    }
}
