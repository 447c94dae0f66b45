//! Who goes before whom, both sides of every bound, and the registry against the documents.

use super::*;

/// Settings out of these variables, flags and file.
pub fn load(
    env: &[(&str, &str)],
    flags: &[(&'static str, &str)],
    file: Option<&str>,
) -> Result<(Settings, Vec<String>), SettingsError> {
    let flags = flags.iter().map(|(flag, text)| (*flag, (*text).to_owned())).collect();
    Settings::load(&Sources {
        env: &|name| {
            let found = env.iter().find(|(known, _)| *known == name);
            found.map(|(_, text)| (*text).to_owned())
        },
        flags: &flags,
        read: &|path| {
            let usual = path == Path::new(CONFIG_FILE);
            Ok(file.filter(|_| usual).map(str::to_owned))
        },
        is_root: true,
    })
}

fn collect_interval_ms(env: &[(&str, &str)], flags: &[(&'static str, &str)], file: Option<&str>) -> i64 {
    load(env, flags, file).unwrap().0.collect_interval_ms
}

#[test]
fn environment_goes_before_flag_before_file_before_default() {
    let env = [("EDGEWATCH_COLLECT_INTERVAL", "1s")];
    let alias = [("COLLECT_INTERVAL", "2s")];
    let flag = [("collect-interval", "3s")];
    let file = Some(r#"collect_interval = "4s""#);
    let both = [env[0], alias[0]];
    assert_eq!(collect_interval_ms(&both, &flag, file), 1_000);
    assert_eq!(collect_interval_ms(&alias, &flag, file), 2_000);
    assert_eq!(collect_interval_ms(&[], &flag, file), 3_000);
    assert_eq!(collect_interval_ms(&[], &[], file), 4_000);
    assert_eq!(collect_interval_ms(&[], &[], None), 10_000);
    assert_eq!(collect_interval_ms(&[("COLLECT_INTERVAL", "")], &[], None), 10_000);
}

#[test]
fn miniobservs_variables_are_read() {
    let env = [
        ("SERVER_URL", "https://watch.example"),
        ("AGENT_TOKEN", "t"),
        ("AGENT_HOST", "web-01"),
        ("COLLECT_INTERVAL", "30s"),
        ("LOG_LEVEL", "WARN"),
    ];
    let (settings, warnings) = load(&env, &[], None).unwrap();
    assert_eq!(settings.server_url(None).unwrap().to_string(), "https://watch.example");
    assert_eq!(settings.token.as_deref(), Some("t"));
    assert_eq!(settings.host_name(String::new).unwrap().as_str(), "web-01");
    assert_eq!((settings.collect_interval_ms, settings.log_level), (30_000, LevelFilter::Warn));
    assert_eq!(warnings, [""; 0]);
}

#[test]
fn bounds_hold_on_both_sides_and_a_bad_value_warns_and_falls_back() {
    for (variable, text, ms) in [
        ("EDGEWATCH_COLLECT_INTERVAL", "999ms", None),
        ("EDGEWATCH_COLLECT_INTERVAL", "1s", Some(1_000)),
        ("EDGEWATCH_COLLECT_INTERVAL", "5m", Some(300_000)),
        ("EDGEWATCH_COLLECT_INTERVAL", "5m1ms", None),
        ("EDGEWATCH_COLLECT_INTERVAL", "soon", None),
        ("EDGEWATCH_PUSH_INTERVAL", "999ms", None),
        ("EDGEWATCH_PUSH_INTERVAL", "1s", Some(1_000)),
        ("EDGEWATCH_PUSH_INTERVAL", "1h", Some(3_600_000)),
        ("EDGEWATCH_PUSH_INTERVAL", "1h1ms", None),
    ] {
        let (settings, warnings) = load(&[(variable, text)], &[], None).unwrap();
        let (told, default) = if variable.contains("COLLECT") {
            (settings.collect_interval_ms, 10_000)
        } else {
            (settings.push_interval_ms, 60_000)
        };
        assert_eq!(told, ms.unwrap_or(default), "{text}");
        assert_eq!(warnings.len(), usize::from(ms.is_none()), "{text}");
        for warning in warnings {
            assert!(warning.contains(variable) && warning.contains(text), "{warning}");
            assert!(warning.contains("from 1s to"), "{warning}");
        }
    }
}

#[test]
fn the_spool_and_the_switches_fall_back_too() {
    for (variable, good, bad) in [
        ("EDGEWATCH_SPOOL_SIZE", "1MiB", "1023KiB"),
        ("EDGEWATCH_SPOOL_SIZE", "16GiB", "16385MiB"),
        ("EDGEWATCH_SPOOL_AGE", "1h", "59m"),
        ("EDGEWATCH_SPOOL_AGE", "7d", "7d1s"),
        ("EDGEWATCH_SPOOL_FULL", "drop-oldest", "oldest"),
        ("EDGEWATCH_LOG_LEVEL", "debug", "loud"),
        ("EDGEWATCH_LOG_LEVEL", "error", "off"),
        ("EDGEWATCH_ALLOW_PLAIN_HTTP", "true", "maybe"),
    ] {
        assert_eq!(load(&[(variable, good)], &[], None).unwrap().1.len(), 0, "{good}");
        let (settings, warnings) = load(&[(variable, bad)], &[], None).unwrap();
        assert_eq!(warnings.len(), 1, "{bad}");
        let Limits { bytes_max, age_ms_max, when_full } = settings.spool;
        assert_eq!((bytes_max, age_ms_max), (64 << 20, 604_800_000), "{bad}");
        assert_eq!((when_full, settings.log_level), (WhenFull::DropNewest, LevelFilter::Info), "{bad}");
        assert!(!settings.allow_plain_http);
    }
}

#[test]
fn without_a_server_the_message_names_the_variable() {
    let (settings, _) = load(&[], &[], None).unwrap();
    let message = settings.server_url(None).unwrap_err().to_string();
    assert!(message.contains("EDGEWATCH_URL"), "{message}");
    let enrolled_at = Said { text: "https://enrolled.example".into(), origin: "credentials".into() };
    assert!(settings.server_url(Some(enrolled_at.clone())).is_ok());
    let (settings, _) = load(&[("EDGEWATCH_URL", "https://told.example")], &[], None).unwrap();
    let url = settings.server_url(Some(enrolled_at)).unwrap();
    assert_eq!(url.to_string(), "https://told.example");
}

#[test]
fn a_bad_server_or_name_is_an_error_that_names_who_said_it() {
    let (settings, _) = load(&[("SERVER_URL", "watch")], &[("name", "a\tb")], None).unwrap();
    let url = settings.server_url(None).unwrap_err().to_string();
    assert!(url.starts_with("SERVER_URL: "), "{url}");
    let name = settings.host_name(String::new).unwrap_err().to_string();
    assert!(name.starts_with("--name: ") && name.contains("EDGEWATCH_NAME"), "{name}");
    let (settings, _) = load(&[], &[], None).unwrap();
    let own = settings.host_name(String::new).unwrap_err().to_string();
    assert!(own.contains("EDGEWATCH_NAME"), "{own}");
}

#[test]
fn every_key_with_a_typo_is_an_error_that_tells_the_key() {
    for key in registry::file_keys() {
        let (first, rest) = key.split_at(1);
        for typo in [format!("{key}x"), format!("{first}_{rest}")] {
            let error = load(&[], &[], Some(&format!("{typo} = \"1\""))).unwrap_err().to_string();
            let told = format!("unknown key {typo:?}; did you mean {key:?}?");
            assert!(error.ends_with(&told), "{error}");
        }
    }
    // What has no key in the file is unknown to it.
    let error = load(&[], &[], Some("config = \"x\"")).unwrap_err().to_string();
    assert!(error.contains("unknown key \"config\""), "{error}");
}

#[test]
fn a_file_takes_texts_numbers_and_switches_and_nothing_else() {
    let file = "traffic_reset_day = 7\nallow_plain_http = true\nname = \"web\"\n";
    let (settings, warnings) = load(&[], &[], Some(file)).unwrap();
    assert_eq!((settings.collection.traffic_reset_day, settings.allow_plain_http), (7, true));
    assert_eq!(warnings, [""; 0]);
    for bad in ["traffic_reset_day = [7]", "traffic_reset_day = ", "url = 1.5"] {
        assert!(matches!(load(&[], &[], Some(bad)), Err(SettingsError::File { .. })), "{bad}");
    }
}

#[test]
fn a_list_is_an_array_in_the_file_and_has_commas_elsewhere() {
    let file = "interfaces_exclude = [\"*\", \"!eth0\"]\ndevices_exclude = \"sd*\"\n";
    let (settings, warnings) = load(&[], &[("devices-exclude", "vd*, nvme*")], Some(file)).unwrap();
    let exclude = settings.collection.exclude;
    assert!(exclude.interfaces.matches("eth1") && !exclude.interfaces.matches("eth0"));
    assert!(exclude.devices.matches("nvme0n1") && !exclude.devices.matches("sda"));
    assert_eq!(warnings, [""; 0]);
    for bad in ["interfaces_exclude = [7]", "interfaces_exclude = [\"a,b\"]", "url = [\"a\"]"] {
        assert!(matches!(load(&[], &[], Some(bad)), Err(SettingsError::File { .. })), "{bad}");
    }
}

#[test]
fn names_and_collectors_that_nobody_knows_are_warned_of() {
    for (variable, good, bad) in [
        ("EDGEWATCH_NAMES", "node_exporter", "telegraf"),
        ("EDGEWATCH_COLLECTORS_OFF", "cpu, itself", "cpu, gpu"),
        ("EDGEWATCH_NETWORK_FILE_SYSTEMS", "true", "some"),
    ] {
        assert_eq!(load(&[(variable, good)], &[], None).unwrap().1.len(), 0, "{good}");
        let (settings, warnings) = load(&[(variable, bad)], &[], None).unwrap();
        assert!(warnings.len() == 1 && warnings[0].contains(bad), "{warnings:?}");
        assert_eq!(settings.collection.naming, Naming::Edgewatch);
        assert!(settings.collection.off.is_empty() && !settings.collection.network_file_systems);
    }
}

#[test]
fn the_document_of_the_switch_names_every_collector() {
    let doc = registry::by_key("collectors_off").unwrap().doc;
    for (noun, _) in NOUNS {
        assert!(doc.contains(&format!(" {noun}")), "{noun}");
    }
}

#[test]
fn a_file_that_was_named_must_exist() {
    let error = load(&[], &[("config", "/nowhere.toml")], None).unwrap_err().to_string();
    assert!(error.contains("/nowhere.toml") && error.contains("--config"), "{error}");
}

#[test]
fn the_state_lies_where_its_owner_may_write() {
    let dir = |is_root, env: &[(&str, &str)]| {
        let sources = Sources {
            env: &|name| env.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).into()),
            flags: &BTreeMap::new(),
            read: &|_| Ok(None),
            is_root,
        };
        Settings::load(&sources).map(|(settings, _)| settings.state_dir.display().to_string())
    };
    assert_eq!(dir(true, &[]).unwrap(), "/var/lib/edgewatch-agent");
    assert_eq!(dir(false, &[("HOME", "/home/me")]).unwrap(), "/home/me/.local/state/edgewatch-agent");
    assert_eq!(dir(false, &[("HOME", "/home/me"), ("XDG_STATE_HOME", "/s")]).unwrap(), "/s/edgewatch-agent");
    assert_eq!(dir(true, &[("EDGEWATCH_STATE_DIR", "/d")]).unwrap(), "/d");
    assert!(dir(false, &[]).unwrap_err().to_string().contains("EDGEWATCH_STATE_DIR"));
}

#[test]
fn defaults_are_what_the_registry_says() {
    let (settings, _) = load(&[], &[], None).unwrap();
    let told = |key| registry::by_key(key).unwrap().default;
    assert_eq!(duration::parse_ms(told("collect_interval")), Some(settings.collect_interval_ms));
    assert_eq!(duration::parse_ms(told("push_interval")), Some(settings.push_interval_ms));
    assert_eq!(size::parse_bytes(told("spool_size")), Some(settings.spool.bytes_max));
    assert_eq!(duration::parse_ms(told("spool_age")), Some(settings.spool.age_ms_max));
    assert_eq!((told("spool_full"), settings.spool.when_full), ("drop-newest", WhenFull::DropNewest));
    assert_eq!(told("log_level"), settings.log_level.to_string().to_lowercase());
    assert_eq!(told("allow_plain_http"), settings.allow_plain_http.to_string());
}

#[test]
fn every_setting_has_a_row_in_the_document() {
    let document = include_str!("../../../docs/agent.md");
    for setting in SETTINGS {
        let env = match setting.alias {
            Some(alias) => format!("`{}`, `{alias}`", setting.env),
            None => format!("`{}`", setting.env),
        };
        let value = if setting.value.is_empty() { String::new() } else { format!(" {}", setting.value) };
        let key = if setting.key == CONFIG.key { "" } else { setting.key };
        let key = if key.is_empty() { "–".to_owned() } else { format!("`{key}`") };
        let default = if setting.default.is_empty() { "–" } else { setting.default };
        let row = format!("| {key} | {env} | `--{}{value}` | {default} | {} |", setting.flag, setting.doc);
        assert!(document.contains(&row), "docs/agent.md lacks this row:\n{row}");
    }
}

#[test]
fn a_fault_in_the_file_is_told_by_its_line_without_what_stands_there() {
    for (text, line) in [
        ("token = eyJhbGciOi.secret", 1),
        ("url = \"https://watch.example\"\n\ntoken = \"secret", 3),
        ("token = 'secret' 'secret'", 1),
        ("name = \"a\"\ntoken = \"secret\"\ntoken = \"secret\"\n", 3),
        ("token = [secret", 1),
    ] {
        let error = load(&[], &[], Some(text)).unwrap_err().to_string();
        assert!(error.contains(&format!("{CONFIG_FILE}: line {line}: ")), "{error}");
        assert!(!error.contains("secret") && !error.contains("eyJ") && error.lines().count() == 1, "{error}");
    }
}
