//! The `[[protocol]]` tables: what they take, what is wrong with them and where.

use waymesh::protocol::{Protocol as _, attributes::ValueType, own::group_names};

use super::*;

fn own_example() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/own-protocol.toml");
    fs::read_to_string(path).unwrap()
}

fn shown(text: &str) -> String {
    let given = Given {
        file: text,
        ..Given::default()
    };
    given.load().unwrap_err().to_string()
}

#[test]
fn the_example_is_a_protocol() {
    let config = accept(&own_example());
    let [protocol] = &*config.protocols else {
        panic!("{:?}", config.protocols);
    };
    let spec = protocol.spec();
    assert_eq!(protocol.name(), "acme");
    assert_eq!((spec.lines.len(), spec.terminator), (4, b'\n'));
    assert_eq!(spec.attributes["fuel"], ValueType::Float);
    // Everything else is as it is without a file.
    let config = AppConfig {
        protocols: Vec::new(),
        ..config
    };
    assert_eq!(config, AppConfig::default());
}

#[test]
fn the_readme_shows_a_protocol() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = fs::read_to_string(path).unwrap();
    let block = readme.split("```toml\n").nth(1).unwrap();
    let config = accept(block.split("```").next().unwrap());
    assert_eq!(config.protocols[0].spec().lines.len(), 2);
    for name in group_names() {
        assert!(
            readme.contains(&format!("`{name}`")),
            "{name} is not in the README"
        );
    }
}

#[test]
fn a_line_is_a_text_a_list_or_tables_of_their_own() {
    let as_text = accept("[[protocol]]\nname = 'a'\nline = '(?<vehicle>x)'\nreply = 'OK'\n");
    let as_list = accept("[[protocol]]\nname = 'a'\nline = ['(?<vehicle>x)']\nreply = 'OK'\n");
    let as_tables = accept(
        "[[protocol]]\nname = 'a'\nreply = 'OK'\n[[protocol.line]]\nmatch = '(?<vehicle>x)'\n",
    );
    assert_eq!(as_text, as_list);
    assert_eq!(as_text, as_tables);
    let lines = &as_text.protocols[0].spec().lines;
    assert_eq!((lines.len(), &lines[0].reply), (1, &None));
}

#[test]
fn a_variable_takes_protocols_too() {
    let given = Given {
        environment: &[(
            "WAYMESH_PROTOCOL",
            "[{ name = 'a', line = '(?<vehicle>x)', terminator = \"\\r\\n\" }]",
        )],
        ..Given::default()
    };
    let config = given.load().unwrap().config;
    assert_eq!(config.protocols[0].spec().terminator, b'\n');
    let given = Given {
        environment: &[(
            "WAYMESH_PROTOCOL",
            "[{ name = 'a', line = '(?<vehicel>x)' }]",
        )],
        ..Given::default()
    };
    let text = given.load().unwrap_err().to_string();
    assert!(text.contains("variable WAYMESH_PROTOCOL"), "{text}");
}

#[test]
fn a_listener_speaks_a_protocol_of_the_same_file() {
    let text = "[[listener]]\naddress = ':1'\nprotocol = 'acme'\n";
    let config = accept(&format!("{text}{}", own_example()));
    let protocol = config.ingest.listeners[0].protocol.as_deref();
    assert_eq!(protocol, Some("acme"));
    // A listener is not blamed for what is wrong with its protocol.
    let wrong = "[[protocol]]\nname = 'acme'\nline = '(?<vehicle>'\n";
    refuse(
        &format!("{text}{wrong}"),
        &[(6, "protocol.line", "unclosed group", "crate `regex`")],
    );
}

