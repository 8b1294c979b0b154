//! Secrets: what a file may hold, who may read it, and how two nodes make one together.

use super::*;

const ONE: &str = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";
const TWO: &str = "f0112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Places below a folder, of which only the data folder exists.
fn places(folder: &Path) -> SecretPlaces {
    let data = folder.join("data");
    fs::create_dir_all(&data).unwrap();
    SecretPlaces {
        config_home: None,
        home: Some(folder.join("home").into()),
        data,
    }
}

#[test]
fn a_file_holds_one_secret_or_two_and_comments() {
    let one = Secrets::parse(&format!("{ONE}\n")).unwrap();
    assert_eq!(one.as_slice()[0].to_hex(), ONE.to_lowercase());
    assert_eq!(one.as_slice().len(), 1);
    let text = format!("# since May\n\n  {TWO} # new\r\n{ONE}");
    let both = Secrets::parse(&text).unwrap();
    assert_eq!(both.as_slice()[0].to_hex(), TWO);
    assert_eq!(both.as_slice()[1..], one.as_slice()[..]);
}

#[test]
fn what_is_no_secret_is_refused_by_line_and_never_shown() {
    for (text, expected) in [
        (String::new(), "it holds none"),
        ("# nothing\n".into(), "it holds none"),
        (
            format!("\n{}", ONE.strip_prefix('0').unwrap()),
            "line 2: these are not 64 hex digits",
        ),
        (format!("{ONE}0"), "line 1: these are not 64 hex digits"),
        (
            format!("é{}", ONE.strip_prefix("00").unwrap()),
            "line 1: these are not 64 hex digits",
        ),
        (
            "5".repeat(64),
            "line 1: all bytes are the same, which anybody guesses",
        ),
        (
            format!("{ONE} {TWO}"),
            "line 1: these are not 64 hex digits",
        ),
        (
            format!("{ONE}\n{TWO}\n{ONE}"),
            "it holds 3 secrets, at most two count",
        ),
    ] {
        let error = Secrets::parse(&text).unwrap_err();
        assert_eq!(error, expected, "{text:?}");
        assert!(!error.contains("2233"), "{error}");
    }
}

#[test]
fn a_secret_is_not_shown_by_debug() {
    let secrets = Secrets::parse(&format!("{ONE}\n{TWO}")).unwrap();
    assert_eq!(
        format!("{secrets:?}"),
        "Secrets([Secret(hidden), Secret(hidden)])"
    );
}

