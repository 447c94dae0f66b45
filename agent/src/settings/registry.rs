//! The one table of settings: `--help`, the configuration file, its example and `docs/agent.md` all follow it.

use crate::update::RELEASES_URL;

use super::collection::{DEVICES_EXCLUDE, FILE_SYSTEMS_EXCLUDE, INTERFACES_EXCLUDE, MOUNTS_EXCLUDE};

/// What the value of a list looks like: texts between commas, in the file also an array of texts.
pub const LIST: &str = "LIST";

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// Key in the configuration file.
    pub key: &'static str,
    /// Environment variable.
    pub env: &'static str,
    /// A variable of MiniObserv's agent that means the same.
    pub alias: Option<&'static str>,
    /// Flag, without its dashes.
    pub flag: &'static str,
    /// What its value looks like; empty for a switch.
    pub value: &'static str,
    /// What holds if nobody says anything; empty if nothing does.
    pub default: &'static str,
    /// A value for the example file, where the default is none that could stand there.
    pub example: &'static str,
    /// What it means.
    pub doc: &'static str,
}

/// Every setting, in the order in which people meet them.
pub const SETTINGS: &[Setting] = &[
    Setting {
        key: "url",
        env: "EDGEWATCH_URL",
        alias: Some("SERVER_URL"),
        flag: "url",
        value: "URL",
        default: "",
        example: "https://edgewatch.example.workers.dev",
        doc: "The server. An enrolled host knows it from its enrolment.",
    },
    Setting {
        key: "token",
        env: "EDGEWATCH_TOKEN",
        alias: Some("AGENT_TOKEN"),
        flag: "token",
        value: "TOKEN",
        default: "",
        example: "eyJhbGciOiJIUzI1NiIs…",
        doc: "A push token, for a host that is not enrolled; with `enroll`, the enrolment token. Keep a file that has it readable by the agent alone.",
    },
    Setting {
        key: "name",
        env: "EDGEWATCH_NAME",
        alias: Some("AGENT_HOST"),
        flag: "name",
        value: "NAME",
        default: "the host's own name",
        example: "web-01",
        doc: "What to call the host, when it enrols or pushes with a push token.",
    },
    Setting {
        key: "collect_interval",
        env: "EDGEWATCH_COLLECT_INTERVAL",
        alias: Some("COLLECT_INTERVAL"),
        flag: "collect-interval",
        value: "DURATION",
        default: "10s",
        example: "",
        doc: "How often to take readings, 1s to 5m.",
    },
    Setting {
        key: "push_interval",
        env: "EDGEWATCH_PUSH_INTERVAL",
        alias: None,
        flag: "push-interval",
        value: "DURATION",
        default: "1m",
        example: "",
        doc: "How often to push them, 1s to 1h, unless the server asks for another pace.",
    },
    Setting {
        key: "spool_size",
        env: "EDGEWATCH_SPOOL_SIZE",
        alias: None,
        flag: "spool-size",
        value: "SIZE",
        default: "64MiB",
        example: "",
        doc: "How much of the disk batches may take while the server is away, 1MiB to 16GiB.",
    },
    Setting {
        key: "spool_age",
        env: "EDGEWATCH_SPOOL_AGE",
        alias: None,
        flag: "spool-age",
        value: "DURATION",
        default: "7d",
        example: "",
        doc: "How old a batch may get before it is dropped, 1h to 7d: the server takes nothing that is much older.",
    },
    Setting {
        key: "spool_full",
        env: "EDGEWATCH_SPOOL_FULL",
        alias: None,
        flag: "spool-full",
        value: "WHICH",
        default: "drop-newest",
        example: "",
        doc: "What goes when there is no room: drop-newest, or drop-oldest.",
    },
    Setting {
        key: "state_dir",
        env: "EDGEWATCH_STATE_DIR",
        alias: None,
        flag: "state-dir",
        value: "DIR",
        default: "/var/lib/edgewatch-agent for root, else $XDG_STATE_HOME/edgewatch-agent or ~/.local/state/edgewatch-agent",
        example: "/var/lib/edgewatch-agent",
        doc: "Where the host's credentials and its spool lie. Not for the file of a service: its unit says it, and goes before the file.",
    },
    Setting {
        key: "log_level",
        env: "EDGEWATCH_LOG_LEVEL",
        alias: Some("LOG_LEVEL"),
        flag: "log-level",
        value: "LEVEL",
        default: "info",
        example: "",
        doc: "What to say on standard error: error, warn, info or debug.",
    },
    Setting {
        key: "ca_file",
        env: "EDGEWATCH_CA_FILE",
        alias: None,
        flag: "ca-file",
        value: "FILE",
        default: "",
        example: "/etc/edgewatch/ca.pem",
        doc: "Certificates (PEM) of who may sign the server's, in place of Mozilla's list: with it, nobody else is trusted.",
    },
    Setting {
        key: "proxy",
        env: "EDGEWATCH_PROXY",
        alias: None,
        flag: "proxy",
        value: "URL",
        default: "HTTPS_PROXY, else ALL_PROXY of the environment",
        example: "http://proxy.example:3128",
        doc: "The proxy (http:// or https://, with user:password@ where it asks for one) to reach the server through, unless NO_PROXY names the server; none for none.",
    },
    Setting {
        key: "allow_plain_http",
        env: "EDGEWATCH_ALLOW_PLAIN_HTTP",
        alias: None,
        flag: "allow-plain-http",
        value: "",
        default: "false",
        example: "",
        doc: "Speak http:// to another machine too: tokens and metrics can be read on the way.",
    },
    Setting {
        key: "update_url",
        env: "EDGEWATCH_UPDATE_URL",
        alias: None,
        flag: "update-url",
        value: "URL",
        default: RELEASES_URL,
        example: "",
        doc: "Where `update` finds releases. Who keeps them need not be trusted: they are signed.",
    },
    Setting {
        key: "names",
        env: "EDGEWATCH_NAMES",
        alias: None,
        flag: "names",
        value: "NAMES",
        default: "edgewatch",
        example: "",
        doc: "Whose names metrics have: edgewatch, or node_exporter for dashboards and rules that know those.",
    },
    Setting {
        key: "collectors_off",
        env: "EDGEWATCH_COLLECTORS_OFF",
        alias: None,
        flag: "collectors-off",
        value: LIST,
        default: "",
        example: "sockets",
        doc: "Collectors that are switched off: cpu, memory, disk, disk_io, network, traffic, load, pressure, sockets, processes, files, temperature, time, units, containers, uptime, itself.",
    },
    Setting {
        key: "metrics_exclude",
        env: "EDGEWATCH_METRICS_EXCLUDE",
        alias: None,
        flag: "metrics-exclude",
        value: LIST,
        default: "",
        example: "disk_inodes_*",
        doc: "Metrics that are not sent, by name, or by name and label such as cpu_usage_pct{core=*}, !cpu_usage_pct{core=total}.",
    },
    Setting {
        key: "interfaces_exclude",
        env: "EDGEWATCH_INTERFACES_EXCLUDE",
        alias: None,
        flag: "interfaces-exclude",
        value: LIST,
        default: INTERFACES_EXCLUDE,
        example: "",
        doc: "Network interfaces that are left out.",
    },
    Setting {
        key: "devices_exclude",
        env: "EDGEWATCH_DEVICES_EXCLUDE",
        alias: None,
        flag: "devices-exclude",
        value: LIST,
        default: DEVICES_EXCLUDE,
        example: "",
        doc: "Block devices that are left out. Partitions always are.",
    },
    Setting {
        key: "file_systems_exclude",
        env: "EDGEWATCH_FILE_SYSTEMS_EXCLUDE",
        alias: None,
        flag: "file-systems-exclude",
        value: LIST,
        default: FILE_SYSTEMS_EXCLUDE,
        example: "",
        doc: "Kinds of file systems whose mounts are left out.",
    },
    Setting {
        key: "mounts_exclude",
        env: "EDGEWATCH_MOUNTS_EXCLUDE",
        alias: None,
        flag: "mounts-exclude",
        value: LIST,
        default: MOUNTS_EXCLUDE,
        example: "",
        doc: "Mounts that are left out, by path.",
    },
    Setting {
        key: "network_file_systems",
        env: "EDGEWATCH_NETWORK_FILE_SYSTEMS",
        alias: None,
        flag: "network-file-systems",
        value: "",
        default: "false",
        example: "",
        doc: "Ask network file systems for their size too; one that does not answer within a second is left out until it does.",
    },
    Setting {
        key: "units",
        env: "EDGEWATCH_UNITS",
        alias: None,
        flag: "units",
        value: LIST,
        default: "",
        example: "nginx.service",
        doc: "Units of systemd whose state is told, such as nginx.service.",
    },
    Setting {
        key: "container_socket",
        env: "EDGEWATCH_CONTAINER_SOCKET",
        alias: None,
        flag: "container-socket",
        value: "FILE",
        default: "",
        example: "/run/docker.sock",
        doc: "The socket of Docker or Podman, to ask for the names and health of containers. Who may open it may do anything on the host.",
    },
    Setting {
        key: "traffic_reset_day",
        env: "EDGEWATCH_TRAFFIC_RESET_DAY",
        alias: None,
        flag: "traffic-reset-day",
        value: "DAY",
        default: "1",
        example: "",
        doc: "The day of the month at which monthly traffic starts anew, 1 to 28, in UTC.",
    },
    CONFIG,
];

/// Where the configuration file is; no key of the file itself.
pub const CONFIG: Setting = Setting {
    key: "config",
    env: "EDGEWATCH_CONFIG",
    alias: None,
    flag: "config",
    value: "FILE",
    default: "/etc/edgewatch/agent.toml, if it exists",
    example: "",
    doc: "The configuration file, TOML.",
};

/// The setting of a flag.
pub fn by_flag(flag: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.flag == flag)
}

/// The setting of a key in the file.
pub fn by_key(key: &str) -> Option<&'static Setting> {
    let in_file = |setting: &&Setting| setting.key == key && setting.key != CONFIG.key;
    SETTINGS.iter().find(in_file)
}

/// The keys of the file.
pub fn file_keys() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().map(|setting| setting.key).filter(|key| *key != CONFIG.key)
}
