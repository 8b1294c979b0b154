//! The configuration from outside: layers, faults, the example file, and `check-config`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

#[path = "config/own_protocol.rs"]
mod own_protocol;

use std::{fs, net::SocketAddr, path::PathBuf, process::Command, time::Duration};

use tempfile::TempDir;
use waymesh::{
    cli::check_config::check_config,
    config::{
        AppConfig, Environment, Faults, Loaded, MinConnections, Overlay, Paint, Sources, Transport,
        key_names, load,
    },
    ingest::{BindAddress, ReplyPolicy},
};

const PROTOCOLS: [&str; 2] = ["wialon", "nmea"];

/// What a test gives: the text of a file, variables, flags.
#[derive(Default)]
struct Given<'a> {
    file: &'a str,
    environment: &'a [(&'a str, &'a str)],
    overlay: Overlay,
}

impl Given<'_> {
    fn load(self) -> Result<Loaded, Faults> {
        let (_folder, path) = file(self.file);
        load(&Sources {
            file: Some(&path),
            environment: self.environment.iter().copied().collect(),
            overlay: self.overlay,
            protocols: &PROTOCOLS,
        })
    }
}

fn file(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("waymesh.toml");
    fs::write(&path, text).unwrap();
    (folder, path)
}

#[track_caller]
fn accept(text: &str) -> AppConfig {
    let given = Given {
        file: text,
        ..Given::default()
    };
    match given.load() {
        Ok(loaded) => loaded.config,
        Err(faults) => panic!("{faults}"),
    }
}

/// Expects exactly these faults, as (line, key, part of the problem, part of the remedy).
#[track_caller]
fn refuse(text: &str, expected: &[(usize, &str, &str, &str)]) {
    let given = Given {
        file: text,
        ..Given::default()
    };
    let faults = given.load().unwrap_err();
    let told: Vec<_> = faults.iter().collect();
    assert_eq!(told.len(), expected.len(), "{faults}");
    for (fault, (line, key, problem, remedy)) in told.iter().zip(expected) {
        let place = fault.place.as_ref().unwrap();
        assert_eq!((place.line(), fault.key.as_str()), (Some(*line), *key));
        assert!(fault.problem.contains(problem), "{}", fault.problem);
        assert!(fault.remedy.contains(remedy), "{}", fault.remedy);
        assert!(faults.to_string().contains(&place.to_string()), "{faults}");
    }
}

fn example() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/waymesh.toml");
    fs::read_to_string(path).unwrap()
}

/// The example with every key taken out of its comment.
fn example_with_all_keys() -> String {
    let uncommented = |line: &str| match line.strip_prefix('#') {
        Some(key) if !key.is_empty() && !key.starts_with(' ') => format!("{key}\n"),
        _ => format!("{line}\n"),
    };
    example().lines().map(uncommented).collect()
}

#[test]
fn without_any_source_the_defaults_of_the_contract_hold() {
    let config = load(&Sources::default()).unwrap().config;
    assert_eq!(config.node.cluster, "waymesh");
    assert!(!config.node.name.is_empty());
    assert_eq!(config.ingest.vehicles, BindAddress::Both(5000));
    assert_eq!(config.node.link, BindAddress::Both(5001));
    let local: SocketAddr = "127.0.0.1:8080".parse().unwrap();
    assert_eq!(config.http.address, local);
    assert_eq!(config.node.data, PathBuf::from("./waymesh-data"));
    assert_eq!(config.discovery.port.get(), 50337);
    assert_eq!(config.ingest.n_connections_max.get(), 16_000);
    assert_eq!(config.ingest.line_bytes_max, 64 << 10);
    assert_eq!(config.ingest.reply, ReplyPolicy::Stored);
    assert_eq!(config.store.disk_reserve_bytes, 256 << 20);
    assert_eq!(config.discovery.ping_interval, Duration::from_secs(10));
    assert_eq!(
        config.discovery.transports,
        [Transport::Multicast, Transport::Multicast6]
    );
    assert!(config.vehicles.accepts_unknown);
}

