//! The keys: one entry each, with how it is read, how it is shown and what it takes.
//!
//! From these tables follow the keys of the file, the variables of the environment, the proposals
//! for unknown keys and the effective values that `check-config` prints. A new key is one entry
//! here, one field in [`super::settings`], its default in [`super::defaults`] and its comment in
//! `config/waymesh.toml`.

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use tracing_subscriber::EnvFilter;

use crate::ingest::{BindAddress, ReplyPolicy};

use super::{
    address::{bind, bind_local, broadcast, group, group6, host_port, interface, interface_text},
    defaults::LINK_PORT,
    own_protocol::{
        ProtocolDraft, attributes, lines, protocol_name, show_attributes, show_lines,
        show_terminator, terminator, words,
    },
    settings::{AppConfig, ConnectMode, LogFormat, MinConnections, Transport},
    value::{
        Complaint, Found, choice, duration, list, name, number, quoted, show, show_duration,
        show_list, show_number, show_size, show_switch, size, some_text, switch, text, word_of,
    },
};

/// A key that sets something in a `T`.
pub(super) struct Key<T: 'static> {
    /// Its name, with its section before a dot.
    pub(super) name: &'static str,
    /// How a plain text is meant where it does not come from a file.
    pub(super) form: Form,
    /// What it takes: type, unit and range, as the end of a sentence that begins with "give".
    pub(super) takes: &'static str,
    /// Reads a value into its field; the field is as before if there is a complaint.
    pub(super) set: fn(&mut T, &Found<'_>) -> Result<(), Complaint>,
    /// The field as it would be written; `None` where nothing is set.
    pub(super) show: fn(&T) -> Option<toml::Value>,
}

/// How a plain text of the environment or the command line is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As it is.
    Text,
    /// As a TOML value if it is one, else as it is.
    Value,
    /// As a TOML list, or as items with commas between them.
    List,
}

/// The items of a `[[listener]]`, as far as they are given.
#[derive(Debug, Clone, Default)]
pub(super) struct ListenerDraft {
    pub(super) address: Option<BindAddress>,
    pub(super) protocol: Option<String>,
    pub(super) reply: Option<ReplyPolicy>,
    /// Zero is never.
    pub(super) idle_timeout: Option<Duration>,
}

/// The items of a `[[vehicle]]`, as far as they are given.
#[derive(Debug, Clone, Default)]
pub(super) struct VehicleDraft {
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) password: Option<String>,
}

const REPLIES: &[(&str, ReplyPolicy)] = &[
    ("stored", ReplyPolicy::Stored),
    ("received", ReplyPolicy::Received),
];
const LOG_FORMATS: &[(&str, LogFormat)] = &[
    ("auto", LogFormat::Auto),
    ("human", LogFormat::Human),
    ("json", LogFormat::Json),
];
const TRANSPORTS: &[(&str, Transport)] = &[
    ("multicast", Transport::Multicast),
    ("multicast6", Transport::Multicast6),
    ("broadcast", Transport::Broadcast),
    ("static", Transport::Static),
];
const CONNECT_MODES: &[(&str, ConnectMode)] = &[
    ("visible", ConnectMode::Visible),
    ("hidden", ConnectMode::Hidden),
];

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Longer than any device has been sending.
const RETENTION_MAX: Duration = Duration::from_secs(36_500 * 24 * 3600);
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// Writes a table of keys: name, form and what it takes; how it is set; how it is shown.
macro_rules! keys {
    ($($name:literal $form:ident $takes:literal,
       |$target:ident, $found:ident| $set:expr,
       |$shown:ident| $show:expr;)*) => {
        &[$(Key {
            name: $name,
            form: Form::$form,
            takes: $takes,
            set: |$target, $found| {
                $set;
                Ok(())
            },
            show: |$shown| $show,
        }),*]
    };
}