/// Something is wrong in nearly every line.
const MANY_FAULTS: &str = r##"[[protocol]]
name = "nmea"
line = '(?<vehicel>\d+),(?<lat>\d+)'
time_format = "%H%M%S"
[[protocol]]
name = "Acme"
line = ['(?<vehicle>\d+),(?<time>\d+),(?<fule>\d+)', '(?<vehicle>[a-)', { match = 'x', repyl = 'y' }]
terminator = "!!"
[[protocol]]
name = "acme"
line = [
  '(?<vehicle>\d+),(?<time>\d+),(?<fule>\d+)',
  "(?<vehicle>\\d+),(?<speed_kmh>\\d+),(?<speed_mph>\\d+)",
  { match = '''(?<vehicle>\d{2})(?<lat>1)''', reply = "OK {seq}" },
  '(?<vehicle>(?:\w{1000}){1000})',
]
reply = "OK {"
refusal = "NO {vehicle} {reason}"
valid = 'A'
colour = 'red'
[protocol.attributes]
fuel = "float"
inputs = "text"
[[protocol]]
name = "acme"
line = '(?<vehicle>\d+)!'
[[protocol]]
line = 'beat'
[[protocol]]
name = "empty"
line = []
attributes = { weight = "heavy" }
"##;

/// What is wrong there, as (line, key, problem, remedy).
const ALL_OF_THEM: &[(usize, &str, &str, &str)] = &[
    (
        2,
        "protocol.name",
        "is a protocol that is built in",
        "another name",
    ),
    (
        3,
        "protocol.line",
        "`vehicel` is no group",
        "did you mean `vehicle`?",
    ),
    (
        3,
        "protocol.line",
        "`lat` needs the group `lon`",
        "(?<lon>..)",
    ),
    (4, "protocol.time_format", "year", "signs of strptime"),
    (6, "protocol.name", "`Acme` is no name", "small letters"),
    (
        7,
        "protocol.line",
        "`repyl` is no key of a line",
        "match = ..",
    ),
    (8, "protocol.terminator", "`!!` is not one", "line ends"),
    (9, "protocol.time_format", "is missing", "unix_ms"),
    (12, "protocol.line", "`fule` is no group", "fule = \"text\""),
    (
        13,
        "protocol.line",
        "`speed_kmh` and `speed_mph`",
        "take one",
    ),
    (
        14,
        "protocol.line",
        "`lat` needs the group `lon`",
        "(?<lon>..)",
    ),
    (
        15,
        "protocol.line",
        "compiles to more than",
        "several lines",
    ),
    (17, "protocol.reply", "a brace without", "`{{`"),
    (
        18,
        "protocol.refusal",
        "`reason` is no group",
        "only `{vehicle}`",
    ),
    (
        20,
        "protocol.colour",
        "unknown key",
        "known here: name, line",
    ),
    (
        23,
        "protocol.attributes",
        "`inputs` is integer",
        "\"integer\"",
    ),
    (25, "protocol.name", "`acme` is there twice", "another name"),
    (27, "protocol.name", "is missing", "a name"),
    (
        28,
        "protocol.line",
        "no line has the group `vehicle`",
        "(?<vehicle>..)",
    ),
    (31, "protocol.line", "0 expressions", "1 to 32"),
    (
        32,
        "protocol.attributes",
        "`heavy` is none of bool",
        "\"float\"",
    ),
];

#[test]
fn all_faults_of_all_protocols_are_told_at_once() {
    refuse(MANY_FAULTS, ALL_OF_THEM);
}

#[test]
fn a_fault_within_an_expression_is_shown_under_its_sign() {
    let text = shown("[[protocol]]\nname = 'a'\nline = '^\\$A,(?<vehicel>\\d+)$'\n");
    let lines: Vec<&str> = text.lines().take(5).collect();
    assert_eq!(
        lines,
        [
            "error: protocol.line: `vehicel` is no group that has a meaning",
            lines[1],
            "  |",
            r"3 | line = '^\$A,(?<vehicel>\d+)$'",
            r"  |                 ^^^^^^^",
        ]
    );
    assert!(lines[1].ends_with("waymesh.toml:3:17"), "{text}");
    // The same through the backslashes of double quotes, and over several lines.
    let text = shown("[[protocol]]\nname = 'a'\nline = \"^\\\\$A,(?<vehicel>\\\\d+)$\"\n");
    assert!(text.contains("waymesh.toml:3:18"), "{text}");
    assert!(text.contains("                  ^^^^^^^\n"), "{text}");
    let text =
        shown("[[protocol]]\nname = 'a'\nline = '''\n(?x) \\$A, # first\n(?<vehicel>\\d+)'''\n");
    assert!(text.contains("waymesh.toml:5:4"), "{text}");
    // Where escapes leave the place open, the whole text is shown.
    let text = shown("[[protocol]]\nname = 'a'\nline = \"\\u0041(?<vehicel>\\\\d+)\"\n");
    assert!(text.contains("waymesh.toml:3:8"), "{text}");
}