#[test]
fn flag_is_over_environment_over_file_over_default() {
    let loaded = Given {
        file: "name = 'file'\ncluster = 'file'\ndata = 'file'\n[discovery]\nport = 1000",
        environment: &[
            ("WAYMESH_NAME", "environment"),
            ("WAYMESH_CLUSTER", "environment"),
            ("WAYMESH_DISCOVERY__PORT", "2000"),
        ],
        overlay: Overlay {
            name: Some("flag".into()),
            ..Overlay::default()
        },
    };
    let loaded = loaded.load().unwrap();
    let config = &loaded.config;
    assert_eq!(config.node.name, "flag");
    assert_eq!(config.node.cluster, "environment");
    assert_eq!(config.node.data, PathBuf::from("file"));
    assert_eq!(config.discovery.port.get(), 2000);
    assert_eq!(loaded.place_of("name").unwrap().to_string(), "--name");
    assert_eq!(
        loaded.place_of("cluster").unwrap().to_string(),
        "WAYMESH_CLUSTER"
    );
    assert_eq!(loaded.place_of("data").unwrap().line(), Some(3));
    assert_eq!(loaded.place_of("link"), None);
}

#[test]
fn every_flag_sets_its_key() {
    let some = |text: &str| Some(text.to_owned());
    let given = Given {
        overlay: Overlay {
            name: some("7"),
            cluster: some("true"),
            secret_file: some("secret"),
            vehicles: some("127.0.0.1:0"),
            link: some(":0"),
            http: some(":0"),
            data: some("./b"),
            log_format: some("json"),
            log: some("debug"),
        },
        ..Given::default()
    };
    let loaded = given.load().unwrap();
    for key in [
        "name",
        "cluster",
        "secret_file",
        "vehicles",
        "link",
        "http",
        "data",
        "log_format",
        "log",
    ] {
        assert!(loaded.place_of(key).is_some(), "{key}");
    }
    assert_eq!(loaded.config.node.name, "7");
    assert_eq!(loaded.config.node.link, BindAddress::Both(0));
    assert_eq!(loaded.config.node.secret_file, Some("secret".into()));
}

#[test]
fn a_variable_is_a_toml_value_or_a_text() {
    let given = Given {
        environment: &[
            ("WAYMESH_NAME", "42"),
            ("WAYMESH_CLUSTER", "\"quoted\""),
            ("WAYMESH_GRACE_PERIOD", "1m 30s"),
            ("WAYMESH_REPLY_DEADLINE", "3"),
            ("WAYMESH_LENIENT", "true"),
            ("WAYMESH_STORE__ROOM_BYTES", "2 MiB"),
            ("WAYMESH_DISCOVERY__MIN_CONNECTIONS", "2"),
            ("WAYMESH_DISCOVERY__TRANSPORTS", "static, multicast"),
            ("WAYMESH_DISCOVERY__PEERS", "['a:1', 'b:2']"),
            (
                "WAYMESH_LISTENER",
                "[{ address = ':5010', protocol = 'nmea' }]",
            ),
        ],
        ..Given::default()
    };
    let config = given.load().unwrap().config;
    assert_eq!(config.node.name, "42");
    assert_eq!(config.node.cluster, "quoted");
    assert_eq!(config.node.grace_period, Duration::from_secs(90));
    assert_eq!(config.ingest.reply_deadline, Duration::from_secs(3));
    assert!(config.ingest.is_lenient);
    assert_eq!(config.ingest.room_bytes, 2 << 20);
    assert_eq!(config.discovery.min_connections, MinConnections::Number(2));
    assert_eq!(
        config.discovery.transports,
        [Transport::Static, Transport::Multicast]
    );
    assert_eq!(config.discovery.peers.len(), 2);
    assert_eq!(config.ingest.listeners.len(), 1);
}