/// The keys of the file's top level and of its sections, in the order in which they are shown.
pub(super) const KEYS: &[Key<AppConfig>] = keys![
    "name" Text "1 to 64 bytes without spaces, `/`, `@` and quotes",
        |c, v| c.node.name = name(v)?, |c| show(&c.node.name);
    "cluster" Text "1 to 64 bytes without spaces, `/`, `@` and quotes",
        |c, v| c.node.cluster = name(v)?, |c| show(&c.node.cluster);
    "secret_file" Text "the path of a file, or leave the key out for the user's own secret",
        |c, v| c.node.secret_file = Some(PathBuf::from(some_text(v)?)),
        |c| c.node.secret_file.as_ref().and_then(|path| show(path.display()));
    "vehicles" Text "\"IP:PORT\", or \":PORT\" for both families; port 0 is any",
        |c, v| c.ingest.vehicles = bind(v)?, |c| show(c.ingest.vehicles);
    "link" Text "\"IP:PORT\", or \":PORT\" for both families; port 0 is any",
        |c, v| c.node.link = bind(v)?, |c| show(c.node.link);
    "http" Text "\"IP:PORT\", or \":PORT\" for this machine alone; port 0 is any",
        |c, v| c.http.address = bind_local(v)?, |c| show(c.http.address);
    "data" Text "the path of a folder",
        |c, v| c.node.data = PathBuf::from(some_text(v)?), |c| show(c.node.data.display());
    "accept_unknown" Value "true or false",
        |c, v| c.vehicles.accepts_unknown = switch(v)?, |c| show_switch(c.vehicles.accepts_unknown);
    "max_connections" Value "a number of connections, 1 to 1000000",
        |c, v| c.ingest.n_connections_max = not_zero(v, 1)?.unwrap_or(NonZeroU32::MIN),
        |c| show_number(c.ingest.n_connections_max.get());
    "max_connections_per_address" Value "a number of connections, 1 to 1000000, or 0 for no limit",
        |c, v| c.ingest.n_connections_per_address_max = not_zero(v, 0)?,
        |c| show_number(c.ingest.n_connections_per_address_max.map_or(0, NonZeroU32::get));
    "line_bytes_max" Value "a size such as \"64 KiB\", 1 KiB to 1 MiB",
        |c, v| c.ingest.line_bytes_max = size(v, KIB..=MIB)?, |c| show_size(c.ingest.line_bytes_max);
    "first_line_timeout" Value "a duration such as \"30s\" or seconds, 1 s to 1 h",
        |c, v| c.ingest.first_line_timeout = duration(v, SECOND..=HOUR)?,
        |c| show_duration(c.ingest.first_line_timeout);
    "idle_timeout" Value "a duration such as \"1h\" or seconds, up to 24 h, or 0 for never",
        |c, v| c.ingest.idle_timeout = never_if_zero(duration(v, Duration::ZERO..=DAY)?),
        |c| show_duration(c.ingest.idle_timeout.unwrap_or_default());
    "reply" Text "\"stored\" or \"received\"",
        |c, v| c.ingest.reply = reply(v)?, |c| show(word_of(&c.ingest.reply, REPLIES));
    "reply_deadline" Value "a duration such as \"10s\" or seconds, 100 ms to 1 h",
        |c, v| c.ingest.reply_deadline = duration(v, Duration::from_millis(100)..=HOUR)?,
        |c| show_duration(c.ingest.reply_deadline);
    "lenient" Value "true or false",
        |c, v| c.ingest.is_lenient = switch(v)?, |c| show_switch(c.ingest.is_lenient);
    "keep_raw" Value "true or false",
        |c, v| c.ingest.keeps_raw = switch(v)?, |c| show_switch(c.ingest.keeps_raw);
    "grace_period" Value "a duration such as \"10s\" or seconds, up to 1 h",
        |c, v| c.node.grace_period = duration(v, Duration::ZERO..=HOUR)?,
        |c| show_duration(c.node.grace_period);
    "log" Text "a level (error, warn, info, debug, trace) or directives such as \"info,waymesh=debug\"",
        |c, v| c.tracing.filter = filter(v)?, |c| show(&c.tracing.filter);
    "log_format" Text "\"auto\", \"human\" or \"json\"",
        |c, v| c.tracing.format = choice(v, LOG_FORMATS)?,
        |c| show(word_of(&c.tracing.format, LOG_FORMATS));

    "store.group_commit" Value "a duration such as \"5ms\" or seconds, up to 1 s",
        |c, v| c.store.group_commit = duration(v, Duration::ZERO..=SECOND)?,
        |c| show_duration(c.store.group_commit);
    "store.disk_reserve" Value "a size such as \"256 MiB\", up to 1 TiB",
        |c, v| c.store.disk_reserve_bytes = size(v, 0..=TIB)?,
        |c| show_size(c.store.disk_reserve_bytes);
    "store.quarantine_bytes_max" Value "a size such as \"16 MiB\", 64 KiB to 1 TiB",
        |c, v| c.store.quarantine_bytes_max = size(v, 64 * KIB..=TIB)?,
        |c| show_size(c.store.quarantine_bytes_max);
    "store.segment_bytes_max" Value "a size such as \"64 MiB\", 1 MiB to 1 GiB",
        |c, v| c.store.segment_bytes_max = size(v, MIB..=GIB)?,
        |c| show_size(c.store.segment_bytes_max);
    "store.log_bytes_max" Value "a size such as \"8 GiB\", 4 MiB to 1024 TiB",
        |c, v| c.store.log_bytes_max = size(v, 4 * MIB..=1024 * TIB)?,
        |c| show_size(c.store.log_bytes_max);
    "store.room_bytes" Value "a size such as \"12 MiB\", 1 MiB to 1 GiB",
        |c, v| c.ingest.room_bytes = size(v, MIB..=GIB)?, |c| show_size(c.ingest.room_bytes);
    "store.index_cache_bytes" Value "a size such as \"8 MiB\", 1 MiB to 1 TiB",
        |c, v| c.store.index_cache_bytes = size(v, MIB..=TIB)?,
        |c| show_size(c.store.index_cache_bytes);
    "store.index_lag_records_max" Value "a number of records, 1000 to 100000000",
        |c, v| c.store.index_lag_records_max = number(v, 1_000..=100_000_000)?,
        |c| show_number(c.store.index_lag_records_max);
    "store.retention" Value "a duration such as \"90 days\", a day to 36500 days, or 0 to keep everything",
        |c, v| c.store.retention = retention(v)?,
        |c| show_duration(c.store.retention.unwrap_or_default());

    "discovery.transports" List "a list of \"multicast\", \"multicast6\", \"broadcast\", \"static\"",
        |c, v| c.discovery.transports = list(v, |item| choice(item, TRANSPORTS))?,
        |c| show_list(c.discovery.transports.iter().map(|way| word_of(way, TRANSPORTS)));
    "discovery.port" Value "a UDP port, 1 to 65535",
        |c, v| c.discovery.port = number::<u16>(v, 1..=65_535)?
            .try_into().map_err(|_| Complaint::new("0 is no port"))?,
        |c| show_number(c.discovery.port.get());
    "discovery.group" Text "an address of 224.0.0.0/4, such as \"239.192.0.1\"",
        |c, v| c.discovery.group = group(v)?, |c| show(c.discovery.group);
    "discovery.group6" Text "an address of ff00::/8, such as \"ff12::5741:594d\"",
        |c, v| c.discovery.group6 = group6(v)?, |c| show(c.discovery.group6);
    "discovery.interfaces" List "a list of names or addresses, such as [\"eth0\"]; empty for all",
        |c, v| c.discovery.interfaces = list(v, interface)?,
        |c| show_list(c.discovery.interfaces.iter().map(interface_text));
    "discovery.ttl" Value "a number of hops, 0 to 255",
        |c, v| c.discovery.ttl = number(v, 0..=255)?, |c| show_number(c.discovery.ttl);
    "discovery.broadcast_address" Text "an IPv4 address, or leave the key out for each interface's own",
        |c, v| c.discovery.broadcast_address = Some(broadcast(v)?),
        |c| c.discovery.broadcast_address.and_then(show);
    "discovery.peers" List "a list of \"HOST:PORT\" or \"HOST\", names or addresses",
        |c, v| c.discovery.peers = list(v, |item| host_port(item, Some(LINK_PORT)))?,
        |c| show_list(&c.discovery.peers);
    "discovery.ping_interval" Value "a duration such as \"10s\" or seconds, 1 s to 1 h",
        |c, v| c.discovery.ping_interval = duration(v, SECOND..=HOUR)?,
        |c| show_duration(c.discovery.ping_interval);
    "discovery.min_connections" Value "a number of links, 0 to 10000, or \"all\"",
        |c, v| c.discovery.min_connections = min_connections(v)?,
        |c| match c.discovery.min_connections {
            MinConnections::All => show("all"),
            MinConnections::Number(count) => show_number(count),
        };
    "discovery.connect_regex" Text "a regular expression as text; empty for all names",
        |c, v| c.discovery.connect_regex = expression(v)?, |c| show(&c.discovery.connect_regex);
    "discovery.accept_regex" Text "a regular expression as text; empty for all names",
        |c, v| c.discovery.accept_regex = expression(v)?, |c| show(&c.discovery.accept_regex);
    "discovery.connect_mode" Text "\"visible\" or \"hidden\"",
        |c, v| c.discovery.connect_mode = choice(v, CONNECT_MODES)?,
        |c| show(word_of(&c.discovery.connect_mode, CONNECT_MODES));
    "discovery.active" Value "true or false",
        |c, v| c.discovery.is_active = switch(v)?, |c| show_switch(c.discovery.is_active);

    "advertise.link" Text "\"HOST:PORT\", name or address, or leave the key out",
        |c, v| c.advertise.link = Some(host_port(v, None)?), |c| c.advertise.link.as_ref().and_then(show);
    "advertise.http" Text "\"HOST:PORT\", name or address, or leave the key out",
        |c, v| c.advertise.http = Some(host_port(v, None)?), |c| c.advertise.http.as_ref().and_then(show);
];

