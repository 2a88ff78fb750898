//! How a store of an older version becomes one of this build's.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::schema;

/// Lifts a store from the version before.
type Step = fn(&Transaction<'_>) -> rusqlite::Result<()>;

/// Step `n` lifts a store of version `n + 1` to `n + 2`.
const STEPS: [Step; schema::VERSION as usize - 1] = [to_2];

/// Lifts an older store to the version of this build, all steps in one transaction: it is of the one version
/// or of the other at any moment.
pub(crate) fn migrate(connection: &mut Connection, found: u32) -> rusqlite::Result<()> {
    if found == schema::VERSION {
        return Ok(());
    }
    let tx = Transaction::new(connection, TransactionBehavior::Immediate)?;
    for step in STEPS.iter().skip(found as usize - 1) {
        step(&tx)?;
    }
    tx.pragma_update(None, "user_version", schema::VERSION)?;
    tx.commit()?;
    tracing::info!(found, now = schema::VERSION, "the store has been migrated");
    Ok(())
}

/// Message headers, and claims. Adding a column rewrites no row, however many there are.
fn to_2(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    let partitions: Vec<i64> = tx
        .prepare("SELECT partition FROM partitions")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for partition in partitions {
        tx.execute_batch(&format!("ALTER TABLE messages_{partition} ADD COLUMN headers TEXT"))?;
    }
    tx.execute_batch(&format!(
        "ALTER TABLE dead ADD COLUMN headers TEXT;
         ALTER TABLE queues ADD COLUMN claims INTEGER NOT NULL DEFAULT 0;
         {}",
        schema::CLAIMS
    ))
}