#[test]
fn every_key_has_its_variable() {
    let effective = load(&Sources::default()).unwrap().effective();
    let table: toml::Table = effective.parse().unwrap();
    let mut n_set = 0;
    for key in key_names() {
        let (section, word) = key.split_once('.').unwrap_or(("", key));
        let home = match section {
            "" => Some(&table),
            section => table.get(section).and_then(toml::Value::as_table),
        };
        let Some(value) = home.and_then(|home| home.get(word)) else {
            continue;
        };
        let variable = format!("WAYMESH_{}", key.replace('.', "__").to_uppercase());
        let value = value.to_string();
        let given = Given {
            environment: &[(&variable, &value)],
            ..Given::default()
        };
        let loaded = given.load().unwrap();
        assert_eq!(loaded.place_of(key).unwrap().to_string(), variable);
        assert_eq!(loaded.config, AppConfig::default(), "{key}");
        n_set += 1;
    }
    assert!(n_set > 35, "only {n_set} keys were tried");
}

#[test]
fn an_unknown_variable_is_refused_with_the_nearest_one() {
    let given = Given {
        environment: &[
            ("WAYMESH_DISCOVERY_PORT", "1"),
            ("WAYMESH_FAVOURITE_COLOUR", "red"),
        ],
        ..Given::default()
    };
    let text = given.load().unwrap_err().to_string();
    assert!(
        text.contains("did you mean WAYMESH_DISCOVERY__PORT?"),
        "{text}"
    );
    assert!(text.contains("WAYMESH_FAVOURITE_COLOUR"), "{text}");
}

/// What Kubernetes gives to a container for a service called `waymesh`.
#[test]
fn a_service_of_our_name_keeps_no_node_from_starting() {
    let environment = [
        ("WAYMESH_PORT", "tcp://10.0.171.239:5000"),
        ("WAYMESH_PORT_5000_TCP", "tcp://10.0.171.239:5000"),
        ("WAYMESH_PORT_5000_TCP_ADDR", "10.0.171.239"),
        ("WAYMESH_PORT_5000_TCP_PORT", "5000"),
        ("WAYMESH_PORT_5000_TCP_PROTO", "tcp"),
        ("WAYMESH_SERVICE_HOST", "10.0.171.239"),
        ("WAYMESH_SERVICE_PORT", "5000"),
        ("WAYMESH_SERVICE_PORT_VEHICLES", "5000"),
        ("WAYMESH_CLUSTER", "west"),
    ];
    let given = Given {
        environment: &environment,
        ..Given::default()
    };
    assert_eq!(given.load().unwrap().config.node.cluster, "west");
    for variable in ["WAYMESH_PORTS", "WAYMESH_SERVICES", "WAYMESH_SERVICE"] {
        let given = Given {
            environment: &[(variable, "1")],
            ..Given::default()
        };
        assert!(given.load().is_err(), "{variable}");
    }
}

#[test]
fn a_wrong_value_is_told_with_its_variable_or_flag_even_where_it_is_covered() {
    let given = Given {
        file: "http = 'here'",
        environment: &[("WAYMESH_HTTP", "there")],
        overlay: Overlay {
            http: Some("nowhere".into()),
            ..Overlay::default()
        },
    };
    let faults = given.load().unwrap_err();
    let places: Vec<_> = faults
        .iter()
        .map(|fault| fault.place.as_ref().unwrap().to_string())
        .collect();
    assert!(places[0].ends_with("waymesh.toml:1"), "{places:?}");
    assert_eq!(places[1..], ["WAYMESH_HTTP", "--http"]);
}

/// Something is wrong in nearly every line.
const MANY_FAULTS: &str = "\
nam = 'a'
grace_period = 'soon'
port = 5000
max_connections = 0
[store]
idle_timeout = '1s'
room_bytes = '1 KiB'
[discovery]
group = '10.1.1.1'
ping_interval = '500ms'
transports = ['multicast', 'pigeon']
min_connections = 'some'
[advertise]
link = 'nowhere'
[[vehicle]]
name = 'without id'
[[listener]]
address = ':5010'
protocol = 'wialom'
colour = 'red'
";