#[test]
fn a_file_that_others_may_read_is_refused_with_the_remedy() {
    let folder = folder();
    let path = folder.path().join("secret");
    for mode in [0o640, 0o604, 0o660, 0o610] {
        write(&path, ONE, mode);
        let error = Secrets::read(&path).unwrap_err().to_string();
        assert!(
            error.contains(&format!("`chmod 600 {}`", path.display())),
            "{error}"
        );
        assert!(error.contains(&format!("{mode:04o}")), "{error}");
    }
    for mode in [0o600, 0o400, 0o700] {
        write(&path, ONE, mode);
        assert!(Secrets::read(&path).is_ok());
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn what_is_no_plain_short_text_is_refused() {
    let folder = folder();
    let error = Secrets::read(folder.path()).unwrap_err().to_string();
    assert!(error.contains("no plain file"), "{error}");
    let path = folder.path().join("secret");
    write(&path, &"#".repeat(5_000), 0o600);
    let error = Secrets::read(&path).unwrap_err().to_string();
    assert!(error.contains("longer than 4096 bytes"), "{error}");
    fs::write(&path, [0xff, 0xfe]).unwrap();
    let error = Secrets::read(&path).unwrap_err().to_string();
    assert!(error.contains("it is no text"), "{error}");
}

#[test]
fn the_users_own_secret_is_made_once_and_is_his_alone() {
    let folder = folder();
    let places = places(folder.path());
    let first = LoadedSecrets::load(None, &places).unwrap();
    assert!(first.is_new);
    assert_eq!(
        first.path,
        folder.path().join("home/.config/waymesh/secret")
    );
    assert_eq!(mode_of(&first.path), 0o600);
    assert_eq!(mode_of(first.path.parent().unwrap()), 0o700);
    let again = LoadedSecrets::load(None, &places).unwrap();
    assert!(!again.is_new);
    assert_eq!(again.secrets, first.secrets);
    let names = fs::read_dir(first.path.parent().unwrap()).unwrap();
    assert_eq!(names.count(), 1, "something was left behind");
}

#[test]
fn the_settings_folder_goes_before_home_and_home_before_data() {
    let candidates = |config_home: Option<&str>, home: Option<&str>| {
        let places = SecretPlaces {
            config_home: config_home.map(Into::into),
            home: home.map(Into::into),
            data: "/data".into(),
        };
        let candidates = places.candidates();
        let texts = candidates.iter().map(|path| path.display().to_string());
        texts.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        candidates(Some("/s"), Some("/h")),
        "/s/waymesh/secret /data/secret"
    );
    assert_eq!(
        candidates(None, Some("/h")),
        "/h/.config/waymesh/secret /data/secret"
    );
    assert_eq!(
        candidates(Some(""), Some("/h")),
        "/h/.config/waymesh/secret /data/secret"
    );
    assert_eq!(candidates(Some("s"), Some("h")), "/data/secret");
    assert_eq!(candidates(None, None), "/data/secret");
}

#[test]
fn where_home_cannot_be_written_the_data_folder_serves_and_stays() {
    let folder = folder();
    let mut places = places(folder.path());
    // A file where a folder is needed: nobody can write below it, not even root.
    fs::write(folder.path().join("home"), "").unwrap();
    let made = LoadedSecrets::load(None, &places).unwrap();
    assert!(made.is_new);
    assert_eq!(made.path, places.data.join("secret"));
    // Once it is there it is the node's secret, also when home has come.
    fs::remove_file(folder.path().join("home")).unwrap();
    assert_eq!(
        LoadedSecrets::load(None, &places).unwrap().secrets,
        made.secrets
    );
    places.data = folder.path().join("home");
    places.home = None;
    fs::write(folder.path().join("home"), "").unwrap();
    let error = LoadedSecrets::load(None, &places).unwrap_err();
    assert!(matches!(error, SecretError::NoPlace(_)), "{error}");
}

#[test]
fn a_file_that_is_there_is_never_passed_over_or_overwritten() {
    let folder = folder();
    let places = places(folder.path());
    let path = LoadedSecrets::load(None, &places).unwrap().path;
    write(&path, "rubbish", 0o600);
    assert!(matches!(
        LoadedSecrets::load(None, &places),
        Err(SecretError::Damaged { .. })
    ));
    assert!(matches!(write_new(&path), Err(SecretError::Exists(_))));
    assert_eq!(fs::read_to_string(&path).unwrap(), "rubbish");
}

#[test]
fn a_named_file_is_never_made() {
    let folder = folder();
    let path = folder.path().join("named");
    let error = LoadedSecrets::load(Some(&path), &places(folder.path())).unwrap_err();
    assert!(matches!(error, SecretError::System(..)), "{error}");
    assert!(!path.exists());
    write(&path, TWO, 0o600);
    let loaded = LoadedSecrets::load(Some(&path), &places(folder.path())).unwrap();
    assert_eq!(loaded.secrets.as_slice()[0].to_hex(), TWO);
    assert!(!loaded.is_new);
}

#[test]
fn nodes_that_start_together_read_the_same_secret() {
    for _ in 0..20 {
        let folder = folder();
        let places = places(folder.path());
        let barrier = std::sync::Barrier::new(4);
        let start = || {
            barrier.wait();
            LoadedSecrets::load(None, &places).unwrap()
        };
        let loaded: Vec<LoadedSecrets> = std::thread::scope(|scope| {
            let nodes: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
            nodes.into_iter().map(|node| node.join().unwrap()).collect()
        });
        assert_eq!(loaded.iter().filter(|one| one.is_new).count(), 1);
        assert!(loaded.iter().all(|one| one.secrets == loaded[0].secrets));
    }
}