/// The keys of a `[[listener]]`.
pub(super) const LISTENER_KEYS: &[Key<ListenerDraft>] = keys![
    "address" Text "\"IP:PORT\", or \":PORT\" for both families; port 0 is any",
        |l, v| l.address = Some(bind(v)?), |l| l.address.and_then(show);
    "protocol" Text "the name of a protocol, or leave the key out to have it recognised",
        |l, v| l.protocol = Some(some_text(v)?.to_owned()), |l| l.protocol.as_ref().and_then(show);
    "reply" Text "\"stored\" or \"received\"",
        |l, v| l.reply = Some(reply(v)?), |l| l.reply.and_then(|reply| show(word_of(&reply, REPLIES)));
    "idle_timeout" Value "a duration such as \"1h\" or seconds, up to 24 h, or 0 for never",
        |l, v| l.idle_timeout = Some(duration(v, Duration::ZERO..=DAY)?),
        |l| l.idle_timeout.and_then(show_duration);
    "proxy_from" List "an empty list, or leave the key out",
        |_l, v| no_proxy(v)?, |_l| show_list(Vec::<String>::new());
];

/// The keys of a `[[vehicle]]`.
pub(super) const VEHICLE_KEYS: &[Key<VehicleDraft>] = keys![
    "id" Text "the id that the device gives, 1 to 64 bytes",
        |v, found| v.id = Some(vehicle_id(found)?), |v| v.id.as_ref().and_then(show);
    "name" Text "a name for people, 1 byte or more",
        |v, found| v.name = Some(some_text(found)?.to_owned()), |v| v.name.as_ref().and_then(show);
    "password" Text "the real password that the device gives, 1 byte or more, or leave the key out",
        |v, found| v.password = Some(password(found)?),
        |v| v.password.as_ref().and_then(|_| show(HIDDEN));
];

