//! What an operator can decide. Environment goes before flag, flag before file, file before default.

pub mod collection;
mod duration;
pub mod patterns;
pub mod registry;
mod size;

use crate::{
    collectors::NOUNS,
    server_url::{ServerUrl, UrlError},
    spool::{Limits, WhenFull},
    update::RELEASES_URL,
};
use collection::{Collection, Excludes, Naming, TRAFFIC_RESET_DAY};
use edgewatch_shared::{
    HostName,
    catalogue::nearest_of,
    host::HostNameError,
    limits::{DAY_MS, HOUR_MS},
};
use log::LevelFilter;
use patterns::Patterns;
use registry::{CONFIG, LIST, SETTINGS, Setting};
use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

/// Bounds of `collect_interval` in ms. Reason: below, the agent is the load; above, a chart has holes.
pub const COLLECT_INTERVAL_MS: RangeInclusive<i64> = 1_000..=300_000;
/// Bounds of `push_interval` in ms. Reason: below, requests are the cost; above, nobody knows whether the host lives.
pub const PUSH_INTERVAL_MS: RangeInclusive<i64> = 1_000..=3_600_000;
/// Bounds of `spool_size` in bytes. Reason: below, it has no segments to speak of; above, reading it takes minutes at the start.
pub const SPOOL_BYTES: RangeInclusive<u64> = 1 << 20..=16 << 30;
/// Bounds of `spool_age` in ms. Reason: below, a night's outage is lost; above, the server refuses what it is sent.
pub const SPOOL_AGE_MS: RangeInclusive<i64> = HOUR_MS..=7 * DAY_MS;

/// Where the configuration file is looked for if nobody names one.
const CONFIG_FILE: &str = "/etc/edgewatch/agent.toml";
/// Where root's agent, which is the host's, keeps its state.
pub const STATE_DIR_OF_ROOT: &str = "/var/lib/edgewatch-agent";

/// Why the agent cannot work with what it was told.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The configuration file cannot be read.
    #[error("configuration file {path}: {why}")]
    File {
        /// Which file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The file has a key that is no setting.
    #[error("configuration file {path}: unknown key {key:?}; did you mean {nearest:?}?")]
    UnknownKey {
        /// Which file.
        path: String,
        /// The key.
        key: String,
        /// What it may have meant.
        nearest: &'static str,
    },
    /// Nobody said where the server is.
    #[error(
        "no server: set EDGEWATCH_URL (or --url, or url in the configuration file), or enrol this host: edgewatch-agent enroll URL TOKEN"
    )]
    NoUrl,
    /// What was said is no server.
    #[error("{origin}: {error}")]
    Url {
        /// Who said it.
        origin: String,
        /// What is wrong with it.
        error: UrlError,
    },
    /// Neither enrolled nor given a token.
    #[error(
        "this host is not enrolled ({0} is not there): run edgewatch-agent enroll URL TOKEN, or set EDGEWATCH_TOKEN to a push token"
    )]
    NoIdentity(String),
    /// No legal name for the host.
    #[error("{origin}: {error}; set EDGEWATCH_NAME")]
    Name {
        /// Who said it.
        origin: String,
        /// What is wrong with it.
        error: HostNameError,
    },
    /// No directory to keep credentials in.
    #[error("no directory for the state: set EDGEWATCH_STATE_DIR (neither XDG_STATE_HOME nor HOME is set)")]
    NoStateDir,
}

/// A value and who said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The value as it was said.
    pub text: String,
    /// The variable, flag or file.
    pub origin: String,
}

/// The settings of one run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What environment and flags say, unread: what a service would not hear.
    pub said: Vec<(&'static str, String)>,
    /// The server, unread.
    pub url: Option<Said>,
    /// The file's alone, which goes before that of an enrolment.
    pub url_in_file: Option<Said>,
    /// A push or enrolment token.
    pub token: Option<String>,
    /// The host's name, unread.
    pub name: Option<Said>,
    /// Milliseconds between readings.
    pub collect_interval_ms: i64,
    /// Milliseconds between pushes.
    pub push_interval_ms: i64,
    /// How much the spool keeps.
    pub spool: Limits,
    /// Where credentials and the spool lie.
    pub state_dir: PathBuf,
    /// What to say.
    pub log_level: LevelFilter,
    /// Certificates in place of Mozilla's list: a file.
    pub ca_file: Option<Said>,
    /// What is said of proxies.
    pub proxies: Proxies,
    /// Where releases are, unread.
    pub update_url: String,
    /// Whether http:// may leave this machine.
    pub allow_plain_http: bool,
    /// What is collected.
    pub collection: Collection,
}