#[test]
fn all_faults_of_a_file_are_told_at_once() {
    refuse(
        MANY_FAULTS,
        &[
            (1, "nam", "unknown key", "did you mean `name`?"),
            (
                2,
                "grace_period",
                "`soon` is no duration",
                "such as \"10s\"",
            ),
            (
                3,
                "port",
                "unknown key",
                "belongs to the section [discovery]",
            ),
            (
                4,
                "max_connections",
                "0 is not within 1 to 1000000",
                "1 to 1000000",
            ),
            (6, "store.idle_timeout", "unknown key", "belongs to the top"),
            (7, "store.room_bytes", "`1 KiB` is not within", "12 MiB"),
            (9, "discovery.group", "no multicast address", "224.0.0.0/4"),
            (
                10,
                "discovery.ping_interval",
                "not within 1s to 1h",
                "1 s to 1 h",
            ),
            (
                11,
                "discovery.transports",
                "`pigeon` is none of",
                "multicast6",
            ),
            (
                12,
                "discovery.min_connections",
                "`some` is none of all",
                "a number of links",
            ),
            (14, "advertise.link", "no host and port", "HOST:PORT"),
            (15, "vehicle.id", "is missing", "give the device's id"),
            (
                19,
                "listener.protocol",
                "`wialom` is no protocol",
                "did you mean `wialon`?",
            ),
            (20, "listener.colour", "unknown key", "known here: address"),
        ],
    );
}

#[test]
fn an_expression_that_cannot_be_compiled_is_told_before_the_start() {
    refuse(
        "[discovery]\nconnect_regex = 'bus-('\n",
        &[(
            2,
            "discovery.connect_regex",
            "unclosed group",
            "a regular expression",
        )],
    );
}

#[test]
fn broken_toml_is_told_with_its_line() {
    refuse(
        "name = 'a'\ncluster = \nlink = :5001\n",
        &[(2, "", "", "key = value"), (3, "", "", "key = value")],
    );
}

#[test]
fn what_is_not_supported_yet_is_refused() {
    let text = "reply = 'replicated'\n[[listener]]\naddress = ':1'\nproxy_from = ['10.0.0.0/8']\n";
    refuse(
        text,
        &[
            (1, "reply", "not supported yet", "\"stored\""),
            (
                4,
                "listener.proxy_from",
                "not supported yet",
                "leave the key out",
            ),
        ],
    );
    let config = accept("[[listener]]\naddress = ':1'\nproxy_from = []\n");
    assert_eq!(config.ingest.listeners.len(), 1);
}

#[test]
fn one_vehicle_is_known_once() {
    let text = "[[vehicle]]\nid = 'a'\n[[vehicle]]\nid = 'b'\n[[vehicle]]\nid = 'a'\n";
    refuse(text, &[(6, "vehicle.id", "`a` is there twice", "take one")]);
    let long = format!("[[vehicle]]\nid = '{}'\n", "x".repeat(65));
    refuse(
        &long,
        &[(2, "vehicle.id", "over the 64 limit", "1 to 64 bytes")],
    );
}

#[test]
fn two_sockets_never_share_a_port() {
    refuse(
        "link = ':5000'\n",
        &[(1, "link", "is taken by `vehicles`", "its own port")],
    );
    refuse(
        "vehicles = '127.0.0.1:8080'\n",
        &[(1, "http", "is taken by `vehicles`", "its own port")],
    );
    refuse(
        "[[listener]]\naddress = '10.0.0.1:5001'\n",
        &[(2, "listener.address", "is taken by `link`", "its own port")],
    );
    accept("vehicles = '127.0.0.1:7000'\nlink = '127.0.0.2:7000'\nhttp = '127.0.0.3:7000'\n");
    accept("vehicles = ':0'\nlink = ':0'\nhttp = ':0'\n");
    // A refused address says nothing about its default.
    refuse(
        "vehicles = 'x'\nlink = ':5000'\n",
        &[(1, "vehicles", "no address", "IP:PORT")],
    );
}

#[test]
fn budgets_hold_what_they_must() {
    refuse(
        "[store]\nlog_bytes_max = '100 MiB'\n",
        &[(
            2,
            "store.log_bytes_max",
            "less than 4 segments",
            "at least 268435456",
        )],
    );
    refuse(
        "line_bytes_max = '1 MiB'\n[store]\nroom_bytes = '1 MiB'\n",
        &[(3, "store.room_bytes", "less than two lines", "twice")],
    );
}