/// The keys of a `[[protocol]]`.
pub(super) const PROTOCOL_KEYS: &[Key<ProtocolDraft>] = keys![
    "name" Text "1 to 32 small letters, digits, `-` and `_`, the first a letter",
        |p, v| p.name = Some(protocol_name(v)?), |p| p.name.as_ref().and_then(show);
    "line" List "a regular expression, or a list of them and of { match = .., reply = .. }",
        |p, v| p.lines = Some(lines(v)?), |p| p.lines.as_deref().and_then(show_lines);
    "terminator" Text "the one ASCII character that ends a line, or leave the key out for line ends",
        |p, v| p.terminator = Some(terminator(v)?), |p| p.terminator.and_then(show_terminator);
    "time_format" Text "\"unix\", \"unix_ms\", \"rfc3339\", or signs such as \"%Y%m%d%H%M%S\"",
        |p, v| p.time_format = Some(some_text(v)?.to_owned()),
        |p| p.time_format.as_ref().and_then(show);
    "valid" List "a text such as \"A\", or a list of them",
        |p, v| p.valid = Some(words(v)?), |p| p.valid.as_ref().and_then(show_list);
    "reply" Text "a text with groups in braces, such as \"OK {vehicle}\\r\\n\"",
        |p, v| p.reply = Some(text(v)?.to_owned()), |p| p.reply.as_ref().and_then(show);
    "refusal" Text "a text, in which {vehicle} may stand",
        |p, v| p.refusal = Some(text(v)?.to_owned()), |p| p.refusal.as_ref().and_then(show);
    "attributes" Value "a table of groups with their types: \"bool\", \"integer\", \"float\", \"text\"",
        |p, v| p.attributes = Some(attributes(v)?),
        |p| p.attributes.as_deref().and_then(show_attributes);
];