#[test]
fn an_answer_is_shown_where_it_is_wrong() {
    let text = shown(
        "[[protocol]]\nname = 'a'\nline = { match = '(?<vehicle>x)', reply = \"\\r\\nOK {seq}\" }\n",
    );
    assert!(
        text.contains("protocol.line.reply: `seq` is no group of line 1"),
        "{text}"
    );
    assert!(text.contains("waymesh.toml:3:52"), "{text}");
}

#[test]
fn a_protocol_that_would_be_taken_for_another_needs_a_port_of_its_own() {
    let own = |name: &str, line: &str| format!("[[protocol]]\nname = '{name}'\nline = '{line}'\n");
    let remedy = "a [[listener]] with `protocol = ";
    for (line, taken_for) in [
        (r"\$GPACME,(?<vehicle>\d+)", "is taken for `nmea`"),
        (r"(?<vehicle>\d{15})", "is taken for `nmea`"),
        (r"#ID#(?<vehicle>\w+)", "is taken for `wialon`"),
    ] {
        let text = own("acme", line);
        refuse(&text, &[(3, "protocol.line", taken_for, remedy)]);
        accept(&format!(
            "{text}[[listener]]\naddress = ':1'\nprotocol = 'acme'\n"
        ));
    }
    let two = own("one", r"[*](?<vehicle>\w+)") + &own("two", r"[*]+(?<vehicle>\d+)");
    refuse(&two, &[(6, "protocol.line", "is taken for `one`", remedy)]);
    // A line that names no vehicle is never the first.
    accept("[[protocol]]\nname = 'a'\nline = ['[*](?<vehicle>\\w+)', '\\$GPX']\n");
}

#[test]
fn an_expression_does_without_the_end_of_its_line() {
    let own =
        |line: &str, more: &str| format!("[[protocol]]\nname = 'a'\nline = '{line}'\n{more}\n");
    for (line, more) in [
        (r"(?<vehicle>x)\r\n", ""),
        (r"(?<vehicle>x)(?:\r|\n)", ""),
        (r"(?<vehicle>x)[#]", "terminator = '#'"),
    ] {
        refuse(
            &own(line, more),
            &[(3, "protocol.line", "comes without its end", "`terminator`")],
        );
    }
    accept(&own(r"(?<vehicle>x)(?:\r?\n)?", ""));
    accept(&own("(?<vehicle>x)(?:#|;)", "terminator = '#'"));
    accept(&own("(?<vehicle>[^,]+),[#;]", "terminator = '#'"));
}

#[test]
fn there_is_a_limit_to_protocols() {
    let own =
        |number| format!("[[protocol]]\nname = 'a{number}'\nline = '{number}!(?<vehicle>x)'\n");
    let text: String = (0..33).map(own).collect();
    refuse(&text, &[(97, "protocol", "more than 32", "take some")]);
}

#[test]
fn check_config_prints_protocols_as_they_can_be_read_again() {
    let text = own_example()
        + "[[protocol]]\nname = 'b'\nline = \"[*]'(?<vehicle>\\\\d+)\\\"\\t\"\nterminator = '#'\n\
           [[listener]]\naddress = ':1'\nprotocol = 'b'\n";
    let config = accept(&text);
    let (_folder, path) = file(&text);
    let mut out = Vec::new();
    let code = check_config(Some(&path), Environment::default(), Paint::Plain, &mut out).unwrap();
    let effective = String::from_utf8(out).unwrap();
    assert_eq!(code, 0, "{effective}");
    assert!(
        effective.contains("\n[[protocol]]\nname = \"acme\"\n"),
        "{effective}"
    );
    assert!(
        effective.contains(r#"reply = "OK {vehicle}\r\n""#),
        "{effective}"
    );
    assert_eq!(accept(&effective), config);
}