#[test]
fn a_listener_takes_what_it_does_not_say_from_the_top() {
    let config = accept(
        "reply = 'received'\nidle_timeout = 0\n[[listener]]\naddress = ':1'\n[[listener]]\n\
         address = ':2'\nreply = 'stored'\nidle_timeout = '1m'\nprotocol = 'nmea'\n",
    );
    let listeners = config.ingest.all_listeners();
    assert_eq!(listeners.len(), 3);
    assert_eq!(listeners[0].address, BindAddress::Both(5000));
    assert_eq!(listeners[1].reply, ReplyPolicy::Received);
    assert_eq!(listeners[1].idle_timeout, None);
    assert_eq!(listeners[2].reply, ReplyPolicy::Stored);
    assert_eq!(listeners[2].idle_timeout, Some(Duration::from_secs(60)));
    assert_eq!(listeners[2].protocol.as_deref(), Some("nmea"));
}

#[test]
fn retention_is_a_day_or_more_or_off() {
    let days = |text: &str| {
        accept(text)
            .store
            .retention
            .map(|kept| kept.as_secs() / 86_400)
    };
    assert_eq!(days(""), None);
    assert_eq!(days("[store]\nretention = 0"), None);
    assert_eq!(days("[store]\nretention = '90 days'"), Some(90));
    assert_eq!(days("[store]\nretention = '24h'"), Some(1));
    let remedy = "give a duration such as \"90 days\"";
    for (value, problem) in [
        ("90", "less than a day"),
        ("'23h'", "less than a day"),
        ("'40000 days'", "not within"),
        ("'3 months'", "no duration"),
        ("'ever'", "no duration"),
        ("true", "expected a duration"),
    ] {
        let text = format!("[store]\nretention = {value}");
        refuse(&text, &[(2, "store.retention", problem, remedy)]);
    }
    refuse(
        "retention = '90 days'",
        &[(
            1,
            "retention",
            "unknown key",
            "belongs to the section [store]",
        )],
    );
}

#[test]
fn the_example_is_the_defaults() {
    assert_eq!(accept(&example()), AppConfig::default());
}

#[test]
fn the_example_has_every_key_with_its_default() {
    let text = example_with_all_keys();
    let mut config = accept(&text);
    let defaults = AppConfig::default();
    assert_eq!(config.ingest.listeners.len(), 1);
    assert_eq!(config.vehicles.by_id.len(), 1);
    assert_eq!(config.protocols.len(), 1);
    // These have no default that a file could name.
    config.node.name.clone_from(&defaults.node.name);
    config.node.secret_file = None;
    config.discovery.broadcast_address = None;
    config.advertise = Default::default();
    config.ingest.listeners.clear();
    config.vehicles.by_id.clear();
    config.protocols.clear();
    assert_eq!(config, defaults);

    let given = Given {
        file: &text,
        ..Given::default()
    };
    let loaded = given.load().unwrap();
    for key in key_names() {
        assert!(
            loaded.place_of(key).is_some(),
            "{key} is not in the example"
        );
    }
}

#[test]
fn the_effective_values_are_a_file_that_gives_the_same_again() {
    let given = Given {
        file: "name = 'a \\ b'\n",
        ..Given::default()
    };
    assert!(given.load().is_err(), "a name with a stroke backwards");
    let text = "name = 'a'\nidle_timeout = 0\n[discovery]\npeers = ['b:1', '[::1]:2']\n\
                connect_regex = '^\\d+\"$'\nmin_connections = 3\n[[listener]]\naddress = ':1'\n\
                [[vehicle]]\nid = 'v'\nname = 'Lorry \"7\"'\n";
    let given = Given {
        file: text,
        ..Given::default()
    };
    let loaded = given.load().unwrap();
    assert_eq!(accept(&loaded.effective()), loaded.config);
}