/// What is shown instead of a password, and is none: what was shown may be used as a file.
const HIDDEN: &str = "(hidden)";

/// `None` for zero, which is how a file says never.
pub(super) fn never_if_zero(duration: Duration) -> Option<Duration> {
    Some(duration).filter(|duration| !duration.is_zero())
}

fn retention(found: &Found<'_>) -> Result<Option<Duration>, Complaint> {
    match never_if_zero(duration(found, Duration::ZERO..=RETENTION_MAX)?) {
        Some(kept) if kept < DAY => Err(Complaint::new("is less than a day")),
        kept => Ok(kept),
    }
}

/// A regular expression that can be compiled.
fn expression(found: &Found<'_>) -> Result<String, Complaint> {
    let text = text(found)?;
    match regex::Regex::new(text) {
        Ok(_) => Ok(text.to_owned()),
        // The last line says what is wrong; those before it show where in the text.
        Err(error) => Err(Complaint::new(format!(
            "is no regular expression: {}",
            error.to_string().lines().last().unwrap_or_default()
        ))),
    }
}

fn not_zero(found: &Found<'_>, low: u64) -> Result<Option<NonZeroU32>, Complaint> {
    number(found, low..=1_000_000).map(NonZeroU32::new)
}

fn reply(found: &Found<'_>) -> Result<ReplyPolicy, Complaint> {
    if text(found)? == "replicated" {
        return Err(Complaint::new("`replicated` is not supported yet"));
    }
    choice(found, REPLIES)
}

fn no_proxy(found: &Found<'_>) -> Result<(), Complaint> {
    match list(found, |item| text(item).map(str::to_owned))?.first() {
        Some(_) => Err(Complaint::new("the PROXY protocol is not supported yet")),
        None => Ok(()),
    }
}

fn filter(found: &Found<'_>) -> Result<String, Complaint> {
    let directives = some_text(found)?;
    match EnvFilter::try_new(directives) {
        Ok(_) => Ok(directives.to_owned()),
        Err(error) => Err(Complaint::new(format!("{}: {error}", quoted(directives)))),
    }
}

fn min_connections(found: &Found<'_>) -> Result<MinConnections, Complaint> {
    if found.get_ref().is_str() {
        return choice(found, &[("all", MinConnections::All)]);
    }
    number(found, 0..=10_000).map(MinConnections::Number)
}

fn vehicle_id(found: &Found<'_>) -> Result<String, Complaint> {
    let id = text(found)?;
    crate::types::ids::VehicleId::parse(id.as_bytes())
        .map(|id| id.as_str().to_owned())
        .map_err(|error| Complaint::new(error.to_string()))
}

fn password(found: &Found<'_>) -> Result<String, Complaint> {
    match some_text(found)? {
        HIDDEN => Err(Complaint::new(format!(
            "{} is what check-config prints instead of a password",
            quoted(HIDDEN)
        ))),
        password => Ok(password.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_key_shows_it_takes() {
        for key in KEYS {
            let mut config = AppConfig::default();
            let Some(shown) = (key.show)(&config) else {
                continue;
            };
            let written = shown.to_string();
            let found = toml::de::DeValue::parse(&written).unwrap();
            assert_eq!((key.set)(&mut config, &found), Ok(()), "{}", key.name);
            assert_eq!(config, AppConfig::default(), "{}", key.name);
        }
    }

    #[test]
    fn no_key_is_there_twice() {
        let mut names: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
        names.sort_unstable();
        let n_names = names.len();
        names.dedup();
        assert_eq!(names.len(), n_names);
    }
}