/// What is said of proxies, unread.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// The setting.
    pub setting: Option<Said>,
    /// What every program goes by, for https://.
    pub https: Option<Said>,
    /// What every program goes by, for anything.
    pub all: Option<Said>,
    /// Hosts that are reached without.
    pub none: Option<String>,
}

/// Where settings come from.
pub struct Sources<'a> {
    /// Looks up an environment variable.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// Values by flag, without dashes.
    pub flags: &'a BTreeMap<&'static str, String>,
    /// Reads a file; `None` if it does not exist.
    pub read: &'a dyn Fn(&Path) -> std::io::Result<Option<String>>,
    /// Whether the agent runs as root.
    pub is_root: bool,
}

impl Settings {
    /// Gathers the settings. Beside them come warnings: optional values that could not be used, and what holds instead.
    pub fn load(sources: &Sources<'_>) -> Result<(Self, Vec<String>), SettingsError> {
        let file = read_file(sources)?;
        let mut reader = Reader { sources, file, warnings: Vec::new() };
        let state_dir = match reader.said("state_dir") {
            Some(said) => PathBuf::from(said.text),
            None => default_state_dir(sources)?,
        };
        let said = |setting: &Setting| Some((setting.key, said_before_file(sources, setting)?.text));
        let settings = Self {
            said: SETTINGS.iter().filter_map(said).collect(),
            url_in_file: reader.said_in_file("url"),
            collection: reader.collection(&state_dir),
            url: reader.said("url"),
            token: reader.said("token").map(|said| said.text),
            name: reader.said("name"),
            collect_interval_ms: reader.duration("collect_interval", 10_000, COLLECT_INTERVAL_MS),
            push_interval_ms: reader.duration("push_interval", 60_000, PUSH_INTERVAL_MS),
            spool: reader.spool(),
            log_level: reader.optional(
                "log_level",
                LevelFilter::Info,
                "one of error, warn, info and debug",
                |text| {
                    let level = text.parse().ok();
                    level.filter(|level| (LevelFilter::Error..=LevelFilter::Debug).contains(level))
                },
            ),
            ca_file: reader.said("ca_file"),
            update_url: reader.said("update_url").map_or_else(|| RELEASES_URL.to_owned(), |said| said.text),
            proxies: Proxies {
                setting: reader.said("proxy"),
                https: variable(sources, &["HTTPS_PROXY", "https_proxy"]),
                all: variable(sources, &["ALL_PROXY", "all_proxy"]),
                none: variable(sources, &["NO_PROXY", "no_proxy"]).map(|said| said.text),
            },
            allow_plain_http: reader
                .optional("allow_plain_http", false, "true or false", |text| text.parse().ok()),
            state_dir,
        };
        Ok((settings, reader.warnings))
    }

    /// The server, as said or as the host enrolled at.
    pub fn server_url(&self, enrolled_at: Option<Said>) -> Result<ServerUrl, SettingsError> {
        let said = self.url.clone().or(enrolled_at).ok_or(SettingsError::NoUrl)?;
        ServerUrl::parse(&said.text, self.allow_plain_http)
            .map_err(|error| SettingsError::Url { origin: said.origin, error })
    }

    /// What environment or flags say of a key.
    pub fn said(&self, key: &str) -> Option<&str> {
        self.said.iter().find(|(known, _)| *known == key).map(|(_, text)| text.as_str())
    }

    /// Where releases are. Plain HTTP only to this machine itself.
    pub fn releases_url(&self) -> Result<ServerUrl, SettingsError> {
        ServerUrl::parse(&self.update_url, self.allow_plain_http)
            .map_err(|error| SettingsError::Url { origin: "update_url".to_owned(), error })
    }

