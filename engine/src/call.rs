//! What the Worker asks of a shard and what it answers: one request, one reply, as bytes.

use crate::{
    block_index::BlockEntry,
    counters::Counters,
    head::ShardNumber,
    ledger::Newest,
    moves::{Destination, Luggage, Placed},
    query::{Evaluated, Evaluation},
    records::Record,
    registry::{HostRecord, HostState},
    retention::RetentionSettings,
    rollup::Resolution,
    series_limit::Fingerprint,
    series_registry::SeriesSpan,
    streams::Identity,
    usage::ShardUsage,
};
use edgewatch_shared::{
    HostId, HostName, Labels, Series, TimestampMs,
    series::SeriesSamples,
    wire::{Facts, push::DictionaryId},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// A request, with what its Worker instance has counted since its last call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Counts that the shard takes over.
    pub counted: Counters,
    /// What is asked.
    pub request: Request,
}

/// What a shard can be asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// Store a batch.
    Push(Push),
    /// Read samples.
    Read(Read),
    /// Add a host.
    Enroll(Enroll),
    /// Refuse a host's pushes from now on.
    Revoke(HostId),
    /// Forget a host; its key stays dead.
    Delete(HostId),
    /// Say whether a host lives here, and by which move it came.
    Locate(HostId),
    /// Let a host go to another shard, or be spread over several.
    Leave {
        /// Which.
        host: HostId,
        /// Where to.
        to: Destination,
    },
    /// Take a host in, or its share of one that is spread over several shards.
    Arrive {
        /// What it takes along.
        luggage: Luggage,
        /// Where it goes.
        to: Destination,
    },
    /// Send the pushes of a host that has left to where it arrived by the move of that number.
    Redirect {
        /// Which.
        host: HostId,
        /// The move's number.
        number: u64,
        /// Where it is.
        to: ShardNumber,
    },
    /// List the series that a read asks for, whatever its time.
    Series(Read),
    /// List the hosts.
    Hosts,
    /// Say where hosts that are or were here have samples.
    Placements,
    /// Give a host's newest record.
    Record {
        /// Which.
        host: HostId,
        /// How the question came to the shard: of a host spread over several each is asked for its part.
        way: Way,
    },
    /// Report the counters; with `true`, make pending ones durable first.
    Counters(bool),
    /// Say what was used today and what is stored.
    Usage,
    /// Say how long samples are kept, as far as the shard knows.
    Retention,
    /// List some blocks, in order, with ids above this.
    BlocksAfter(i64),
    /// Say which of these objects belong here and are not known.
    UnknownObjects(Vec<String>),
    /// List blocks that were found in R2.
    Adopt(Vec<BlockEntry>),
    /// Take in hosts that are not known.
    RestoreHosts(Vec<HostRecord>),
    /// Say that it is there.
    Ping,
}

/// Who a batch is from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Sender {
    /// A host with its own key. A name or id in the body must be the registered one.
    Host {
        /// The token's host.
        id: HostId,
        /// What the body says.
        claimed: Option<String>,
    },
    /// A host known by name, pushed with a static token; it is added when it first comes.
    Named(HostName),
    /// Any host, as an administrator imports it: whatever its key, and added if it is not known.
    Imported {
        /// The host.
        id: HostId,
        /// What it is called where it is added…
        name: HostName,
        /// …and whether it may push there.
        state: HostState,
    },
}

impl Sender {
    /// The host's id.
    pub fn host(&self) -> HostId {
        match self {
            Self::Host { id, .. } | Self::Imported { id, .. } => *id,
            Self::Named(name) => HostId::of_name(name),
        }
    }
}

/// How a batch comes to a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// The host's id says so.
    Direct,
    /// Another shard said that the host was moved here.
    SentOn,
    /// It has those samples of a host spread over several shards that belong here.
    Part,
}

/// A batch on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Push {
    /// From whom.
    pub sender: Sender,
    /// What the sender knows of itself, if it said so.
    pub facts: Option<Facts>,
    /// Samples left out because they lie outside the window of time.
    pub outside_window: u32,
    /// The samples. Without any, only the sender is checked.
    pub payload: Option<Payload>,
    /// What else the host says; stored along with the samples.
    pub record: Option<Record>,
    /// How it came here.
    pub way: Way,
}

