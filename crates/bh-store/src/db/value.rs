//! The few types that cross between the ports and a database.

use std::sync::Arc;

use bh_app::ports::Holder;
use bh_domain::money::NanoUsd;
use bh_domain::tenant::Nid;
use bh_domain::time::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, postgres::Postgres, sqlite::Sqlite};
use uuid::Uuid;

/// One bound parameter. `None` is SQL's null, of a known type: PostgreSQL wants to know it.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Int(Option<i64>),
    Text(Option<Arc<str>>),
    Bytes(Option<Vec<u8>>),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        // Counts beyond 63 bits cannot come up; at the far end they must not turn negative.
        Self::Int(Some(i64::try_from(value).unwrap_or(i64::MAX)))
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Int(Some(i64::from(value)))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Int(Some(i64::from(value)))
    }
}

impl From<NanoUsd> for Value {
    fn from(value: NanoUsd) -> Self {
        Self::Int(Some(value.0))
    }
}

impl From<Timestamp> for Value {
    fn from(value: Timestamp) -> Self {
        Self::Int(Some(value.0))
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.into()))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(Some(value.into()))
    }
}

impl From<Arc<str>> for Value {
    fn from(value: Arc<str>) -> Self {
        Self::Text(Some(value))
    }
}

impl From<&Arc<str>> for Value {
    fn from(value: &Arc<str>) -> Self {
        Self::Text(Some(Arc::clone(value)))
    }
}

impl From<&Option<String>> for Value {
    fn from(value: &Option<String>) -> Self {
        Self::Text(value.as_deref().map(Arc::from))
    }
}

impl From<Option<bool>> for Value {
    fn from(value: Option<bool>) -> Self {
        Self::Int(value.map(i64::from))
    }
}

impl From<Option<i64>> for Value {
    fn from(value: Option<i64>) -> Self {
        Self::Int(value)
    }
}

impl From<Option<Timestamp>> for Value {
    fn from(value: Option<Timestamp>) -> Self {
        Self::Int(value.map(|instant| instant.0))
    }
}

impl From<Option<[u8; 32]>> for Value {
    fn from(value: Option<[u8; 32]>) -> Self {
        Self::Bytes(value.map(|hash| hash.to_vec()))
    }
}

impl From<Nid> for Value {
    fn from(value: Nid) -> Self {
        Self::Text(Some(uuid_text(value.0)))
    }
}

impl From<Holder> for Value {
    fn from(value: Holder) -> Self {
        Self::Text(Some(uuid_text(value.0)))
    }
}

impl From<[u8; 32]> for Value {
    fn from(value: [u8; 32]) -> Self {
        Self::Bytes(Some(value.to_vec()))
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Self {
        Self::Bytes(Some(value.to_vec()))
    }
}

/// Sort before and after every UUID's text, in any collation.
pub(crate) const BEFORE_ALL: &str = "";
pub(crate) const AFTER_ALL: &str = "g";

/// A UUID as both databases keep it: 36 lower-case characters.
pub(crate) fn uuid_text(value: Uuid) -> Arc<str> {
    let mut buffer = Uuid::encode_buffer();
    Arc::from(&*value.hyphenated().encode_lower(&mut buffer))
}

/// One row of an answer, columns by position.
#[derive(Debug)]
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// A stored value that is not what its column promises.
#[derive(Debug, thiserror::Error)]
#[error("column {column} does not hold {wanted}")]
struct Malformed {
    column: usize,
    wanted: &'static str,
}

type Decoded<T> = Result<T, sqlx::Error>;

impl Row {
    fn get<T>(&self, column: usize) -> Decoded<T>
    where
        T: for<'r> sqlx::Decode<'r, Sqlite>
            + sqlx::Type<Sqlite>
            + for<'r> sqlx::Decode<'r, Postgres>
            + sqlx::Type<Postgres>,
    {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }

    pub(crate) fn int(&self, column: usize) -> Decoded<i64> {
        self.get(column)
    }

    pub(crate) fn optional_int(&self, column: usize) -> Decoded<Option<i64>> {
        self.get(column)
    }

    pub(crate) fn count(&self, column: usize) -> Decoded<u64> {
        u64::try_from(self.int(column)?).map_err(|_| malformed(column, "a count"))
    }

    pub(crate) fn nano(&self, column: usize) -> Decoded<NanoUsd> {
        self.int(column).map(NanoUsd)
    }

    pub(crate) fn time(&self, column: usize) -> Decoded<Timestamp> {
        self.int(column).map(Timestamp)
    }

    pub(crate) fn optional_time(&self, column: usize) -> Decoded<Option<Timestamp>> {
        Ok(self.optional_int(column)?.map(Timestamp))
    }

    pub(crate) fn text(&self, column: usize) -> Decoded<String> {
        self.get(column)
    }

    pub(crate) fn optional_text(&self, column: usize) -> Decoded<Option<String>> {
        self.get(column)
    }

    pub(crate) fn bytes(&self, column: usize) -> Decoded<Vec<u8>> {
        self.get(column)
    }

    pub(crate) fn hash(&self, column: usize) -> Decoded<[u8; 32]> {
        self.bytes(column)?.try_into().map_err(|_| malformed(column, "a hash"))
    }

    pub(crate) fn optional_hash(&self, column: usize) -> Decoded<Option<[u8; 32]>> {
        let bytes: Option<Vec<u8>> = self.get(column)?;
        let hash = bytes.map(|bytes| bytes.try_into().map_err(|_| malformed(column, "a hash")));
        hash.transpose()
    }

    pub(crate) fn nid(&self, column: usize) -> Decoded<Nid> {
        Uuid::parse_str(&self.text(column)?).map(Nid).map_err(|_| malformed(column, "a network id"))
    }

    pub(crate) fn holder(&self, column: usize) -> Decoded<Holder> {
        Uuid::parse_str(&self.text(column)?).map(Holder).map_err(|_| malformed(column, "a process id"))
    }
}

pub(crate) fn malformed(column: usize, wanted: &'static str) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(Malformed { column, wanted }))
}