    /// The host's name, as said or as the operating system has it.
    pub fn host_name(&self, own: impl FnOnce() -> String) -> Result<HostName, SettingsError> {
        let said = self
            .name
            .clone()
            .unwrap_or_else(|| Said { text: own(), origin: "the host's own name".to_owned() });
        let name = said.text.trim().to_owned();
        name.try_into().map_err(|error| SettingsError::Name { origin: said.origin, error })
    }
}

/// What a configuration file says.
struct ConfigFile {
    path: String,
    values: BTreeMap<&'static str, String>,
}

/// Looks settings up, and remembers what it could not use.
struct Reader<'a> {
    sources: &'a Sources<'a>,
    file: Option<ConfigFile>,
    warnings: Vec<String>,
}

impl Reader<'_> {
    fn said(&self, key: &str) -> Option<Said> {
        let setting = SETTINGS.iter().find(|setting| setting.key == key)?;
        said_before_file(self.sources, setting).or_else(|| self.said_in_file(key))
    }

    fn said_in_file(&self, key: &str) -> Option<Said> {
        let ConfigFile { path, values } = self.file.as_ref()?;
        Some(Said { text: values.get(key)?.clone(), origin: format!("{key} in {path}") })
    }

    /// A value that has a default: what cannot be read is warned of, and the default holds.
    fn optional<T>(&mut self, key: &str, default: T, expected: &str, read: impl Fn(&str) -> Option<T>) -> T {
        let Some(said) = self.said(key) else {
            return default;
        };
        read(said.text.trim()).unwrap_or_else(|| {
            let fallback =
                SETTINGS.iter().find(|setting| setting.key == key).map_or("", |setting| setting.default);
            self.warnings.push(format!(
                "{} is {:?}, which is not {expected}; using {fallback}",
                said.origin, said.text
            ));
            default
        })
    }

    /// What is collected: the settings of collectors.
    fn collection(&mut self, state_dir: &Path) -> Collection {
        let text = |reader: &Self, key| reader.said(key).map(|said| said.text);
        let patterns = |reader: &Self, key| Patterns::parse(&text(reader, key).unwrap_or_default());
        let naming = self.optional("names", Naming::Edgewatch, "edgewatch or node_exporter", Naming::parse);
        let off = self.optional("collectors_off", Patterns::default(), "a list of collectors", |text| {
            let is_noun = |item: &str| NOUNS.iter().any(|(noun, _)| *noun == item);
            patterns::items(text).all(is_noun).then(|| Patterns::parse(text))
        });
        let network_file_systems =
            self.optional("network_file_systems", false, "true or false", |text| text.parse().ok());
        let reset_day = self.optional("traffic_reset_day", 1, "a day from 1 to 28", |text| {
            text.parse().ok().filter(|day| TRAFFIC_RESET_DAY.contains(day))
        });
        let exclude = Excludes {
            interfaces: text(self, "interfaces_exclude"),
            devices: text(self, "devices_exclude"),
            file_systems: text(self, "file_systems_exclude"),
            mounts: text(self, "mounts_exclude"),
        };
        Collection {
            naming,
            off,
            metrics_exclude: patterns(self, "metrics_exclude"),
            exclude: exclude.or_defaults(naming),
            network_file_systems,
            units: patterns::items(&text(self, "units").unwrap_or_default()).map(str::to_owned).collect(),
            container_socket: text(self, "container_socket").map(PathBuf::from),
            traffic_reset_day: reset_day,
            state_dir: state_dir.to_owned(),
        }
    }

    /// How much the spool keeps.
    fn spool(&mut self) -> Limits {
        let size = "a size from 1MiB to 16GiB";
        let bytes_max = self.optional("spool_size", 64 << 20, size, |text| {
            size::parse_bytes(text).filter(|bytes| SPOOL_BYTES.contains(bytes))
        });
        let age_ms_max =
            self.optional("spool_age", 7 * DAY_MS, "a duration such as 12h or 7d from 1h to 7d", |text| {
                duration::parse_ms(text).filter(|ms| SPOOL_AGE_MS.contains(ms))
            });
        let which = "drop-newest or drop-oldest";
        let when_full = self.optional("spool_full", WhenFull::DropNewest, which, |text| match text {
            "drop-newest" => Some(WhenFull::DropNewest),
            "drop-oldest" => Some(WhenFull::DropOldest),
            _ => None,
        });
        Limits { bytes_max, age_ms_max, when_full }
    }

    fn duration(&mut self, key: &str, default_ms: i64, bounds_ms: RangeInclusive<i64>) -> i64 {
        let seconds = |ms: &i64| ms / 1_000;
        let expected = format!(
            "a duration such as 30s or 1m from {}s to {}s",
            seconds(bounds_ms.start()),
            seconds(bounds_ms.end())
        );
        self.optional(key, default_ms, &expected, |text| {
            duration::parse_ms(text).filter(|ms| bounds_ms.contains(ms))
        })
    }
}