/// Samples on their way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Payload {
    /// With their names, from a sender that numbers nothing.
    Named(Named),
    /// In the order of a series list, from a sender that numbers its readings.
    Listed(Listed),
}

/// Samples with their names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Named {
    /// How many.
    pub samples: u32,
    /// Fingerprints of their series.
    pub series: Vec<Fingerprint>,
    /// Newest headline values by stored name.
    pub newest: Vec<(String, f64)>,
    /// The batch ([`crate::frame::Frame`]).
    #[serde(with = "crate::bytes")]
    pub frame: Vec<u8>,
}

/// Samples in the order of a series list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    /// How many. There may be none left, where all lay outside the window of time.
    pub samples: u32,
    /// What the push is known by.
    pub identity: Identity,
    /// The list's id.
    pub dictionary: DictionaryId,
    /// The list, if it came along.
    pub series: Option<Vec<Series>>,
    /// For every series of the list its newest value.
    pub newest: Vec<Option<f64>>,
    /// The columns ([`edgewatch_shared::wire::push::decode_columns`]), as they are stored.
    #[serde(with = "crate::bytes")]
    pub columns: Vec<u8>,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushed {
    /// Samples that are durable now and were not before.
    pub ingested: u32,
    /// Samples that came again.
    pub repeated: u32,
    /// Samples left out because they lie outside the window of time, or because there is no room for their series.
    pub refused: u32,
    /// Milliseconds until the host should push again.
    pub next_push_ms: u32,
}

/// Which samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Read {
    /// Of these hosts.
    pub hosts: Vec<HostId>,
    /// Series of one of these names; of all if there is none.
    pub names: Vec<String>,
    /// With these labels, and any others.
    pub labels: Labels,
    /// From here…
    pub from: TimestampMs,
    /// …to here, both included.
    pub to: TimestampMs,
    /// How the samples are to be evaluated where only the shard has any; without it they come as they are.
    pub evaluation: Option<Evaluation>,
    /// Whether a block that does not check out is passed over with a warning.
    pub is_partial: bool,
}

impl Read {
    /// Whether it asks for a series.
    pub fn wants(&self, series: &Series) -> bool {
        (self.names.is_empty() || self.names.contains(&series.name)) && series.has(&self.labels)
    }
}

/// A host to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Enroll {
    /// Its id, made by the Worker.
    pub id: HostId,
    /// Its name.
    pub name: HostName,
    /// What is known of it.
    pub facts: Facts,
    /// Its tags.
    pub tags: Vec<String>,
}

/// What a shard answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// The batch is durable.
    Pushed(Pushed),
    /// The samples.
    Read(ReadReply),
    /// It is done.
    Done,
    /// Series and when they were sent.
    Series(SeriesReply),
    /// The host lives here; the number of its last move, 0 if it never moved.
    Located(u64),
    /// What a host that left takes along; `None` if it is where it is to go.
    Left(Option<Luggage>),
    /// The hosts.
    Hosts(Vec<HostReport>),
    /// Where hosts have samples.
    Placements(Vec<Placed>),
    /// A host's newest record, if there is one.
    Record(Option<Record>),
    /// The durable counters.
    Counters(Counters),
    /// What was used today and what is stored.
    Usage(ShardUsage),
    /// How long samples are kept.
    Retention(RetentionSettings),
    /// Blocks.
    Blocks(Vec<BlockEntry>),
    /// Names of objects.
    Objects(Vec<String>),
    /// How many were new.
    Restored(u64),
}

/// Everything a shard holds of what was asked, at one instant: what is here as samples, what is in R2 by name.
/// Objects are never changed, so both together have no hole, whatever is sealed while they are read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReadReply {
    /// Samples of the log and of local blocks.
    pub parts: Vec<Part>,
    /// What was evaluated instead; its samples are not among the parts.
    pub evaluated: Vec<Evaluated>,
    /// Objects with samples of that time.
    pub objects: Vec<BlockEntry>,
    /// The coarsest that any of it is made of.
    pub resolution: Resolution,
    /// What was passed over.
    pub warnings: Vec<String>,
    /// Other shards that hold samples of some of the hosts.
    pub elsewhere: Vec<(ShardNumber, HostId)>,
}