#[test]
fn check_config_says_ok_and_what_holds_without_passwords() {
    let (_folder, path) = file("name = 'gate'\n[[vehicle]]\nid = 'v'\npassword = 'open sesame'\n");
    let environment: Environment = [("WAYMESH_CLUSTER", "west")].into_iter().collect();
    let mut out = Vec::new();
    let code = check_config(Some(&path), environment, Paint::Plain, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert_eq!(code, 0, "{text}");
    assert!(text.starts_with("# ok\n"), "{text}");
    assert!(
        text.contains("cluster = \"west\" # WAYMESH_CLUSTER\n"),
        "{text}"
    );
    assert!(text.contains("waymesh.toml:1\n"), "{text}");
    assert!(text.contains("port = 50337 # default\n"), "{text}");
    assert!(text.contains("password = \"(hidden)\"\n"), "{text}");
    assert!(!text.contains("sesame"), "{text}");
}

#[test]
fn what_check_config_prints_is_refused_until_the_passwords_are_put_in() {
    let text = "[[vehicle]]\nid = 'v'\npassword = 'open sesame'\n";
    let given = Given {
        file: text,
        ..Given::default()
    };
    let printed = given.load().unwrap().effective();
    let line = printed
        .lines()
        .position(|line| line.starts_with("password"));
    let fault = (
        line.unwrap() + 1,
        "vehicle.password",
        "(hidden)",
        "the real password",
    );
    refuse(&printed, &[fault]);
    accept(&printed.replace("(hidden)", "open sesame"));
}

#[test]
fn check_config_says_all_faults_and_shows_no_password() {
    let text = "nam = 1\nvehicle = [{ id = 5, password = 'open sesame' }]\n[store]\nx = 1\n";
    let (_folder, path) = file(text);
    let mut out = Vec::new();
    let code = check_config(Some(&path), Environment::default(), Paint::Plain, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert_eq!(code, 64, "{text}");
    assert_eq!(text.matches("error: ").count(), 3, "{text}");
    assert!(!text.contains("sesame"), "{text}");
}

/// As in `check-config | true`.
#[test]
fn check_config_ends_with_its_code_though_nobody_reads_what_it_says() {
    for (text, code) in [("nam = 1\n", 64), ("name = 'a'\n", 0)] {
        let (_folder, path) = file(text);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_waymesh"));
        let status = command
            .arg("check-config")
            .arg(path)
            .stdout(writer)
            .status();
        assert_eq!(status.unwrap().code(), Some(code), "{text}");
    }
}

#[test]
fn a_file_that_is_not_there_is_a_fault_and_no_file_is_none() {
    let missing = PathBuf::from("/nonexistent/waymesh.toml");
    let mut out = Vec::new();
    let environment = Environment::default();
    let code = check_config(Some(&missing), environment, Paint::Plain, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert_eq!(code, 64);
    assert!(text.contains("/nonexistent/waymesh.toml"), "{text}");

    let code = check_config(None, Environment::default(), Paint::Plain, &mut Vec::new());
    assert_eq!(code.unwrap(), 0);
}

#[test]
fn the_environment_may_name_the_file() {
    let (_folder, path) = file("cluster = 'north'\n");
    let loaded = load(&Sources {
        environment: [("WAYMESH_CONFIG", path.to_str().unwrap())]
            .into_iter()
            .collect(),
        ..Sources::default()
    });
    assert_eq!(loaded.unwrap().config.node.cluster, "north");
}

/// Words between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn the_table_for_those_who_come_from_bootstrap_names_keys_that_there_are() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/from-bootstrap.md");
    let text = fs::read_to_string(path).unwrap();
    let known: Vec<&str> = key_names().collect();
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let mut theirs = Vec::new();
    for row in rows {
        let cells: Vec<&str> = row.split('|').collect();
        theirs.extend(quoted(cells[1]));
        let ours: Vec<&str> = quoted(cells[2]).collect();
        assert_eq!(ours.len(), 1, "{row}");
        assert!(known.contains(&ours[0]), "{} is no key", ours[0]);
    }
    let expected = [
        "connect_regex",
        "connect_mode",
        "min_connections",
        "primary_port",
        "protocol",
        "ping_timeout",
        "broadcast_ip",
        "multicast_ip",
        "multicast_iface",
        "multicast_ttl",
    ];
    assert_eq!(theirs, expected);
    // Those in the text around it, too.
    let sections = ["discovery.", "advertise."];
    let mut named = quoted(&text).filter(|word| sections.iter().any(|one| word.starts_with(one)));
    assert!(named.all(|word| known.contains(&word)));
    assert!(known.contains(&"secret_file"));
}