/// What environment or flag say.
fn said_before_file(sources: &Sources<'_>, setting: &Setting) -> Option<Said> {
    let flag = || {
        Some(Said { text: sources.flags.get(setting.flag)?.clone(), origin: format!("--{}", setting.flag) })
    };
    let names = [Some(setting.env), setting.alias];
    variable(sources, names.as_slice().iter().flatten()).or_else(flag)
}

/// What the first of these variables says; an empty one says nothing.
fn variable<'a>(sources: &Sources<'_>, names: impl IntoIterator<Item = &'a &'a str>) -> Option<Said> {
    let said = |name: &&str| {
        let text = (sources.env)(name).filter(|text| !text.is_empty())?;
        Some(Said { text, origin: (*name).to_owned() })
    };
    names.into_iter().find_map(said)
}

/// The file's path and values. A file that was named must exist; the usual one may.
fn read_file(sources: &Sources<'_>) -> Result<Option<ConfigFile>, SettingsError> {
    let named = said_before_file(sources, &CONFIG);
    let path = named.as_ref().map_or(CONFIG_FILE, |said| &said.text).to_owned();
    let fault = |why: String| SettingsError::File { path: path.clone(), why };
    match (sources.read)(Path::new(&path)) {
        Ok(Some(text)) => {
            let values = parse_file(&path, &text)?;
            Ok(Some(ConfigFile { path, values }))
        }
        Ok(None) => match named {
            Some(said) => Err(fault(format!("it does not exist, and {} names it", said.origin))),
            None => Ok(None),
        },
        Err(error) => Err(fault(error.to_string())),
    }
}

fn parse_file(path: &str, text: &str) -> Result<BTreeMap<&'static str, String>, SettingsError> {
    let fault = |why: String| SettingsError::File { path: path.to_owned(), why };
    // Without the line itself, which an error would show: it may have the token.
    let at_line = |error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        format!("line {}: {}", before.matches('\n').count().saturating_add(1), error.message())
    };
    let table: toml::Table = text.parse().map_err(|error| fault(at_line(error)))?;
    let mut values = BTreeMap::new();
    for (key, value) in table {
        let Some(setting) = registry::by_key(&key) else {
            return Err(SettingsError::UnknownKey {
                path: path.to_owned(),
                nearest: nearest_of(&key, registry::file_keys()),
                key,
            });
        };
        let text = match value {
            toml::Value::Array(items) if setting.value == LIST => joined(items)
                .ok_or_else(|| fault(format!("{key} must be a list of texts, none of them with a comma")))?,
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(yes) => yes.to_string(),
            _ => return Err(fault(format!("{key} must be a text, a whole number, true or false"))),
        };
        values.insert(setting.key, text);
    }
    Ok(values)
}

/// A list as environment and flags say it.
fn joined(items: Vec<toml::Value>) -> Option<String> {
    let text = |item| match item {
        toml::Value::String(text) if !text.contains(',') => Some(text),
        _ => None,
    };
    Some(items.into_iter().map(text).collect::<Option<Vec<String>>>()?.join(", "))
}

fn default_state_dir(sources: &Sources<'_>) -> Result<PathBuf, SettingsError> {
    if sources.is_root {
        return Ok(STATE_DIR_OF_ROOT.into());
    }
    let dir = |name| variable(sources, &[name]).map(|said| PathBuf::from(said.text));
    dir("XDG_STATE_HOME")
        .or_else(|| Some(dir("HOME")?.join(".local/state")))
        .map(|dir| dir.join("edgewatch-agent"))
        .ok_or(SettingsError::NoStateDir)
}

#[cfg(test)]
mod example;
#[cfg(test)]
mod tests;