/// The series that a shard knows of some hosts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SeriesReply {
    /// Each once a host.
    pub series: Vec<SeriesSpan>,
    /// Other shards that hold samples of some of the hosts.
    pub elsewhere: Vec<(ShardNumber, HostId)>,
}

/// Samples of one host from one place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Of two samples at one instant, the one of the higher rank counts: a block's id, [`LOG_RANK`] for the log.
    pub rank: i64,
    /// Whether they are samples, or rollups of them.
    pub resolution: Resolution,
    /// Whose.
    pub host: HostId,
    /// What.
    pub series: Vec<SeriesSamples>,
}

/// The log is newer than every block.
pub const LOG_RANK: i64 = i64::MAX;

/// A host as a shard reports it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostReport {
    /// What is known of it.
    pub record: HostRecord,
    /// What it last sent; `None` if it never did.
    pub newest: Option<Newest>,
    /// How often it is to push.
    pub pace_ms: i64,
}

/// Why a shard refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum ShardError {
    /// Never enrolled here, or deleted.
    #[error("the host is not enrolled")]
    UnknownHost,
    /// Its key was revoked.
    #[error("the host's key was revoked")]
    RevokedHost,
    /// The body names another host than the token.
    #[error("the body says it is of host {claimed:?}, the token is of {registered:?}")]
    HostMismatch {
        /// What the body says.
        claimed: String,
        /// What the token's host is called.
        registered: String,
    },
    /// The host lives on another shard now.
    #[error("the host was moved to shard {0}")]
    Moved(ShardNumber),
    /// The host's series are spread over these shards.
    #[error("the host is spread over shards {0:?}")]
    Split(Vec<ShardNumber>),
    /// No room for another host.
    #[error("the shard has its full number of hosts")]
    Full,
    /// No room for another series, of this host or in the shard.
    #[error("the host or its shard has its full number of active series")]
    TooManySeries,
    /// The batch names a series list that is not here.
    #[error("the shard does not have the series list that the push names")]
    UnknownDictionary,
    /// The batch has another number of columns than its list has series.
    #[error("{columns} columns for a list of {series} series")]
    Shape {
        /// Columns.
        columns: u64,
        /// Series.
        series: u64,
    },
    /// Other samples are stored under the same stream and readings.
    #[error("readings {first} to {last} of the stream are stored with another content")]
    IdentityConflict {
        /// First reading.
        first: u64,
        /// Last reading.
        last: u64,
    },
    /// The day's quota is used up.
    #[error("the day's quota of the Cloudflare plan is used up")]
    QuotaExhausted {
        /// Seconds after which to look again.
        retry_after_s: u32,
    },
    /// More pushes wait for their commit than may.
    #[error("too many pushes wait to be stored")]
    Overloaded,
    /// A frame that no row can hold.
    #[error("the batch does not fit a row: {0}")]
    RowTooLarge(String),
    /// The storage has reached its limit.
    #[error("the shard's storage is full")]
    StorageFull,
    /// More samples than a query may hold.
    #[error("the query would read more than {0} samples")]
    TooManySamples(u64),
    /// More blocks in the shard itself than a query may read.
    #[error("the query would read {0} blocks of the shard's own storage")]
    TooManyBlocks(u64),
    /// Something stored does not check out.
    #[error("{0}")]
    Corrupt(String),
    /// The storage failed; a retry may help.
    #[error("{0}")]
    Storage(String),
}

/// Encodes a call or its result.
pub fn encode(value: &impl Serialize) -> Result<Vec<u8>, postcard::Error> {
    postcard::to_allocvec(value)
}

/// Decodes a call or its result.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, postcard::Error> {
    postcard::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_survives_its_way_to_the_shard() {
        let named = Named { samples: 1, series: vec![7], newest: Vec::new(), frame: (0..=255).collect() };
        let sender = Sender::Named("web-01".parse().unwrap());
        let payload = Some(Payload::Named(named));
        let push = Push { sender, facts: None, outside_window: 3, payload, record: None, way: Way::Direct };
        let call = Call { counted: Counters::default(), request: Request::Push(push) };
        assert_eq!(decode::<Call>(&encode(&call).unwrap()), Ok(call));
    }
}
