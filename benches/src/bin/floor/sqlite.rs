//! SQLite with the daemon's durability: WAL, synced with every commit.

use std::path::Path;

use bytes::Bytes;
use rusqlite::Connection;

use crate::Failure;
use crate::writer::Store;

pub(crate) struct Table(Connection);

impl Table {
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        let connection = Connection::open(path)?;
        connection.execute_batch(
            "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE messages (id INTEGER PRIMARY KEY, body BLOB NOT NULL);",
        )?;
        Ok(Self(connection))
    }
}

impl Store for Table {
    fn commit(&mut self, batch: &[Bytes]) -> Result<(), Failure> {
        let transaction = self.0.transaction()?;
        {
            let mut insert = transaction.prepare_cached("INSERT INTO messages (body) VALUES (?)")?;
            for body in batch {
                insert.execute([body.as_ref()])?;
            }
        }
        Ok(transaction.commit()?)
    }
}
