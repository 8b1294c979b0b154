//! The second stage: what keys say about each other, and the settings that follow.
//!
//! Single values have been checked when they were read; here are the rules that need two of them.

use std::collections::BTreeMap;

use crate::{
    ingest::{BindAddress, ListenerConfig},
    vehicles::KnownVehicle,
};

use super::{
    fault::{Fault, Place},
    nearest::nearest,
    own_check::check_protocols,
    raw::{Item, RawConfig},
    schema::{ListenerDraft, never_if_zero},
    settings::AppConfig,
    value::quoted,
};

/// Segments that must fit into the log's budget: one is written, one waits for the index, two are
/// being trimmed.
const LOG_SEGMENTS_MIN: u64 = 4;

/// What [`checked`] gives: the settings and where they were set, or nothing but faults.
pub(super) type Checked = Result<(AppConfig, BTreeMap<&'static str, Place>), Vec<Fault>>;

/// The settings, if nothing is wrong; `protocols` are the names that a listener may be pinned to.
pub(super) fn checked(mut raw: RawConfig, protocols: &[&str]) -> Checked {
    let mut faults = std::mem::take(&mut raw.faults);
    check_vehicles(&mut raw, &mut faults);
    let own_names = check_protocols(&mut raw, protocols, &mut faults);
    let names: Vec<&str> = protocols
        .iter()
        .copied()
        .chain(own_names.iter().map(String::as_str))
        .collect();
    check_listeners(&mut raw, &names, &mut faults);
    check_addresses(&raw, &mut faults);
    check_sizes(&raw, &mut faults);
    if faults.is_empty() {
        Ok((raw.config, raw.places))
    } else {
        Err(faults)
    }
}

fn check_vehicles(raw: &mut RawConfig, faults: &mut Vec<Fault>) {
    for item in std::mem::take(&mut raw.vehicles) {
        let place = place_in(&item, "id");
        let Some(id) = item.values.id else {
            // An id that was given and refused has its fault already.
            if !item.places.contains_key("id") {
                faults.push(fault(
                    "vehicle.id",
                    "is missing",
                    "give the device's id",
                    Some(place),
                ));
            }
            continue;
        };
        let known = KnownVehicle {
            name: item.values.name,
            password: item.values.password,
        };
        let problem = format!("{} is there twice", quoted(&id));
        if raw.config.vehicles.by_id.insert(id, known).is_some() {
            let remedy = "take one of the [[vehicle]] tables out";
            faults.push(fault("vehicle.id", problem, remedy, Some(place)));
        }
    }
}

fn check_listeners(raw: &mut RawConfig, protocols: &[&str], faults: &mut Vec<Fault>) {
    for item in &raw.listeners {
        if let Some(name) = &item.values.protocol
            && !protocols.contains(&name.as_str())
        {
            let remedy = match nearest(name, protocols.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("known: {}", protocols.join(", ")),
            };
            let problem = format!("{} is no protocol", quoted(name));
            let place = place_in(item, "protocol");
            faults.push(fault("listener.protocol", problem, remedy, Some(place)));
        }
        let Some(address) = item.values.address else {
            if !item.places.contains_key("address") {
                let remedy = "give \"IP:PORT\", or \":PORT\" for both families";
                let place = Some(item.place.clone());
                faults.push(fault("listener.address", "is missing", remedy, place));
            }
            continue;
        };
        let ingest = &mut raw.config.ingest;
        let idle_timeout = item.values.idle_timeout.map(never_if_zero);
        ingest.listeners.push(ListenerConfig {
            address,
            protocol: item.values.protocol.clone(),
            reply: item.values.reply.unwrap_or(ingest.reply),
            idle_timeout: idle_timeout.unwrap_or(ingest.idle_timeout),
        });
    }
}

/// No two sockets on one port.
fn check_addresses(raw: &RawConfig, faults: &mut Vec<Fault>) {
    let place_of = |key| raw.places.get(key).cloned();
    let config = &raw.config;
    let fixed = [
        ("vehicles", config.ingest.vehicles, place_of("vehicles")),
        ("link", config.node.link, place_of("link")),
        (
            "http",
            BindAddress::One(config.http.address),
            place_of("http"),
        ),
    ];
    let further = raw
        .listeners
        .iter()
        .filter_map(|item: &Item<ListenerDraft>| {
            let place = place_in(item, "address");
            Some(("listener.address", item.values.address?, Some(place)))
        });
    // A value that was refused left the default behind, which nobody asked for.
    let refused: Vec<String> = faults.iter().map(|fault| fault.key.clone()).collect();
    let fixed = fixed.into_iter();
    let fixed = fixed.filter(|(key, ..)| !refused.iter().any(|refused| refused == key));
    let mut before: Vec<(&str, BindAddress, Option<Place>)> = Vec::new();
    for (key, address, place) in fixed.chain(further) {
        let other = before
            .iter()
            .find(|(_, other, _)| other.collides_with(address));
        if let Some((other_key, other_address, other_place)) = other {
            let problem = format!("{address} is taken by `{other_key}` ({other_address})");
            let place = place.clone().or_else(|| other_place.clone());
            faults.push(fault(key, problem, "give each its own port", place));
        }
        before.push((key, address, place));
    }
}

fn check_sizes(raw: &RawConfig, faults: &mut Vec<Fault>) {
    let place_of = |one, other| {
        raw.places
            .get(one)
            .or_else(|| raw.places.get(other))
            .cloned()
    };
    let store = &raw.config.store;
    let ingest = &raw.config.ingest;
    let log_bytes_min = store.segment_bytes_max.saturating_mul(LOG_SEGMENTS_MIN);
    if store.log_bytes_max < log_bytes_min {
        let problem = format!("less than {LOG_SEGMENTS_MIN} segments");
        let remedy = format!("give at least {log_bytes_min}, or a smaller store.segment_bytes_max");
        let place = place_of("store.log_bytes_max", "store.segment_bytes_max");
        faults.push(fault("store.log_bytes_max", problem, remedy, place));
    }
    if ingest.room_bytes < ingest.line_bytes_max.saturating_mul(2) {
        let remedy = "give at least twice line_bytes_max, or a smaller line_bytes_max";
        let place = place_of("store.room_bytes", "line_bytes_max");
        faults.push(fault(
            "store.room_bytes",
            "holds less than two lines",
            remedy,
            place,
        ));
    }
}

/// Where a key of a table was set, or where the table begins.
pub(super) fn place_in<T>(item: &Item<T>, key: &str) -> Place {
    item.places.get(key).unwrap_or(&item.place).clone()
}

/// A fault of a key.
pub(super) fn fault(
    key: &str,
    problem: impl Into<String>,
    remedy: impl Into<String>,
    place: Option<Place>,
) -> Fault {
    Fault {
        key: key.to_owned(),
        problem: problem.into(),
        remedy: remedy.into(),
        place,
    }
}
